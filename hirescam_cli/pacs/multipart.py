"""One DICOM instance as a multipart/related message, byte for byte (RFC 2387, PS3.18 section 8.6)."""

from __future__ import annotations

import secrets
from email.message import Message

DICOM = "application/dicom"


class Body:
    """A request's body around one instance: a stream whose length is known, so that none needs chunked transfer."""

    def __init__(self, data: bytes) -> None:
        boundary = f"hirescam-{secrets.token_hex(16)}"
        self.content_type = f'multipart/related; type="{DICOM}"; boundary={boundary}'
        head = f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        self._parts = (memoryview(head), memoryview(data), memoryview(f"\r\n--{boundary}--\r\n".encode()))
        self._length = sum(len(part) for part in self._parts)
        self._at = 0

    def __len__(self) -> int:
        return self._length - self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`."""
        start = 0
        for part in self._parts:
            if self._at < start + len(part):
                offset = self._at - start
                end = len(part) if size < 0 else offset + size
                found = bytes(part[offset:end])
                self._at += len(found)
                return found
            start += len(part)
        return b""


def instance_of(content_type: str, body: bytes) -> bytes:
    """The instance in an answer with one part. Raises ValueError for what is not such an answer, or only half of it."""
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() == DICOM:
        return body
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise ValueError("it is not a multipart message")
    delimiter = b"--" + boundary.encode()
    start = body.find(delimiter)
    header_end = body.find(b"\r\n\r\n", start)
    end = body.find(b"\r\n" + delimiter, header_end)
    if start < 0 or header_end < 0 or end < 0:
        raise ValueError("it ends before its last part does")
    if not body.startswith(b"--", end + 2 + len(delimiter)):
        raise ValueError("it holds more than one part")
    return body[header_end + 4 : end]
