"""`letterlock mail`: the group with all its commands, from mail_send, mail_show and mail_receipt."""

from __future__ import annotations

from letterlock.cli import mail_receipt, mail_show
from letterlock.cli.mail_send import mail

__all__ = ["mail", "mail_receipt", "mail_show"]
