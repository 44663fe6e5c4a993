"""OpenDKIM's library by ctypes: the engine of opendkim and opendkim-testmsg, fed octet by octet, keys from a file."""

from __future__ import annotations

import ctypes
from pathlib import Path

_SET, _QUERY_METHOD, _QUERY_INFO, _QUERY_FILE, _FLAGS, _FIXED_TIME = 1, 6, 7, 1, 0, 8
_CANONICALIZATION = {"simple": 0, "relaxed": 1}
_RSA_SHA256 = 1


class LibOpenDkim:
    """Signs and verifies."""

    def __init__(self, records: Path) -> None:
        """`records` is a file of lines `name text`."""
        self._library = library = ctypes.CDLL("libopendkim.so.11")
        for name in ("dkim_init", "dkim_verify", "dkim_sign", "dkim_geterror"):
            getattr(library, name).restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(library.dkim_init(None, None))
        method = ctypes.c_int(_QUERY_FILE)
        self._option(_QUERY_METHOD, ctypes.byref(method), ctypes.sizeof(method))
        path = str(records).encode() + b"\0"
        self._option(_QUERY_INFO, path, len(path))

    def _option(self, option: int, value: object, size: int) -> None:
        status = self._library.dkim_options(self._handle, _SET, option, value, ctypes.c_size_t(size))
        assert status == 0, (option, status)

    def verify(self, message: bytes) -> int:
        """Return the status of the message: 0 is a signature that verifies."""
        status = ctypes.c_int()
        dkim = ctypes.c_void_p(self._library.dkim_verify(self._handle, b"id", None, ctypes.byref(status)))
        assert status.value == 0
        try:
            return self._feed(dkim, message)
        finally:
            self._library.dkim_free(dkim)

    def sign(self, message: bytes, key: str, selector: str, domain: str, header: str, body: str) -> bytes:
        """Return the DKIM-Signature field for a message, with its CRLF."""
        status = ctypes.c_int()
        arguments = (
            b"id",
            None,
            key.encode() + b"\0",
            selector.encode(),
            domain.encode(),
            _CANONICALIZATION[header],
            _CANONICALIZATION[body],
            _RSA_SHA256,
            ctypes.c_ssize_t(-1),
            ctypes.byref(status),
        )
        dkim = ctypes.c_void_p(self._library.dkim_sign(self._handle, *arguments))
        assert status.value == 0, status.value
        try:
            status.value = self._feed(dkim, message)
            assert status.value == 0, (status.value, ctypes.c_char_p(self._library.dkim_geterror(dkim)).value)
            buffer = ctypes.create_string_buffer(8192)
            assert self._library.dkim_getsighdr(dkim, buffer, ctypes.c_size_t(8192), ctypes.c_size_t(16)) == 0
            value = buffer.value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            return b"DKIM-Signature: " + value + b"\r\n"
        finally:
            self._library.dkim_free(dkim)

    def _feed(self, dkim: ctypes.c_void_p, message: bytes) -> int:
        section, _, body = message.partition(b"\r\n\r\n")
        fields: list[bytes] = []
        for line in section.split(b"\r\n"):
            if line[:1] in (b" ", b"\t"):
                fields[-1] += b"\r\n" + line
            else:
                fields.append(line)
        for field in fields:
            assert self._library.dkim_header(dkim, field, ctypes.c_size_t(len(field))) == 0
        status: int = self._library.dkim_eoh(dkim)
        if status:
            return status
        if body:
            assert self._library.dkim_body(dkim, body, ctypes.c_size_t(len(body))) == 0
        result: int = self._library.dkim_eom(dkim, None)
        return result
