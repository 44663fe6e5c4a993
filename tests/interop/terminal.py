"""A terminal for programs that will not run without one."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path


def run_in_terminal(
    *command: str | Path, within: float = 60, answers: Mapping[bytes, bytes] | None = None, **environment: str
) -> int:
    """Run a full-screen program that types its own keys (a pushed macro); returns its exit code.

    `answers` are typed each time their question stands at the end of what is on the screen, for what no macro can type.
    Nothing else is ever typed and the line stays open: the end of input that `script` sends where it has no terminal itself
    reached neomutt before its macro, now and then, and both waited for ever.
    """
    keyboard, screen = pty.openpty()
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=screen,
        stdout=screen,
        stderr=screen,
        env={**os.environ, "TERM": "xterm", **environment},
        start_new_session=True,
    ) as program:
        os.close(screen)
        late = threading.Timer(within, program.kill)
        late.start()
        try:
            # The screen has to be read, or the program stops where its window is full; at its end comes EIO.
            seen = b""
            while octets := os.read(keyboard, 65_536):
                seen = (seen + octets)[-4096:]
                for question, answer in (answers or {}).items():
                    if question in seen:
                        os.write(keyboard, answer)
                        seen = b""
        except OSError:
            pass
        finally:
            late.cancel()
            os.close(keyboard)
    return program.returncode
