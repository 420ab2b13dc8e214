"""`hirescam model`: list, show, doctor, verify and convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hirescam_cli.cli.commands import App, Group
from hirescam_cli.cli.completion import complete_model
from hirescam_cli.errors import OutputCreateError, UsageError

if TYPE_CHECKING:
    from hirescam_cli.doctor import Check
    from hirescam_cli.io import Scan
    from hirescam_cli.model.spec import ModelSpec
    from hirescam_cli.volume import Volume

app = App(
    cls=Group, help="Models: what is known, what they answer, whether weights fit.", no_args_is_help=True
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE.toml",
        help="An embedded model or a description file.",
        autocompletion=complete_model,
    ),
]
Weights = Annotated[
    list[Path] | None,
    typer.Option(
        "--weights", metavar="FILE", help="Weights instead of the model's own; several: an ensemble."
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the embedded models."""
    from hirescam_cli.model.spec import list_models, load_spec

    models = list_models()
    if as_json:
        from hirescam_cli.cli.console import print_json

        print_json({"models": [_document(load_spec(entry.name)) for entry in models]})
        return
    width = max(len(entry.name) for entry in models)
    for entry in models:
        weights = "weights included" if entry.weights else "weights given with --weights"
        typer.echo(f"{entry.name:<{width}} {entry.labels:>4} labels  {weights:<29} {entry.description}")


@app.command("show")
def show_command(
    name: Name,
    as_json: Json = False,
    toml: Annotated[
        bool, typer.Option("--toml", metavar="", help="Print a description file to start from.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", metavar="", help="List what --target-layer can name.")
    ] = False,
) -> None:
    """Show a model: labels, preparation, layers, intended use."""
    from hirescam_cli.model.spec import load_spec, standalone

    spec = load_spec(name)
    if toml:
        typer.echo(standalone(spec), nl=False)
        return
    if layers:
        _show_layers(spec, as_json)
        return
    document = _document(spec)
    if as_json:
        from hirescam_cli.cli.console import print_json

        print_json(document)
        return
    for key, value in document.items():
        if key != "labels" and value != {}:
            typer.echo(f"{key:<18} {_plain(value)}")
    typer.echo(f"{'labels':<18} {len(spec.labels)}")
    for index, (label, threshold) in enumerate(zip(spec.labels, spec.thresholds, strict=True)):
        typer.echo(f"  {index:>3}  {label:<40} threshold {threshold:g}")


def _show_layers(spec: ModelSpec, as_json: bool) -> None:
    """The layers of a model that can be explained, as a table or as JSON."""
    from dataclasses import asdict

    from hirescam_cli.cli.console import print_json, stdout, table
    from hirescam_cli.explain.trial import shape_of
    from hirescam_cli.model.layers import layers_of
    from hirescam_cli.model.load import built

    network = built(spec)
    usual = spec.target_layer or network.target_layer
    found = layers_of(network, shape_of(spec.preparation))
    if as_json:
        print_json({"target_layer": usual, "layers": [asdict(layer) for layer in found]})
        return
    shown = table("layer", "type", "a cell every ... voxels", "the first one at voxel")
    for layer in found:
        mark = " (usual)" if layer.name == usual else ""
        shown.add_row(
            layer.name + mark,
            layer.kind,
            *(" x ".join(f"{n:g}" for n in v) for v in (layer.stride, layer.offset)),
        )
    stdout().print(shown)


@app.command("doctor")
def doctor_command(
    name: Name,
    weights: Weights = None,
    scan: Annotated[
        list[Path] | None,
        typer.Option(
            "--scan", metavar="INPUT", help="Try it on this scan, not on a made-up body; repeatable."
        ),
    ] = None,
    referee: Annotated[
        bool,
        typer.Option(
            "--referee",
            metavar="",
            help="Ask the network, by occlusion of the scans, which placement is true.",
        ),
    ] = False,
    target_layer: Annotated[
        str | None, typer.Option("--target-layer", metavar="MODULE", help="Layer to explain.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, ...")] = "auto",
    as_json: Json = False,
) -> None:
    """Prove that a model can be explained: weights, logits, certificate, gradients, places, cost. 2 if not."""
    from dataclasses import asdict, replace

    from hirescam_cli.cli.console import print_json, print_table, stdout, table, working
    from hirescam_cli.doctor import diagnose
    from hirescam_cli.errors import ExitCode

    scans = _scans(scan or [])
    if referee and not scans:
        raise UsageError("--referee needs scans to ask about.", hint="Name some with --scan INPUT.")
    with working() as say:
        say(f"looking at {name} ...")
        found = diagnose(
            name, tuple(weights or ()), scan=_volume(scans), device=device, target_layer=target_layer
        )
        if referee and found.explainable:
            say("asking the network itself ...")
            found = replace(
                found, checks=(*found.checks, _placement(name, weights, target_layer, device, scans))
            )
    if as_json:
        print_json({**asdict(found), "explainable": found.explainable})
    else:
        shown = table("check", "verdict", "found")
        for check in found.checks:
            shown.add_row(check.name, check.verdict, check.found)
            if check.remedy:
                shown.add_row("", "", f"-> {check.remedy}")
        print_table(stdout(), shown)
        verdict = "can be explained" if found.explainable else "cannot be explained as it is"
        typer.echo(f"{found.model} {verdict}.")
    if not found.explainable:
        raise typer.Exit(ExitCode.USAGE)


