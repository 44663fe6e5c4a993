"""One mail transaction of a server: its envelope, and its content as it comes by DATA or BDAT.

Standards: RFC 5321 section 3.3, RFC 3030 section 2 (a chunk's octets come whatever is answered).
"""

from __future__ import annotations

from letterlock.formats.envelope import Body, Envelope, Recipient
from letterlock.protocols.smtp.command import Sender
from letterlock.protocols.smtp.content import ChunkReader, DotReader
from letterlock.protocols.smtp.event import ContentReceived, TransactionDropped
from letterlock.protocols.smtp.reply import Reply, reply

NOBODY = Sender(None)


class Transaction:
    """What was said since MAIL. `verdict` is the answer to content that is not wanted any more, else None."""

    __slots__ = ("_chunks", "_dots", "_size_limit", "chunk_size", "is_last_chunk", "recipients", "refused_recipients",
                 "sender", "size", "verdict")  # fmt: skip

    def __init__(self, size_limit: int, sender: Sender = NOBODY) -> None:
        self._size_limit = size_limit
        self.sender = sender
        self.recipients: list[Recipient] = []
        self.refused_recipients = 0
        self.size = 0
        self.verdict: Reply | None = None
        self.chunk_size = 0
        self.is_last_chunk = False
        self._dots: DotReader | None = None
        self._chunks: ChunkReader | None = None

    @property
    def envelope(self) -> Envelope:
        """The envelope as it stands."""
        sender = self.sender
        return Envelope(
            sender.reverse_path,
            tuple(self.recipients),
            sender.body,
            sender.smtputf8,
            sender.require_tls,
            sender.return_content,
            sender.envelope_id,
            solicitation=sender.solicitation,
        )

    def begin_chunk(self, count: int, *, last: bool) -> bool:
        """Begin a chunk of `count` octets; return whether it is the first."""
        first = self._chunks is None
        if self._chunks is None:
            self._chunks = ChunkReader(binary=self.sender.body is Body.BINARY)
        self._chunks.expect(count)
        self.chunk_size, self.is_last_chunk = count, last
        return first

    def receive_chunk(self, octets: bytes) -> tuple[ContentReceived | TransactionDropped | None, bytes, bool]:
        """Return what to report of these octets, what follows them, and whether the chunk is whole."""
        assert self._chunks is not None
        piece, rest = self._chunks.receive(octets)
        complete = self._chunks.is_complete
        if complete and self.is_last_chunk:
            self._chunks.finish()
        return self._report(piece, self._chunks.problem), rest, complete

    def receive_dotted(self, octets: bytes) -> tuple[ContentReceived | TransactionDropped | None, bytes | None]:
        """Return what to report of these octets, and what follows the end of data, or None before it."""
        if self._dots is None:
            self._dots = DotReader()
        piece, rest = self._dots.receive(octets)
        return self._report(piece, self._dots.problem), rest

    def _report(self, piece: bytes, problem: str) -> ContentReceived | TransactionDropped | None:
        if self.verdict is not None:
            return None
        if problem:
            self.verdict = reply(554, "5.6.0", f"The message contains {problem}: lines end in CRLF only, without NUL")
        elif self.size + len(piece) > self._size_limit:
            self.verdict = too_big(self._size_limit)
        else:
            self.size += len(piece)
            return ContentReceived(piece) if piece else None
        return TransactionDropped(str(self.verdict))


def too_big(size_limit: int) -> Reply:
    """Return the answer to a message that is bigger than allowed (RFC 1870 section 6)."""
    return reply(552, "5.3.4", f"The message is bigger than {size_limit} octets, the most taken here")
