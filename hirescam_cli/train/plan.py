"""Everything a training is made of, from its options: checked before the first scan is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hirescam_cli import __version__
from hirescam_cli.device import resolve_device
from hirescam_cli.errors import HirescamError, NoInputError, UsageError
from hirescam_cli.io import ReadOptions
from hirescam_cli.masks.collection import MaskProblem
from hirescam_cli.model.contract import Network
from hirescam_cli.model.spec import ModelSpec, load_spec
from hirescam_cli.registries import ARCHITECTURES
from hirescam_cli.train.allowed import AllowedCells, case_name, find_allowed, own_masks
from hirescam_cli.train.augmentation import Augmentation
from hirescam_cli.train.events import Event, Listener
from hirescam_cli.train.layout import Layout
from hirescam_cli.train.learner import Learner, training_precision
from hirescam_cli.train.lesions import LesionCells
from hirescam_cli.train.mask_content import masks_sha256
from hirescam_cli.train.options import MaskOptions, RunOptions, TrainOptions, told
from hirescam_cli.train.publish import foldable
from hirescam_cli.train.ranks import Ranks, device_of
from hirescam_cli.train.read_table import read_table
from hirescam_cli.train.regions import read_regions
from hirescam_cli.train.same_content import check_content
from hirescam_cli.train.samples import Samples
from hirescam_cli.train.scans import Scans
from hirescam_cli.train.start import Start, load_start, new_network
from hirescam_cli.train.table import Source, Table


@dataclass(frozen=True)
class Request:
    """What was asked for: `tables` and all options."""

    tables: tuple[Source, ...]
    options: TrainOptions
    masks: MaskOptions
    layout: Layout
    read: ReadOptions
    control: RunOptions

    def spec(self) -> ModelSpec:
        """The model's description. Raises UsageError without one, ModelError."""
        if not self.options.model:
            raise UsageError(
                "There is no network to train.",
                hint="Name one with --model, such as axialnet-80 or a .toml file.",
            )
        return load_spec(self.options.model)

    def table(self, spec: ModelSpec) -> Table:
        """The table. Raises NoInputError, UsageError."""
        return read_table(self.tables, spec.labels, self.layout)


@dataclass(frozen=True, eq=False)
class Plan:
    """`identity`: what decides the weights, by name. `fallbacks`: departures from what was asked for."""

    request: Request
    spec: ModelSpec
    table: Table
    learner: Learner
    samples: Samples
    start: Start
    device: torch.device
    precision: str
    fallbacks: tuple[str, ...]
    identity: Mapping[str, str | int | float | bool]


def make_plan(request: Request, ranks: Ranks, listener: Listener) -> Plan:
    """Read table, model, start weights and the names of masks. Raises HirescamError for what cannot be."""
    spec = request.spec()
    table = request.table(spec)
    _check_truth(table, request.options)
    check_content(table.rows)
    if not table.patients_known:
        text = "The table has no column of patients: each scan counts as a patient of its own."
        listener(Event("no-patients", text))
    options, masks = request.options, request.masks
    device, fallbacks = resolve_device(device_of(options.device, ranks))
    precision = training_precision(options.precision, device)
    network = new_network(spec, options.seed)
    start = load_start(network, options.init)
    if options.calibrate == "platt" and not foldable(network):
        options = replace(options, calibrate="none")
        fallbacks = (
            *fallbacks,
            "calibrate none: the network has no linear last layer with a bias to fold it into",
        )
    _check_warm_up(network, options, masks)
    learner = Learner(network, spec, device, precision, with_maps=masks.loss != "none")
    allowed = None if masks.loss == "none" else _allowed(request, spec, table, learner, listener)
    by_lesions = masks.loss == "lesions"
    lesions = (
        LesionCells(allowed, learner.feed.slab if learner.network.by_slices else 0)
        if allowed and by_lesions
        else None
    )
    samples = Samples(
        Scans(spec.preparation, request.read, request.control.cache),
        Augmentation(options.augment, spec.preparation.axes, options.seed),
        None if by_lesions else allowed,
        lesions,
    )
    samples.scans.make_cache()
    for text in fallbacks:
        listener(Event("fallback", text))
    return Plan(
        request=replace(request, options=options),
        spec=spec,
        table=table,
        learner=learner,
        samples=samples,
        start=start,
        device=device,
        precision=precision,
        fallbacks=fallbacks,
        identity=_identity(request, options, spec, table, start, precision, ranks)
        | _mask_identity(masks, table, allowed),
    )


def _check_warm_up(network: Network, options: TrainOptions, masks: MaskOptions) -> None:
    if not options.warm_up:
        return
    if masks.loss != "lesions":
        raise UsageError(
            "--warm-up needs to know what each position shows.",
            hint="Give masks of the lesions with --masks, and --mask-loss lesions; or leave --warm-up out.",
        )
    if not (network.by_slices and network.answer == "slice_scores"):
        raise UsageError(
            "--warm-up is for networks that look at each position alone, as AxialNet does; this one does not.",
            hint="Leave --warm-up out.",
        )


