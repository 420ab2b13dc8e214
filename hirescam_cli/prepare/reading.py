"""A preparation as model files say it: [input] and one [[preparation]] for each step."""

from __future__ import annotations

import re

from hirescam_cli.errors import ModelError
from hirescam_cli.prepare.preparation import Preparation
from hirescam_cli.prepare.steps.window import Window
from hirescam_cli.registries import STEPS
from hirescam_cli.toml_table import Table

_AXES = ("LR", "PA", "IS")
_CHANNELS = re.compile(r"one|windows|(repeat|slab):[1-9][0-9]{0,2}")


def read_preparation(file: Table) -> Preparation:
    """The preparation of a model file. Raises ModelError for what cannot be."""
    before = file.doubtful
    table = file.table("input")
    table.only(("axes", "channels"))
    axes, channels = _axes(table), table.text("channels", default="one")
    if not _CHANNELS.fullmatch(channels):
        expected = "one, repeat:N, slab:N (N from 1 to 999) or windows"
        table.refuse(table.fail("channels", channels, expected, 'channels = "one"'))
    tables = file.tables("preparation")
    steps = []
    for step in tables:
        name = step.choice("step", STEPS.names())
        if name != step.values.get("step"):
            continue
        try:
            steps.append(STEPS.find(name).read(step))
        except ModelError as fault:
            step.refuse(fault)
    preparation = Preparation(axes, channels, tuple(steps))
    if file.doubtful == before:
        _check_windows(file, tables, preparation)
        _check_slab(table, preparation)
    return preparation


def _axes(table: Table) -> str:
    expected = 'three letters, one of L and R, one of P and A, one of I and S, such as "RAS"'
    axes = table.text("axes", expected)
    if not isinstance(table.values.get("axes"), str):
        return "RAS"
    if len(axes) != 3 or any(sum(axes.count(letter) for letter in pair) != 1 for pair in _AXES):
        table.refuse(table.fail("axes", axes, expected, 'axes = "RAS"'))
        return "RAS"
    return axes


def _check_windows(file: Table, tables: list[Table], preparation: Preparation) -> None:
    """Several windows at once are the last step but for pointwise ones, and there they make the channels."""
    several = [n for n, step in enumerate(preparation.steps) if isinstance(step, Window) and len(step.hu) > 1]
    if bool(several) != (preparation.channels == "windows") or len(several) > 1:
        raise file.fail(
            "input.channels", preparation.channels, "windows where one step has several windows, only there"
        )
    first = len(preparation.early)
    for number in several:
        if number < first:
            raise tables[number].fail(
                "hu", tables[number].values["hu"], "one window, since steps follow that move voxels"
            )


def _check_slab(table: Table, preparation: Preparation) -> None:
    shape = preparation.shape
    if preparation.slab > 1 and (shape is None or shape[0] % preparation.slab):
        found = "not fixed" if shape is None else str(shape[0])
        raise table.fail(
            "channels",
            preparation.channels,
            f"slabs that divide the slices along the first axis, of which the number is {found}",
        )
