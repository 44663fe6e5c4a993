"""The mail delivery agent: which mailbox a message goes to, and under which rules."""
