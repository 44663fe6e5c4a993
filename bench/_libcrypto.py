"""libcrypto's own CMS functions in this process, through ctypes: the peer that parses and writes as we do."""

from __future__ import annotations

import ctypes
import ctypes.util

_BINARY, _NO_CHAIN = 0x80, 0x20
_CRL_CHECK = 4
_POINTERS = (
    "BIO_new", "BIO_new_mem_buf", "BIO_s_null", "BIO_s_mem", "CMS_encrypt", "CMS_sign", "EVP_aes_256_cbc",
    "EVP_aes_256_gcm", "OPENSSL_sk_new_null", "X509_STORE_new", "d2i_AutoPrivateKey", "d2i_CMS_bio", "d2i_X509",
    "d2i_X509_CRL",
)  # fmt: skip


class Libcrypto:
    """The five functions the benchmark needs, over octets; `None` from `load` where there is no such library."""

    def __init__(self, library: ctypes.CDLL, key: bytes, certificate: bytes, authority: bytes, crl: bytes) -> None:
        self._library = library
        for name in _POINTERS:
            getattr(library, name).restype = ctypes.c_void_p
        self._key = self._call("d2i_AutoPrivateKey", None, ctypes.byref(ctypes.c_char_p(key)), len(key))
        self._certificate, anchor = (
            self._call("d2i_X509", None, ctypes.byref(ctypes.c_char_p(octets)), len(octets))
            for octets in (certificate, authority)
        )
        self._store = self._call("X509_STORE_new")
        self._call("X509_STORE_add_cert", self._store, anchor)
        revoked = self._call("d2i_X509_CRL", None, ctypes.byref(ctypes.c_char_p(crl)), len(crl))
        self._call("X509_STORE_add_crl", self._store, revoked)
        self._call("X509_STORE_set_flags", self._store, _CRL_CHECK)
        self._recipients = self._call("OPENSSL_sk_new_null")
        self._call("OPENSSL_sk_push", self._recipients, self._certificate)
        self._nowhere = self._call("BIO_new", self._call("BIO_s_null"))

    @classmethod
    def load(cls, key: bytes, certificate: bytes, authority: bytes, crl: bytes) -> Libcrypto | None:
        """Return the library with a private key, its certificate, an authority and its revocation list, all in DER."""
        name = ctypes.util.find_library("crypto")
        return None if name is None else cls(ctypes.CDLL(name), key, certificate, authority, crl)

    def _call(self, name: str, *arguments: object) -> int:
        # every number here is a pointer, a length or a flag: all fit into what a pointer is passed in
        passed = [ctypes.c_void_p(each) if isinstance(each, int) else each for each in arguments]
        made: int = getattr(self._library, name)(*passed)
        if not made:
            raise RuntimeError(f"{name} failed")
        return made

    def _write(self, cms: int) -> None:
        bio = self._call("BIO_new", self._call("BIO_s_mem"))
        self._call("i2d_CMS_bio", bio, cms)
        self._call("BIO_free", bio)

    def _free(self, cms: int) -> None:
        self._library.CMS_ContentInfo_free(ctypes.c_void_p(cms))

    def _read(self, octets: bytes) -> int:
        bio = self._call("BIO_new_mem_buf", octets, len(octets))
        cms = self._call("d2i_CMS_bio", bio, None)
        self._call("BIO_free", bio)
        return cms

    def sign(self, octets: bytes) -> None:
        """Make a SignedData with the content inside."""
        bio = self._call("BIO_new_mem_buf", octets, len(octets))
        cms = self._call("CMS_sign", self._certificate, self._key, None, bio, _BINARY)
        self._write(cms)
        self._call("BIO_free", bio)
        self._free(cms)

    def verify(self, signed: bytes, *, chain: bool) -> None:
        """Check a SignedData, and if `chain` the path from its certificate to the authority and the revocation list."""
        cms = self._read(signed)
        store = self._store if chain else None
        self._call("CMS_verify", cms, None, store, None, self._nowhere, _BINARY | (0 if chain else _NO_CHAIN))
        self._free(cms)

    def encrypt(self, octets: bytes, cipher: str) -> None:
        """Make an EnvelopedData or AuthEnvelopedData under "gcm" or "cbc"."""
        bio = self._call("BIO_new_mem_buf", octets, len(octets))
        chosen = self._call(f"EVP_aes_256_{cipher}")
        cms = self._call("CMS_encrypt", self._recipients, bio, chosen, _BINARY)
        self._write(cms)
        self._call("BIO_free", bio)
        self._free(cms)

    def decrypt(self, sealed: bytes) -> None:
        """Open one of the two."""
        cms = self._read(sealed)
        self._call("CMS_decrypt", cms, self._key, self._certificate, None, self._nowhere, _BINARY)
        self._free(cms)
