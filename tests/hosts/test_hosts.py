"""What hosts say, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.hosts.deliver import deliver
from hirescam_cli.hosts.job import Element, Job, job_for
from hirescam_cli.hosts.task import read_settings
from tests.hosts.world import tree
from tests.pacs.world import finished_case, report

ALLOWED = ("method", "labels", "threshold", "signed", "compress", "weights", "failures-ok", "model")


def folders(base: Path, *names: str) -> None:
    for name in names:
        (base / name).mkdir(parents=True)


def test_each_host_is_told_by_its_variables(tmp_path: Path) -> None:
    folders(tmp_path, "in", "work/batch/b1/get", "work/batch/b2/get", "work/batch/b3")
    a, b = str(tmp_path / "in"), str(tmp_path / "out")
    # mercure, which sets MONAI's variables too, is told before it.
    mercure = {"MERCURE_IN_DIR": a, "MERCURE_OUT_DIR": b, "MONAI_INPUTPATH": a, "HOLOSCAN_INPUT_PATH": a}
    found = job_for("auto", [], None, mercure)
    assert found.host == "mercure"
    assert found.elements == (Element(Path(a), None, Path(b)),)
    assert (found.result, found.task) == (Path(b, "result.json"), None)
    (tmp_path / "in" / "task.json").write_text("{}")
    assert job_for("auto", [], None, mercure).task == Path(a, "task.json")
    for variables in (
        {"HOLOSCAN_INPUT_PATH": a, "HOLOSCAN_OUTPUT_PATH": b},
        {"MONAI_INPUTPATH": a, "MONAI_OUTPUTPATH": b},
    ):
        found = job_for("auto", [], None, variables)
        assert (found.host, found.elements) == ("monai", (Element(Path(a), None, Path(b)),))
        assert found.models == Path("/opt/holoscan/models")
    # Its packager writes paths relative to its working folder.
    relative = {
        "HOLOSCAN_INPUT_PATH": "in/",
        "HOLOSCAN_OUTPUT_PATH": "out/",
        "HOLOSCAN_WORKDIR": str(tmp_path),
    }
    assert job_for("auto", [], None, relative).elements == (Element(Path(a), None, Path(b)),)
    kaapana = {
        "WORKFLOW_DIR": str(tmp_path / "work").lstrip("/"), "BATCH_NAME": "batch", "OPERATOR_IN_DIR": "get",
        "OPERATOR_OUT_DIR": "maps",
    }  # fmt: skip
    found = job_for("auto", [], None, kaapana)
    batch = tmp_path / "work" / "batch"
    assert found.host == "kaapana"
    assert found.elements == tuple(
        Element(batch / name / "get", name, batch / name / "maps") for name in ("b1", "b2")
    )
    assert found.run == tmp_path / "work" / "maps"
    del kaapana["BATCH_NAME"]
    assert len(job_for("kaapana", [], None, kaapana).elements) == 2
    found = job_for("auto", [Path(a)], Path(b), {"XNAT_HOST": "https://xnat"})
    assert (found.host, found.elements, found.run) == ("xnat", (Element(Path(a)),), Path(b))
    found = job_for("nextflow", [Path(a), tmp_path / "work"], None, {})
    assert [one.source for one in found.elements] == [Path(a), tmp_path / "work"]
    assert found.run == Path("hirescam-output")


def test_what_cannot_be_told_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not that of a pipeline"):
        job_for("auto", [], None, {})
    with pytest.raises(UsageError, match="MERCURE_OUT_DIR is not set"):
        job_for("mercure", [], None, {"MERCURE_IN_DIR": str(tmp_path)})
    with pytest.raises(UsageError, match="needs an INPUT"):
        job_for("nextflow", [], None, {})
    with pytest.raises(UsageError, match="2 INPUTs"):
        job_for("xnat", [tmp_path, tmp_path], None, {})
    with pytest.raises(NoInputError, match="/nowhere does not exist"):
        job_for("xnat", [Path("/nowhere")], None, {})
    variables = {"WORKFLOW_DIR": str(tmp_path), "OPERATOR_IN_DIR": "get", "OPERATOR_OUT_DIR": "o"}
    with pytest.raises(NoInputError, match="batch is not a folder"):
        job_for("kaapana", [], None, variables)
    (tmp_path / "batch" / "b1").mkdir(parents=True)
    with pytest.raises(NoInputError, match="No element"):
        job_for("kaapana", [], None, variables)


def task(tmp_path: Path, process: object) -> Path:
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"id": "x", "process": process}))
    return path


def test_settings_of_a_task(tmp_path: Path) -> None:
    given = {
        "method": "hirescam, gradcam", "labels": "top:2", "threshold": 1, "signed": True, "compress": 2,
        "weights": "/models/w.safetensors", "failures_ok": True,
    }  # fmt: skip
    expected = {
        "method": ("hirescam", "gradcam"), "labels": "top:2", "threshold": 1.0, "signed": True, "compress": 2,
        "weights": (Path("/models/w.safetensors"),), "failures-ok": True,
    }  # fmt: skip
    assert read_settings(task(tmp_path, {"settings": given}), ALLOWED) == expected
    # In a table of our own the site's other settings do not matter.
    mixed = {"hirescam": {"method": ["cam"]}, "colour": "red"}
    assert read_settings(task(tmp_path, {"settings": mixed}), ALLOWED) == {"method": ("cam",)}
    for nothing in (None, {}, {"settings": None}, {"settings": {}}):
        assert read_settings(task(tmp_path, nothing), ALLOWED) == {}
    steps = [
        {"module_name": "denoise", "settings": {"x": 1}},
        {"module_name": "hirescam-chest", "settings": {"labels": "all"}},
    ]
    assert read_settings(task(tmp_path, steps), ALLOWED) == {"labels": "all"}
    assert read_settings(task(tmp_path, [{"settings": {"labels": "all"}}]), ALLOWED) == {"labels": "all"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": "cam"}, "sets 'methods', which is not an option"),
        ({"output": "/elsewhere"}, "sets 'output', which is not an option"),
        ({"threshold": "0.5"}, 'sets threshold to "0.5"'),
        ({"threshold": 7}, "--threshold is 7"),
        ({"signed": 1}, "expected true or false"),
        ({"compress": True}, "expected a whole number"),
        ({"method": [1]}, "expected a list of words"),
        ({"method": "lime"}, "--method 'lime' is unknown"),
        ({"model": None}, "expected text"),
        ([1], "not a table"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, settings: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(task(tmp_path, {"settings": settings}), ALLOWED)
    assert words in str(caught.value)


def test_a_task_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    for text in ("", "{", "\0", "[" * 100000):
        path.write_text(text)
        with pytest.raises(UsageError, match="cannot be read as JSON"):
            read_settings(path, ALLOWED)
    two = [{"module_name": "a"}, {"module_name": "b"}]
    with pytest.raises(UsageError, match="not clear which"):
        read_settings(task(tmp_path, two), ALLOWED)


def test_flat_names_never_meet(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = out / ".hirescam-run"
    for name in ("a/b", "a.b", "c"):
        finished_case(run, name, {"report.sr.dcm": report(name)})
    (run / "c" / "series").mkdir()
    (run / "c" / "series" / "1.dcm").write_bytes(b"1")
    (run / "batch.json").write_text("{}")
    job = Job("mercure", (Element(tmp_path, None, out),), run, ())
    delivered = deliver(job)
    expected = [
        "a.b.report.sr.dcm", "a.b.summary.json", "a.b~2.report.sr.dcm", "a.b~2.summary.json", "batch.json",
        "c.report.sr.dcm", "c.series.1.dcm", "c.summary.json",
    ]  # fmt: skip
    assert tree(out) == expected
    assert sorted(path.name for path in delivered) == expected
    assert sorted(
        (out / name).read_bytes() for name in ("a.b.report.sr.dcm", "a.b~2.report.sr.dcm")
    ) == sorted((report("a.b"), report("a/b")))


def test_elements_get_their_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in ("e1", "e2/x", "e2/y"):
        finished_case(run, name, {"r.dcm": report(name)})
    elements = tuple(Element(tmp_path, name, tmp_path / name / "maps") for name in ("e1", "e2"))
    deliver(Job("kaapana", elements, run, ()))
    assert tree(tmp_path / "e1" / "maps") == ["r.dcm", "summary.json"]
    assert tree(tmp_path / "e2" / "maps") == ["x.r.dcm", "x.summary.json", "y.r.dcm", "y.summary.json"]
    assert (tmp_path / "e2" / "maps" / "y.r.dcm").read_bytes() == report("e2/y")