def _check_truth(table: Table, options: TrainOptions) -> None:
    counts = table.counts()
    for split, name in (("train", "training"), ("valid", "validation")):
        if not any(counts[label][split][truth] for label in counts for truth in ("positive", "negative")):
            raise UsageError(
                f"No label of any {name} scan is known.", hint="Check the table.", code="table-labels"
            )
    both = [
        label for label in counts if counts[label]["valid"]["positive"] and counts[label]["valid"]["negative"]
    ]
    if options.monitor == "auroc" and not both:
        raise UsageError(
            "--monitor auroc: no label has both a positive and a negative validation scan.",
            hint="Choose --monitor loss, or give more validation scans.",
        )


def _allowed(
    request: Request, spec: ModelSpec, table: Table, learner: Learner, listener: Listener
) -> AllowedCells:
    """Raises UsageError where the size of the input depends on the scan, NoInputError where no mask fits any scan."""
    shape = spec.preparation.shape
    if shape is None:
        raise UsageError(
            f"A mask loss needs an input of one size, that of {spec.name} depends on the scan.",
            hint="End [[preparation]] with a pad_crop or resize, or choose --mask-loss none.",
        )
    placement = spec.placement or ARCHITECTURES.find(spec.architecture).placement
    regions = request.masks.regions
    patterns = own_masks(spec.labels) if regions is None else read_regions(regions, spec.labels)
    rows = table.of("train") + table.of("valid")
    found = find_allowed(
        request.masks,
        table.rows,
        spec.labels,
        patterns,
        learner.grid(shape, placement),
        placement == "stretch",
    )
    _tell_problems(found.problems, listener)
    with_masks = [row for row in rows if found.collection.of(case_name(row)) is not None]
    if not with_masks:
        raise NoInputError(
            f"No scan of the table has masks below {request.masks.masks}.",
            hint="Masks are sought in a folder for each scan, called by its id.",
            code="no-masks",
        )
    pairs = [(row, n) for row in rows for n, value in enumerate(row.truth) if value == 1.0]
    marked = sum(found.marks(row, n) for row, n in pairs)
    text = f"{len(with_masks)} of {len(rows)} scans have masks; they mark {marked} of {len(pairs)} positive labels."
    listener(Event("masks", text, {"scans": len(with_masks), "marked": marked, "positive": len(pairs)}))
    return found


def _tell_problems(problems: Sequence[MaskProblem], listener: Listener) -> None:
    """A line for each; one for all masks of scans that the table lacks, of which a table of a part has many."""
    others = [problem for problem in problems if problem.code == "mask-unmatched"]
    for problem in problems:
        if problem not in others or len(others) == 1:
            listener(Event(problem.code, f"{problem.path.name}: {problem.text}"))
    if len(others) > 1:
        text = f"The masks in {len(others)} places are of no scan of the table; the first is {others[0].path.name}."
        listener(Event("mask-unmatched", text, {"count": len(others)}))


def _identity(
    request: Request,
    options: TrainOptions,
    spec: ModelSpec,
    table: Table,
    start: Start,
    precision: str,
    ranks: Ranks,
) -> dict[str, str | int | float | bool]:
    identity = told(options, request.masks)
    if options.schedule == "cosine":
        identity["epochs"] = options.epochs
    described = {
        k: v for k, v in spec.described().items() if k not in ("thresholds", "name", "demonstration")
    }
    told_model = json.dumps(described, sort_keys=True, default=str)
    identity |= {
        "data": table.sha256,
        "model": hashlib.sha256(told_model.encode()).hexdigest(),
        "init": start.sha256 or "none",
        "reading": hashlib.sha256(repr(request.read).encode()).hexdigest(),
        "precision": precision,
        "processes": ranks.size,
    }
    return identity


def _mask_identity(masks: MaskOptions, table: Table, allowed: AllowedCells | None) -> dict[str, str]:
    """What the masks say, by content: of the masks themselves, and of the files that name them."""
    if allowed is None:
        return {}
    identity = {"masks": masks_sha256(allowed, table.of("train") + table.of("valid"))}
    for name, file in (("regions", masks.regions), ("mask-labels", masks.mask_labels)):
        if file is not None:
            identity[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return identity


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What is not as it was, each as a few words."""
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if old != new:
            long = any(isinstance(v, str) and len(v) == 64 for v in (old, new))
            found.append(name if long else f"{name} was {old}, is {new}")
    return found


def dry_run(request: Request, say: Listener) -> dict[str, object]:
    """What would be trained on, as data: counts per label and split, and scans that are not there or not one.

    Raises what `make_plan` raises of table and model.
    """
    spec = request.spec()
    table = request.table(spec)
    check_content(table.rows)
    scans = Scans(spec.preparation, request.read)
    problems: list[dict[str, object]] = []
    for n, row in enumerate(table.rows, 1):
        say(Event("checking", f"{n} of {len(table.rows)}: {row.id}", lasting=False))
        try:
            scans.check(row)
        except HirescamError as error:
            problems.append({"id": row.id, "line": row.line, "code": error.code, "message": error.message})
    splits: Sequence[str] = ("train", "valid", "test")
    return {
        "version": __version__,
        "model": spec.name,
        "data_sha256": table.sha256,
        "patients_known": table.patients_known,
        "scans": {split: sum(row.split == split for row in table.rows) for split in splits},
        "patients": {
            split: len({row.patient for row in table.rows if row.split == split}) for split in splits
        },
        "labels": table.counts(),
        "unusable": problems,
    }
