"""The lab's names: a root, `test.`, and a zone for each organisation, as zone-file text by origin.

One name server holds them all, under the name ns.test., and the delegations between them are real.

Standards: RFC 1034 section 4.2 (zones), RFC 1035 section 5 (zone files), RFC 6186 and RFC 8314 section 5.1 (service
records), RFC 7208 section 4.5 (SPF), RFC 9989 (DMARC).
"""

from __future__ import annotations

from letterlock.lab.plan import Organisation, Plan

_SOA = "@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60"
_SERVICES = ("submissions", "submission", "imaps", "imap", "pop3s", "pop3")


def zone_texts(plan: Plan) -> dict[str, str]:
    """Return the text of each zone by its origin, the root as an empty string."""
    address = plan.name_server[0]
    # The A record stands as glue in the root, too: whoever begins there must find the way down.
    root = ["$TTL 300", _SOA, "@ NS ns.test.", "test. NS ns.test.", f"ns.test. A {address}"]
    top = ["$TTL 300", _SOA, "@ NS ns.test.", f"ns A {address}"]
    top += [f"{organisation.domain}. NS ns.test." for organisation in plan.organisations]
    top += [f"{guest.domain}. NS ns.test." for guest in plan.guests]
    texts = {"": root, "test": top}
    for organisation in plan.organisations:
        texts[organisation.domain] = _organisation(organisation)
    for guest in plan.guests:
        texts[guest.domain] = ["$TTL 300", _SOA, "@ NS ns.test.", "@ MX 10 mail", f"mail A {guest.address}"]
    return {origin: "\n".join(lines) + "\n" for origin, lines in texts.items()}


def _organisation(organisation: Organisation) -> list[str]:
    return [
        "$TTL 300",
        _SOA,
        "@ NS ns.test.",
        "@ MX 10 mail",
        f"mail A {organisation.address}",
        '@ TXT "v=spf1 mx -all"',
        '_dmarc TXT "v=DMARC1; p=reject; adkim=s; aspf=s"',
        *(f"_{service}._tcp SRV 0 1 {organisation.ports[service]} mail" for service in _SERVICES),
    ]
