"""Named things of one kind: ours, then those of other packages, which add theirs through an entry point group.

An entry says where its object lies ("package.module:attribute"), so that the names are known without importing
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from hirescam_cli.errors import HirescamError, UsageError, first_line

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """`what`: how messages call an entry ("method"). `group`: the entry point group of other packages. `kind`: the
    class of every entry, and `ours`: each name with its object, as "module:attribute". `error`, `code`: what is raised
    for a name that is not known or does not load.
    """

    def __init__(
        self,
        what: str,
        group: str,
        kind: str,
        ours: Mapping[str, str],
        *,
        error: type[HirescamError] = UsageError,
        code: str = "usage",
    ) -> None:
        self.what, self.group, self._kind, self.ours = what, group, kind, ours
        self._error, self._code = error, code

    @cached_property
    def _theirs(self) -> dict[str, EntryPoint]:
        found = sorted(entry_points(group=self.group), key=lambda point: point.name)
        return {point.name: point for point in found if point.name not in self.ours}

    def names(self) -> tuple[str, ...]:
        """All names: ours in their order, then those of other packages, sorted."""
        return (*self.ours, *self._theirs)

    def find(self, name: str) -> Entry:
        """The entry called `name`. Raises the registry's error where there is none or its package does not load."""
        self.check(name)
        if name in self.ours:
            entry = loaded(self.ours[name])
        else:
            try:
                entry = self._theirs[name].load()
            except Exception as error:
                raise self._broken(name, f"does not load: {first_line(error)}") from error
        kind = cast(type[Entry], loaded(self._kind))
        if not isinstance(entry, kind):
            raise self._broken(name, f"is not of the kind {kind.__name__}")
        return entry

    def check(self, name: str) -> None:
        """Raise the registry's error for a name that it does not know, without loading anything."""
        if name not in self.ours and name not in self._theirs:
            raise self._error(
                f"There is no {self.what} {name!r}.",
                hint=f"Known: {', '.join(self.names())}.",
                code=self._code,
            )

    def reset(self) -> None:
        """Look for other packages again."""
        self.__dict__.pop("_theirs", None)

    def _broken(self, name: str, what: str) -> HirescamError:
        return self._error(
            f"The {self.what} {name!r} of the entry point group {self.group} {what}.",
            hint="Reinstall or remove the package that brings it.",
            code=self._code,
        )


def loaded(where: str) -> object:
    """The object at "module:attribute"."""
    module, _, attribute = where.partition(":")
    found: object = getattr(import_module(module), attribute)
    return found
