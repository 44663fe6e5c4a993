"""Open AuthenticatedData: content with a code that only its sender and its recipients can make.

It proves that one of them wrote the content, not which, and to nobody else.

Standards: RFC 5652 section 9, RFC 3370 section 3.1 (HMAC with SHA-1), RFC 6268 (HMAC identifiers).
"""

from __future__ import annotations

import hashlib
import hmac

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.digested import AuthenticatedData
from letterlock.trust.primitives.digests import digest
from letterlock.trust.smime import decrypt
from letterlock.trust.smime.decrypt import KeyRing

_MACS = {
    oids.HMAC_SHA1: "sha1",
    oids.HMAC_SHA1_OLD: "sha1",
    oids.HMAC_SHA224: "sha224",
    oids.HMAC_SHA256: "sha256",
    oids.HMAC_SHA384: "sha384",
    oids.HMAC_SHA512: "sha512",
}


def open_authenticated(authenticated: AuthenticatedData, ring: KeyRing) -> bytes:
    """Return the content; NotAuthentic if no key fits or the code does not, Malformed for what is not understood."""
    name = _MACS.get(authenticated.mac_algorithm.oid)
    if name is None:
        raise Malformed(f"a code not known here: {authenticated.mac_algorithm.label}", clause="RFC 5652 section 9.1")
    content = b"" if authenticated.content is None else authenticated.content.octet_string()
    covered = _covered(authenticated, content)
    keys = decrypt.recipient_keys(authenticated.recipients, ring, hashlib.new(name, usedforsecurity=False).digest_size)
    if not keys:
        raise NotAuthentic("none of the keys at hand is that of a recipient")
    for _info, _own, key in keys:
        if hmac.compare_digest(hmac.new(key, covered, name).digest(), authenticated.mac):
            return content
    raise NotAuthentic("the content was changed: its authentication code does not match")


def _covered(authenticated: AuthenticatedData, content: bytes) -> bytes:
    """Return what the code is over: the attributes if there are any, else the content (RFC 5652 section 9.2)."""
    if authenticated.attribute_octets is None:
        if authenticated.content_type != oids.DATA:
            raise Malformed("content other than data authenticated without attributes", clause="RFC 5652 section 9.1")
        return content
    named = authenticated.attributes.first(oids.MESSAGE_DIGEST)
    kind = authenticated.attributes.first(oids.CONTENT_TYPE)
    if named is None or not authenticated.digest_algorithm or kind is None or kind.oid() != authenticated.content_type:
        raise Malformed("attributes without digest or content type", clause="RFC 5652 section 9.1")
    if not hmac.compare_digest(named.octet_string(), digest(authenticated.digest_algorithm, content)):
        raise NotAuthentic("the content was changed: its digest is not the one that was authenticated")
    return authenticated.attribute_octets
