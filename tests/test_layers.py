"""Which part of the program may know which: read from the imports, and tried in fresh processes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import hirescam_cli

PACKAGE = Path(hirescam_cli.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if "_data" not in path.parts
}


@dataclass(frozen=True)
class Import:
    """One imported module; `inside`: in a function rather than when the importing module is loaded."""

    name: str
    inside: bool


def _walk(nodes: Iterable[ast.AST], inside: bool) -> Iterator[Import]:
    """Imports in and below `nodes`, but for those that only type checkers see."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(full if full in MODULES else str(node.module), inside)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _walk(node.orelse, inside)
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(ast.iter_child_nodes(node), inside or function)


@cache
def imports(module: str) -> frozenset[Import]:
    """What `module` imports while it runs."""
    return frozenset(_walk([ast.parse(MODULES[module].read_text(encoding="utf-8"))], False))


def below(*prefixes: str) -> list[str]:
    """Modules of the given parts of the package."""
    names = [f"hirescam_cli.{prefix}" for prefix in prefixes]
    found = sorted(m for m in MODULES if any(m == name or m.startswith(name + ".") for name in names))
    assert found, f"nothing is called {' or '.join(names)}"
    return found


def within(name: str, parts: frozenset[str]) -> bool:
    return any(name == f"hirescam_cli.{part}" or name.startswith(f"hirescam_cli.{part}.") for part in parts)


# Each part of the package knows only parts above it in this list.
LAYERS = """
errors warning placement identifiers threads children memory resources
registry
registries toml_table durable
geometry
volume choices
options
label_choice
io device
settings prepare
model
explain
case
pictures
page
results
pipeline
phantom batch library inspection
rendering api
reporting bench
cli
__main__
"""
RANK = {name: rank for rank, line in enumerate(LAYERS.split("\n")) for name in line.split()}
# What a part must not know though it stands above it.
STRANGERS = {
    "case": {"io", "prepare", "model", "explain", "settings", "device"},
    "pictures": {"io", "prepare", "model", "explain", "settings", "durable"},
    "page": {"io", "prepare", "model", "explain", "settings", "durable"},
    "results": {"io", "prepare", "model", "explain", "settings"},
    "explain": {"io", "settings", "volume", "label_choice", "options"},
    "prepare": {"io", "settings", "options", "label_choice", "durable"},
    "model": {"io", "settings", "volume", "durable"},
    "batch": {"prepare", "explain", "results", "pictures", "page"},
    "phantom": {"case", "results", "pictures", "page", "pipeline", "options", "settings", "io"},
}
NETWORKS = {"torch", "safetensors", "torchvision"}
FILES = {"nibabel", "pydicom", "SimpleITK", "gdcm", "PIL", "matplotlib", "isal", "h5py"}
SCREEN = {"typer", "rich", "click"}
# What each part must not import of others' packages.
OTHERS = {
    "geometry": NETWORKS | FILES | SCREEN | {"scipy"},
    "volume": NETWORKS | FILES | SCREEN,
    "io": NETWORKS | SCREEN | {"matplotlib"},
    "options": NETWORKS | FILES | SCREEN | {"numpy", "msgspec"},
    "registries": NETWORKS | FILES | SCREEN | {"numpy", "msgspec"},
    "model.spec": NETWORKS | FILES | SCREEN,
    "model": FILES | SCREEN,
    "explain": FILES | SCREEN,
    "case": NETWORKS | SCREEN | (FILES - {"nibabel"}),
    "pictures": NETWORKS | SCREEN | (FILES - {"PIL", "matplotlib"}),
    "page": NETWORKS | FILES | SCREEN,
    "results": NETWORKS | SCREEN | {"pydicom", "SimpleITK", "gdcm", "matplotlib"},
    "settings": NETWORKS | FILES | SCREEN | {"numpy"},
    "batch": NETWORKS | FILES | {"typer", "click"},
    "cli": {"torchvision"},
}


def part_of(module: str) -> str | None:
    """The part of the package that a module belongs to; None for the package itself."""
    names = module.split(".")
    return names[1] if len(names) > 1 else None


def test_every_part_has_its_place() -> None:
    assert {part_of(module) for module in MODULES} - {None} == set(RANK)


@pytest.mark.parametrize("part", sorted(RANK))
def test_a_part_imports_only_the_parts_above_it_in_the_list(part: str) -> None:
    wrong = []
    for module in below(part):
        for found in imports(module):
            other = part_of(found.name) if found.name.startswith("hirescam_cli.") else None
            if other in (None, part):
                continue
            if RANK[other] >= RANK[part] or other in STRANGERS.get(part, set()):
                wrong.append(f"{module} imports {found.name}")
    assert not wrong


def test_nothing_in_the_package_needs_the_phantoms() -> None:
    wrong = [
        f"{module} imports {found.name}"
        for module in MODULES
        if part_of(module) != "phantom"
        for found in imports(module)
        if within(found.name, frozenset(("phantom",)))
    ]
    assert not wrong


@pytest.mark.parametrize("part", sorted(OTHERS))
def test_a_part_does_without_the_tools_of_others(part: str) -> None:
    wrong = [
        f"{module} imports {found.name}"
        for module in below(part)
        for found in imports(module)
        if found.name.partition(".")[0] in OTHERS[part]
    ]
    assert not wrong


def test_the_command_line_imports_the_rest_inside_its_commands() -> None:
    light = frozenset(("cli", "errors", "options"))
    wrong = [
        f"{module} imports {found.name}"
        for module in [*below("cli"), "hirescam_cli.__main__", "hirescam_cli"]
        for found in imports(module)
        if not found.inside
        and found.name.partition(".")[0] not in sys.stdlib_module_names | SCREEN
        and found.name != "hirescam_cli"
        and not within(found.name, light)
    ]
    # Only the records that options are parsed into may be known beforehand.
    assert [line for line in wrong if not line.endswith(" hirescam_cli.io.scan")] == []


def test_nothing_imports_the_command_line_and_the_benchmark_but_themselves() -> None:
    wrong = [
        f"{module} imports {found.name}"
        for module in MODULES
        if module not in {*below("cli", "bench"), "hirescam_cli.__main__"}
        for found in imports(module)
        if within(found.name, frozenset(("cli", "bench")))
    ]
    assert not wrong


def test_the_checks_see_imports_wherever_they_stand() -> None:
    source = """
from typing import TYPE_CHECKING
import a.b
if TYPE_CHECKING:
    import hidden
else:
    import c
def f():
    from hirescam_cli.geometry import affine, Grid
    try:
        import d
    except ImportError:
        pass
class C:
    import e
    def g(self):
        import f
"""
    found = set(_walk([ast.parse(source)], False))
    geometry = {Import("hirescam_cli.geometry.affine", True), Import("hirescam_cli.geometry", True)}
    others = {
        Import("a.b", False),
        Import("c", False),
        Import("d", True),
        Import("e", False),
        Import("f", True),
    }
    assert found == {Import("typing", False)} | geometry | others


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


def test_listing_models_loads_no_torch() -> None:
    loaded = loaded_by(COMMAND, "model", "list")
    assert "hirescam_cli" in loaded
    assert not loaded & {"torch", "nibabel", "pydicom", "SimpleITK", "matplotlib", "distributed"}


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
    "arguments", [("--help",), ("--version",), ("explain", "--help"), ("render", "--help")]
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
