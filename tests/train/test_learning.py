"""That it learns at all, and what a mask loss does to evidence: minutes, so not in every run of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hirescam_cli.train.checkpoint import load_checkpoint
from hirescam_cli.train.run import train
from tests.train.world import World, model_text


@pytest.mark.slow
def test_eight_phantoms_are_learnt_by_heart(world: World, tmp_path: Path) -> None:
    """4 slice groups, width 8: the loss falls below 0.05 within 60 passes over 8 scans."""
    rows = world.rows()
    for row in rows:
        row["split"] = "train"
    again = dict(rows[0]) | {"id": "again", "patient": "again", "split": "valid"}
    table = world.write_rows([*rows, again], "by-heart.csv")
    (world.folder / "wider.toml").write_text(model_text(groups=4, width=8))
    run = tmp_path / "run"
    train(
        world.request(
            run, table=table, model=str(world.folder / "wider.toml"), epochs=60, patience=60, optimizer="adamw",
            lr=3e-3, schedule="cosine", weight_decay=0.0, augment="none", cache=tmp_path / "cache",
        )
    )  # fmt: skip
    found = load_checkpoint(run)
    assert found is not None
    losses = [epoch.train.classification for epoch in found.progress.history]
    assert losses[0] > 0.5
    assert losses[-1] < 0.05
