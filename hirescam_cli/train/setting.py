"""What a run consists of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from hirescam_cli.train.learner import Learner
from hirescam_cli.train.objective import Objective
from hirescam_cli.train.optimiser import rate
from hirescam_cli.train.options import TrainOptions
from hirescam_cli.train.positions import Positions
from hirescam_cli.train.ranks import Ranks
from hirescam_cli.train.samples import Samples
from hirescam_cli.train.table import Table


@dataclass(frozen=True, eq=False)
class Setting:
    """What a run consists of. `workers`: scans read ahead; `checkpoint_seconds`: between checkpoints in an epoch.

    `positions`: for the warm-up, where there is one.
    """

    run: Path
    options: TrainOptions
    table: Table
    samples: Samples
    learner: Learner
    objective: Objective
    optimiser: torch.optim.Optimizer
    ranks: Ranks
    workers: int
    checkpoint_seconds: float
    max_failures: int
    positions: Positions | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.table.of("train")) / (self.ranks.size * self.options.accumulate))

    def rate(self, done: int) -> float:
        """The learning rate after a number of steps in all."""
        return rate(self.options, done, self.options.epochs * self.steps)
