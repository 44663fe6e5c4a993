"""The lab's name server, asked as an admd asks it."""

from pathlib import Path

from letterlock.formats.dns.question import Outcome, Question, Security
from letterlock.formats.dns.rdata import Mx
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.resolver.system import Mode, ResolverSettings, open_resolver
from letterlock.hostmaster.records import DomainFacts, wanted_records
from letterlock.hostmaster.tree import sign_tree
from letterlock.lab import plan as plans
from letterlock.lab.names import add_examples, anchor_of, start_name_server, zone_plans


async def test_every_answer_is_secure_from_the_anchor_down(tmp_path: Path) -> None:
    """Iterating from the lab's root, presence and absence are both proved; the broken examples are seen to be broken."""
    plan = plans.draw(lambda below: SystemEntropy().octets(1)[0] % below, lambda: "password")
    published = {
        organisation.domain: wanted_records(
            DomainFacts(organisation.domain, organisation.host_name, (organisation.address,))
        )
        for organisation in plan.organisations
    }
    trees = zone_plans(plan, published)
    now = int(SystemClock().now())
    (tmp_path / "anchors").write_text(anchor_of(trees))
    server = await start_name_server(plan, sign_tree(trees, now))
    await add_examples(server, trees, now)
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
        for example, security in (
            ("good", Security.SECURE),
            ("insecure", Security.INSECURE),
            ("expired", Security.BOGUS),
        ):
            assert (await system.resolver.ask(Question(f"www.{example}.test", "A"))).security is security
    finally:
        await system.aclose()
        await server.aclose()
