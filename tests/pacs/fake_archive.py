"""A small DICOMweb archive on 127.0.0.1 that misbehaves on demand."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword

ROOT = "/dicom-web"
BOUNDARY = "fake-boundary"


@dataclass
class Fault:
    """What goes wrong with the next `times` requests that match `where` (on "METHOD /path").

    `kind`: "status" (answers `status` with `headers` and `body`), "cut" (half of the right answer, then nothing),
    "unsized cut" (the same without saying how long it should be), "close" (no answer), "late" (`seconds`), "junk".
    """

    where: str
    kind: str
    times: int = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0


@dataclass
class FakeArchive:
    """Its instances by SOP Instance UID. `arriving`: further ones, of which `step` arrive whenever a series is listed.

    `refuse`: failure reason by SOP Instance UID. `wrong_count`: what a series is said to hold more than it lists.
    """

    instances: dict[str, bytes] = field(default_factory=dict)
    arriving: list[bytes] = field(default_factory=list)
    step: int = 0
    faults: list[Fault] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    ignores_offset: bool = False
    ignores_filters: bool = False
    wrong_count: int = 0
    page: int = 1000
    requests: list[str] = field(default_factory=list)
    authorisations: list[str | None] = field(default_factory=list)
    url: str = ""

    def add(self, data: bytes) -> str:
        """Take an instance; returns its UID."""
        uid = str(dcmread(BytesIO(data), stop_before_pixels=True).SOPInstanceUID)
        self.instances[uid] = data
        return uid

    def headers(self) -> list[Dataset]:
        """The headers of all instances."""
        return [dcmread(BytesIO(data), stop_before_pixels=True) for data in self.instances.values()]

    def count(self, pattern: str) -> int:
        """How many requests matched."""
        return sum(re.search(pattern, request) is not None for request in self.requests)

    def arrive(self) -> None:
        """Some of what is still arriving arrives."""
        for data in self.arriving[: self.step]:
            self.add(data)
        del self.arriving[: self.step]


def answer(archive: FakeArchive, method: str, target: str, body: bytes) -> tuple[int, str, bytes]:
    """Status, content type and body of the right answer."""
    parts = urlsplit(target)
    path = parts.path.removeprefix(ROOT)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    if method == "POST" and path == "/studies":
        return store(archive, body)
    found = re.fullmatch(
        r"(?:/studies(?:/([0-9.]+))?)?(/series(?:/([0-9.]+))?)?(/instances(?:/([0-9.]+))?)?(/metadata)?", path
    )
    if method != "GET" or found is None:
        return 404, "text/plain", b"no such resource"
    study, series_level, series, instance_level, instance, metadata = found.groups()
    rows = [
        one
        for one in archive.headers()
        if study in (None, one.StudyInstanceUID) and series in (None, one.SeriesInstanceUID)
    ]
    if instance is not None:
        return single(archive, instance, metadata is not None)
    if instance_level:
        return listing(archive, rows, query, ["SOPInstanceUID", "SOPClassUID"], "SOPInstanceUID")
    if series_level:
        return listing(
            archive, rows, query, ["StudyInstanceUID", "SeriesInstanceUID", "Modality"], "SeriesInstanceUID"
        )
    return listing(
        archive, rows, query, ["StudyInstanceUID", "PatientID", "AccessionNumber"], "StudyInstanceUID"
    )


def listing(
    archive: FakeArchive, rows: list[Dataset], query: dict[str, str], keywords: list[str], level: str
) -> tuple[int, str, bytes]:
    """An answer to a search."""
    found: dict[str, dict[str, Any]] = {}
    for one in rows:
        filters = {k: v for k, v in query.items() if k not in ("limit", "offset") and k in one}
        if not archive.ignores_filters and any(str(one.get(k, "")) != v for k, v in filters.items()):
            continue
        row = found.setdefault(
            str(one[level].value),
            {
                f"{tag_for_keyword(k):08X}": {"vr": "UI", "Value": [str(one[k].value)]}
                for k in keywords
                if k in one
            },
        )
        if level == "SeriesInstanceUID":
            number = row.setdefault("00201209", {"vr": "IS", "Value": [archive.wrong_count]})
            number["Value"][0] += 1
    if level == "SOPInstanceUID" and not int(query.get("offset", 0)):
        archive.arrive()
    offset = 0 if archive.ignores_offset else int(query.get("offset", 0))
    page = list(found.values())[offset : offset + min(int(query.get("limit", 1000)), archive.page)]
    return (200, "application/dicom+json", json.dumps(page).encode()) if page else (204, "text/plain", b"")


def single(archive: FakeArchive, instance: str, metadata: bool) -> tuple[int, str, bytes]:
    """One instance, or its attributes."""
    data = archive.instances.get(instance)
    if data is None:
        return 404, "text/plain", b"gone"
    if metadata:
        header = dcmread(BytesIO(data), stop_before_pixels=True)
        return 200, "application/dicom+json", json.dumps([header.to_json_dict()]).encode()
    parts = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data
    kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
    return 200, kind, parts + f"\r\n--{BOUNDARY}--\r\n".encode()


def store(archive: FakeArchive, body: bytes) -> tuple[int, str, bytes]:
    """Take the instance in a request, or refuse it with a reason."""
    delimiter, _, rest = body.partition(b"\r\n")
    data = rest.partition(b"\r\n\r\n")[2].rpartition(b"\r\n" + delimiter + b"--")[0]
    uid = str(dcmread(BytesIO(data), stop_before_pixels=True).SOPInstanceUID)
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if uid in archive.refuse:
        item["00081197"] = {"vr": "US", "Value": [archive.refuse[uid]]}
        return 409, "application/dicom+json", json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()
    archive.add(data)
    return 200, "application/dicom+json", json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


class Handler(BaseHTTPRequestHandler):
    """Answers, or fails as the archive's faults say."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    archive: FakeArchive

    def do_GET(self) -> None:
        self.handle_one()

    def do_POST(self) -> None:
        self.handle_one()

    def handle_one(self) -> None:
        archive, target = self.archive, f"{self.command} {self.path}"
        archive.requests.append(target)
        archive.authorisations.append(self.headers.get("Authorization"))
        fault = next((one for one in archive.faults if one.times and re.search(one.where, target)), None)
        if fault is not None:
            fault.times -= 1
            if fault.kind == "close":
                self.close_connection = True
                return
            time.sleep(fault.seconds)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault is not None and fault.kind == "status":
            self.respond(fault.status, "text/plain", fault.body, fault.headers)
            return
        status, kind, content = answer(archive, self.command, self.path, body)
        if fault is None or fault.kind == "late":
            self.respond(status, kind, content, {})
        elif fault.kind == "junk":
            self.respond(200, kind, b"<html>maintenance</html>", {})
        else:
            self.cut(status, kind, content, sized=fault.kind == "cut")

    def respond(self, status: int, kind: str, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def cut(self, status: int, kind: str, content: bytes, *, sized: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(*(("Content-Length", str(len(content))) if sized else ("Connection", "close")))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def served(certificate: Path | None = None) -> Iterator[FakeArchive]:
    """A fake archive that listens on 127.0.0.1; `certificate`: with TLS, PEM of certificate and key."""
    archive = FakeArchive()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"archive": archive}))
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    archive.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}{ROOT}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
