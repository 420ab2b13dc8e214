"""Every command in README.md and API.md is run on the embedded phantom, or is named here with the reason why not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from hirescam_cli.cli.app import app
from hirescam_cli.resources import sample_path
from tests.documents import ROOT, blocks, calls, commands

PAGES = ("README.md", "API.md")
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
COMMANDS = [(page, command) for page in PAGES for command in commands(TEXT[page])]

# What cannot be run here, by how the command begins or what stands in it: each must be found in a page.
NOT_RUN = {
    "pip install -q -c constraints.txt . ": "installs hirescam; its last part is run",
    "pip install -q -c constraints.txt -e": "runs these tests",
    "--weights epoch23": "the authors' weights are not public",
    "sbatch ": "needs SLURM",
    'pip install "hirescam-cli': "installs an extra",
    "pip install 'hirescam-cli": "installs an extra",
    "--install-completion": "writes to the person's shell settings",
    "--show-completion": "asks which shell it was called from",
    "jq -r ": "needs jq",
    "--model sybil": "its weights are not part of this",
    "-n 1200": "minutes and gigabytes; tests/phantom makes fewer",
    "-n 140": "an hour; a set of two is made",
    "data/scans -o out": "an hour, on those phantoms",
    "--masks data/masks": "the finding's evaluation, on those phantoms",
    "ph/scans": "the referee's figures, on phantoms of their own",
    "--referee occlusion --groups 5": "minutes; tests/evaluate asks the referee about less",
    "--compare others": "needs a second run; tests/evaluate compares two",
    "hirescam train ": "hours; tests/train trains in miniature",
    "tests.train.mask_loss_experiment": "twenty minutes of training",
    "held-out ": "phantoms of that experiment",
    "held-out/scans": "phantoms of that experiment",
    "held-out/masks": "phantoms of that experiment",
    "torchrun ": "hours; tests/train starts two processes",
    "--model run/model.toml": "what training would have made; tests/train explains with such a model",
    "series/": "needs a DICOM series; tests/results writes and reads these objects",
    "hirescam pacs ": "needs an archive; tests/pacs has one",
    "-o maps": "scans that an archive would have given",
}
# Python in the pages that is not run: by what stands in it.
PYTHON_NOT_RUN = {
    "SLURMCluster": "needs SLURM",
}
# Options in the text that are those of other programs.
OF_OTHERS = {
    "--array",
    "--extra-index-url",
    "--gres",
    "--lifetime",
    "--lifetime-stagger",
    "--nthreads",
    "--resources",
}
OF_OTHERS |= {"--wrap", "--nproc-per-node", "--signal", "--ml", "--deterministic"}

GROUP: Any = typer.main.get_command(app)


def reason(command: str) -> str | None:
    """Why a command is not run."""
    return next((why for part, why in NOT_RUN.items() if part in command), None)


def within(command: Any, name: str) -> Any:
    """The command `name` below another."""
    return command.load(name) if command is GROUP else command.commands[name]


def options_of(command: Any) -> set[str]:
    """The options of a command and of those below it."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    below = [within(command, name) for name in getattr(command, "commands", {})]
    return {"--help", "-h"} | own | {name for other in below for name in options_of(other)}


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8
    assert any(command.startswith("hirescam explain") for _, command in COMMANDS)


def test_what_is_not_run_is_in_a_page() -> None:
    for part in NOT_RUN:
        assert any(part in command for _, command in COMMANDS), part
    for part in PYTHON_NOT_RUN:
        assert any(part in block.text for page in PAGES for block in blocks(TEXT[page])), part


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_call_names_commands_and_options_that_there_are(page: str, command: str) -> None:
    for call in calls(command):
        here = GROUP
        while call and getattr(here, "commands", None):
            assert call[0] in here.commands or call[0].startswith("-"), f"{page}: {command}"
            if call[0].startswith("-"):
                break
            here, call = within(here, call[0]), call[1:]
        named = {word.partition("=")[0] for word in call if re.match(r"--?[a-zA-Z]", word)}
        assert named <= options_of(here), f"{page}: {command}"


