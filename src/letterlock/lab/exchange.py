"""Send the lab's letters as their authors would: submission with TLS, logged in, with the standard library's smtplib.

Like lab/verify.py it uses a program that is not ours, and blocks: run it in a thread.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterable

from letterlock.lab.letters import Letter


def submit(letters: Iterable[Letter], trusted: ssl.SSLContext) -> None:
    """Submit every letter; raises OSError (smtplib.SMTPException is one) where a server does not take it."""
    for letter in letters:
        home = letter.home
        author = home.address_of(letter.author)
        with smtplib.SMTP_SSL(
            home.address, home.ports["submissions"], local_hostname="localhost", context=trusted, timeout=30
        ) as connection:
            connection.login(author, letter.author.password)
            options = () if letter.octets.isascii() else ("BODY=8BITMIME",)
            refused = connection.sendmail(author, letter.recipients, letter.octets, options)
            if refused:
                raise OSError(f"{letter.title}: refused for {refused}")
