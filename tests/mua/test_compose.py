"""Drafts become messages and envelopes; profiles become settings, or all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.envelope import Body
from letterlock.formats.mime.entity import parse
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.mua.compose import Attachment, Composed, Draft, compose, compose_raw
from letterlock.mua.profile import load_profile
from letterlock.mua.settings import Checking, MailServer
from letterlock.trust.smime.choose_cipher import Unknown


def composed(draft: Draft) -> Composed:
    return compose(draft, clock=SetClock(), entropy=SeededEntropy())


def test_a_draft_becomes_a_message_with_an_envelope() -> None:
    draft = Draft(
        author="J\u00f6rg <joerg@rosewood.test>",
        to=("Anna <anna@rosewood.test>, b@harbor.test", "Crew: c@harbor.test, d@harbor.test;"),
        subject="Gr\u00fc\u00dfe",
        text="Hallo\n\nW\u00f6rld\n",
        cc=("e@harbor.test",),
        bcc=("secret@harbor.test", "anna@rosewood.test"),
        attachments=(Attachment("picture.png", b"\x89PNG\r\n\x1a\n"), Attachment("\u00e9.unknown", b"x")),
    )
    made = composed(draft)
    addresses = [str(recipient.forward_path) for recipient in made.envelope.recipients]
    assert addresses == [
        "anna@rosewood.test",
        *(f"{name}@harbor.test" for name in ("b", "c", "d", "e", "secret")),
    ]
    assert str(made.envelope.reverse_path) == "joerg@rosewood.test"
    assert made.envelope.body is Body.SEVEN_BIT
    assert b"secret" not in made.content
    tree = parse(made.content)
    assert tree.header.text("message-id") == f"<{made.message_id}>"
    assert [child.content_type.full for child in tree.children] == [
        "text/plain",
        "image/png",
        "application/octet-stream",
    ]
    assert tree.children[0].text().replace("\r\n", "\n") == draft.text
    assert tree.children[1].content() == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    "draft",
    [
        Draft("nobody", ("a@b.test",), "", ""),
        Draft("a@b.test", (), "", ""),
        Draft("a@b.test", ("",), "", ""),
        Draft("a@b.test, c@d.test", ("a@b.test",), "", ""),
        Draft("a@b.test", ("x@",), "", ""),
    ],
)
def test_drafts_that_cannot_be_sent_are_refused(draft: Draft) -> None:
    with pytest.raises(Malformed):
        composed(draft)


def test_a_whole_message_goes_to_those_it_names() -> None:
    content = "From: a@b.test\r\nTo: c@d.test\r\nCc: e@f.test\r\n\r\n\u00e9\r\n".encode()
    made = compose_raw(content, author="")
    assert [str(one.forward_path) for one in made.envelope.recipients] == ["c@d.test", "e@f.test"]
    assert made.envelope.body is Body.EIGHT_BIT
    assert made.content == content
    made = compose_raw(content, author="x@y.test", recipients=("z@z.test",))
    assert [str(one.forward_path) for one in made.envelope.recipients] == ["z@z.test"]
    with pytest.raises(Malformed):
        compose_raw(b"no message", author="a@b.test", recipients=("c@d.test",))


def test_servers_are_urls() -> None:
    assert MailServer.parse("imaps://mail.x.test", "imap") == MailServer("mail.x.test", 993, True, "mail.x.test")
    assert MailServer.parse("mail.x.test", "imap").implicit_tls
    server = MailServer.parse("submission://[::1]:5870", "submission", name="mail.x.test")
    assert server == MailServer("::1", 5870, False, "mail.x.test")
    for wrong in ("http://x", "imaps://", "imaps://x:y", "submissions://x", "imaps://u@x", "imaps://x/inbox"):
        with pytest.raises(Malformed):
            MailServer.parse(wrong, "imap")


def test_options_win_over_the_profile(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    (tmp_path / "secret").write_text("correct horse\n")
    (tmp_path / "ca.pem").write_text("")
    profile.write_text(
        '[user-agent]\nuser = "anna@x.test"\npassword-file = "secret"\nimap = "imaps://mail.x.test"\nca = "ca.pem"\n'
    )
    settings = load_profile(profile, {"imap": "imap://other.test", "user": None})
    assert (settings.user, settings.password) == ("anna@x.test", "correct horse")
    assert settings.imap is not None
    assert settings.imap.host == "other.test"
    assert settings.roots == tmp_path / "ca.pem"


def test_all_problems_of_a_profile_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault) as caught:
        load_profile(None, {"imap": "ftp://x", "submission": "y z://", "ca": str(tmp_path / "none")})
    assert len(caught.value.problems) == 4
    profile = tmp_path / "profile.toml"
    profile.write_text('[user-agent]\ncolour = "blue"\nuser = 3\n')
    with pytest.raises(SettingsFault) as caught:
        load_profile(profile, {})
    assert len(caught.value.problems) == 2


def test_a_profile_names_the_key_store_and_the_cipher_for_strangers(tmp_path: Path) -> None:
    """Paths from the profile's folder; what is no file and no cipher is told."""
    for name in ("keys.sqlite", "keys.password", "labels.toml"):
        (tmp_path / name).touch()
    profile = tmp_path / "profile.toml"
    profile.write_text(
        '[user-agent]\nuser = "anna@x.test"\nkeys = "keys.sqlite"\nkeys-password-file = "keys.password"\n'
        'labels = "labels.toml"\nfor-unknown = "cbc"\nrevocation = "require"\n'
    )
    settings = load_profile(profile, {"labels": None})
    assert (settings.keys, settings.keys_password_file) == (tmp_path / "keys.sqlite", tmp_path / "keys.password")
    assert (settings.labels, settings.for_unknown) == (tmp_path / "labels.toml", Unknown.CBC)
    assert settings.revocation is Checking.REQUIRE
    assert load_profile(None, {"user": "anna@x.test"}).revocation is Checking.AT_HAND
    assert load_profile(profile, {"for-unknown": "gcm"}).for_unknown is Unknown.GCM
    with pytest.raises(SettingsFault) as caught:
        load_profile(profile, {"keys": "/nowhere", "for-unknown": "rot13", "revocation": "maybe"})
    assert caught.value.problems == (
        "user-agent.keys = /nowhere: there is no such file",
        "user-agent.for-unknown = rot13: expected one of by-key, gcm, cbc",
        "user-agent.revocation = maybe: expected one of at-hand, ask, require",
    )
