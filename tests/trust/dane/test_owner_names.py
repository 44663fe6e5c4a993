"""Where the certificates and keys of addresses stand in the DNS."""

from letterlock.formats.address import Address
from letterlock.formats.dns.question import Outcome, Security
from letterlock.formats.dns.rdata import Openpgpkey, Smimea
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.trust.ask import decide
from letterlock.trust.dane.owner_names import look_up_openpgpkey, look_up_smimea, openpgpkey_name, smimea_name

HUGH = Address("hugh", "example.com")
LABEL = "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6"


def test_the_names_of_the_standards() -> None:
    """The examples of RFC 8162 section 3 and RFC 7929 section 3; case and UTF-8 count."""
    assert smimea_name(HUGH) == f"{LABEL}._smimecert.example.com"
    assert openpgpkey_name(HUGH) == f"{LABEL}._openpgpkey.example.com"
    assert smimea_name(Address("Hugh", "example.com")) != smimea_name(HUGH)
    assert smimea_name(Address("дмитрий", "example.com")) != smimea_name(Address("дмитрии", "example.com"))


def test_look_ups_find_them() -> None:
    table = ZoneTable.parse(
        f"$SECURE example.com\n{LABEL}._smimecert.example.com. IN SMIMEA 3 0 0 3082\n"
        f"{LABEL}._openpgpkey.example.com. IN OPENPGPKEY mQCN\n"
    )
    found = decide(look_up_smimea(HUGH), table.answer)
    assert (found.records, found.security) == ((Smimea(3, 0, 0, b"\x30\x82"),), Security.SECURE)
    assert decide(look_up_openpgpkey(HUGH), table.answer).records == (Openpgpkey(b"\x99\x00\x8d"),)
    assert decide(look_up_smimea(Address("none", "example.com")), table.answer).outcome is Outcome.NO_NAME
