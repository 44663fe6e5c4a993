"""The client's side of an SMTP or LMTP conversation, without sockets and clocks.

Each step is a generator that yields what to send and how many replies it needs, is sent those replies, and returns what
came of it; host/smtp_client.py carries them over a stream, tests answer them from a list or let a server answer.

    def greet(self) -> Exchange[Reply]: (greeting,) = yield Send((), 1, Phase.GREETING) ...

Promises: nothing is sent that the server did not offer; content with a bare CR, bare LF or NUL never goes out but as
BINARYMIME; every recipient gets exactly one reply; an answer that fits no step is a PeerFault.

Standards: RFC 5321 section 3 and 4.5.3.2, RFC 2033, RFC 1870, RFC 2920, RFC 3030, RFC 3207, RFC 3461, RFC 4954, RFC 6152,
RFC 6531, RFC 8689, RFC 9422, RFC 2852, RFC 7293, RFC 3865.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

from letterlock.errors import PeerFault
from letterlock.formats.envelope import Body, Envelope, Notify, Recipient
from letterlock.protocols.sasl.mechanism import ClientExchange
from letterlock.protocols.smtp import demands
from letterlock.protocols.smtp.command import encode_xtext
from letterlock.protocols.smtp.content import line_problem, stuffed
from letterlock.protocols.smtp.offer import Dialect, Offer
from letterlock.protocols.smtp.reply import Reply, reply

T = TypeVar("T")
_UNSAYABLE = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")  # controls and line ends, UTF-8's too


class Phase(enum.Enum):
    """What is waited for; each has its time (RFC 5321 section 4.5.3.2)."""

    GREETING = "the greeting"
    COMMAND = "the reply to a command"
    DATA = "the reply to DATA"
    END_OF_DATA = "the reply to the message"


@dataclass(frozen=True, slots=True)
class Send:
    """Send these octets, then wait for so many replies."""

    octets: tuple[bytes, ...]
    replies: int
    phase: Phase = Phase.COMMAND


Exchange = Generator[Send, tuple[Reply, ...], T]


class Refused(PeerFault):
    """The server said no to a step without which nothing goes on; `answer` is its reply."""

    def __init__(self, answer: Reply, step: str) -> None:
        self.answer = answer
        super().__init__(f"{step} was answered {answer}")


@dataclass(slots=True, eq=False)
class Transfer:
    """One message to hand over. What is left of the envelope's BY counts from `now` (seconds since 1970); `hindrance` is
    set where the message does not fit the server's offer, and says why."""

    envelope: Envelope
    content: bytes
    priority: int = 0
    now: float = 0.0
    hindrance: Reply | None = None


