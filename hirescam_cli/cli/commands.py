"""The kinds of commands: help shows no type after a flag, and a command line that is refused is told in plain lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

Parameter = TypeVar("Parameter")
Body = TypeVar("Body", bound=Callable[..., object])

# What typer raises for a command line that it cannot parse, whichever version of it keeps it where.
Refusal = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx):  # type: ignore[no-untyped-def]
        """All parameters, --help included."""
        return _plain_flags(super().get_params(ctx))


class Group(TyperGroup):
    """A command that has others below it."""

    def get_params(self, ctx):  # type: ignore[no-untyped-def]
        """All parameters, --help included."""
        return _plain_flags(super().get_params(ctx))


class App(typer.Typer):
    """The program, or a group of its commands."""

    def command(self, name: str | None = None) -> Callable[[Body], Body]:  # type: ignore[override]
        """Declares a function to be the command `name`."""
        return super().command(name, cls=Command)


def _plain_flags(parameters: list[Parameter]) -> list[Parameter]:
    """The same parameters, where what takes no value shows none."""
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag and parameter.metavar is None:
            parameter.metavar = ""
    return parameters
