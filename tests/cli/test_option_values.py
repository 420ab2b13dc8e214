"""Options of `explain` from the command line and from the environment: each is heeded or refused, and help tells."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from hirescam_cli import options
from hirescam_cli.cli.app import app
from tests.cli.command import hirescam

EXPLAIN: Any = typer.main.get_command(app).load("explain")  # type: ignore[attr-defined]
OPTIONS = {
    parameter.opts[0].removeprefix("--"): parameter
    for parameter in EXPLAIN.params
    if parameter.opts[0].startswith("--") and parameter.name != "help"
}
CHOICES = {option.name: option for option in options.OPTIONS if option.choice}
HEEDED = {
    "config": "project.toml",
    "output": "elsewhere", "method": "hirescam,gradcam", "model": "axialnet-83", "weights": "my.pt", "labels": "top:3",
    "threshold": "0.25", "target-layer": "conv2d.5", "placement": "receptive-field", "freeze": "none",
    "seg-fraction": "0.25",
    "grid": "cam",
    "format": "png,html", "signed": "1", "compress": "3", "device": "cpu", "precision": "fp32", "series": "1.2.3",
    "prefer": "qform", "assume-affine": "true", "allow-gaps": "yes", "max-voxels": "7", "identifiers": "none",
    "existing": "error", "verify": "1", "jobs": "3", "num-parts": "2", "part-id": "1", "scheduler": "local",
    "max-failures": "4", "timeout": "9", "dry-run": "1", "json": "1", "log-file": "run.log", "log-format": "json",
    "quiet": "1", "verbose": "2",
}  # fmt: skip
REFUSED = {
    "method": "lime", "model": "resnet", "labels": "top:0", "threshold": "2", "placement": "sideways", "freeze": "all",
    "seg-fraction": "2",
    "grid": "fine",
    "format": "jpeg", "signed": "maybe", "compress": "9", "device": "tpu", "precision": "int8", "series": "x",
    "prefer": "sfrom", "assume-affine": "maybe", "allow-gaps": "maybe", "max-voxels": "0", "identifiers": "uid",
    "existing": "keep", "verify": "maybe", "jobs": "-1", "num-parts": "x", "part-id": "x", "max-failures": "0",
    "scheduler": "LOCAL", "timeout": "0", "dry-run": "maybe",
    "json": "maybe", "log-format": "xml", "quiet": "maybe", "verbose": "x",
}  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command would carry out, one entry a call; nothing is read or computed."""
    calls: list[Any] = []
    monkeypatch.setattr("hirescam_cli.cli.run.run_explain", lambda *told, **more: calls.append((told, more)))
    return calls


def test_the_tables_of_this_test_hold_every_option() -> None:
    assert set(HEEDED) == set(OPTIONS)
    assert set(REFUSED) == set(OPTIONS) - {
        "config",
        "output",
        "weights",
        "target-layer",
        "log-file",
    }


