"""Options with choices: one table, one check, and every way in asks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.progress import reporter
from hirescam_cli.device import resolve_device
from hirescam_cli.errors import UsageError
from hirescam_cli.io import InputPath, discover
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.options import CHOICES, check_choice, is_uid, metavar, variable
from hirescam_cli.rendering import RenderOptions
from hirescam_cli.settings import Settings

KNOWN: dict[str, list[Any]] = {
    "device": ["auto", "cpu", "cuda", "cuda:0", "cuda:17", "mps"],
    "existing": ["skip", "overwrite", "error"],
    "format": [("nifti",), ("nifti", "png", "gif", "html")],
    "grid": ["scan", "cam", "both"],
    "identifiers": ["none", "uids"],
    "labels": ["positive", "all", "top:1", "top:020", "nodule", "nodule, mass", "lung höhle"],
    "log-format": ["text", "json"],
    "method": [("hirescam",), ("gradcam", "hirescam")],
    "placement": ["stretch", "receptive-field"],
    "precision": ["auto", "fp32", "bf16", "fp16"],
    "prefer": ["sform", "qform"],
    "series": ["all", "largest", "1.2.840.113619.2", "2", "1." + "2" * 62],
}
UNKNOWN: dict[str, list[Any]] = {
    "device": ["tpu", "cuda:", "cuda:-1", "cuda:²", "cpu:1", "CPU", ""],
    "existing": ["keep", "Skip", ""],
    "format": ["nifti", (), ("jpeg",), ("nifti", "dicom-seg"), ("png", 3)],
    "grid": ["fine", "scan,cam", ""],
    "identifiers": ["uid", "all", ""],
    "labels": ["", " ", ",", " , ", "top:0", "top:", "top:x", "top:²", "top:1,nodule", None],
    "log-format": ["xml", ""],
    "method": ["hirescam", (), ("lime",), ("hirescam", "")],
    "placement": ["middle", "rf", ""],
    "precision": ["int8", "fp64", ""],
    "prefer": ["sfrom", "SFORM", "sform ", "", None],
    "series": ["foo", "", "Largest", "1.2.x", "1.2\n", "1..2", ".1", "1.", "²", "1." + "2" * 63],
}


def test_the_tables_of_this_test_hold_every_option() -> None:
    assert set(KNOWN) == set(UNKNOWN) == set(CHOICES)


@pytest.mark.parametrize("option", KNOWN)
def test_known_values_pass(option: str) -> None:
    for value in KNOWN[option]:
        check_choice(option, value)


@pytest.mark.parametrize("option", UNKNOWN)
def test_the_refusal_names_option_value_and_choices(option: str) -> None:
    for value in UNKNOWN[option]:
        with pytest.raises(UsageError) as caught:
            check_choice(option, value)
        assert caught.value.exit_code == 2
        assert caught.value.message.startswith(f"--{option} ")
        parts = value if type(value) is tuple and value else (value,)
        wrong = next(part for part in parts if not CHOICES[option].knows(part) or part is value)
        assert str(wrong) in caught.value.message or repr(wrong) in caught.value.message
        hint = caught.value.hint or ""
        assert all(shown in hint for shown in CHOICES[option].shown)
        assert variable(option) in hint


ENTRIES: dict[str, list[Any]] = {
    "device": [lambda bad: Settings(device=bad), resolve_device],
    "existing": [lambda bad: RunOptions(existing=bad)],
    "format": [lambda bad: Settings(formats=bad), lambda bad: RenderOptions(formats=bad)],
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


def test_help_shows_the_table() -> None:
    assert metavar("prefer") == "sform|qform"
    assert metavar("labels") == "positive|all|top:N|NAME,..."
    assert metavar("method") == "hirescam,gradcam"
    assert variable("target-layer") == "HIRESCAM_TARGET_LAYER"


@pytest.mark.parametrize(
    ("text", "valid"),
    [("1.2.840", True), ("0", True), ("1." + "2" * 62, True), ("1." + "2" * 63, False), (None, False)]
    + [(text, False) for text in ("", "...", "1.2 ", "1.2\n", "1.٣", "MARK^ALICE", "1.2/3")],
)
def test_a_uid_is_digits_and_dots(text: str | None, valid: bool) -> None:
    assert is_uid(text) is valid
