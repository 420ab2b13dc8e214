"""The imports of the package, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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


NETWORKS = {"torch", "safetensors", "torchvision"}


FILES = {"nibabel", "pydicom", "SimpleITK", "gdcm", "PIL", "matplotlib", "isal", "h5py"}


SCREEN = {"typer", "rich", "click"}
