"""`hirescam pipeline` in the folders and environment of each host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.world import make_model
from tests.cli.command import hirescam
from tests.hosts.world import VARIABLES, forget_hosts, mercure_input, tree
from tests.io.dicom_factory import make_series, uid

QUICK = ("--format", "nifti", "--jobs", 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    forget_hosts(monkeypatch)
    monkeypatch.setenv("HIRESCAM_MODEL", str(model))


def break_one(folder: Path, name: str) -> None:
    """Cut one slice of a series short."""
    victim = max(folder.glob(f"{uid(name)}#*.dcm"))
    victim.write_bytes(victim.read_bytes()[:-500])


def test_mercure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = mercure_input(
        tmp_path / "in", "one", "two", settings={"labels": "all", "method": "hirescam,gradcam"}
    )
    before = tree(source)
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("MERCURE_IN_DIR", str(source))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(tmp_path / "out"))
    result = hirescam(capsys, "pipeline", *QUICK)
    assert result.code == 0, result.err
    assert ".tags" not in result.err
    assert tree(source) == before
    names = tree(tmp_path / "out")
    assert all("/" not in name for name in names)
    one, two = f"in.{uid('one')}", f"in.{uid('two')}"
    for case in (one, two):
        for method in ("hirescam", "gradcam"):
            assert {f"{case}.{method}.{label}.nii.gz" for label in ("nodule", "mass")} < set(names)
        summary = json.loads((tmp_path / "out" / f"{case}.summary.json").read_text())
        assert summary["input"]["series_uid"] == case.removeprefix("in.")
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    told = {case["case"]: case for case in document["hirescam"]["cases"]}
    assert {name.replace("/", ".") for name in told} == {one, two}
    summary = json.loads((tmp_path / "out" / f"{one}.summary.json").read_text())
    probabilities = {label["name"]: label["probability"] for label in summary["labels"]}
    (first,) = (case for name, case in told.items() if name.replace("/", ".") == one)
    assert {label["label"]: label["probability"] for label in first["labels"]} == probabilities
    assert first["dicom_objects"] == 0
    assert document["__mercure_notification"]["requested"] is False
    assert "2 of 2 scans explained" in document["__mercure_notification"]["text"]
    assert "Research use only" in document["__mercure_notification"]["text"]


@pytest.mark.parametrize(
    ("ok", "broken", "code"), [(False, 1, 8), (True, 1, 0), (True, 2, 65), (False, 2, 65)]
)
def test_failures_under_mercure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ok: bool, broken: int,
    code: int,
) -> None:  # fmt: skip
    source = mercure_input(tmp_path / "in", "one", "two", settings={"hirescam": {"failures_ok": ok}})
    for name in ("one", "two")[:broken]:
        break_one(source, name)
    monkeypatch.setenv("MERCURE_IN_DIR", str(source))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(tmp_path / "out"))
    result = hirescam(capsys, "pipeline", *QUICK)
    assert result.code == code, result.err
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    statuses = sorted(case["status"] for case in document["hirescam"]["cases"])
    assert statuses == ["failed"] * broken + ["ok"] * (2 - broken)
    assert document["__mercure_notification"]["requested"] is True
    assert f"{2 - broken} of 2 scans explained" in document["__mercure_notification"]["text"]
    kept = [name for name in tree(tmp_path / "out") if name.endswith("cams.nii.gz")]
    assert len(kept) == 2 - broken


def test_a_task_that_is_refused_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = mercure_input(tmp_path / "in", settings={"metod": "hirescam"})
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("MERCURE_IN_DIR", str(source))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(tmp_path / "out"))
    result = hirescam(capsys, "pipeline", *QUICK)
    assert result.code == 2
    assert "metod" in result.err
    assert tree(tmp_path / "out") == []


def test_a_monai_application_package(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_series(tmp_path / "input" / "study" / "ct")
    monkeypatch.delenv("HIRESCAM_MODEL")
    shutil.copytree(model.parent, tmp_path / "models" / "chest")
    for name in ("input", "output"):
        monkeypatch.setenv(f"HOLOSCAN_{name.upper()}_PATH", str(tmp_path / name))
    monkeypatch.setenv("HOLOSCAN_MODEL_PATH", str(tmp_path / "models"))
    result = hirescam(capsys, "pipeline", *QUICK)
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "output" / "study.ct.summary.json").read_text())
    assert summary["model"]["name"] == "tiny"
    shutil.copytree(model.parent, tmp_path / "models" / "other")
    refused = hirescam(capsys, "pipeline", *QUICK)
    assert refused.code == 2
    assert "2 model files" in refused.err


def test_xnat_keeps_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_series(tmp_path / "input")
    result = hirescam(
        capsys, "pipeline", "--host", "xnat", tmp_path / "input", "-o", tmp_path / "output", *QUICK
    )
    assert result.code == 0, result.err
    assert {"input/summary.json", "input/hirescam.cams.nii.gz", "predictions.csv"} < set(
        tree(tmp_path / "output")
    )
    again = hirescam(
        capsys, "pipeline", "--host", "xnat", tmp_path / "input", "-o", tmp_path / "output", *QUICK
    )
    assert again.code == 0
    assert "already there" in again.err


def test_kaapana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("1.2.3", "1.2.4"):
        make_series(tmp_path / "work" / "batch" / name / "get-input-data", series_uid=name)
    monkeypatch.setenv("WORKFLOW_DIR", str(tmp_path / "work").lstrip("/"))
    monkeypatch.setenv("BATCH_NAME", "batch")
    monkeypatch.setenv("OPERATOR_IN_DIR", "get-input-data")
    monkeypatch.setenv("OPERATOR_OUT_DIR", "hirescam")
    result = hirescam(capsys, "pipeline", *QUICK)
    assert result.code == 0, result.err
    for name in ("1.2.3", "1.2.4"):
        folder = tmp_path / "work" / "batch" / name / "hirescam"
        assert json.loads((folder / "summary.json").read_text())["input"]["series_uid"] == name
        assert (folder / "hirescam.cams.nii.gz").is_file()
    assert (tmp_path / "work" / "hirescam" / "predictions.csv").is_file()


def test_nextflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nextflow stages inputs as links into the task's folder, which is the working folder.
    make_series(tmp_path / "data" / "ct")
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "ct").symlink_to(tmp_path / "data" / "ct")
    monkeypatch.chdir(tmp_path / "task")
    result = hirescam(capsys, "pipeline", "--host", "nextflow", "ct", "-o", "results", *QUICK)
    assert result.code == 0, result.err
    assert (tmp_path / "task" / "results" / "ct" / "summary.json").is_file()


def test_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.setenv("MERCURE_IN_DIR", str(tmp_path / "in"))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(tmp_path / "out"))
    assert hirescam(capsys, "pipeline", *QUICK).code == 66
    monkeypatch.setenv("MERCURE_IN_DIR", str(tmp_path / "absent"))
    assert hirescam(capsys, "pipeline", *QUICK).code == 66


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="another user needs root")
def test_any_user_on_a_read_only_system_without_home_and_network(tmp_path: Path, model: Path) -> None:
    """As `--user 12345 --read-only --network none --cap-drop ALL` would; only reading everything is allowed besides,
    since the interpreter may lie in a folder of another user."""
    if any(shutil.which(name) is None for name in ("unshare", "setpriv", "mount", "findmnt")):
        pytest.skip("unshare, setpriv, mount and findmnt are needed")
    source, out = mercure_input(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    os.chown(out, 12345, 12345)
    # /tmp stays visible (the scans lie there) but is read-only, as everything but the output.
    script = 'set -e; mount --bind "$1" "$1"; for place in / $(findmnt -n -o TARGET --target /tmp); do '
    script += 'mount -o remount,bind,ro "$place"; done; shift; exec "$@"'
    right = "-all,+dac_read_search"
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", f"--inh-caps={right}"]
    user += [f"--ambient-caps={right}", f"--bounding-set={right}", "--no-new-privs"]
    command = [sys.executable, "-m", "hirescam_cli", "pipeline", "--format", "nifti,png", "--jobs", "1"]
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    kept |= {"HOME": "/nonexistent", "HIRESCAM_MODEL": str(model), "PYTHONDONTWRITEBYTECODE": "1"}
    kept |= {"MERCURE_IN_DIR": str(source), "MERCURE_OUT_DIR": str(out)}
    for name in ("MPLCONFIGDIR", "TMPDIR", "XDG_CACHE_HOME"):
        kept.pop(name, None)
    probe = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("namespaces are not allowed here")
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", script, "sh", str(out), *user, *command],
        env=kept, cwd="/", capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = tree(out)
    assert {"in.summary.json", "result.json", "in.hirescam.cams.nii.gz"} < set(names)
    assert any(name.endswith(".png") for name in names)
    assert not any(name.startswith(".") for name in names)
    assert {(out / name).stat().st_uid for name in names} == {12345}
