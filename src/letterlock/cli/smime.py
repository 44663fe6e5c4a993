"""`letterlock smime`: the group with all its commands, from smime_messages and smime_services."""

from __future__ import annotations

from letterlock.cli import smime_services
from letterlock.cli.smime_messages import smime

__all__ = ["smime", "smime_services"]
