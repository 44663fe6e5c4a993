"""S/MIME of the domain: the authorities with which signatures of mail from outside are judged."""

from __future__ import annotations

from letterlock.admd.settings import Settings
from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.x509 import pem
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.pkix.path import Anchor


def smime_anchors(settings: Settings) -> tuple[Anchor, ...]:
    """Return the authorities of `assess.smime_anchors`, none where it is not set. Raises SettingsFault."""
    if settings.assess.smime_anchors is None:
        return ()
    file = settings.path(settings.assess.smime_anchors)
    try:
        found = [Certificate.parse(der) for der in pem.decode(file.read_bytes(), *pem.CERTIFICATE)]
    except (OSError, Malformed) as error:
        raise SettingsFault((f"assess.smime_anchors = {str(file)!r}: cannot be read: {error}",)) from None
    return tuple(map(Anchor.of, found))
