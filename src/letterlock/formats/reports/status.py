"""Enhanced status codes in words, for the people who read notifications and queues.

Standards: RFC 3463 sections 2 and 3, RFC 4954 section 6 and RFC 7372 (authentication), RFC 6531 section 3.7.4 (UTF-8),
RFC 7504 and RFC 7505 (hosts that take no mail), RFC 8689 section 6 (TLS required), RFC 6710 section 9 (priorities).
"""

from __future__ import annotations

_CLASSES = {"2": "done", "4": "not yet", "5": "refused"}
_SUBJECTS = {
    "0": "", "1": "the address", "2": "the mailbox", "3": "the mail system", "4": "the network or routing",
    "5": "the mail protocol", "6": "the message's content", "7": "security or policy",
}  # fmt: skip
_DETAILS = {
    "1.0": "something about the address",
    "1.1": "there is no such mailbox",
    "1.2": "there is no such mail system, or it takes no mail",
    "1.3": "the address is not well formed",
    "1.4": "the address means several mailboxes",
    "1.5": "the address is valid",
    "1.6": "the mailbox has moved and left no address",
    "1.7": "the sender's address is not well formed",
    "1.8": "the sender's mail system does not exist",
    "1.9": "the message was passed to a system that confirms nothing",
    "1.10": "the recipient's domain takes no mail",
    "2.0": "something about the mailbox",
    "2.1": "the mailbox is disabled",
    "2.2": "the mailbox is full",
    "2.3": "the message is longer than the mailbox takes",
    "2.4": "the mailing list cannot be expanded",
    "3.0": "something about the mail system",
    "3.1": "the mail system is full",
    "3.2": "the mail system takes no mail now",
    "3.3": "the mail system cannot do what the message needs",
    "3.4": "the message is too long for the mail system",
    "3.5": "the mail system is set up wrongly",
    "3.6": "the priority was changed",
    "4.0": "something about the network or routing",
    "4.1": "no answer from the host",
    "4.2": "the connection broke",
    "4.3": "the directory or name service did not answer",
    "4.4": "there is no route to the recipient",
    "4.5": "the mail system is congested",
    "4.6": "the message went in a loop",
    "4.7": "the time for delivering the message ran out",
    "5.0": "something about the mail protocol",
    "5.1": "a command that was not expected",
    "5.2": "a command that was not understood",
    "5.3": "too many recipients at once",
    "5.4": "a parameter of a command was wrong",
    "5.5": "the wrong version of the protocol",
    "5.6": "a line of the authentication was too long",
    "6.0": "something about the content",
    "6.1": "the kind of content is not taken",
    "6.2": "the content must be converted, and may not",
    "6.3": "the content must be converted, and cannot",
    "6.4": "the content was converted with loss",
    "6.5": "the content could not be converted",
    "6.6": "the content is no longer available",
    "6.7": "an international address cannot be taken",
    "6.8": "an international answer is needed and not possible",
    "6.9": "an international header section cannot be taken",
    "7.0": "refused for reasons of security or policy",
    "7.1": "sending there is not allowed",
    "7.2": "sending to the mailing list is not allowed",
    "7.3": "a conversion for security is needed and not possible",
    "7.4": "a security feature is not supported",
    "7.5": "a cryptographic operation failed",
    "7.6": "a cryptographic algorithm is not supported",
    "7.7": "the message was changed on the way",
    "7.8": "the name or password is wrong",
    "7.9": "the way of authentication is too weak",
    "7.10": "encryption is needed",
    "7.11": "encryption is needed for this way of authentication",
    "7.13": "the account is disabled",
    "7.14": "a trust relationship is needed",
    "7.15": "the priority is too low",
    "7.20": "no valid signature (DKIM)",
    "7.21": "no acceptable signature (DKIM)",
    "7.22": "no signature by the author's domain (DKIM)",
    "7.23": "the sender's domain does not allow the sending host (SPF)",
    "7.24": "the sender's domain could not be checked (SPF)",
    "7.25": "the sending host's address has no matching name",
    "7.26": "several checks of authenticity failed",
    "7.27": "the sender's domain takes no mail",
    "7.29": "a chain of authentication failed (ARC)",
    "7.30": "encryption on the whole way is needed and not possible",
}


def explain_status(status: str) -> str:
    """Return what an enhanced status code ("5.1.1") means in a few words; an empty string for no such code."""
    kind, _, rest = status.partition(".")
    if kind not in _CLASSES:
        return ""
    detail = _DETAILS.get(rest)
    if detail is not None:
        return detail
    subject = _SUBJECTS.get(rest.partition(".")[0], "")
    return f"{_CLASSES[kind]}: {subject}" if subject else _CLASSES[kind]
