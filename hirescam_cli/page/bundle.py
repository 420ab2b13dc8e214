"""The page's JavaScript modules as one script: what stands in `script/src/`, inlined when a page is made.

Nothing is built beforehand, so that nothing can be older than its source. The modules keep to a part of the language
that makes this simple: `import { name, ... } from "./file.js";` on lines of their own at the top, `export` only before
a declaration, and no name declared at the top of two modules of one script.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const|let) )", re.MULTILINE)
_DECLARED = re.compile(r"^(?:export )?(?:async function|function|class|const|let) ([\w$]+)", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async function|function|class|const|let) ([\w$]+)", re.MULTILINE)
_LEFT = re.compile(r"^\s*(?:import|export)\b.*", re.MULTILINE)


class BundleError(ValueError):
    """Modules that cannot be put into one script, and why."""


@cache
def module(name: str) -> str:
    """Text of a module of `script/src/`."""
    return resources.files(__package__).joinpath("script", "src", name).read_text(encoding="utf-8")


def bundle(entry: str, read: Callable[[str], str] = module) -> str:
    """The module `entry` and all that it imports as one script in a scope of its own, each after what it needs.

    `read`: the text of a module by file name. Raises BundleError for modules that do not keep to the rules above.
    """
    parts, owners = [], dict[str, str]()
    for name in _in_order(entry, read):
        text = read(name)
        for declared in _DECLARED.findall(text):
            if declared in owners:
                raise BundleError(f"{name} and {owners[declared]} both declare {declared}")
            owners[declared] = name
        plain = _EXPORT.sub("", _IMPORT.sub("", text))
        if left := _LEFT.search(plain):
            raise BundleError(f"{name} has a line that is no import or export of the known form: {left[0]}")
        parts.append(plain.strip("\n"))
    return '"use strict";\n(() => {\n' + "\n\n".join(parts) + "\n})();\n"


def _in_order(entry: str, read: Callable[[str], str]) -> list[str]:
    """The modules that `entry` needs and itself, each after those it imports, in the order of the imports."""
    order: list[str] = []
    open_: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in open_:
            raise BundleError(
                f"modules import each other: {' -> '.join([*open_[open_.index(name) :], name])}"
            )
        open_.append(name)
        for names, other in _IMPORT.findall(read(name)):
            missing = {part.strip() for part in names.split(",") if part.strip()} - set(
                _EXPORTED.findall(read(other))
            )
            if missing:
                raise BundleError(
                    f"{other} does not export {', '.join(sorted(missing))}, which {name} imports"
                )
            visit(other)
        open_.pop()
        order.append(name)

    visit(entry)
    return order
