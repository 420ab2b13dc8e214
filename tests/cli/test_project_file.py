"""`--config FILE.toml`: options from a file that is named, checked as everywhere, and giving way to what is nearer."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hirescam_cli.errors import UsageError
from hirescam_cli.option_values import line, typed
from hirescam_cli.options import BY_NAME, OPTIONS
from hirescam_cli.project_file import read_project_file
from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam
from tests.cli.test_option_values import HEEDED, REFUSED

FLAGS = {option.name for option in OPTIONS if option.kind is bool}
NUMBERS = {option.name for option in OPTIONS if option.kind in (int, float)}
# Each value of the environment's test as TOML.
VALUES: dict[str, Any] = {
    name: True if name in FLAGS else json.loads(text) if name in NUMBERS else text
    for name, text in HEEDED.items()
    if name != "config"
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command would carry out, one entry a call."""
    calls: list[Any] = []
    monkeypatch.setattr("hirescam_cli.cli.run.run_explain", lambda *told, **more: calls.append((told, more)))
    return calls


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a scan in it."""
    (tmp_path / "scan.nii").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "project.toml"
    file.write_text(text)
    return file


def test_a_number_too_long_for_python_is_a_fault_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project, scan = tmp_path / "project.toml", tmp_path / "scan.nii"
    project.write_text(f"jobs = {'9' * 5000}\n")
    scan.touch()
    refused = hirescam(capsys, "explain", scan, "--config", project)
    assert (refused.code, "project.toml is not TOML" in refused.err) == (2, True)


@pytest.mark.parametrize("option", VALUES)
def test_each_key_does_what_the_option_does(
    option: str, run: list[Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here, f"{option} = {json.dumps(VALUES[option])}")
    flag = option in FLAGS
    times = VALUES[option] if option == "verbose" else 1
    arguments = [f"--{option}"] * times if flag or option == "verbose" else [f"--{option}", HEEDED[option]]
    (here / "plain").mkdir()
    write(here / "plain", "")
    for more in (["--config", "plain/project.toml"], arguments, ["--config", "project.toml"]):
        result = hirescam(capsys, "explain", "scan.nii", *more)
        assert result.code == 0, result.err
    (usual, given, told) = [_without_config(call) for call in run]
    assert given == told != usual


def _without_config(call: Any) -> str:
    """What would be carried out, but for the name of the project file."""
    return repr(call).replace("config=PosixPath('project.toml')", "config=None").replace(
        "config=PosixPath('plain/project.toml')", "config=None"
    )  # fmt: skip


def test_the_nearer_wins(
    run: list[Any], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, 'labels = "all"\nmethod = ["gradcam"]\nthreshold = 0.125\nsigned = true\n')
    monkeypatch.setenv("HIRESCAM_LABELS", "top:2")
    monkeypatch.setenv("HIRESCAM_METHOD", "layercam")
    monkeypatch.setenv("HIRESCAM_CONFIG", "project.toml")
    assert hirescam(capsys, "explain", "scan.nii", "--method", "hirescam").code == 0
    settings = run[0][0][1]
    assert settings.methods == ("hirescam",)
    assert settings.labels == "top:2"
    assert (settings.threshold, settings.signed) == (0.125, True)
    assert settings.compress == 1


def test_none_is_read_unless_named(run: list[Any], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "hirescam.toml").write_text('labels = "all"')
    assert hirescam(capsys, "explain", "scan.nii").code == 0
    assert run[0][0][1].labels == "positive"


def test_paths_are_relative_to_the_file(
    run: list[Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "study").mkdir()
    text = 'output = "results"\nweights = "w.pt"\nlog-file = "/tmp/run.log"\nmodel = "axialnet-83"\n'
    write(here / "study", text)
    assert hirescam(capsys, "explain", "scan.nii", "--config", "study/project.toml").code == 0
    told, more = run[0]
    assert told[4].output == Path("study/results")
    assert (told[1].weights, told[1].model) == ((Path("study/w.pt"),), "axialnet-83")
    assert more["messages"].log_file == Path("/tmp/run.log")
    make_model(here / "study")
    write(here / "study", f'model = "{make_model(here / "study").name}"')
    assert hirescam(capsys, "explain", "scan.nii", "--config", "study/project.toml").code == 0
    assert Path(run[1][0][1].model).parent == Path("study")


WRONG = {
    'methods = "gradcam"': ["unknown key 'methods'", 'Write method = ["gradcam"]'],
    'target_layer = "conv2d.5"': ["unknown key 'target_layer'", 'Write target-layer = "conv2d.5"'],
    "colour = 3": ["unknown key 'colour'", "Known keys: output, "],
    "[explain]\njobs = 3": ["unknown key 'explain'", "in no [table]"],
    'config = "other.toml"': ["unknown key 'config'"],
    'jobs = "3"': ["--jobs is '3', expected a whole number", "Write jobs = 1"],
    "jobs = true": ["--jobs is True, expected a whole number"],
    "jobs = 1.5": ["--jobs is 1.5, expected a whole number"],
    "threshold = nan": ["--threshold is nan, expected a probability from 0 to 1"],
    "signed = 1": ["--signed is 1, expected true or false", "Write signed = false"],
    "format = [1]": [
        "--format is [1], expected text in quotes, or a list of them",
        'Write format = ["nifti", "png"]',
    ],
    "format = []": ["--format () names nothing"],
    "weights = 3": [
        "--weights is 3, expected a path in quotes, or a list of them",
        'Write weights = ["FILE"]',
    ],
    'labels = ["nodule", "mass"]': ["--labels is ['nodule', 'mass'], expected text in quotes"],
    "labels = ": ["project.toml is not TOML", 'method = ["hirescam"]'],
    "labels = '\udcff'": ["project.toml is not TOML"],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_refused_with_the_line_to_write(
    text: str, run: list[Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "project.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    result = hirescam(capsys, "explain", "scan.nii", "--config", "project.toml")
    assert (result.code, result.out, run) == (2, "", [])
    assert all(said in result.err for said in ["project.toml", *WRONG[text]]), result.err


# Whether there is such a model is known when it is loaded.
@pytest.mark.parametrize("option", sorted(set(REFUSED) - {"model"}))
def test_values_that_the_command_line_refuses_are_refused(option: str, tmp_path: Path) -> None:
    text = REFUSED[option]
    number = option in NUMBERS and text.lstrip("-").isdigit()
    file = write(tmp_path, f"{option} = {text if number else json.dumps(text)}")
    with pytest.raises(UsageError, match=rf"project\.toml: --{option} ") as caught:
        read_project_file(file)
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("here")
def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    result = hirescam(capsys, "explain", "scan.nii", "--config", "nowhere.toml")
    assert result.code == 2
    assert "nowhere.toml cannot be read: No such file" in result.err


@pytest.mark.parametrize("option", BY_NAME)
def test_the_line_to_write_is_one_that_is_read(option: str) -> None:
    (read,) = tomllib.loads(line(BY_NAME[option], None)).items()
    assert read[0] == option
    typed(BY_NAME[option], read[1])


@pytest.mark.usefixtures("here")
def test_it_is_part_of_no_identity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(tmp_path / "model")
    scan = make_scan(tmp_path / "scan.nii.gz")
    file = write(tmp_path, f'model = "{model}"\nformat = ["nifti"]\nlabels = "all"\njobs = 0\n')
    assert hirescam(capsys, "explain", scan, "--config", file).code == 0
    again = hirescam(
        capsys, "explain", scan, "--model", model, "--format", "nifti", "--labels", "all", "--jobs", 0
    )
    assert (again.code, "1 already there" in again.err) == (0, True)
