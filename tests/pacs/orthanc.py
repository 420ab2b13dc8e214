"""A real Orthanc in a network namespace of its own that has nothing but the loopback interface.

Debian's Orthanc listens on all addresses whatever its settings say, so it runs nowhere else, and those who talk to it
are started in the same namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
URL = "http://127.0.0.1:8042/dicom-web"
DICOM_PORT = 4242
_START_SECONDS = 60
_CONFIG = "orthanc.json"


def missing() -> str | None:
    """What is missing to run one; None if nothing is."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "root, for a network namespace"
    for program in ("ip", "Orthanc", "storescu"):
        if shutil.which(program) is None:
            return f"the program {program} (Debian: iproute2, orthanc, dcmtk)"
    return None if PLUGIN.is_file() else "Orthanc's DICOMweb plugin (Debian: orthanc-dicomweb)"


def require() -> None:
    """Skip, saying why, where Orthanc cannot run; fail where the environment says that it must."""
    lacks = missing()
    if lacks is not None:
        if os.environ.get("HIRESCAM_TEST_ORTHANC") == "required":
            pytest.fail(f"Orthanc is required and cannot run: {lacks} is missing")
        pytest.skip(f"a real Orthanc needs {lacks}")


@dataclass
class Orthanc:
    """An Orthanc; `namespace`: where it runs, `folder`: its settings and store, `process`: while it runs."""

    namespace: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        code = "import urllib.request as u; u.urlopen('http://127.0.0.1:8042/system', timeout=5).read()"
        command = ["ip", "netns", "exec", self.namespace, "Orthanc", str(self.folder / _CONFIG)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.run(sys.executable, "-c", code).returncode == 0:
                return
            time.sleep(0.2)
        raise AssertionError(
            "Orthanc did not start: " + (self.folder / "log").read_text("utf-8", "replace")[-2000:]
        )

    def stop(self, *, at_once: bool = False) -> None:
        """End it, if it runs; what it stored stays. `at_once`: as if its machine had failed."""
        if self.process is None:
            return
        if at_once:
            self.process.kill()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.process = None

    def run(self, *command: object, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a command beside it."""
        return subprocess.run(
            self.inside(*command),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def inside(self, *command: object) -> list[str]:
        """A command as one that runs beside it."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]

    def environment(self) -> dict[str, str]:
        """The environment of those who talk to it."""
        usual = {name: value for name, value in os.environ.items() if not name.startswith("HIRESCAM_")}
        return {**usual, "HIRESCAM_PACS_URL": URL, "NETRC": "/nonexistent"}

    def hirescam(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run `hirescam ARGUMENTS` beside it."""
        return self.run(sys.executable, "-m", "hirescam_cli", *arguments)

    def get(self, path: str) -> object:
        """What its own REST interface says."""
        code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
        done = self.run(sys.executable, "-c", code, f"http://127.0.0.1:8042{path}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def clear(self) -> None:
        """Delete all that it holds."""
        code = (
            "import json, sys, urllib.request as u; base = sys.argv[1]\n"
            "for one in json.load(u.urlopen(base)):\n"
            "    u.urlopen(u.Request(f'{base}/{one}', method='DELETE')).read()"
        )
        done = self.run(sys.executable, "-c", code, "http://127.0.0.1:8042/patients")
        assert done.returncode == 0, done.stderr

    def interfaces(self) -> list[str]:
        """The network interfaces of its namespace."""
        shown = self.run("ip", "-o", "link").stdout.splitlines()
        return [line.split(": ")[1] for line in shown]


@contextmanager
def running(folder: Path, name: str) -> Iterator[Orthanc]:
    """Orthanc with an empty store below `folder`, in a namespace that goes away with it."""
    require()
    orthanc = Orthanc(f"hirescam-{os.getpid()}-{name}", folder)
    added = subprocess.run(
        ["ip", "netns", "add", orthanc.namespace], capture_output=True, text=True, check=False
    )
    if added.returncode:
        assert os.environ.get("HIRESCAM_TEST_ORTHANC") != "required", added.stderr
        pytest.skip(f"a network namespace cannot be made here: {added.stderr.strip()}")
    try:
        assert orthanc.run("ip", "link", "set", "lo", "up").returncode == 0
        assert orthanc.interfaces() == ["lo"]
        _config(folder)
        orthanc.start()
        yield orthanc
    finally:
        orthanc.stop()
        subprocess.run(["ip", "netns", "del", orthanc.namespace], check=False)


def _config(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "store").mkdir()
    document = {
        "Name": "test",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": 8042,
        "DicomPort": DICOM_PORT,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / _CONFIG).write_text(json.dumps(document))
