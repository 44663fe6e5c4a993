"""What stands outside a signature and is shown all the same: whom the message is said to be from, fields with copies inside.

Standards: RFC 5322 section 3.6.2 (From and Sender), RFC 9788 section 2.2.1 (HP-Outer).
"""

from __future__ import annotations

from collections.abc import Iterable

from letterlock.formats.defect import Kind
from letterlock.formats.imf.check import check_identity
from letterlock.formats.imf.header import Header


def identity_faults(header: Header) -> list[str]:
    """Return in sentences what leaves open, or pretends, whom a message is from.

    Several authors are none, if a Sender says which of them sent it.
    """
    found = dict.fromkeys(
        defect.kind.sentence
        for defect in check_identity(header)
        if defect.kind is not Kind.SEVERAL_AUTHORS or defect.detail
    )
    return [f"From or Sender can be read in two ways: {sentence}" for sentence in found]


def changed_fields(outer: Header, inner: Header, around: Iterable[Header] = ()) -> list[str]:
    """Return the names of protected fields that stand outside otherwise than the sender put them there.

    `around` are headers protected by encryption around `inner`: who signs first and encrypts then says there what is left
    outside.
    """
    left_outside = {}
    for header in (inner, *around):
        for record in header.get_all("hp-outer"):
            name, _, value = record.text.partition(":")
            left_outside[name.strip().lower()] = value.strip()
    changed = []
    for field in inner:
        name = field.name.lower()
        shown = outer.get(name)
        if shown is None or name.startswith(("hp-", "content-")):
            continue
        expected = left_outside.get(name, field.text.strip())
        if " ".join(shown.text.split()) != " ".join(expected.split()):
            changed.append(field.name)
    return changed
