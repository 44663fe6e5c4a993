"""What is asked of the web to judge a signature, and what its answers do to the verdict."""

from __future__ import annotations

import base64
import dataclasses
import datetime
from collections.abc import Callable, Mapping
from urllib.parse import unquote

import pytest

from fakes.certified import HOUR, NOW, WEB, Certified
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import signed
from letterlock.formats.x509 import extension_writer
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason, RevocationList, Revoked
from letterlock.formats.x509.extensions import DistributionPoint
from letterlock.formats.x509.name import GeneralName
from letterlock.formats.x509.ocsp import OcspResponse, parse_request
from letterlock.trust.pkix import issue
from letterlock.trust.pkix.retrieval import Budget, Kind, Retrieval, Retrieved, Search, useful_until
from letterlock.trust.pkix.revocation import Status
from letterlock.trust.smime import protect
from letterlock.trust.smime.entities import split_prepared
from letterlock.trust.smime.gather import Asking, gather
from letterlock.trust.smime.proof import Proof, Trust, verify_message
from letterlock.trust.smime.sign import sign
from letterlock.trust.smime.unwrap import SignedLayer, unwrap

MESSAGE = b"From: ada@rosewood.test\r\nTo: bob@harbor.test\r\nSubject: Beds\r\n\r\nDig on Monday.\r\n"
Lying = bytes | Callable[[bytes], bytes] | None


class Web:
    """What lies where; a function is a responder, None cannot be had. `asked` lists every URI in order."""

    def __init__(self, places: Mapping[str, Lying]) -> None:
        self.places = dict(places)
        self.asked: list[Retrieval] = []

    def answer(self, wanted: Retrieval) -> Retrieved:
        self.asked.append(wanted)
        for uri, lying in self.places.items():
            if callable(lying) and (wanted.uri == uri or wanted.uri.startswith(uri + "/")):
                request = wanted.request or base64.b64decode(unquote(wanted.uri[len(uri) + 1 :]), validate=True)
                return Retrieved(lying(request))
            if uri == wanted.uri and isinstance(lying, bytes):
                return Retrieved(lying)
        return Retrieved(None, "ca.test answered 404")

    def drive(self, search: Search[Trust]) -> Trust:
        answers: tuple[Retrieved, ...] | None = None
        while True:
            try:
                wanted = next(search) if answers is None else search.send(answers)
            except StopIteration as stop:
                found: Trust = stop.value
                return found
            answers = tuple(map(self.answer, wanted))


def _signed(world: Certified, *, whole_chain: bool = True) -> bytes:
    certificates = (world.middle.certificate,) if whole_chain else ()
    return protect.sign_message(MESSAGE, (world.signer,), world.now, certificates=certificates, token="t")


def _proved(
    world: Certified, web: Web, message: bytes | None = None, asking: Asking | None = None, **more: object
) -> Proof:
    octets = _signed(world) if message is None else message
    trust = Trust(world.now, (world.anchor,), **more)  # type: ignore[arg-type]
    unwrapped = unwrap(octets, known=trust.certificates)
    return verify_message(octets, unwrapped, web.drive(gather(unwrapped, trust, asking or Asking())))


def _whole(world: Certified, **changes: Lying) -> dict[str, Lying]:
    places: dict[str, Lying] = {
        "root": world.list_of(world.root),
        "middle": world.list_of(world.middle),
        "ocsp": world.answer,
        "cer": world.middle.certificate.octets,
    } | changes
    uris = {"root": "root.crl", "middle": "middle.crl", "ocsp": "ocsp", "cer": "middle.cer"}
    return {f"{WEB}/{uris[name]}": lying for name, lying in places.items()}


def _asked(web: Web) -> list[str]:
    return [f"{each.kind.name} {each.uri.removeprefix(WEB)[:8]}{' POST' * bool(each.request)}" for each in web.asked]


def test_the_responder_for_a_person_and_the_list_for_an_authority() -> None:
    """Each certificate of the path is asked about where it says; the sentence says by what it is known."""
    world = Certified()
    web = Web(_whole(world))
    proof = _proved(world, web)
    assert proof.good
    assert proof.signers[0].revocation is Status.GOOD
    assert proof.sentence.endswith("was not revoked (says an OCSP answer of 2026-11-23 12:00 UTC).")
    assert _asked(web) == ["LIST /root.cr", "OCSP /ocsp/ME"]
    assert proof.warnings == ()


