"""`--scheduler local`: nobody but the run's own processes can speak to it, and nothing answers over HTTP."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from hirescam_cli.batch import RunOptions, scheduler
from hirescam_cli.errors import UsageError
from tests.batch.test_cluster import go
from tests.batch.world import make_scan, make_scans

distributed = pytest.importorskip("distributed")

Address = tuple[str, int]


def listening() -> set[Address]:
    """Every TCP address on which this process or one below it listens."""
    found = set()
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((connection.laddr.ip, connection.laddr.port))
    return found


def answers_http(address: Address) -> bool:
    """Whether something at the address answers a request with a line of HTTP."""
    with suppress(OSError), socket.create_connection(address, timeout=5) as connection:
        connection.settimeout(5)
        connection.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        return b"HTTP/" in connection.recv(64)
    return False


def accepts_dask(address: Address, protocol: str, security: Any = None) -> bool:
    """Whether a Dask client without the run's certificate gets an answer."""
    name = f"{protocol}://{address[0]}:{address[1]}"
    try:
        with distributed.Client(name, timeout=3, security=security, set_as_default=False) as client:
            return bool(client.scheduler_info())
    except (OSError, TimeoutError, ValueError, TypeError):
        return False


def while_running(look: Callable[[set[Address]], None], before: set[Address]) -> threading.Thread:
    """A thread that looks once the workers of a run listen: a scheduler, two nannies, two workers."""

    def wait() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and len(listening() - before) < 5:
            time.sleep(0.1)
        look(listening() - before)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.slow
def test_nothing_of_a_local_cluster_can_be_spoken_to(tmp_path: Path, model: Path) -> None:
    inputs = make_scans(tmp_path / "in", 2)
    for number in range(6):
        make_scan(inputs / f"pause{number}.nii.gz", 50 + number)
    before, seen = listening(), dict[str, Any]()

    def look(addresses: set[Address]) -> None:
        seen["addresses"] = addresses
        seen["http"] = [address for address in addresses if answers_http(address)]
        strange = distributed.Security.temporary()
        seen["dask"] = [
            (address, protocol)
            for address in addresses
            for protocol, security in (("tcp", None), ("tls", strange))
            if accepts_dask(address, protocol, security)
        ]

    thread = while_running(look, before)
    result = go(inputs, tmp_path / "out", model, scheduler="local", jobs=2)
    thread.join()
    assert (result.done, result.exit_code) == (8, 0)
    assert len(seen["addresses"]) >= 5
    assert {ip for ip, _ in seen["addresses"]} == {"127.0.0.1"}
    assert seen["http"] == []
    assert seen["dask"] == []
    assert listening() <= before


def test_the_probes_see_what_is_open() -> None:
    """Without this the test above could not fail."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = ("127.0.0.1", server.server_address[1])
    assert address in listening()
    assert answers_http(address)
    server.shutdown()
    with distributed.LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", dashboard_address=None, threads_per_worker=1
    ) as cluster:
        host, port = cluster.scheduler_address.removeprefix("tcp://").split(":")
        assert accepts_dask((host, int(port)), "tcp")


def test_an_address_with_tls_wants_certificates() -> None:
    with (
        pytest.raises(UsageError, match="asks for TLS and Dask has no certificates") as caught,
        scheduler.connected(RunOptions(scheduler="tls://127.0.0.1:1")),
    ):
        pass
    assert caught.value.code == "scheduler-tls"
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in str(caught.value.hint)


@pytest.mark.slow
def test_a_local_cluster_says_nothing_of_itself(tmp_path: Path, model: Path) -> None:
    inputs = make_scans(tmp_path / "in", 2)
    command = [
        sys.executable, "-m", "hirescam_cli", "explain", str(inputs), "-o", str(tmp_path / "out"),
        "--model", str(model), "--scheduler", "local", "--jobs", "1", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "distributed" not in done.stderr
    assert "2 done, 0 already there, 0 failed, 0 left" in done.stderr


@pytest.mark.slow
def test_dasks_own_settings_give_the_certificates(tmp_path: Path, model: Path) -> None:
    """A cluster with TLS of the user's own is spoken to with what Dask's configuration names."""
    import dask

    security = distributed.Security.temporary()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, security=security, dashboard_address=None, protocol="tls://"
    ) as cluster:
        certificate = tmp_path / "cert.pem"
        key = tmp_path / "key.pem"
        certificate.write_text(security.tls_ca_file)
        key.write_text(security.tls_client_key)
        settings = {
            "distributed.comm.tls.ca-file": str(certificate),
            "distributed.comm.tls.client.cert": str(certificate),
            "distributed.comm.tls.client.key": str(key),
        }
        with dask.config.set(settings):
            result = go(
                make_scans(tmp_path / "in", 2), tmp_path / "out", model, scheduler=cluster.scheduler_address
            )
    assert (result.done, result.exit_code) == (2, 0)


def test_without_cryptography_a_local_cluster_is_refused(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match="needs cryptography, which is not installed"):
        go(make_scans(tmp_path / "in", 1), tmp_path / "out", model, scheduler="local")
