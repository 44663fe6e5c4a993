"""The lab's name server, asked as an admd asks it."""

from pathlib import Path

from letterlock.formats.dns.question import Outcome, Question, Security
from letterlock.formats.dns.rdata import Mx
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.resolver.system import Mode, ResolverSettings, open_resolver
from letterlock.hostmaster.records import DomainFacts, wanted_records
from letterlock.lab import plan as plans
from letterlock.lab.names import signed_zones, start_name_server


async def test_every_answer_is_secure_from_the_anchor_down(tmp_path: Path) -> None:
    """Iterating from the lab's root, presence and absence are both proved."""
    plan = plans.draw(lambda below: SystemEntropy().octets(1)[0] % below, lambda: "password")
    published = {
        organisation.domain: wanted_records(
            DomainFacts(organisation.domain, organisation.host_name, (organisation.address,))
        )
        for organisation in plan.organisations
    }
    zones, anchor = signed_zones(plan, published, int(SystemClock().now()))
    (tmp_path / "anchors").write_text(anchor)
    server = await start_name_server(plan, zones)
    settings = ResolverSettings(
        Mode.ITERATE,
        anchors=tmp_path / "anchors",
        root_servers=("{}:{}".format(*plan.name_server),),
        port=plan.name_server[1],
    )
    system = await open_resolver(settings)
    try:
        found = await system.resolver.ask(Question("harbor.test", "MX"))
        assert (found.security, found.records) == (Security.SECURE, (Mx(10, "mail.harbor.test"),))
        absent = await system.resolver.ask(Question("nobody.harbor.test", "A"))
        assert (absent.security, absent.outcome) == (Security.SECURE, Outcome.NO_NAME)
    finally:
        await system.aclose()
        await server.aclose()