class ClientConversation:
    """One connection's conversation, `name` being what we call ourselves. `offer` is what the server offered last."""

    def __init__(self, name: str, *, dialect: Dialect = Dialect.SMTP) -> None:
        self._name = name
        self._dialect = dialect
        self._tls = False
        self._begun = False  # a transaction may stand open at the server
        self.offer = Offer()
        self.greeting = ""

    def greet(self) -> Exchange[None]:
        """Hear the greeting. Raises Refused."""
        (answer,) = yield Send((), 1, Phase.GREETING)
        if answer.code != 220:
            raise Refused(answer, "the connection")
        self.greeting = answer.lines[0]

    def hello(self) -> Exchange[Offer]:
        """Say EHLO, and HELO where the server does not know it. Raises Refused."""
        verb = "LHLO" if self._dialect is Dialect.LMTP else "EHLO"
        (answer,) = yield Send((f"{verb} {self._name}\r\n".encode(),), 1)
        if answer.code in (500, 502, 504, 550, 554) and self._dialect is Dialect.SMTP:
            # RFC 5321 section 3.2
            (answer,) = yield Send((f"HELO {self._name}\r\n".encode(),), 1)
            self.offer = Offer()
        elif answer.is_positive:
            self.offer = _offer(answer)
        if answer.code != 250:
            raise Refused(answer, verb)
        self._begun = False
        return self.offer

    def start_tls(self) -> Exchange[None]:
        """Ask for TLS: when this returns, the handshake is to follow, and `hello` after it. Raises Refused."""
        (answer,) = yield Send((b"STARTTLS\r\n",), 1)
        if answer.code != 220:
            raise Refused(answer, "STARTTLS")

    def tls_begun(self) -> None:
        """Take note that TLS protects the connection; what was offered before is forgotten."""
        self._tls = True
        self.offer = Offer()

    def authenticate(self, exchange: ClientExchange) -> Exchange[None]:
        """Prove who we are. Raises Refused, and what the exchange raises."""
        initial = exchange.first()
        line = f"AUTH {exchange.mechanism}"
        if initial is not None:
            line += " " + (base64.b64encode(initial).decode() or "=")
        (answer,) = yield Send((line.encode() + b"\r\n",), 1)
        for _ in range(10):
            if answer.code != 334:
                break
            try:
                challenge = base64.b64decode(answer.lines[0].strip(), validate=True)
            except (binascii.Error, ValueError):
                raise PeerFault("the server's challenge is no base64") from None
            (answer,) = yield Send((base64.b64encode(exchange.respond(challenge)) + b"\r\n",), 1)
        if answer.code != 235:
            raise Refused(answer, f"AUTH {exchange.mechanism}")
        exchange.finish()

    def quit(self) -> Exchange[None]:
        """Take leave."""
        yield Send((b"QUIT\r\n",), 1)

    def try_recipient(self, envelope: Envelope) -> Exchange[Reply]:
        """Ask whether the first recipient would be taken, send nothing, and return the reply that decided."""
        (answer,) = yield Send((self._mail(envelope, 0, 0, 0.0),), 1)
        if answer.is_positive:
            (answer,) = yield Send((self._rcpt(envelope, envelope.recipients[0]),), 1)
        yield Send((b"RSET\r\n",), 1)
        return answer

    def transfer(
        self, envelope: Envelope, content: bytes, *, priority: int = 0, now: float = 0.0
    ) -> Exchange[tuple[Reply, ...]]:
        """Send one message, as `carry` does."""
        return (yield from self.carry(Transfer(envelope, content, priority, now)))

    def carry(self, transfer: Transfer) -> Exchange[tuple[Reply, ...]]:
        """Send one message; return a reply for each recipient, in order: the server's, or ours where it cannot be sent.

        At most `offer.recipient_limit` recipients are to be given. Another may begin when the content has been sent.
        """
        envelope, content, now = transfer.envelope, transfer.content, transfer.now
        transfer.hindrance = self._hindrance(envelope, content, now)
        if transfer.hindrance is not None:
            return (transfer.hindrance,) * len(envelope.recipients)
        refusals = [demands.recipient_hindrance(one, self.offer) for one in envelope.recipients]
        if not any(refusals):
            return (yield from self._transfer(envelope, content, transfer.priority, now))
        sent = tuple(one for one, refusal in zip(envelope.recipients, refusals, strict=True) if refusal is None)
        answers: tuple[Reply, ...] = ()
        if sent:
            answers = yield from self._transfer(replace(envelope, recipients=sent), content, transfer.priority, now)
        left = iter(answers)
        return tuple(refusal or next(left) for refusal in refusals)

    def _transfer(self, envelope: Envelope, content: bytes, priority: int, now: float) -> Exchange[tuple[Reply, ...]]:
        chunking = envelope.body is Body.BINARY
        commands = [self._mail(envelope, len(content), priority, now)]
        commands += [self._rcpt(envelope, recipient) for recipient in envelope.recipients]
        if not chunking:
            commands.append(b"DATA\r\n")
        if any(_UNSAYABLE.search(command, 0, len(command) - 2) for command in commands):
            # However it came into the envelope: a line end within a command would begin another.
            return (reply(554, "5.6.0", "The envelope holds what no command can say"),) * len(envelope.recipients)
        opening = (b"RSET\r\n",) if self._begun else ()
        self._begun = True
        if "PIPELINING" in self.offer:  # RFC 2920 section 3.1
            replies = yield Send((b"".join((*opening, *commands)),), len(opening) + len(commands), Phase.DATA)
            answers: tuple[Reply, ...] = replies[len(opening) :]
        else:
            answers = yield from self._one_by_one(opening, commands)
        return (yield from self._send_content(envelope, content, answers, chunking=chunking))

    def _one_by_one(self, opening: tuple[bytes, ...], commands: list[bytes]) -> Exchange[tuple[Reply, ...]]:
        for command in opening:
            yield Send((command,), 1)
        answers: list[Reply] = []
        for command in commands:
            if answers and not answers[0].is_positive:
                answers.append(answers[0])  # MAIL was refused: the rest would be out of order
            elif command == b"DATA\r\n" and not any(answer.is_positive for answer in answers[1:]):
                answers.append(reply(554, "5.5.1", "No valid recipients"))
            else:
                (answer,) = yield Send((command,), 1, Phase.DATA if command == b"DATA\r\n" else Phase.COMMAND)
                answers.append(answer)
        return tuple(answers)

    def _send_content(
        self, envelope: Envelope, content: bytes, answers: tuple[Reply, ...], *, chunking: bool
    ) -> Exchange[tuple[Reply, ...]]:
        count = len(envelope.recipients)
        mail, given, data = answers[0], answers[1 : count + 1], answers[-1]
        if any(answer.code // 100 == 3 for answer in (mail, *given)):
            raise PeerFault("the server answered MAIL or RCPT as if it were DATA")
        taken = [answer.is_positive for answer in given]
        verdicts = [answer if mail.is_positive else mail for answer in given]
        wanted = mail.is_positive and any(taken)
        if not chunking:
            if data.is_positive and data.code != 354:
                raise PeerFault(f"the server answered DATA with {data}")
            if not data.is_positive:
                return tuple(
                    data if ok and mail.is_positive else said for ok, said in zip(taken, verdicts, strict=True)
                )
            if not wanted:
                # RFC 2920 section 3.1: 354 although no recipient was taken; an empty message it is.
                yield Send((b".\r\n",), 1, Phase.END_OF_DATA)
                return tuple(verdicts)
            octets: tuple[bytes, ...] = (stuffed(content),)
        else:
            if not wanted:
                return tuple(verdicts)
            octets = (f"BDAT {len(content)} LAST\r\n".encode(), content)
        ends = sum(taken) if self._dialect is Dialect.LMTP else 1
        self._begun = False  # whatever it says to the content, the transaction ends with it
        final = yield Send(octets, ends, Phase.END_OF_DATA)
        if any(answer.code // 100 == 3 for answer in final):
            raise PeerFault("the server answered the message as if it were DATA")
        if self._dialect is not Dialect.LMTP:
            final = final * sum(taken)
        left = iter(final)
        return tuple(next(left) if ok else said for ok, said in zip(taken, verdicts, strict=True))

    def _hindrance(self, envelope: Envelope, content: bytes, now: float) -> Reply | None:
        offer = self.offer
        if (hindrance := demands.hindrance(envelope, offer, now)) is not None:
            return hindrance
        if envelope.require_tls and not (self._tls and "REQUIRETLS" in offer):
            # RFC 8689 section 4.2.1 and section 5
            return reply(550, "5.7.30", "The message demands REQUIRETLS, which the next host does not offer")
        if offer.size_limit and len(content) > offer.size_limit:
            return reply(552, "5.3.4", f"The next host takes at most {offer.size_limit} octets")
        if envelope.body is Body.BINARY and not ("BINARYMIME" in offer and "CHUNKING" in offer):
            return reply(554, "5.6.3", "The message is BINARYMIME, which the next host does not take")
        if envelope.body is not Body.BINARY and (problem := line_problem(content)):
            return reply(554, "5.6.0", f"The message contains {problem} and cannot be sent")
        if needs_smtputf8(envelope) and "SMTPUTF8" not in offer:
            return reply(553, "5.6.7", "An address is not ASCII, and the next host does not take SMTPUTF8")
        if envelope.smtputf8 and "SMTPUTF8" not in offer and not content.partition(b"\r\n\r\n")[0].isascii():
            # RFC 6531 section 3.1: its header is not for hosts that do not know of it.
            return reply(554, "5.6.9", "The header of the message is UTF-8, and the next host does not take SMTPUTF8")
        if envelope.body is not Body.BINARY and "8BITMIME" not in offer and not content.isascii():
            # RFC 6152 section 3: it is not sent as it is, and what is signed is not converted.
            return reply(554, "5.6.3", "The message has 8-bit content, and the next host does not take 8BITMIME")
        return None

    def _mail(self, envelope: Envelope, size: int, priority: int, now: float) -> bytes:
        offer = self.offer
        words = [f"MAIL FROM:<{envelope.reverse_path or ''}>"]
        if "SIZE" in offer:
            words.append(f"SIZE={size}")
        if envelope.body is not Body.SEVEN_BIT and "8BITMIME" in offer:
            words.append(f"BODY={envelope.body.value}")
        if "SMTPUTF8" in offer and (envelope.smtputf8 or needs_smtputf8(envelope)):
            words.append("SMTPUTF8")
        if envelope.require_tls:
            words.append("REQUIRETLS")
        if priority and "MT-PRIORITY" in offer:  # RFC 6710 section 4.2
            words.append(f"MT-PRIORITY={priority}")
        words += demands.mail_words(envelope, offer, now)
        if "DSN" in offer:
            if envelope.return_content is not None:
                words.append(f"RET={envelope.return_content.value}")
            if envelope.envelope_id:
                words.append(f"ENVID={encode_xtext(envelope.envelope_id)}")
        return " ".join(words).encode() + b"\r\n"

    def _rcpt(self, envelope: Envelope, recipient: Recipient) -> bytes:
        words = [f"RCPT TO:<{recipient.forward_path}>", *demands.rcpt_words(recipient, self.offer)]
        if "DSN" in self.offer:
            notify = demands.notify(envelope, recipient, self.offer)
            if notify == Notify.NEVER:
                words.append("NOTIFY=NEVER")
            elif notify != Notify.FAILURE | Notify.DELAY:
                named = [str(flag.name) for flag in Notify if flag & notify]
                words.append("NOTIFY=" + ",".join(named))
            kind, _, text = recipient.original.partition(";")
            if text and text.isascii():
                words.append(f"ORCPT={kind};{encode_xtext(text)}")
        return " ".join(words).encode() + b"\r\n"


def needs_smtputf8(envelope: Envelope) -> bool:
    """Tell whether an address of the envelope can travel only with SMTPUTF8."""
    paths = [envelope.reverse_path, *(recipient.forward_path for recipient in envelope.recipients)]
    return any(path is not None and path.needs_smtputf8 for path in paths)


def _offer(answer: Reply) -> Offer:
    keywords: dict[str, tuple[str, ...]] = {}
    for line in answer.lines[1:]:
        # QUIRK auth-equals: old servers write AUTH=PLAIN
        name, *words = line.replace("AUTH=", "AUTH ", 1).split()[:64] or [""]
        keywords.setdefault(name.upper(), tuple(words))
    return Offer(keywords)