def _scans(paths: list[Path]) -> list[Scan]:
    """All scans of some INPUTs. Raises NoInputError where there is none."""
    from hirescam_cli.errors import NoInputError
    from hirescam_cli.io import InputPath, ReadOptions, discover

    found = discover([InputPath(path) for path in paths], ReadOptions()).scans if paths else ()
    if paths and not found:
        names = ", ".join(path.name for path in paths)
        raise NoInputError(f"{names} holds no scan.", hint="`hirescam inspect` says what is there.")
    return list(found)


def _volume(scans: list[Scan]) -> Volume | None:
    """The first of some scans. Raises ScanError."""
    from hirescam_cli.io import ReadOptions, read

    return read(scans[0], ReadOptions()) if scans else None


def _placement(
    name: str, weights: list[Path] | None, target_layer: str | None, device: str, scans: list[Scan]
) -> Check:
    """What occlusion says of the model's placement."""
    from hirescam_cli.evaluate.referee import RefereeOptions
    from hirescam_cli.model.spec import load_spec
    from hirescam_cli.pipeline.session import open_session
    from hirescam_cli.refereeing import ask, placement_check
    from hirescam_cli.settings import Settings

    settings = Settings(model=name, weights=tuple(weights or ()), target_layer=target_layer, device=device)
    session = open_session(settings, load_spec(name))
    findings, _ = ask(session, scans, ("hirescam",), RefereeOptions(groups=2))
    return placement_check(findings)


@app.command("verify")
def verify_command(name: Name, weights: Weights = None, as_json: Json = False) -> None:
    """Check that weights fit a model: format, SHA-256, names, shapes, finite values, number of labels."""
    from hirescam_cli.model.load import load_model
    from hirescam_cli.model.spec import load_spec

    model = load_model(load_spec(name), weights or ())
    parameters = sum(p.numel() for p in model.network.module.parameters())
    document = {
        "model": model.spec.name,
        "weights": ", ".join(path.name for path in weights or model.spec.weights_files),
        "weights_sha256": model.weights_sha256,
        "parameters": parameters,
        "labels": len(model.spec.labels),
        "target_layer": model.target_layer,
    }
    if as_json:
        from hirescam_cli.cli.console import print_json

        print_json(document)
    else:
        typer.echo(
            f"{document['weights']} fits {model.spec.name}: {parameters:,} parameters, {len(model.spec.labels)} labels."
        )
        typer.echo(f"SHA-256 {model.weights_sha256}")


@app.command("convert")
def convert_command(
    name: Name,
    weights: Annotated[Path, typer.Option("--weights", metavar="FILE", help="The checkpoint to convert.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.safetensors", help="Where to write it.")
    ],
    force: Annotated[bool, typer.Option("--force", metavar="", help="Replace an existing file.")] = False,
) -> None:
    """Write the weights of a checkpoint as safetensors, after checking that they fit a model."""
    import safetensors.torch

    from hirescam_cli.durable import write_file
    from hirescam_cli.model.load import load_model
    from hirescam_cli.model.spec import load_spec

    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output.name} does not end in .safetensors.", hint="Name it so.")
    if output.exists() and not force:
        raise OutputCreateError(f"{output.name} exists.", hint="Choose another name, or give --force.")
    model = load_model(load_spec(name), (weights,))
    tensors = {
        # Copies: the format refuses tensors that share memory, as tied weights do.
        k: v.contiguous().clone()
        for k, v in model.network.module.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }
    data = safetensors.torch.save(tensors)
    write_file(output, data)
    import hashlib

    typer.echo(f"{output.name}: {len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


def _document(spec: ModelSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "description": spec.description,
        "intended_use": spec.intended_use,
        "demonstration": spec.demonstration,
        "architecture": spec.architecture,
        "parameters": dict(spec.parameters),
        "weights": [path.name for path in spec.weights_files],
        "weights_sha256": list(spec.weights_sha256),
        "input": {"axes": spec.preparation.axes, "channels": spec.preparation.channels},
        "preparation": spec.preparation.described()["steps"],
        "target_layer": spec.target_layer,
        "placement": spec.placement,
        "training": dict(spec.training),
        "labels": [
            {"index": i, "name": n, "threshold": t}
            for i, (n, t) in enumerate(zip(spec.labels, spec.thresholds, strict=True))
        ],
    }


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} = {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(v) for v in value) + "]"
    return "none" if value is None else str(value)
