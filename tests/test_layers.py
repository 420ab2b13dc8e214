"""Which part of the program may know which: read from the imports."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.layers_world import FILES, MODULES, NETWORKS, SCREEN, Import, _walk, below, imports


def within(name: str, parts: frozenset[str]) -> bool:
    return any(name == f"hirescam_cli.{part}" or name.startswith(f"hirescam_cli.{part}.") for part in parts)


# Each part of the package knows only parts above it in this list.
LAYERS = """
errors warning placement identifiers threads children memory resources json_text
registry
registries toml_table durable
geometry
volume choices
option
train_options
options
option_values
project_file
label_choice
io device
settings prepare
model
explain
masks
case
pictures
page
results
pipeline
evaluate
phantom batch library inspection outlining doctor
train
rendering
api pacs hosts
refereeing
reporting bench
cli
__main__
"""


RANK = {name: rank for rank, line in enumerate(LAYERS.split("\n")) for name in line.split()}


# What a part must not know though it stands above it.
STRANGERS = {
    "masks": {"settings", "prepare", "model", "explain", "options", "registries"},
    "case": {"io", "prepare", "model", "explain", "settings", "device"},
    "pictures": {"io", "prepare", "model", "explain", "settings", "durable"},
    "page": {"io", "prepare", "model", "explain", "settings", "durable"},
    "results": {"io", "prepare", "model", "explain", "settings"},
    "explain": {"io", "settings", "volume", "label_choice", "options"},
    "prepare": {"io", "settings", "options", "label_choice", "durable"},
    "model": {"io", "settings", "volume", "durable"},
    "batch": {"prepare", "explain", "results", "pictures", "page"},
    "evaluate": {"io", "prepare", "model", "explain", "page", "results", "pipeline", "settings", "device"},
    "phantom": {"case", "results", "pictures", "page", "pipeline", "options", "settings", "io"},
}


# What each part must not import of others' packages.
OTHERS = {
    "geometry": NETWORKS | FILES | SCREEN | {"scipy"},
    "volume": NETWORKS | FILES | SCREEN,
    "io": NETWORKS | SCREEN | {"matplotlib"},
    "masks": NETWORKS | SCREEN | {"matplotlib", "PIL"},
    "options": NETWORKS | FILES | SCREEN | {"numpy", "msgspec"},
    "registries": NETWORKS | FILES | SCREEN | {"numpy", "msgspec"},
    "model.spec": NETWORKS | FILES | SCREEN,
    "model": FILES | SCREEN,
    "explain": FILES | SCREEN,
    "case": NETWORKS | SCREEN | (FILES - {"nibabel"}),
    "pictures": NETWORKS | SCREEN | (FILES - {"PIL", "matplotlib"}),
    "page": NETWORKS | FILES | SCREEN,
    "results": NETWORKS | SCREEN | {"SimpleITK", "gdcm", "matplotlib"},
    "evaluate": NETWORKS | FILES | SCREEN,
    "settings": NETWORKS | FILES | SCREEN | {"numpy"},
    "batch": NETWORKS | FILES | {"typer", "click"},
    "train": (FILES - {"matplotlib"}) | SCREEN,
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


def test_only_their_own_command_needs_the_phantoms() -> None:
    wrong = [
        f"{module} imports {found.name}"
        for module in MODULES
        if part_of(module) != "phantom" and module != "hirescam_cli.cli.phantom"
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


def test_dicom_is_known_where_it_is_read_written_and_measured() -> None:
    wrong = [
        f"{module} imports {found.name}"
        for module in MODULES
        if not within(module, frozenset(("io", "masks", "pacs", "phantom.samples", "results.dicom", "bench")))
        for found in imports(module)
        if found.name.partition(".")[0] in {"pydicom", "highdicom"}
    ]
    assert not wrong


def test_the_command_line_imports_the_rest_inside_its_commands() -> None:
    light = frozenset(("cli", "errors", "options", "option_values"))
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
