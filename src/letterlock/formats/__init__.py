"""Values: octets to frozen objects and back. No state, no clock, no I/O."""
