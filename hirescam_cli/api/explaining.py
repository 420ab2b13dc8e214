"""`explain` from Python: the plan, the run and the folders of the command line, with a callback for progress."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike

from hirescam_cli.api.models import Model, PathName
from hirescam_cli.api.options import by_name, path_given, record_given
from hirescam_cli.api.results import Results
from hirescam_cli.batch.events import Callback
from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.plan import plan
from hirescam_cli.batch.run import run
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.errors import UsageError
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.option_values import made, typed
from hirescam_cli.options import BY_NAME, options_of
from hirescam_cli.settings import Settings

Inputs = PathName | Sequence[PathName] | Mapping[str, PathName]


def explain(
    inputs: Inputs,
    output: PathName,
    *,
    settings: Settings | None = None,
    options: RunOptions | None = None,
    num_parts: int | None = None,
    part_id: int | None = None,
    on_progress: Callback | None = None,
    interruption: Interruption | None = None,
    **named: object,
) -> Results:
    """Explain scans into case folders below `output`.

    `inputs`: files and folders, or a mapping of case names to them. `named`: options of `hirescam explain` with
    underscores (`method="gradcam"`, `labels="all"`, `target_layer=...`; `model` may be one of `load_model`), or all of
    them at once as `settings` and `options`. `on_progress` gets the events of `batch.events`, from several threads but
    one at a time. `interruption.request()`, from any thread, ends the run after the case under way. Failed scans are in
    the results; HirescamError is raised for what is refused before any scan is read.
    """
    settings, options = _records(
        record_given("explain", Settings, settings), record_given("explain", RunOptions, options), named
    )
    folder = path_given("explain", "the output", output)
    for name, value in (("num-parts", num_parts), ("part-id", part_id)):
        typed(BY_NAME[name], value)
    discovery = discover(given("explain", inputs), settings.read, settings.identifiers, folder)
    cases = plan(discovery, folder, num_parts=num_parts, part_id=part_id)
    result = run(cases, settings, options, on_progress, interruption=interruption)
    return Results(**vars(result), output=folder)


def _records(
    settings: Settings | None, options: RunOptions | None, named: dict[str, object]
) -> tuple[Settings, RunOptions]:
    model = named.get("model")
    if isinstance(model, Model):
        named = {**named, "model": model.given}
        if model.weights:
            named.setdefault("weights", model.weights)
    values = by_name("explain", named, Settings, ReadOptions, RunOptions)
    for record, kinds in ((settings, (Settings, ReadOptions)), (options, (RunOptions,))):
        told = {option.name for kind in kinds for _, option in options_of(kind)} & values.keys()
        if record is not None and told:
            raise UsageError(
                f"explain() got {', '.join(sorted(told))} and {type(record).__name__} too.",
                hint="Say it in one of them.",
            )
    return (
        settings or made(Settings, values, read=made(ReadOptions, values)),
        options or made(RunOptions, values),
    )


def given(function: str, inputs: Inputs) -> list[InputPath]:
    """The INPUTs of a call. Raises UsageError unless that is a path, a list of paths or a mapping of names to paths."""
    if isinstance(inputs, Mapping):
        return [
            InputPath(path_given(function, f"the input {case}", path), _case(case))
            for case, path in inputs.items()
        ]
    if isinstance(inputs, str | bytes | PathLike):
        return [InputPath(path_given(function, "the input", inputs))]
    if not isinstance(inputs, Iterable):
        raise UsageError(
            f"{function}() got {inputs!r} as inputs, expected a path, a list of paths, or a mapping of case names to "
            "paths.",
            hint="Give text or a pathlib.Path for each.",
        )
    return [InputPath(path_given(function, "an input", path)) for path in inputs]


def _case(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(
            f"A case is called {name!r}, expected text.",
            hint=f"Write {{{str(name)!r}: path}}.",
            code="case-name",
        )
    return name
