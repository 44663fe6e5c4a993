"""`letterlock mail`: the group with all its commands, from mail_send and mail_show."""

from __future__ import annotations

from letterlock.cli import mail_show
from letterlock.cli.mail_send import mail

__all__ = ["mail", "mail_show"]
