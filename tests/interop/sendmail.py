"""A private sendmail: own configuration, own queue, on a port of the system's choice. Needs root.

The program is the one that tools/install-interop-programs unpacks. It looks its host's name up and waits a minute for an
unqualified one, so it gets a name of its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench._postfix import free_port, wait_for

_PEERS = Path(os.environ.get("LETTERLOCK_INTEROP", ".interop")).resolve()
PROGRAM = _PEERS / "sendmail-bin/usr/libexec/sendmail/sendmail"
_MACROS = _PEERS / "sendmail-cf/usr/share/sendmail/cf"

_CONFIGURATION = """\
OSTYPE(`linux')dnl
define(`QUEUE_DIR', `{folder}/queue')dnl
define(`STATUS_FILE', `{folder}/statistics')dnl
define(`confPID_FILE', `{folder}/pid')dnl
define(`confDOMAIN_NAME', `sendmail.test')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confDELIVER_BY_MIN', `{least}')dnl
define(`confTO_IDENT', `0s')dnl
define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe,AssumeSafeChown')dnl
define(`ALIAS_FILE', `')dnl
define(`SMART_HOST', `esmtp:[127.0.0.1]')dnl
define(`ESMTP_MAILER_ARGS', `TCP $h {next_port}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`promiscuous_relay')dnl
DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port={port}')dnl
MAILER(`smtp')dnl
"""


@contextlib.contextmanager
def sendmail(folder: Path, *, next_port: int, least_seconds: int = 0) -> Iterator[int]:
    """Run sendmail with its files in `folder`; yield its port. It relays everything to `next_port` of this machine."""
    (folder / "queue").mkdir(parents=True, mode=0o700)
    port = free_port()
    macros = _CONFIGURATION.format(folder=folder, port=port, next_port=next_port, least=least_seconds or "")
    command = ["m4", f"-D_CF_DIR_={_MACROS}/", str(_MACROS / "m4/cf.m4"), "-"]
    made = subprocess.run(command, input=macros, capture_output=True, text=True, check=True)
    configuration = folder / "sendmail.cf"
    configuration.write_text(made.stdout)
    named = ["unshare", "-u", "sh", "-c", 'hostname sendmail.test; exec "$@"', "sh"]
    process = subprocess.Popen(
        [*named, str(PROGRAM), "-C", str(configuration), "-bD"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)