def test_every_option_in_the_text_is_one() -> None:
    known = options_of(GROUP) | OF_OTHERS
    for page in PAGES:
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(r"<!--.*?-->", "", TEXT[page])))
        assert named <= known, page


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the files that the pages speak of, where `hirescam` is a command."""
    folder = tmp_path_factory.mktemp("readme")
    program = folder / "bin" / "hirescam"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom hirescam_cli.__main__ import main\nmain()\n")
    program.chmod(0o755)
    for name in ("scan.nii.gz", "phantom.nii.gz", "scans/a.nii.gz", "data/scans/b.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample_path("phantom.nii.gz"), folder / name)
    for case in ("scan", "a"):
        shutil.copytree(sample_path("phantom.masks"), folder / "masks" / case)
    names = [path.name.removesuffix(".nii.gz") for path in sorted((folder / "masks" / "scan").iterdir())]
    # The mask of an organ, which is no label.
    shutil.copy(folder / "masks" / "scan" / f"{names[0]}.nii.gz", folder / "masks" / "scan" / "heart.nii.gz")
    rows = [
        ["id", "patient", "split", *names],
        *([case, case, "test", *["1"] * len(names)] for case in ("scan", "a")),
    ]
    (folder / "labels.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    for block in blocks(TEXT["README.md"]):
        first = block.text.partition("\n")[0]
        if block.language == "toml" and first.startswith("# ") and first.endswith(".toml"):
            (folder / first[2:]).write_text(block.text)
    _weights(folder / "own.safetensors")
    return folder


def _weights(path: Path) -> None:
    """What own.toml of the README describes, with weights of no meaning."""
    import torch
    from monai.networks.nets import resnet18
    from safetensors.torch import save_file

    torch.manual_seed(0)
    module = resnet18(spatial_dims=3, n_input_channels=1, num_classes=3, conv1_t_stride=2)
    tensors = {k: v.contiguous() for k, v in module.state_dict().items() if "num_batches" not in k}
    save_file(tensors, path)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line as a person would, but that /data is a folder of the test and one thread is enough."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HIRESCAM_")},
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    text = re.sub(r"(?<![\w.])/data\b", str(folder / "data"), command)
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def last_part(command: str) -> str:
    """What a command that installs hirescam first runs then."""
    return command.rpartition("&& ")[2].replace(".venv/bin/", "")


@pytest.mark.slow
def test_every_command_runs(shelf: Path) -> None:
    """In their order, since some go on with what those before them wrote."""
    for page, command in COMMANDS:
        why = reason(command)
        if why and "its last part is run" in why:
            command = last_part(command)
        elif why:
            continue
        done = run(command, shelf)
        assert done.returncode == 0, f"{page}: {command}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"


def test_the_python_of_the_readme_runs(shelf: Path) -> None:
    for block in blocks(TEXT["README.md"]):
        python = block.language == "python" or (block.language == "" and not block.is_shell)
        if not python or any(part in block.text for part in PYTHON_NOT_RUN):
            continue
        (shelf / "block.py").write_text(block.text)
        done = run(f"{sys.executable} block.py", shelf)
        assert done.returncode == 0, f"{block.text}\n{done.stderr[-2000:]}"


def test_the_checks_see_what_is_wrong(shelf: Path) -> None:
    page = "x\n\n```\nhirescam explane scan.nii.gz \\\n    --labels all   # comment\n```\n\n    hirescam --fast\n"
    assert commands(page) == ["hirescam explane scan.nii.gz --labels all", "hirescam --fast"]
    assert reason("hirescam explane scan.nii.gz") is None
    for command in commands(page):
        with pytest.raises(AssertionError):
            test_every_call_names_commands_and_options_that_there_are("x", command)
    assert run("hirescam explane scan.nii.gz", shelf).returncode == 2
    assert run("unheard-of scan.nii.gz", shelf).returncode == 127
    assert run("hirescam explane scan.nii.gz | cat", shelf).returncode == 2
    assert calls("find . | hirescam explain - -o out --json > run.json && .venv/bin/hirescam demo") == [
        ["explain", "-", "-o", "out", "--json"],
        ["demo"],
    ]
