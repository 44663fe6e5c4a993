"""The milter protocol, the mail server's side: what rspamd, OpenDKIM, ClamAV and other filters speak."""
