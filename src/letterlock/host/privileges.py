"""Giving up what only root may do, once the sockets are bound.

    sockets = bind(...) for every port      as root
    drop_to("letterlock")                   from here on an ordinary user, for good

Promises: after `drop_to` returns, the process has the user's identity and groups in every slot, cannot take the old one
back, and neither it nor what it starts can gain privileges again (no_new_privs, where the system is Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import sys

from letterlock.errors import OurFault, SettingsFault

_PR_SET_NO_NEW_PRIVS = 38


def drop_to(user: str, group: str = "") -> None:
    """Become `user`, with `group` (a name) or the user's own as the only groups besides the user's further ones.

    Raises SettingsFault where there is no such user or group, or we may not become it; OurFault where root could come
    back.
    """
    try:
        entry = pwd.getpwnam(user)
        gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
    except KeyError as error:
        raise SettingsFault((f"there is no user or group {error.args[0]!r}: make it, or name another",)) from None
    try:
        os.setgroups(os.getgrouplist(user, gid) if os.geteuid() == 0 else os.getgroups())
        os.setresgid(gid, gid, gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except PermissionError:
        raise SettingsFault((f"becoming {user} needs root: start as root, or leave the user out",)) from None
    if entry.pw_uid != 0:
        with contextlib.suppress(PermissionError):
            os.setuid(0)
            raise OurFault("root could be taken back after it was given up")
    _forbid_new_privileges()
    os.umask(0o077)


def _forbid_new_privileges() -> None:
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OurFault(f"no_new_privs cannot be set: {os.strerror(ctypes.get_errno())}")
