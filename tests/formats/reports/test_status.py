"""Status codes in words."""

import pytest

from letterlock.formats.reports.status import explain_status


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("5.1.1", "there is no such mailbox"),
        ("4.4.1", "no answer from the host"),
        ("5.1.99", "refused: the address"),
        ("4.0.0", "not yet"),
        ("5.99.1", "refused"),
        ("nonsense", ""),
    ],
)
def test_codes_have_a_meaning(status: str, words: str) -> None:
    """RFC 3463 section 3; unknown details fall back on their subject, unknown subjects on their class (section 2)."""
    assert explain_status(status) == words
