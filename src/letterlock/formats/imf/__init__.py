"""The Internet Message Format (RFC 5322, 6532): header fields, addresses, dates, encoded words."""
