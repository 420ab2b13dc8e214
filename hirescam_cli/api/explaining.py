"""`explain` from Python: the plan, the run and the folders of the command line, with a callback for progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from hirescam_cli.api.models import Model, PathName
from hirescam_cli.api.options import by_name
from hirescam_cli.api.results import Results
from hirescam_cli.batch.events import Callback
from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.plan import plan
from hirescam_cli.batch.run import run
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.errors import UsageError
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.option_values import made
from hirescam_cli.options import options_of
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
    settings, options = _records(settings, options, named)
    folder = Path(output)
    discovery = discover(given(inputs), settings.read, settings.identifiers, folder)
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


def given(inputs: Inputs) -> list[InputPath]:
    """The INPUTs of a call."""
    if isinstance(inputs, Mapping):
        return [InputPath(Path(path), case) for case, path in inputs.items()]
    if isinstance(inputs, str | PathLike):
        return [InputPath(Path(inputs))]
    return [InputPath(Path(path)) for path in inputs]
