"""Another domain's mail server for fault tests, in threads: remembers the id of each message it took.

It refuses recipients at absent.test for good and those at unreachable.test for now.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator

from tests.faults.served import NEXT_HOST, ident_of


class Sink:
    """What arrived, by id, and how often it was asked for recipients that it did not take now."""

    def __init__(self, server: socket.socket) -> None:
        self.address = f"{NEXT_HOST}:{server.getsockname()[1]}"
        self.taken: Counter[str] = Counter()
        self.put_off = 0

    def converse(self, connection: socket.socket) -> None:
        """Take one client's mail."""
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:
            stream.write(b"220 sink.test ESMTP\r\n")
            stream.flush()
            while line := stream.readline():
                verb = line[:4].upper()
                if verb == b"DATA":
                    stream.write(b"354 go on\r\n")
                    stream.flush()
                    content = bytearray()
                    while (line := stream.readline()) != b".\r\n":
                        if not line:
                            return
                        content += line
                    self.taken[ident_of(bytes(content))] += 1
                reply = b"221 bye\r\n" if verb == b"QUIT" else _reply(line)
                self.put_off += reply.startswith(b"450")
                stream.write(reply)
                stream.flush()


def _reply(line: bytes) -> bytes:
    if b"@absent.test>" in line and line[:4].upper() == b"RCPT":
        return b"550 5.1.1 nobody there\r\n"
    if b"@unreachable.test>" in line and line[:4].upper() == b"RCPT":
        return b"450 4.2.1 not now\r\n"
    return (
        b"250-sink.test\r\n250-8BITMIME\r\n250 PIPELINING\r\n" if line[:4].upper() == b"EHLO" else b"250 2.0.0 fine\r\n"
    )


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """Run one on a port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Sink(server)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=made.converse, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
