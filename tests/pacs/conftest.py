"""An archive to talk to, with an environment that says nothing of others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.pacs.fake_archive import FakeArchive, served
from tests.pacs.world import ct_series


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, no credentials, no netrc of the person who runs the tests."""
    pytest.importorskip("dicomweb_client")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("URL", "USER", "PASSWORD", "TOKEN", "CA_FILE", "RETRIES"):
        monkeypatch.delenv(f"HIRESCAM_PACS_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArchive]:
    """A fake archive, named by the environment."""
    with served() as fake:
        monkeypatch.setenv("HIRESCAM_PACS_URL", fake.url)
        yield fake


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    from hirescam_cli.pacs import archive
    from hirescam_cli.pacs.patience import Patience

    found: list[float] = []
    monkeypatch.setattr(archive, "Patience", partial(Patience, sleep=found.append))
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def slices(archive: FakeArchive, tmp_path: Path) -> list[bytes]:
    """A CT series of six slices in the archive."""
    found = ct_series(tmp_path / "made")
    for data in found:
        archive.add(data)
    return found
