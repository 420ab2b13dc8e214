"""Options with choices: one table, one check, and every way in asks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.progress import reporter
from hirescam_cli.cli.explain import Destination
from hirescam_cli.cli.phantom import PhantomOptions
from hirescam_cli.cli.run import Messages
from hirescam_cli.device import resolve_device
from hirescam_cli.errors import UsageError
from hirescam_cli.evaluate.options import EvaluateOptions
from hirescam_cli.evaluate.referee import RefereeOptions
from hirescam_cli.hosts.job import HostOptions
from hirescam_cli.identifiers import is_uid
from hirescam_cli.io import InputPath, discover
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.options import BY_NAME, OPTIONS, options_of
from hirescam_cli.outlining import OutlineOptions
from hirescam_cli.pacs.access import ArchiveOptions
from hirescam_cli.pacs.pull import PullOptions
from hirescam_cli.pacs.push import PushOptions
from hirescam_cli.rendering import RenderOptions
from hirescam_cli.settings import Settings
from hirescam_cli.train.layout import Layout
from hirescam_cli.train.options import MaskOptions, TrainOptions
from hirescam_cli.train.options import RunOptions as TrainRunOptions

KNOWN: dict[str, list[Any]] = {
    "augment": ["papers", "flip-lr", "none"],
    "calibrate": ["none", "platt"],
    "device": ["auto", "cpu", "cuda", "cuda:0", "cuda:17", "mps"],
    "existing": ["skip", "overwrite", "error"],
    "fill": [("blur",), ("mean", "blur", "air")],
    "format": [("nifti",), ("nifti", "png", "gif", "html", "dicom-pm", "dicom-sr", "dicom-sc", "dicom-seg")],
    "freeze": ["default", "none"],
    "grid": ["scan", "cam", "both"],
    "host": ["auto", "mercure", "monai", "xnat", "kaapana", "nextflow"],
    "identifiers": ["none", "uids"],
    "labels": ["positive", "all", "top:1", "top:020", "nodule", "nodule, mass", "lung höhle"],
    "log": [("csv",), ("csv", "tensorboard", "mlflow")],
    "log-format": ["text", "json"],
    "mask-cells": ["any", "half", "papers"],
    "mask-loss": ["none", "papers", "two-sided"],
    "method": [("hirescam",), ("gradcam", "hirescam")],
    "monitor": ["loss", "auroc"],
    "optimizer": ["sgd", "adamw"],
    "placement": ["stretch", "receptive-field"],
    "precision": ["auto", "fp32", "bf16", "fp16"],
    "prefer": ["sform", "qform"],
    "referee": ["occlusion", None],
    "schedule": ["constant", "cosine"],
    "scheduler": [
        "local",
        "tcp://127.0.0.1:8786",
        "tls://node-1.cluster:8786",
        "host:1",
        "10.0.0.1:65535",
        "tcp://[::1]:8786",
        "[fe80::1]:8786",
        "tcp://host:8786/",
        "wss://host:80",
        "ucx://host:1",
        "inproc://10.0.0.1/7/1",
    ],
    "series": ["all", "largest", "1.2.840.113619.2", "2", "1." + "2" * 62],
    "thresholds": ["0.5", "youden", "sensitivity:0.95", "sensitivity:1", "sensitivity:1.0"],
}
UNKNOWN: dict[str, list[Any]] = {
    "augment": ["flip", "Papers", ""],
    "calibrate": ["isotonic", ""],
    "device": ["tpu", "cuda:", "cuda:-1", "cuda:²", "cpu:1", "CPU", ""],
    "existing": ["keep", "Skip", ""],
    "fill": ["blur", (), ("noise",), ("blur", 1)],
    "format": ["nifti", (), ("jpeg",), ("nifti", "dicom"), ("png", 3)],
    "freeze": ["all", "softmax", ""],
    "grid": ["fine", "scan,cam", ""],
    "host": ["Mercure", "orthanc", ""],
    "identifiers": ["uid", "all", ""],
    "labels": [
        "",
        " ",
        ",",
        " , ",
        "top:0",
        "top:",
        "top:x",
        "top:²",
        "top:" + "9" * 30,
        "top:1,nodule",
        None,
    ],
    "log": ["csv", (), ("wandb",), ("csv", "")],
    "log-format": ["xml", ""],
    "mask-cells": ["all", "0.5", ""],
    "mask-loss": ["paper", "two sided", ""],
    "method": ["hirescam", (), ("lime",), ("hirescam", "")],
    "monitor": ["accuracy", ""],
    "optimizer": ["adam", "SGD", ""],
    "placement": ["middle", "rf", ""],
    "precision": ["int8", "fp64", ""],
    "prefer": ["sfrom", "SFORM", "sform ", ""],
    "referee": ["Occlusion", "road", ""],
    "schedule": ["linear", ""],
    "scheduler": [
        "LOCAL",
        "",
        "bogus",
        "tcp://host",
        "host",
        "tcp://:8786",
        ":8786",
        "http://host:8786",
        "tcp://host:port",
        "host:8786 ",
        "tcp://host:123456",
        "/run/scheduler.json",
    ],
    "series": ["foo", "", "Largest", "1.2.x", "1.2\n", "1..2", ".1", "1.", "²", "1." + "2" * 63],
    "thresholds": [
        "",
        "0.4",
        "sensitivity",
        "sensitivity:0",
        "sensitivity:0.0",
        "sensitivity:1.1",
        "sensitivity:x",
    ],
}


CHOICES = {option.name: option.choice for option in OPTIONS if option.choice}


def test_the_tables_of_this_test_hold_every_option() -> None:
    assert set(KNOWN) == set(UNKNOWN) == set(CHOICES)


@pytest.mark.parametrize("option", KNOWN)
def test_known_values_pass(option: str) -> None:
    for value in KNOWN[option]:
        BY_NAME[option].check(value)


@pytest.mark.parametrize("option", UNKNOWN)
def test_the_refusal_names_option_value_and_choices(option: str) -> None:
    for value in UNKNOWN[option]:
        with pytest.raises(UsageError) as caught:
            BY_NAME[option].check(value)
        assert caught.value.exit_code == 2
        assert caught.value.message.startswith(f"--{option} ")
        parts = value if type(value) is tuple and value else (value,)
        wrong = next(part for part in parts if not CHOICES[option].knows(part) or part is value)
        assert str(wrong) in caught.value.message or repr(wrong) in caught.value.message
        hint = caught.value.hint or ""
        assert all(shown in hint for shown in CHOICES[option].shown)
        assert BY_NAME[option].variable in hint


ENTRIES: dict[str, list[Any]] = {
    "augment": [lambda bad: TrainOptions(augment=bad)],
    "calibrate": [lambda bad: TrainOptions(calibrate=bad)],
    "log": [lambda bad: TrainRunOptions(log=bad)],
    "mask-cells": [lambda bad: MaskOptions(cells=bad)],
    "mask-loss": [lambda bad: MaskOptions(loss=bad)],
    "monitor": [lambda bad: TrainOptions(monitor=bad)],
    "optimizer": [lambda bad: TrainOptions(optimizer=bad)],
    "schedule": [lambda bad: TrainOptions(schedule=bad)],
    "thresholds": [lambda bad: TrainOptions(thresholds=bad)],
    "device": [lambda bad: Settings(device=bad), resolve_device],
    "existing": [lambda bad: RunOptions(existing=bad)],
    "fill": [lambda bad: RefereeOptions(fills=bad)],
    "format": [lambda bad: Settings(formats=bad), lambda bad: RenderOptions(formats=bad)],
    "host": [lambda bad: HostOptions(host=bad)],
    "freeze": [lambda bad: Settings(freeze=bad)],
    "grid": [lambda bad: Settings(grid=bad), lambda bad: RenderOptions(grid=bad)],
    "identifiers": [
        lambda bad: Settings(identifiers=bad),
        lambda bad: discover([InputPath(Path(__file__))], ReadOptions(), bad),
    ],
    "labels": [lambda bad: Settings(labels=bad), lambda bad: RenderOptions(labels=bad)],
    "log-format": [lambda bad: reporter(log_format=bad).__enter__()],
    "method": [lambda bad: Settings(methods=bad), lambda bad: RenderOptions(methods=bad)],
    "placement": [lambda bad: Settings(placement=bad), lambda bad: RenderOptions(placement=bad)],
    "precision": [lambda bad: Settings(precision=bad)],
    "prefer": [lambda bad: ReadOptions(prefer=bad), lambda bad: replace(ReadOptions(), prefer=bad)],
    "referee": [lambda bad: RefereeOptions(referee=bad)],
    "scheduler": [lambda bad: RunOptions(scheduler=bad)],
    "series": [lambda bad: ReadOptions(series=bad)],
}


@pytest.mark.parametrize("option", CHOICES)
def test_every_way_in_refuses_what_is_unknown(option: str) -> None:
    for enter in ENTRIES[option]:
        for bad in UNKNOWN[option]:
            if bad is None:
                continue
            with pytest.raises(UsageError, match=f"^--{option} "):
                enter(bad)


def test_a_very_long_value_is_told_by_its_beginning() -> None:
    with pytest.raises(UsageError) as caught:
        Settings(labels="top:" + "1" * 5000)
    assert len(caught.value.message) < 300
    assert caught.value.message.endswith("1... (5006 characters) is unknown.")


@pytest.mark.parametrize("scheduler", [None, "local"])
def test_a_timeout_needs_a_reader_process(scheduler: str | None) -> None:
    assert (
        RunOptions(timeout=3.0, scheduler=scheduler, jobs=1).timeout == RunOptions(timeout=3.0).timeout == 3.0
    )
    if scheduler == "local":  # each worker has a reader process, whatever their number
        assert RunOptions(timeout=3.0, jobs=0, scheduler=scheduler).jobs == 0
        return
    with pytest.raises(UsageError, match="--timeout needs a reader process, and --jobs is 0") as caught:
        RunOptions(timeout=3.0, jobs=0)
    assert "--jobs 1" in str(caught.value.hint)


def test_help_shows_the_table() -> None:
    assert BY_NAME["prefer"].shown == "sform|qform"
    assert BY_NAME["labels"].shown == "positive|all|top:N|NAME,..."
    assert BY_NAME["method"].shown == "hirescam,gradcam,xgradcam,layercam,cam,layer-ig,ablation-cam"
    assert BY_NAME["target-layer"].variable == "HIRESCAM_TARGET_LAYER"


RECORDS = (
    *(Settings, ReadOptions, RunOptions, RenderOptions, OutlineOptions, Destination, Messages),
    *(ArchiveOptions, PullOptions, PushOptions, HostOptions, PhantomOptions, EvaluateOptions, RefereeOptions),
    *(TrainOptions, MaskOptions, TrainRunOptions, Layout),
)


@pytest.mark.parametrize("record", RECORDS)
def test_the_types_of_records_are_those_of_the_table(record: type[Any]) -> None:
    hints = get_type_hints(record)
    for name, option in options_of(record):
        default = record.__dataclass_fields__[name].default
        expected = {tuple} if option.several else {option.kind}
        found = {get_origin(kind) or kind for kind in _members(hints[name])}
        assert found == expected | ({type(None)} if default is None else set()), name


def _members(hint: Any) -> list[Any]:
    """The types that a value may have; words count as strings."""
    if get_origin(hint) in (Union, UnionType):
        return [member for part in get_args(hint) for member in _members(part)]
    return [str] if get_origin(hint) is Literal else [hint]


def test_every_option_belongs_to_a_record() -> None:
    held = {option.name for record in RECORDS for _, option in options_of(record)}
    assert held == {option.name for option in OPTIONS}


@pytest.mark.parametrize(
    ("text", "valid"),
    [("1.2.840", True), ("0", True), ("1." + "2" * 62, True), ("1." + "2" * 63, False), (None, False)]
    + [(text, False) for text in ("", "...", "1.2 ", "1.2\n", "1.٣", "MARK^ALICE", "1.2/3")],
)
def test_a_uid_is_digits_and_dots(text: str | None, valid: bool) -> None:
    assert is_uid(text) is valid