REVOKED: dict[str, Callable[[Certified], dict[str, Lying]]] = {
    "by the responder": lambda w: _whole(w, ocsp=lambda request: w.answer(request, 3)),
    "by the list, where the responder is away": lambda w: _whole(w, ocsp=None, middle=w.list_of(w.middle, 3)),
    "by the list, where the responder knows nothing": lambda w: _whole(
        w, ocsp=w.unknown, middle=w.list_of(w.middle, 3)
    ),
    "the authority's own certificate": lambda w: _whole(w, root=w.list_of(w.root, 2)),
}


@pytest.mark.parametrize("how", REVOKED)
def test_revoked(how: str) -> None:
    """Whatever place says so, the signature proves nothing."""
    world = Certified()
    proof = _proved(world, Web(REVOKED[how](world)))
    assert not proof.good
    assert proof.signers[0].revocation is Status.REVOKED
    assert "was revoked on 2026-11-23 (unspecified)" in proof.sentence


def _by_root(world: Certified) -> Callable[[bytes], bytes]:
    """A responder that signs with a key that may not speak for the authority below."""
    other = Certified(now=world.now)
    object.__setattr__(other, "middle", world.root)
    return other.answer


VAIN: dict[str, tuple[Callable[[Certified], dict[str, Lying]], str]] = {
    "nothing answers": (
        lambda w: _whole(w, ocsp=None, middle=None),
        f"the responder {WEB}/ocsp: ca.test answered 404; "
        f"the list at {WEB}/middle.crl could not be fetched: ca.test answered 404",
    ),
    "the responder is busy, the list is garbage": (
        lambda w: _whole(w, ocsp=lambda _request: w.busy(), middle=b"<html>"),
        f"the responder {WEB}/ocsp: the responder answered with status 3; the list at {WEB}/middle.crl cannot be read",
    ),
    "the answer is another's": (
        lambda w: _whole(w, ocsp=_by_root(w), middle=None),
        "its answer is signed by neither CN=Middle, O=Rosewood nor a delegate",
    ),
    "the answer is stale": (
        lambda w: _whole(w, ocsp=lambda request: w.answer(request, at=w.now - 48 * HOUR), middle=None),
        "its answer is not current",
    ),
    "the list is stale": (
        lambda w: _whole(w, ocsp=None, middle=w.list_of(w.middle, at=w.now - 200 * HOUR)),
        "the list of CN=Middle, O=Rosewood is stale",
    ),
    "the list is another authority's": (
        lambda w: _whole(w, ocsp=None, middle=w.list_of(w.root)),
        "no current revocation list speaks about the certificate for CN=Ada",
    ),
}


@pytest.mark.parametrize("how", VAIN)
@pytest.mark.parametrize("is_required", [False, True])
def test_what_could_not_be_told(how: str, is_required: bool) -> None:
    """Never taken for "not revoked"; it spoils the proof only where that is wished, and the reason is told either way."""
    world = Certified()
    make, reason = VAIN[how]
    proof = _proved(world, Web(make(world)), require_revocation=is_required)
    assert proof.signers[0].revocation is Status.UNKNOWN
    assert proof.good is not is_required
    assert reason in (proof.faults if is_required else proof.warnings)[0]
    assert reason in proof.sentence


def test_a_certificate_that_says_nowhere_to_ask() -> None:
    """Nobody is asked, and that is said."""
    world = Certified(middle_list="", responder="", root_list="")
    web = Web({})
    proof = _proved(world, web)
    assert web.asked == []
    assert "its issuer says nowhere to ask" in proof.warnings[0]
    for uri, reason in (("ldap://ca.test/y", "the list is only published over LDAP, which is not read"),):
        proof = _proved(Certified(middle_list=uri, responder="", root_list=""), web)
        assert web.asked == []
        assert reason in " ".join(proof.warnings)


def test_lists_over_https_are_fetched() -> None:
    """As they are over http."""
    world = Certified(middle_list="https://ca.test/x.crl", responder="")
    web = Web({**_whole(world), "https://ca.test/x.crl": world.list_of(world.middle)})
    proof = _proved(world, web)
    assert [each.uri for each in web.asked] == [f"{WEB}/root.crl", "https://ca.test/x.crl"]
    assert proof.signers[0].revocation is Status.GOOD


DELEGATES = f"{WEB}/delegates.crl"
_NO_CHECK = extension_writer.extension(oids.OCSP_NOCHECK, writer.null())
_HAS_LIST = extension_writer.crl_distribution_points(DistributionPoint((GeneralName.uri(DELEGATES),)))


