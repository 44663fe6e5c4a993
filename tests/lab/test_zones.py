"""The lab's names."""

from letterlock.formats.dns.question import Outcome, Question
from letterlock.formats.dns.rdata import A, Mx
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.hostmaster.records import DomainFacts, wanted_records
from letterlock.lab import plan as plans
from letterlock.lab.zones import zone_texts

SOA = "@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60\n"  # a table of look-ups needs none


def _table(guests: tuple[str, ...] = ()) -> tuple[plans.Plan, ZoneTable]:
    plan = plans.draw(lambda _: 7, lambda: "password", guests)
    published = {
        organisation.domain: wanted_records(
            DomainFacts(organisation.domain, organisation.host_name, (organisation.address,))
        )
        for organisation in plan.organisations
    }
    table = ZoneTable()
    for origin, text in zone_texts(plan, published).items():
        table.records.update(ZoneTable.parse(text.replace(SOA, ""), origin).records)
    return plan, table


def test_mail_finds_its_way() -> None:
    """MX, then the exchanger's address, for both organisations and a guest."""
    plan, table = _table(("quarry.test",))
    for member in (*plan.organisations, *plan.guests):
        assert table.answer(Question(member.domain, "MX")).records == (Mx(10, member.host_name),)
        assert table.answer(Question(member.host_name, "A")).records == (A(member.address),)


def test_every_zone_is_delegated() -> None:
    """From the root down, each zone has name servers in its parent."""
    plan, table = _table()
    for name in ("", "test", *(organisation.domain for organisation in plan.organisations)):
        assert table.answer(Question(name, "NS")).outcome is Outcome.FOUND
