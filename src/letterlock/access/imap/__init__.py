"""The IMAP service over the store: sessions, their views of mailboxes, and what each command does."""