@pytest.mark.parametrize(
    ("extensions", "lists", "status", "sentence"),
    [
        ((_NO_CHECK,), {}, Status.GOOD, "says an OCSP answer of"),
        ((), {}, Status.GOOD, "says an OCSP answer of"),
        ((_HAS_LIST,), {DELEGATES: ()}, Status.GOOD, "says an OCSP answer of"),
        (
            (_HAS_LIST,),
            {},
            Status.UNKNOWN,
            "its own certificate may have been revoked, no current revocation list speaks",
        ),
        ((_HAS_LIST,), {DELEGATES: (9,)}, Status.UNKNOWN, "its own certificate is no longer good, the certificate for"),
        ((_NO_CHECK,), {DELEGATES: (9,)}, Status.GOOD, "says an OCSP answer of"),
    ],
)
def test_whether_a_delegate_was_revoked(
    extensions: tuple[bytes, ...], lists: dict[str, tuple[int, ...]], status: Status, sentence: str
) -> None:
    """RFC 6960 section 4.2.2.2.1, its three ways: not to be checked, by a list that its certificate names, and neither."""
    world = Certified()
    delegate = world.delegate(*extensions)
    places = _whole(world, ocsp=lambda request: world.answer_by(delegate, request), middle=None)
    web = Web({**places, **{uri: world.list_of(world.middle, *serials) for uri, serials in lists.items()}})
    proof = _proved(world, web)
    assert proof.signers[0].revocation is status
    assert sentence in proof.sentence
    assert (DELEGATES in [each.uri for each in web.asked]) is (_HAS_LIST in extensions)


def test_a_delegate_that_was_revoked_is_told() -> None:
    """By the list at hand, with the reason; and one whose state is not known is believed when it says the worst."""
    world = Certified()
    delegate = world.delegate(_HAS_LIST)
    entry = Revoked(9, world.now - HOUR, Reason.KEY_COMPROMISE)
    scope = issue.revocation_list(world.middle, (entry,), 1, world.now, world.now + HOUR)
    places = _whole(world, ocsp=lambda request: world.answer_by(delegate, request), middle=None)
    web = Web({**places, DELEGATES: scope.octets})
    unwrapped = unwrap(_signed(world))
    told = web.drive(gather(unwrapped, Trust(world.now, (world.anchor,)), Asking()))
    assert any(
        "its own certificate is no longer good" in why and "(key compromise)" in why for why in told.troubles.values()
    )
    web = Web(_whole(world, ocsp=lambda request: world.answer_by(delegate, request, 3), middle=None))
    assert _proved(world, web).signers[0].revocation is Status.REVOKED


@pytest.mark.parametrize(
    ("delegate", "reason"),
    [
        (
            lambda w: w.delegate(_NO_CHECK, use=oids.EMAIL_PROTECTION),
            "its signer CN=Responder is no responder of CN=Middle",
        ),
        (
            lambda w: w.delegate(extension_writer.extension("1.2.3", writer.null(), critical=True)),
            "its signer's certificate has a critical extension not known here",
        ),
        (lambda w: Certified(now=w.now - 99999 * HOUR).delegate(_NO_CHECK), "its signer's certificate is not current"),
    ],
)
def test_who_is_no_delegate(delegate: Callable[[Certified], Certificate], reason: str) -> None:
    """Each with its reason."""
    world = Certified()
    made = delegate(world)
    proof = _proved(world, Web(_whole(world, ocsp=lambda request: world.answer_by(made, request), middle=None)))
    assert proof.signers[0].revocation is Status.UNKNOWN
    assert reason in proof.sentence


def test_what_the_message_brings_does_not_keep_from_asking() -> None:
    """A list from before the revocation, still current, comes with the message: the responder is asked all the same."""
    world = Certified()
    before = world.list_of(world.middle, at=world.now - HOUR)
    layer = unwrap(_signed(world)).layers[0]
    assert isinstance(layer, SignedLayer)
    whole = (world.person.octets, world.middle.certificate.octets)
    cms = signed.encode(oids.DATA, None, layer.signed.signers, whole, (before,))
    octets = protect.clear_signed(b"From: ada@rosewood.test\r\n", (_inner(),), cms, (oids.SHA256,), "t")
    unwrapped = unwrap(octets)
    trust = Trust(world.now, (world.anchor,), crls=(RevocationList.parse(world.list_of(world.root)),))
    assert verify_message(octets, unwrapped, trust).signers[0].revocation is Status.GOOD
    asked = Web(_whole(world, ocsp=lambda request: world.answer(request, 3))).drive(gather(unwrapped, trust, Asking()))
    assert verify_message(octets, unwrapped, asked).signers[0].revocation is Status.REVOKED


def _inner() -> bytes:
    """What is signed of the message."""
    return split_prepared(MESSAGE).inner


