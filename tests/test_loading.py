"""Which packages commands and modules load, tried in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.layers_world import FILES, NETWORKS, SCREEN, below, imports


def loaded_by(*arguments: str) -> set[str]:
    """Top-level packages in memory after Python has run `arguments`, told by the process itself at its exit."""
    watch = (
        "import atexit, json, sys; "
        "atexit.register(lambda: print('LOADED' + json.dumps(sorted({m.partition('.')[0] for m in sys.modules})), "
        "file=sys.stderr)); "
    )
    done = subprocess.run(
        [sys.executable, "-c", watch + arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("LOADED"))
    return set(json.loads(line.removeprefix("LOADED")))


COMMAND = "sys.argv[0] = 'hirescam'; from hirescam_cli.__main__ import main; main()"


def test_preparation_steps_load_torch_only_where_the_network_is() -> None:
    wrong = [
        f"{module} imports {found.name}"
        for module in below("prepare")
        for found in imports(module)
        if found.name.partition(".")[0] in NETWORKS | FILES | SCREEN | {"scipy"}
        and not (found.inside and module == "hirescam_cli.prepare.steps.window")
    ]
    assert not wrong


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("explain", "--help"), ("render", "--help"), ("model", "list")]
)
def test_commands_that_need_no_network_load_neither_torch_nor_numpy(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(COMMAND, *arguments)
    assert "hirescam_cli" in loaded
    assert not loaded & {
        "torch",
        "numpy",
        "nibabel",
        "pydicom",
        "SimpleITK",
        "matplotlib",
        "scipy",
        "distributed",
        "msgspec",
    }


@pytest.mark.parametrize(
    "module",
    [
        "hirescam_cli.io",
        "hirescam_cli.io.reading",
        "hirescam_cli.prepare",
        "hirescam_cli.pipeline",
        "hirescam_cli.results.nifti_file",
    ],
)
def test_reading_preparing_and_writing_load_no_torch(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert "hirescam_cli" in loaded
    assert not loaded & {"torch", "matplotlib", "typer"}


def test_the_watch_would_see_torch() -> None:
    assert {"torch", "numpy"} <= loaded_by("import hirescam_cli.explain.engine")
