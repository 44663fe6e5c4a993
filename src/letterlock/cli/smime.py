"""`letterlock smime`: the group with all its commands, of which each module beside it has some."""

from __future__ import annotations

from letterlock.cli import smime_inspect, smime_lists, smime_services, smime_signing
from letterlock.cli.smime_messages import smime

__all__ = ["smime", "smime_inspect", "smime_lists", "smime_services", "smime_signing"]