def test_the_newest_answer_counts() -> None:
    """Of two that are current the one made last is believed, in whatever order they come."""
    world = Certified()
    web = Web(_whole(world))
    unwrapped = unwrap(_signed(world))
    trust = web.drive(gather(unwrapped, Trust(world.now, (world.anchor,)), Asking()))
    request = next(each.uri.rpartition("/")[2] for each in web.asked if each.kind is Kind.OCSP)
    revoked = world.answer(base64.b64decode(unquote(request)), 3, at=world.now + HOUR)
    for answers in ((*trust.ocsp, OcspResponse.parse(revoked)), (OcspResponse.parse(revoked), *trust.ocsp)):
        newer = dataclasses.replace(trust, ocsp=answers, when=world.now + 2 * HOUR)
        assert verify_message(_signed(world), unwrapped, newer).signers[0].revocation is Status.REVOKED


def test_missing_issuers_are_fetched() -> None:
    """A signature that brings only its own certificate leads to the anchor once its issuer's was fetched."""
    world = Certified()
    for lying in (
        world.middle.certificate.octets,
        signed.encode(oids.DATA, None, (), (world.root.certificate.octets, world.middle.certificate.octets)),
    ):
        web = Web(_whole(world, cer=lying))
        proof = _proved(world, web, _signed(world, whole_chain=False))
        assert proof.good
        assert _asked(web)[0] == "ISSUERS /middle."
        assert proof.signers[0].revocation is Status.GOOD


@pytest.mark.parametrize("lying", [None, b"<html>", b"\x30\x80", "person", "other"])
def test_an_issuer_that_cannot_be_had(lying: str | bytes | None) -> None:
    """What is fetched is nobody's issuer: the chain leads nowhere, as before, and nobody is asked about revocation."""
    world = Certified()
    other = Certified(now=world.now - HOUR)
    named: dict[str, bytes] = {"person": world.person.octets, "other": other.root.certificate.octets}
    web = Web(_whole(world, cer=named[lying] if isinstance(lying, str) else lying))
    proof = _proved(world, web, _signed(world, whole_chain=False))
    assert not proof.good
    assert "no path leads from" in proof.sentence
    assert _asked(web) == ["ISSUERS /middle."]


def test_nobody_is_asked_for_a_signature_that_does_not_hold_or_by_whom_nobody_trusts() -> None:
    """Whoever writes a certificate of their own does not choose whom we ask, unless issuers are sought."""
    world = Certified()
    web = Web(_whole(world))
    spoilt = _signed(world).replace(b"Monday", b"Sunday")
    assert not _proved(world, web, spoilt).good
    assert web.asked == []
    stranger = Certified(now=world.now - HOUR)
    unwrapped = unwrap(_signed(world, whole_chain=False))
    web.drive(gather(unwrapped, Trust(world.now, (stranger.anchor,)), Asking(issuers=False)))
    assert web.asked == []


def test_a_nonce_asks_for_an_answer_made_now() -> None:
    """By POST; an answer without a nonce is believed, one with another's is not (RFC 6960 section 4.4.1)."""
    world = Certified()
    nonce = bytes(range(32))
    web = Web(_whole(world))
    assert _proved(world, web, asking=Asking(nonce=nonce)).signers[0].revocation is Status.GOOD
    (asked,) = (each for each in web.asked if each.kind is Kind.OCSP)
    assert asked.request
    assert not asked.is_kept
    assert parse_request(asked.request)[1] == b"\x04\x20" + nonce
    old = Web(_whole(world)).answer(Retrieval(Kind.OCSP, f"{WEB}/ocsp", asked.request)).octets
    assert old is not None
    replayed = Web(_whole(world, ocsp=lambda _request: old, middle=None))
    proof = _proved(world, replayed, asking=Asking(nonce=bytes(32)))
    assert proof.signers[0].revocation is Status.UNKNOWN
    assert "the answer was made for another question" in proof.sentence


def test_a_message_costs_no_more_than_so_many_questions() -> None:
    """However many signers it has."""
    world = Certified()
    budget = Budget(2)
    asked = 0
    for _ in range(5):
        step = budget.ask(Retrieval(Kind.LIST, WEB))
        try:
            next(step)
            asked += 1
        except StopIteration as stop:
            assert stop.value.problem == "so much was asked already"
    assert asked == 2
    assert sign(b"", (world.signer,), NOW)


def test_for_how_long_answers_are_kept() -> None:
    """As long as they say, and never longer than a day."""
    world = Certified()
    day = datetime.timedelta(days=1)
    crl = world.list_of(world.root)
    at = Retrieval(Kind.LIST, WEB)
    assert useful_until(at, crl, NOW) == NOW + day
    term = RevocationList.parse(crl).next_update
    assert term is not None
    assert useful_until(at, crl, term - HOUR) == term
    assert useful_until(Retrieval(Kind.ISSUERS, WEB), world.root.certificate.octets, NOW) == NOW + day
