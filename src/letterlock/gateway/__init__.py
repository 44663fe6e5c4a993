"""S/MIME for a whole domain: it signs and decrypts for accounts that ask, keeps lists, and certifies its people."""
