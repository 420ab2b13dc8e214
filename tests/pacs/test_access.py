"""Who we are, whom we trust, and that no secret is ever told."""

from __future__ import annotations

import base64
import datetime
import errno
import os
import shutil
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from hirescam_cli.errors import UsageError
from hirescam_cli.pacs.access import ArchiveOptions, access
from hirescam_cli.pacs.multipart import Body, instance_of
from tests.cli.command import hirescam
from tests.pacs.fake_archive import FakeArchive, Fault, served
from tests.pacs.world import STUDY, ct_series, finished_case, report

SECRET = "pa55:wört"
QUERY = f"StudyInstanceUID={STUDY}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def by_variables(patch: pytest.MonkeyPatch, _folder: Path) -> str:
    patch.setenv("HIRESCAM_PACS_USER", "eve")
    patch.setenv("HIRESCAM_PACS_PASSWORD", SECRET)
    return basic("eve", SECRET)


def by_token(patch: pytest.MonkeyPatch, _folder: Path) -> str:
    patch.setenv("HIRESCAM_PACS_TOKEN", SECRET.replace("ö", "o"))
    return "Bearer " + SECRET.replace("ö", "o")


def by_netrc(patch: pytest.MonkeyPatch, folder: Path) -> str:
    (folder / "netrc").write_text(f"machine 127.0.0.1 login eve password {SECRET}\n", encoding="utf-8")
    (folder / "netrc").chmod(0o600)
    patch.setenv("NETRC", str(folder / "netrc"))
    return basic("eve", SECRET)


@pytest.mark.parametrize("give", [by_variables, by_token, by_netrc])
def test_credentials_reach_the_archive_and_no_message(
    archive: FakeArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    give: object, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    expected = give(monkeypatch, tmp_path)  # type: ignore[operator]
    for data in ct_series(tmp_path / "made"):
        archive.add(data)
    done = hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path / "out")
    assert done.code == 0
    case = finished_case(tmp_path / "cases", "scan", {"a.sr.dcm": report("a")})
    pushed = hirescam(capsys, "pacs", "push", case)
    assert pushed.code == 0
    assert set(archive.authorisations) == {expected}
    archive.faults.append(Fault("", "status", times=99, status=401))
    refused = hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path / "again")
    assert refused.code == 69
    assert "does not let us in (401)" in refused.err
    archive.faults[:] = [Fault("", "close", times=99)]
    gone = hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path / "again", "--retries", "0")
    assert gone.code == 69
    said = "".join((done.out, done.err, pushed.out, pushed.err, refused.err, gone.err, caplog.text))
    written = b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "netrc"
    )
    for secret in ("pa55", expected.partition(" ")[2]):
        assert secret not in said
        assert secret.encode() not in written


def test_credentials_do_not_follow_to_another_host(
    archive: FakeArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_variables(monkeypatch, tmp_path)
    with served() as other:
        for data in ct_series(tmp_path / "made"):
            archive.add(data)
            other.add(data)
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        away = {"Location": f"{elsewhere}/studies"}
        archive.faults.append(Fault("GET", "status", times=1, status=302, headers=away))
        hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path / "out", "--retries", "0")
        assert other.requests == ["GET /dicom-web/studies"]
        assert other.authorisations == [None]
        # What is stored goes nowhere else at all.
        case = finished_case(tmp_path / "cases", "scan", {"a.sr.dcm": report("a")})
        archive.faults.append(Fault("POST", "status", times=1, status=307, headers=away))
        assert hirescam(capsys, "pacs", "push", case).code == 69
        assert len(other.requests) == 1


def test_addresses_with_secrets_are_refused_without_telling_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in ("https://eve:pa55@pacs/dicom-web", "https://pacs/dicom-web?token=pa55", "ftp://pa55", "pa55"):
        result = hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path, "--url", url)
        assert result.code == 2
        assert "pa55" not in result.err + result.out


def test_contradictions_are_refused() -> None:
    options = ArchiveOptions("https://pacs/")
    with pytest.raises(UsageError, match="Both"):
        access(options, {"HIRESCAM_PACS_TOKEN": "t", "HIRESCAM_PACS_USER": "u"})
    with pytest.raises(UsageError, match="without"):
        access(options, {"HIRESCAM_PACS_PASSWORD": "p"})
    with pytest.raises(UsageError, match="No archive"):
        access(ArchiveOptions(), {})
    with pytest.raises(UsageError, match="not a file"):
        access(ArchiveOptions("https://pacs", Path("/nonexistent.pem")), {})


