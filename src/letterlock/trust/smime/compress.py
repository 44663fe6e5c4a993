"""Make content smaller, and large again within bounds.

Standards: RFC 3274.
Limits: 256 MiB expanded and 1,100 times the compressed size (zlib reaches 1,032) unless the caller says otherwise.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import compressed
from letterlock.formats.cms.compressed import CompressedData

MAX_EXPANDED_OCTETS = 256 << 20
_CLAUSE = "RFC 3274 section 2"


def compress(content: bytes, *, content_type: str = oids.DATA) -> bytes:
    """Return a ContentInfo with `content` compressed."""
    return compressed.encode(content_type, zlib.compress(content, 6))


def expand(source: CompressedData, *, limit: int = MAX_EXPANDED_OCTETS) -> bytes:
    """Return the content; Malformed if it is not zlib data, or larger than `limit` octets."""
    if source.algorithm.oid != oids.ZLIB:
        raise Malformed(f"a compression not known here: {source.algorithm.label}", clause=_CLAUSE)
    return b"".join(expand_pieces(source.content.pieces(), limit=limit))


def expand_pieces(pieces: Iterable[bytes | memoryview], *, limit: int = MAX_EXPANDED_OCTETS) -> Iterator[bytes]:
    """Expand zlib data piece by piece, never holding more than one bounded piece."""
    engine = zlib.decompressobj()
    size = 0
    try:
        for piece in pieces:
            waiting = bytes(piece)
            while waiting and not engine.eof:
                expanded = engine.decompress(waiting, 1 << 18)
                waiting = engine.unconsumed_tail
                size += len(expanded)
                if size > limit:
                    raise Malformed(f"content that expands to more than {limit} octets", clause=_CLAUSE)
                if expanded:
                    yield expanded
    except zlib.error as error:
        raise Malformed(f"not zlib data: {error}", clause=_CLAUSE) from None
    if not engine.eof or engine.unused_data:
        raise Malformed("zlib data that does not end where it should", clause=_CLAUSE)
