"""The files for hosts say what the program does: their commands and settings are run as they stand."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from hirescam_cli import __version__
from hirescam_cli.cli.pipeline import _SETTINGS
from hirescam_cli.hosts.task import read_settings
from hirescam_cli.options import OPTIONS
from hirescam_cli.registries import RESULT_FORMATS
from hirescam_cli.resources import resource_root
from tests.batch.world import make_model
from tests.cli.command import hirescam
from tests.hosts.world import forget_hosts
from tests.io.dicom_factory import make_series

FILES = resource_root() / "configs" / "pipelines"
KNOWN = {option.variable for option in OPTIONS}


@pytest.fixture(autouse=True)
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan, a tiny model, and formats that are quick."""
    forget_hosts(monkeypatch)
    make_series(tmp_path / "input")
    monkeypatch.setenv("HIRESCAM_MODEL", str(make_model(tmp_path / "model")))
    monkeypatch.setenv("HIRESCAM_FORMAT", "nifti")
    monkeypatch.setenv("HIRESCAM_JOBS", "0")


def document(*parts: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILES.joinpath(*parts).read_text())
    return found


def test_versions_are_the_programs() -> None:
    assert document("monai", "app.json")["version"] == __version__
    assert document("monai", "pkg.json")["version"] == __version__
    assert document("xnat", "command.json")["version"] == __version__
    assert f'version="{__version__}"' in (FILES / "Containerfile").read_text()


def test_xnats_command_line_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = document("xnat", "command.json")
    line = command["command-line"]
    for given in command["inputs"]:
        assert line.count(given["replacement-key"]) == 1
        line = line.replace(given["replacement-key"], given["default-value"])
    mounts = {mount["name"]: mount for mount in command["mounts"]}
    assert {name: mount["writable"] for name, mount in mounts.items()} == {"in": False, "out": True}
    for name, here in (("in", "input"), ("out", "output")):
        line = line.replace(mounts[name]["path"], str(tmp_path / here))
    program, *arguments = shlex.split(line)
    assert program == "hirescam"
    result = hirescam(capsys, *arguments)
    assert result.code == 0, result.err
    assert (tmp_path / "output" / "input" / "summary.json").is_file()
    wrapper = command["xnat"][0]
    assert wrapper["derived-inputs"][0]["provides-files-for-command-mount"] in mounts
    outputs = {output["name"]: output["mount"] for output in command["outputs"]}
    assert outputs[wrapper["output-handlers"][0]["accepts-command-output"]] == "out"


def test_monais_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = document("monai", "app.json")
    assert app["input"]["path"] == app["environment"]["HOLOSCAN_INPUT_PATH"]
    assert app["output"]["path"] == app["environment"]["HOLOSCAN_OUTPUT_PATH"]
    assert document("monai", "pkg.json")["modelRoot"] == app["environment"]["HOLOSCAN_MODEL_PATH"].rstrip("/")
    for name, value in app["environment"].items():
        monkeypatch.setenv(name, value.replace("/var/holoscan", str(tmp_path)))
    program, *arguments = json.loads(app["command"])
    assert program == "hirescam"
    result = hirescam(capsys, *arguments)
    assert result.code == 0, result.err
    assert (tmp_path / "output" / "input.summary.json").is_file()


def test_mercures_settings_are_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = document("mercure", "module.json")["hirescam"]
    for text in (module["environment"], module["docker_arguments"]):
        json.loads(text)
    assert set(json.loads(module["environment"])) <= KNOWN
    settings = module["settings"]["hirescam"]
    written = [name for name in settings["format"] if name in RESULT_FORMATS.names()]
    settings["format"] = written or ["nifti"]
    task = {"process": {"module_name": "hirescam", "settings": module["settings"]}}
    (tmp_path / "input" / "task.json").write_text(json.dumps(task))
    assert read_settings(tmp_path / "input" / "task.json", _SETTINGS)["failures-ok"] is True
    settings["format"] = ["nifti"]
    (tmp_path / "input" / "task.json").write_text(json.dumps(task))
    monkeypatch.setenv("MERCURE_IN_DIR", str(tmp_path / "input"))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(tmp_path / "output"))
    result = hirescam(capsys, "pipeline")
    assert result.code == 0, result.err
    assert (tmp_path / "output" / "result.json").is_file()


def test_nextflows_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (FILES / "nextflow" / "main.nf").read_text()
    params = dict(re.findall(r"^params\.(\w+) = '(.*)'$", text, re.MULTILINE))
    params["model"] = str(tmp_path / "model" / "tiny.toml")
    script = text[text.index("hirescam pipeline") : text.index("printf")].replace("\\\\\n", " ")
    for key, value in {"${scan}": "input", "${task.cpus}": "0"}.items():
        script = script.replace(key, value)
    script = re.sub(r"\$\{params\.(\w+)\}", lambda match: params[match[1]], script)
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(script)
    assert program == "hirescam"
    result = hirescam(capsys, *arguments)
    assert result.code == 0, result.err
    for declared in re.findall(r"path '(results/[^']+)'(?!.*optional)", text):
        assert list(tmp_path.glob(declared)), declared


def test_every_option_that_decides_a_case_can_be_set_by_a_host() -> None:
    assert {option.name for option in OPTIONS if option.identity} <= set(_SETTINGS)


def test_kaapanas_variables_are_options() -> None:
    tree = ast.parse((FILES / "kaapana" / "HirescamOperator.py").read_text())
    named = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and str(node.value).startswith("HIRESCAM_")
    }
    assert "HIRESCAM_PIPELINE_HOST" in named
    assert named <= KNOWN


def test_the_image_runs_the_pipeline_as_nobody() -> None:
    lines = (FILES / "Containerfile").read_text().splitlines()
    last = {line.split()[0]: line for line in lines if line and not line.startswith("#")}
    assert last["ENTRYPOINT"] == 'ENTRYPOINT ["hirescam"]'
    assert last["CMD"] == 'CMD ["pipeline"]'
    assert re.fullmatch(r"USER [1-9][0-9]*:[1-9][0-9]*", last["USER"])
    for source in re.findall(r"COPY (?!--from)(configs\S+) (configs\S+)", "\n".join(lines)):
        assert all((resource_root() / path).is_file() for path in source)
    assert set(re.findall(r"(HIRESCAM_\w+)=", "\n".join(lines))) <= KNOWN
