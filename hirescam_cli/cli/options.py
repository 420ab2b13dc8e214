"""The options of commands, made from the table: declarations for typer, and records from what was given."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from hirescam_cli.cli.completion import completer
from hirescam_cli.option_values import made
from hirescam_cli.options import BY_NAME, OPTIONS, Option

Record = TypeVar("Record")


@dataclass(frozen=True)
class Given:
    """The options of one call, by name."""

    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def make(self, record: type[Record], **more: object) -> Record:
        """A record whose fields are options, from those that this command has; the others keep their defaults."""
        return made(record, self.values, **more)


def with_options(
    *names: str,
    helps: Mapping[str, str] | None = None,
    defaults: Mapping[str, object] | None = None,
    panels: bool = True,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options `names` of the table, in the table's order; its body gets them as `given`.

    `helps`, `defaults`: what this command says or takes otherwise. `panels`: whether help groups them.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(body, eval_str=True).parameters.values() if p.name != "given"]
        declared = [
            _parameter(
                option,
                (helps or {}).get(option.name, option.help),
                (defaults or {}).get(option.name, ...),
                panels,
            )
            for option in OPTIONS
            if option.name in names
        ]

        def command(**values: Any) -> None:
            given = {
                option.name: _value(
                    option, values.pop(_field(option)), (defaults or {}).get(option.name, ...)
                )
                for option in OPTIONS
                if option.name in names
            }
            body(**values, given=Given(given))

        signature = inspect.Signature([*own, *declared])
        command.__name__, command.__doc__ = body.__name__, body.__doc__
        command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        vars(command)["__signature__"] = signature
        return command

    unknown = set(names) - set(BY_NAME)
    assert not unknown, f"no such options: {unknown}"
    return decorate


def _field(option: Option) -> str:
    return "option_" + option.name.replace("-", "_")


def _parameter(option: Option, help: str, default: object, panels: bool) -> inspect.Parameter:
    # Help texts are not markup: an opening bracket would swallow what stands in it.
    declared = typer.Option(
        f"--{option.name}",
        *([option.short] if option.short else []),
        envvar=option.variable,
        show_envvar=True,
        rich_help_panel=option.panel if panels else None,
        help=help.replace("[", r"\["),
        metavar=option.shown,
        count=option.count,
        autocompletion=completer(option),
        is_eager=option.name == "config",
        callback=_callback(option),
    )
    if default is ...:
        default = option.default
    kind: Any = option.kind
    if option.several:
        kind = list[kind] | None
        declared.help = (
            f"{declared.help} \\[default: {','.join(default)}]"
            if default and isinstance(default, tuple)
            else declared.help
        )
        default = None
    elif default is None:
        kind = kind | None
    return inspect.Parameter(
        _field(option), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared]
    )


def _callback(option: Option) -> Callable[..., Any] | None:
    if option.name == "config":
        return _heed_project_file
    if not option.several or option.kind is Path:
        return None

    def whole(ctx: typer.Context, value: Any) -> Any:
        """The variable as it is, where typer would take blanks to separate values: only commas do, as everywhere."""
        source = ctx.get_parameter_source(_field(option))
        from_variable = source is not None and source.name == "ENVIRONMENT"
        return [os.environ[option.variable]] if from_variable else value

    return whole


def _heed_project_file(ctx: typer.Context, value: Path | None) -> Path | None:
    """What the file named by --config says takes the place of defaults: command line and environment go before it."""
    if value is not None and not ctx.resilient_parsing:
        from hirescam_cli.project_file import read_project_file

        found = read_project_file(value)
        ctx.default_map = {
            _field(BY_NAME[name]): list(told) if isinstance(told, tuple) else told
            for name, told in found.items()
        }
    return value


def _value(option: Option, value: Any, default: object) -> Any:
    if not option.several:
        return value
    if value is None:
        return option.default if default is ... else default
    return tuple(value if option.kind is Path else dict.fromkeys(comma_list(value)))


def comma_list(values: Sequence[str]) -> list[str]:
    """The parts of values that may each be a list joined by commas."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Scan files or folders; - for a list on standard input."),
]


def setup_streams(*, quiet: bool, verbose: int) -> None:
    """Keep warnings of libraries off the terminal unless asked for: hirescam says itself what matters."""
    import logging
    import warnings

    if not verbose:
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR if quiet or not verbose else logging.WARNING)
    for noisy in ("pydicom", "nibabel", "distributed", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
