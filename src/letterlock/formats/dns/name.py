"""Domain names as the DNS carries them: lower-case wire octets, and the text people and settings use.

Inside everything that reads answers a name is its uncompressed wire form in lower case (`b"\\x04test\\x00"`), so that
comparing, hashing and putting into canonical order need no conversion. Text is lower-case without a final dot, the
root an empty string; octets outside the printable ASCII range, dots inside labels and backslashes are escaped.

Standards: RFC 1035 section 3.1 (wire form), section 5.1 (escapes), RFC 4034 section 6.1 (order), RFC 4343 (case).
Limits: labels of 63 octets, names of 255, 127 pointers a name.
"""

from __future__ import annotations

from functools import lru_cache

from letterlock.errors import Malformed

ROOT = b"\x00"
_MAX_HOPS = 127  # a name has no more labels than that; without a bound, pointers to pointers cost quadratic time
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*/+=:@!#$%&'?[]^`{|}~<>,")


@lru_cache(maxsize=8192)
def to_wire(text: str) -> bytes:
    """Return the wire form of a name in text; raises Malformed for what is no domain name."""
    if text in ("", "."):
        return ROOT
    if "\\" not in text:
        try:
            octets = text.removesuffix(".").lower().encode("ascii")
        except UnicodeEncodeError:
            raise Malformed("a name that is not ASCII", clause="RFC 1035 section 3.1") from None
        labels = octets.split(b".")
    else:
        labels = _unescape(text)
    return from_labels(labels)


def from_labels(labels: list[bytes]) -> bytes:
    """Join labels to the wire form of a name, in lower case."""
    for label in labels:
        if not 0 < len(label) < 64:
            raise Malformed(f"a label of {len(label)} octets", clause="RFC 1035 section 2.3.4")
    wire = b"".join([bytes((len(label),)) + label for label in labels]).lower() + ROOT
    if len(wire) > 255:
        raise Malformed("a name of more than 255 octets", clause="RFC 1035 section 2.3.4")
    return wire


def _unescape(text: str) -> list[bytes]:
    # RFC 1035 section 5.1: \X is the character X, \DDD the octet of that decimal number.
    labels = [bytearray()]
    position = 0
    octets = text.encode("ascii", "replace")
    while position < len(octets):
        octet = octets[position]
        if octet == 0x5C:
            number = octets[position + 1 : position + 4]
            if number[:1].isdigit():
                if len(number) != 3 or not number.isdigit() or int(number) > 255:
                    raise Malformed("a bad escape in a name", offset=position, clause="RFC 1035 section 5.1")
                labels[-1].append(int(number))
                position += 4
                continue
            labels[-1] += number[:1]
            position += 2
            continue
        if octet == 0x2E:
            labels.append(bytearray())
        else:
            labels[-1].append(octet)
        position += 1
    if not labels[-1]:
        labels.pop()
    return [bytes(label) for label in labels]


@lru_cache(maxsize=8192)
def to_text(wire: bytes) -> str:
    """Return the text of a name in wire form."""
    return ".".join([_label_text(label) for label in labels_of(wire)])


def _label_text(label: bytes) -> str:
    if _PLAIN.issuperset(label):
        return label.decode("ascii")
    return "".join(
        chr(octet) if octet in _PLAIN else f"\\{chr(octet)}" if 0x21 <= octet <= 0x7E else f"\\{octet:03d}"
        for octet in label.lower()
    )


def labels_of(wire: bytes) -> list[bytes]:
    """Return the labels of a name, without the root."""
    labels = []
    position = 0
    while length := wire[position]:
        labels.append(wire[position + 1 : position + 1 + length])
        position += 1 + length
    return labels


def count_labels(wire: bytes) -> int:
    """Return the number of labels, without the root and without a leading asterisk (RFC 4034 section 3.1.3)."""
    count = 0
    position = 0
    while length := wire[position]:
        count += 1
        position += 1 + length
    return count - 1 if wire.startswith(b"\x01*") else count


def parent(wire: bytes) -> bytes:
    """Return the name one label up; the root is its own parent."""
    return wire[wire[0] + 1 :] if wire[0] else ROOT


def ancestors(wire: bytes) -> list[bytes]:
    """Return the name itself and every name above it, down to the root, nearest first."""
    names = [wire]
    while wire[0]:
        wire = wire[wire[0] + 1 :]
        names.append(wire)
    return names


def is_within(wire: bytes, ancestor: bytes) -> bool:
    """Tell whether a name is `ancestor` or stands below it."""
    if not wire.endswith(ancestor):
        return False
    boundary = len(wire) - len(ancestor)
    position = 0
    while position < boundary:
        position += wire[position] + 1
    return position == boundary


def closest_common(first: bytes, second: bytes) -> bytes:
    """Return the longest name that is an ancestor of both."""
    above = set(ancestors(first))
    return next(name for name in ancestors(second) if name in above)


def key(wire: bytes) -> tuple[bytes, ...]:
    """Return what sorts names in canonical order (RFC 4034 section 6.1)."""
    return tuple(reversed(labels_of(wire)))


def wildcard(wire: bytes) -> bytes:
    """Return the wildcard name directly below a name."""
    return b"\x01*" + wire


def read(octets: bytes, offset: int, known: dict[int, bytes] | None = None) -> tuple[bytes, int]:
    """Read a name, compressed or not, from a message; return it in lower case and the offset behind it.

    `known` maps offsets of names already read to those names; names found are added. Raises Malformed. A pointer must
    lead backwards, so that reading ends (RFC 1035 section 4.1.4).
    """
    labels: list[bytes] = []
    starts: list[int] = []
    position = offset
    limit = offset
    after = 0
    rest = ROOT
    total = hops = 0
    try:
        while length := octets[position]:
            if length < 64:
                starts.append(position)
                end = position + 1 + length
                label = octets[position:end]
                if len(label) != length + 1:
                    raise Malformed("a name that runs over the end", offset=position, clause="RFC 1035 section 3.1")
                labels.append(label)
                total += length + 1
                if total > 254:
                    raise Malformed("a name of more than 255 octets", offset=offset, clause="RFC 1035 section 2.3.4")
                position = end
                continue
            if length < 0xC0:
                raise Malformed("a label of an unknown kind", offset=position, clause="RFC 1035 section 4.1.4")
            target = ((length & 0x3F) << 8) | octets[position + 1]
            after = after or position + 2
            if target >= limit:
                raise Malformed("a pointer that leads forward", offset=position, clause="RFC 1035 section 4.1.4")
            if known is not None and target in known:
                rest = known[target]
                break
            hops += 1
            if hops > _MAX_HOPS:
                raise Malformed("a name of more than 127 pointers", offset=offset, clause="RFC 1035 section 4.1.4")
            position = limit = target
        else:
            after = after or position + 1
    except IndexError:
        raise Malformed("a name that runs over the end", offset=position, clause="RFC 1035 section 3.1") from None
    wire = b"".join(labels).lower() + rest
    if len(wire) > 255:
        raise Malformed("a name of more than 255 octets", offset=offset, clause="RFC 1035 section 2.3.4")
    if known is not None:
        skipped = 0
        for start, label in zip(starts, labels, strict=True):
            known[start] = wire[skipped:]
            skipped += len(label)
    return wire, after