@pytest.mark.parametrize("option", HEEDED)
def test_each_variable_does_what_the_option_does(
    option: str,
    run: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = tmp_path / "scan.nii"
    scan.touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project.toml").touch()
    usual = hirescam(capsys, "explain", scan)
    flag = OPTIONS[option].is_flag or option == "verbose"
    arguments = [f"--{option}"] * (int(HEEDED[option]) if option == "verbose" else 1)
    given = hirescam(capsys, "explain", scan, *arguments, *([] if flag else [HEEDED[option]]))
    monkeypatch.setenv(options.BY_NAME[option].variable, HEEDED[option])
    told = hirescam(capsys, "explain", scan)
    assert [usual.code, given.code, told.code] == [0, 0, 0], (given.err, told.err)
    assert run[1] == run[2] != run[0]


TRIALS = [("variable", option) for option in REFUSED]
TRIALS += [("option", o) for o in REFUSED if not OPTIONS[o].is_flag and o != "verbose"]


@pytest.mark.parametrize(("source", "option"), TRIALS)
def test_what_is_unknown_is_refused_wherever_it_comes_from(
    option: str,
    source: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan, more = tmp_path / "scan.nii", []
    scan.touch()
    monkeypatch.setenv("COLUMNS", "240")
    if source == "variable":
        monkeypatch.setenv(options.BY_NAME[option].variable, REFUSED[option])
    else:
        more = [f"--{option}", REFUSED[option]]
    result = hirescam(capsys, "explain", scan, "-o", tmp_path / "out", *more)
    assert (result.code, result.out) == (2, ""), result.err
    assert (REFUSED[option] if option == "model" else f"--{option}") in result.err
    if option in CHOICES:
        assert f"--{option} {REFUSED[option]!r} is unknown" in result.err
        assert all(shown in result.err for shown in CHOICES[option].choice.shown)
    assert not (tmp_path / "out").exists()


LISTS = {"method": ("hirescam", "gradcam"), "format": ("png", "html")}


@pytest.mark.parametrize("option", LISTS)
@pytest.mark.parametrize("between", [",", " , "])
def test_a_repeatable_option_takes_a_list_from_its_variable(
    option: str,
    between: str,
    run: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(options.BY_NAME[option].variable, between.join(LISTS[option]))
    (tmp_path / "scan.nii").touch()
    assert hirescam(capsys, "explain", tmp_path / "scan.nii").code == 0
    assert getattr(run[0][0][1], option + "s") == LISTS[option]


@pytest.mark.parametrize("option", [*LISTS, "log"])
@pytest.mark.parametrize("source", ["option", "variable"])
def test_a_blank_separates_no_values(
    option: str,
    source: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "scan.nii").touch()
    both = " ".join(LISTS.get(option, ("csv", "mlflow")))
    command = ["train", "t.csv"] if option == "log" else ["explain", tmp_path / "scan.nii"]
    more = [f"--{option}", both] if source == "option" else []
    if source == "variable":
        monkeypatch.setenv(options.BY_NAME[option].variable, both)
    result = hirescam(capsys, *command, *more)
    assert result.code == 2
    assert f"--{option} '{both}' is unknown" in result.err


@pytest.mark.parametrize("option", LISTS)
def test_a_repeatable_option_is_given_again_or_with_commas(
    option: str, run: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scan.nii").touch()
    first, second = LISTS[option]
    for words in ([f"--{option}", first, f"--{option}", second], [f"--{option}={first},{second}"]):
        assert hirescam(capsys, "explain", tmp_path / "scan.nii", *words).code == 0
    assert [getattr(call[0][1], option + "s") for call in run] == [LISTS[option]] * 2


@pytest.mark.parametrize(("option", "bad"), [("prefer", "sfrom"), ("identifiers", "uid"), ("series", "x")])
def test_inspect_refuses_them_too(
    option: str, bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scan.nii").touch()
    monkeypatch.setenv(options.BY_NAME[option].variable, bad)
    result = hirescam(capsys, "inspect", tmp_path / "scan.nii")
    assert (result.code, result.out) == (2, "")
    assert f"--{option} '{bad}' is unknown" in result.err


@pytest.mark.parametrize(
    ("option", "bad"),
    [("placement", "rf"), ("method", "lime"), ("grid", "fine"), ("format", "jpeg"), ("labels", "top:0")],
)
def test_render_refuses_them_before_any_case_is_read(
    option: str, bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = hirescam(capsys, "render", tmp_path, "--scan", tmp_path, f"--{option}", bad)
    assert (result.code, result.out) == (2, "")
    assert f"--{option} '{bad}' is unknown" in result.err


def test_help_names_each_variable_and_the_choices(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    text = hirescam(capsys, "explain", "--help").out
    for option in OPTIONS:
        assert f"[env var: {options.BY_NAME[option].variable}]" in text
    for option in set(CHOICES) & set(OPTIONS):
        assert str(CHOICES[option].shown) in text
    assert "[default: the model's]" in text


GROUP: Any = typer.main.get_command(app)
COMMANDS = [[], *([name] for name in GROUP.commands)]
COMMANDS += [[group, name] for group in GROUP.commands for name in getattr(GROUP.load(group), "commands", ())]


@pytest.mark.parametrize("name", GROUP.commands)
def test_the_list_of_commands_says_of_each_what_it_says_itself(name: str) -> None:
    listed, own = GROUP.commands[name].help, GROUP.load(name).help
    assert own.partition("\n\n")[0].replace("\n", " ").strip() == listed


def test_the_list_of_commands_loads_none_of_them() -> None:
    code = (
        "import sys\nfrom hirescam_cli.cli.app import app\n"
        "try:\n    app(['--help'], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        "print(sorted(set(sys.modules) & {'torch', 'numpy', 'hirescam_cli.options', 'importlib.metadata'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_no_value_after_a_flag(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    lines = hirescam(capsys, *command, "--help").out.splitlines()
    flags = [line for line in lines if re.match(r"│ [* ]*--", line)]
    assert any("--help" in line for line in flags)
    assert not [line for line in flags if "<bool>" in line or "<int>" in line]
