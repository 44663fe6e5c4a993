"""`letterlock smime`: the group with all its commands, from smime_messages, smime_inspect, smime_services and smime_lists."""

from __future__ import annotations

from letterlock.cli import smime_inspect, smime_lists, smime_services
from letterlock.cli.smime_messages import smime

__all__ = ["smime", "smime_inspect", "smime_lists", "smime_services"]
