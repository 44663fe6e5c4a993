"""A connection made ready for a transaction: opened, greeted, protected as demanded, authenticated.

Addresses of one host race for the connection (host/connect.py); what their TLS must be is the same for all of them. Where
opportunistic TLS breaks, a second connection does without; where it is demanded, nothing goes out without what is demanded.

Standards: RFC 3207, RFC 7435 section 3, RFC 7672 section 2.2, RFC 2033 (LMTP).
See also: mta/demand.py (what TLS must be), mta/tls_results.py (what is recorded of it).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.errors import NotAuthentic
from letterlock.host.connect import First, NoneConnected, connect, connect_first, connect_unix
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.host.smtp_client import ClientPatience, SmtpClient
from letterlock.host.stream import Endpoint, TlsFailed
from letterlock.mta.demand import TlsDemand
from letterlock.mta.route import Hop
from letterlock.mta.tls_results import NOT_OFFERED, Record, TlsResult, result_type
from letterlock.protocols.sasl.mechanism import client_exchange
from letterlock.protocols.smtp.client import Refused
from letterlock.protocols.smtp.offer import Dialect


@dataclass(slots=True)
class Race:
    """What became of a host's addresses: `winner` serves, `failures` did not answer, `slower` were overtaken."""

    winner: Endpoint | None = None
    failures: dict[Endpoint, str] = field(default_factory=dict)
    slower: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens connections; `name` is what we call ourselves."""

    name: str
    patience: ClientPatience
    local_address: str | None
    entropy: Entropy
    log: Log
    record: Record

    async def open(self, hop: Hop, endpoints: Sequence[Endpoint], demand: TlsDemand, race: Race) -> SmtpClient:
        """Return a connection to one of a hop's addresses, and say in `race` which. Raises PeerFault, NotAuthentic."""
        try:
            return await self._open_with(hop, endpoints, demand, race, use_tls=True)
        except (TlsFailed, NotAuthentic) as failure:
            if demand.is_mandatory or hop.relay is not None or race.winner is None:
                raise
            # RFC 7435 section 3: opportunistic means that broken TLS must not be worse than none.
            self.log.warning("TLS failed, sent without", host=hop.host.name, problem=str(failure))
            if demand.otherwise is not None:
                return await self.open(hop, [race.winner], demand.otherwise, race)
            return await self._open_with(hop, [race.winner], demand, race, use_tls=False)

    async def _open_with(
        self, hop: Hop, endpoints: Sequence[Endpoint], demand: TlsDemand, race: Race, *, use_tls: bool
    ) -> SmtpClient:
        relay = hop.relay
        client = await self.connect(hop, endpoints, race)
        try:
            if relay is not None and relay.implicit_tls:
                await client.handshake(demand.context, server_name=demand.server_name)
            await client.greet()
            await client.hello()
            if use_tls:
                await self._protect(client, hop, demand)
            if relay is not None and relay.user:
                await client.authenticate(
                    client_exchange(
                        client.offer.mechanisms,
                        user=relay.user,
                        password=relay.password,
                        nonce=self.entropy.octets(18),
                        bindings=client.tls.bindings if client.tls else {},
                        protected=client.tls is not None,
                    )
                )
        except BaseException:
            client.stream.abort()
            raise
        return client

    async def connect(self, hop: Hop, endpoints: Sequence[Endpoint], race: Race) -> SmtpClient:
        """Return a bare connection to one of a hop's addresses, which race for it. Raises ConnectionFailed."""
        dialect = Dialect.LMTP if hop.relay is not None and hop.relay.is_lmtp else Dialect.SMTP
        seconds = self.patience.connect_seconds
        candidates = [one for one in endpoints if self._is_reachable(one)] or endpoints
        if len(candidates) == 1:
            only = race.winner = candidates[0]
            if only.host.startswith("/"):
                stream = await connect_unix(Path(only.host), within_seconds=seconds)
            else:
                stream = await connect(only, within_seconds=seconds, local_address=self.local_address)
        else:
            try:
                first: First = await connect_first(candidates, within_seconds=seconds, local_address=self.local_address)
            except NoneConnected as none:
                race.failures |= none.failures
                raise
            race.winner, race.slower = first.endpoint, first.slower
            race.failures |= first.failures
            stream = first.stream
        return SmtpClient(stream, name=self.name, patience=self.patience, dialect=dialect)

    def _is_reachable(self, endpoint: Endpoint) -> bool:
        """Tell whether our own address, if one is set, is of the same family."""
        if self.local_address is None or endpoint.host.startswith("/"):
            return True
        return ipaddress.ip_address(self.local_address).version == ipaddress.ip_address(endpoint.host).version

    async def _protect(self, client: SmtpClient, hop: Hop, demand: TlsDemand) -> None:
        """Begin TLS as demanded, and record what came of it."""
        kind, information = "", ""
        try:
            if client.tls is None and "STARTTLS" in client.offer:
                try:
                    await client.start_tls(demand.context, server_name=demand.server_name)
                except Refused as refused:
                    raise TlsFailed(f"{hop.host.name} refused STARTTLS: {refused.answer}") from refused
                await client.hello()
            if client.tls is None:
                kind = NOT_OFFERED
                if demand.is_mandatory:
                    raise NotAuthentic(f"{hop.host.name} does not offer the TLS that {demand.label} demands")
            elif demand.judge is not None:
                demand.judge(client.tls)
        except (TlsFailed, NotAuthentic) as fault:
            kind, information = kind or result_type(fault), str(fault)
            raise
        finally:
            if demand.policy is not None:
                ends = client.stream.peer.host, client.stream.local.host
                self.record(TlsResult(demand.policy, hop.host.name, *ends, kind, information))
