"""The lab's names."""

from letterlock.formats.dns.question import Outcome, Question
from letterlock.formats.dns.rdata import A, Mx, Srv
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.lab import plan as plans
from letterlock.lab.zones import zone_texts

SOA = "@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60\n"  # a table of look-ups needs none


def _table(guests: tuple[str, ...] = ()) -> tuple[plans.Plan, ZoneTable]:
    plan = plans.draw(lambda _: 7, lambda: "password", guests)
    table = ZoneTable()
    for origin, text in zone_texts(plan).items():
        table.records.update(ZoneTable.parse(text.replace(SOA, ""), origin).records)
    return plan, table


def test_mail_finds_its_way() -> None:
    """MX, then the exchanger's address, for both organisations and a guest."""
    plan, table = _table(("quarry.test",))
    for member in (*plan.organisations, *plan.guests):
        assert table.answer(Question(member.domain, "MX")).records == (Mx(10, member.host_name),)
        assert table.answer(Question(member.host_name, "A")).records == (A(member.address),)


def test_clients_find_their_services() -> None:
    """RFC 6186: service records name the ports."""
    plan, table = _table()
    organisation = plan.organisations[0]
    answer = table.answer(Question("_imaps._tcp.rosewood.test", "SRV"))
    assert answer.records == (Srv(0, 1, organisation.ports["imaps"], organisation.host_name),)


def test_every_zone_is_delegated() -> None:
    """From the root down, each zone has name servers in its parent."""
    plan, table = _table()
    for name in ("", "test", *(organisation.domain for organisation in plan.organisations)):
        assert table.answer(Question(name, "NS")).outcome is Outcome.FOUND
