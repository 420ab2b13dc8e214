"""hirescam: faithful, checkable explanations of CT classifiers.

From Python: `explain`, `load_model`, `read_scan`, `render` and `evaluate`. They are imported when they are first
used, so that importing this package imports nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hirescam_cli.api import evaluate, explain, load_model, read_scan, render

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "explain", "load_model", "read_scan", "render"]

# Of these a package has the name too, which then is called.
_PACKAGES = ("evaluate", "explain")


class _Called(ModuleType):
    """A package of ours that can be called as the function of its name in `hirescam_cli.api`."""

    def __call__(self, *arguments: object, **named: object) -> object:
        return self._function(*arguments, **named)

    @property
    def __signature__(self) -> object:
        """For help."""
        return import_module("inspect").signature(self._function)

    @property
    def _function(self) -> Callable[..., object]:
        function: Callable[..., object] = getattr(
            import_module("hirescam_cli.api"), self.__name__.rpartition(".")[2]
        )
        return function


class _Package(ModuleType):
    """This package: importing one of `_PACKAGES` makes it something to call."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _Called
        super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return import_module(f"hirescam_cli.{name}")
    if name in __all__:
        return getattr(import_module("hirescam_cli.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
