"""The border around a session: what goes wrong inside one connection ends that connection, and nothing else.

The peer's faults (`PeerFault`: it vanished, was too slow, broke TLS) are ordinary and end quietly; whatever else comes
out of a session is ours, is logged with its traceback, and never reaches the event loop.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

from letterlock.errors import PeerFault
from letterlock.host.logs import Log
from letterlock.host.stream import Stopping, Stream

Session = Callable[[Stream], Awaitable[None]]


async def drive(session: Session, stream: Stream, *, log: Log) -> None:
    """Run `session` over `stream`, and see that the connection is closed."""
    try:
        await session(stream)
    except PeerFault as fault:
        log.event("connection ended", peer=str(stream.peer), problem=fault.problem)
    except Stopping:
        pass
    except Exception as fault:  # the border: one session's fault is not the service's
        log.error("session failed", peer=str(stream.peer), problem=repr(fault), traceback=traceback.format_exc())
    finally:
        await stream.close()
