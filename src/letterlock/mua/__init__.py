"""The user agent: compose, protect, submit and read mail."""
