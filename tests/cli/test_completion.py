"""The tab key: options, choices, models and labels in bash, zsh and fish, without torch, and how it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPLETE = """
import sys
from hirescam_cli.__main__ import main
sys.argv[0] = "hirescam"
try:
    main()
finally:
    heavy = {"torch", "numpy", "nibabel", "rich"} & set(sys.modules)
    print("heavy:", *sorted(heavy), file=sys.stderr)
"""


def completions(shell: str, line: str, folder: Path) -> list[str]:
    """What `shell` is told for the last word of `line`."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_HIRESCAM_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {"torch", "numpy"}.isdisjoint(done.stderr.split()), done.stderr
    if shell == "zsh":
        text = done.stdout.removeprefix("_arguments '*: :((").removesuffix("))'\n")
        return [item.partition('":"')[0].strip('"').replace(r"\\:", ":") for item in text.splitlines()]
    return [item.partition("\t")[0] for item in done.stdout.splitlines()]


LINES = {
    "hirescam ex": ["explain"],
    "hirescam explain --prec": ["--precision"],
    "hirescam explain --precision ": ["auto", "fp32", "bf16", "fp16"],
    "hirescam explain --existing o": ["overwrite"],
    "hirescam explain --method g": ["gradcam"],
    "hirescam explain --method hirescam,gra": ["hirescam,gradcam"],
    "hirescam explain --format nifti,png,h": ["nifti,png,html"],
    "hirescam explain --model axialnet-8": ["axialnet-80", "axialnet-83"],
    "hirescam explain --model ow": ["own.toml"],
    "hirescam explain --model models/": ["models/other.toml"],
    "hirescam model show dem": ["demo"],
    "hirescam explain --labels all": ["all"],
    "hirescam explain --labels cardio": ["cardiomegaly"],
    "hirescam explain --labels nodule,mas": ["nodule,mass"],
    "hirescam explain --model axialnet-83 --labels emph": ["emphysema"],
    "hirescam render --grid ": ["scan", "cam", "both"],
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_is_offered(shell: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").touch()
    (tmp_path / "owned.txt").touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "other.toml").touch()
    lines = LINES if shell == "bash" else dict(list(LINES.items())[2:7])
    for line, expected in lines.items():
        assert completions(shell, line, tmp_path) == expected, line


def program(folder: Path) -> Path:
    """A folder with a command called hirescam in it."""
    folder.mkdir()
    script = folder / "hirescam"
    script.write_text(f"#!{sys.executable}\nfrom hirescam_cli.__main__ import main\nmain()\n")
    script.chmod(0o755)
    return folder


BASH = shutil.which("bash")
TAB = """
COMP_WORDS=(hirescam explain --existing s); COMP_CWORD=3
_hirescam_completion hirescam
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_shows_and_installs_it(tmp_path: Path) -> None:
    path = f"{program(tmp_path / 'bin')}:{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": path}

    def bash(text: str) -> str:
        done = subprocess.run(
            [str(BASH), "--norc", "-c", text], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # A second command keeps bash from making way for hirescam, which asks what shell it was called from.
    assert "skip" in bash(f'eval "$(hirescam --show-completion; true)"\n{TAB}').split()
    assert "installed" in bash("hirescam --install-completion; true")
    bashrc = (tmp_path / ".bashrc").read_text()
    assert "hirescam" in bashrc
    assert bash(f". ~/.bashrc\n{TAB}").split() == ["skip"]
