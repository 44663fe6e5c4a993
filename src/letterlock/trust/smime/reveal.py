"""A message with its encryption taken off and its signatures kept, for somebody who has no keys in the mail program.

What was signed inside the encryption comes out as multipart/signed, whatever form it had, so that every program shows it and
those that can verify it still do. Signatures around the encryption covered the cipher text and go with it.

Standards: RFC 8551 sections 3.5.3 and 3.7, RFC 9788 section 4 (protected fields come out).
"""

from __future__ import annotations

from letterlock.errors import NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.cms import signed
from letterlock.trust.smime.entities import split
from letterlock.trust.smime.header_protection import protected_header, restore, restored_fields
from letterlock.trust.smime.protect import clear_signed
from letterlock.trust.smime.unwrap import EncryptedLayer, SignedLayer, Unwrapped


def is_encrypted(unwrapped: Unwrapped) -> bool:
    """Tell whether some layer is encrypted."""
    return any(isinstance(layer, EncryptedLayer) for layer in unwrapped.layers)


def check_unchanged(unwrapped: Unwrapped) -> None:
    """Raise NotAuthentic where the plain text may have been altered on the way without a trace.

    Cipher text in CBC can be changed by anybody who has it, so that what comes out leads the secret out (EFAIL). A
    signature inside that holds shows that nobody did; one around could be anybody's.
    """
    for number, layer in enumerate(unwrapped.layers):
        if not isinstance(layer, EncryptedLayer) or layer.opened is None or layer.opened.authenticated:
            continue
        inside = [each for each in unwrapped.layers[number + 1 :] if isinstance(each, SignedLayer)]
        if not any(check.good for each in inside for check in each.checks):
            raise NotAuthentic(f"{layer.opened.cipher} does not show changes, and no signature inside covers the text")


def revealed(message: bytes, unwrapped: Unwrapped, token: str) -> bytes:
    """Return `message` without its encryption. Raises NotAuthentic where a layer could not be opened."""
    encrypted = [number for number, layer in enumerate(unwrapped.layers) if isinstance(layer, EncryptedLayer)]
    closed = next((each.fault for each in unwrapped.layers if isinstance(each, EncryptedLayer) and not each.opened), "")
    if closed or unwrapped.fault or not encrypted:
        raise NotAuthentic(closed or unwrapped.fault or "the message is not encrypted")
    outer = with_protected_fields(split(message).outer, unwrapped)
    inside = [
        each
        for each in unwrapped.layers[encrypted[-1] + 1 :]
        if isinstance(each, SignedLayer) and each.checks and each.signed.content_type == oids.DATA
    ]
    if not inside:
        return restore(outer, unwrapped.content)
    layer = inside[0]
    found = layer.signed
    cms = signed.encode(found.content_type, None, found.signers, found.certificates, found.crls)
    digests = [signer.digest_algorithm.oid for signer in found.signers]
    return clear_signed(outer, (layer.content,), cms, digests, token)


def with_protected_fields(outer: bytes, unwrapped: Unwrapped) -> bytes:
    """Return the fields of the transport with those that the innermost layer protects, if one does, in their place."""
    entities = [unwrapped.content]
    for layer in reversed(unwrapped.layers):
        if isinstance(layer, SignedLayer):
            entities.append(layer.content)
        elif isinstance(layer, EncryptedLayer) and layer.opened is not None:
            entities.append(layer.opened.content)
    found = next((each for each in entities if protected_header(each) is not None), b"")
    return restored_fields(outer, found)
