"""The kinds of commands: help shows no type after a flag, and a command line that is refused is told in plain lines.

The program's own commands are loaded when they are called, so that its help is there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Entry:
    """A command of the program. `where`: its function, or its `App`, as "module:attribute"; `help`: what that says."""

    name: str
    where: str
    help: str


class Program(Group):
    """The program: `commands` holds what help shows of each command; the command itself comes with its first call."""

    entries: Sequence[Entry] = ()

    def __init__(self, *arguments, **named):  # type: ignore[no-untyped-def]
        super().__init__(*arguments, **named)
        for entry in self.entries:
            self.commands[entry.name] = Command(entry.name, help=entry.help)

    def load(self, name: str) -> TyperCommand | TyperGroup:
        """The whole command `name`. Raises KeyError."""
        from hirescam_cli.registry import loaded

        app = loaded({entry.name: entry.where for entry in self.entries}[name])
        if isinstance(app, App):
            found: TyperCommand | TyperGroup = typer.main.get_group(app)
        else:
            alone = App(add_completion=False)
            alone.command(name)(cast(Callable[..., object], app))
            found = cast(TyperCommand, typer.main.get_command(alone))
        found.name = name
        return found

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]
        """The command that is called, as a whole."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else self.load(name), rest


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