def test_a_malformed_netrc_is_named_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine pacs login eve pa55wd oops\n")
    (tmp_path / "netrc").chmod(0o600)
    with pytest.raises(UsageError) as caught:
        access(ArchiveOptions("https://pacs"), {"NETRC": str(tmp_path / "netrc")})
    assert "pa55wd" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_credentials_in_the_clear_are_known() -> None:
    user = {"HIRESCAM_PACS_USER": "u", "HIRESCAM_PACS_PASSWORD": "p"}
    for url, clear in {
        "http://pacs:80/": True, "https://pacs": False, "http://127.0.0.1:1": False, "http://[::1]:1": False,
        "http://localhost": False, "http://10.0.0.1/x": True,
    }.items():  # fmt: skip
        found = access(ArchiveOptions(url), user)
        assert found.in_the_clear is clear, url
        assert "p'" not in repr(found)
        assert not access(ArchiveOptions(url), {"NETRC": "/nonexistent"}).in_the_clear


def certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "archive")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "archive.pem").write_bytes(pem)
    return folder / "archive.pem"


def test_certificates_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = certificate(tmp_path)
    with served(pem) as archive:
        monkeypatch.setenv("HIRESCAM_PACS_URL", archive.url)
        for data in ct_series(tmp_path / "made"):
            archive.add(data)
        refused = hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path / "out")
        assert refused.code == 69
        assert "not trusted" in refused.err
        assert archive.requests == []
        trusted = hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path / "out", "--ca-file", pem)
        assert trusted.code == 0, trusted.err
        # A bundle in the environment does not overrule the file that was asked for.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Path(__file__)))
        monkeypatch.setenv("HIRESCAM_PACS_CA_FILE", str(pem))
        assert hirescam(capsys, "pacs", "pull", QUERY, "-o", tmp_path / "out").code == 0


def test_a_full_disk_ends_a_pull_with_74_and_nothing_half(
    archive: FakeArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = ct_series(tmp_path / "made")
    for data in slices:
        archive.add(data)
    synced, room = os.fsync, 4

    def fsync(descriptor: int) -> None:
        nonlocal room
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".tmp"):
            room -= 1
            if room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced(descriptor)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        full = hirescam(capsys, "pacs", "pull", QUERY, "-o", out)
    assert full.code == 74
    assert "No space left" in full.err
    shown = [path for path in out.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    assert [path.name for path in shown] == [STUDY]
    assert not list(out.rglob("*.tmp"))
    archive.requests.clear()
    assert hirescam(capsys, "pacs", "pull", QUERY, "-o", out).code == 0
    assert archive.count("GET .*/instances/") == 2


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root"
)
def test_a_really_full_disk(archive: FakeArchive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data in ct_series(tmp_path / "made", slices=80):
        archive.add(data)
    out = tmp_path / "small"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(out)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        full = hirescam(capsys, "pacs", "pull", QUERY, "-o", out)
        assert full.code == 74, full.err
        assert [path.name for path in (out / STUDY).iterdir() if not path.name.startswith(".")] == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
        assert hirescam(capsys, "pacs", "pull", QUERY, "-o", out).code == 0
    finally:
        subprocess.run(["umount", str(out)], check=True)


@pytest.mark.parametrize("data", [b"", b"x", b"\r\n--", bytes(range(256)) * 4000])
def test_a_body_is_read_back_byte_for_byte(data: bytes) -> None:
    body = Body(data)
    length, read = len(body), b""
    while chunk := body.read(1000):
        read += chunk
        assert len(body) == length - len(read)
    assert len(read) == length
    assert instance_of(body.content_type, read) == data
    for end in (len(read) - 3, len(read) - 40, 5, 0):
        with pytest.raises(ValueError):
            instance_of(body.content_type, read[:end])
    with pytest.raises(ValueError, match="not a multipart"):
        instance_of("text/html", read)


def test_help_needs_no_http_library() -> None:
    heavy = "{'requests', 'dicomweb_client', 'pydicom'}"
    code = f"import sys; import hirescam_cli.cli.app; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
