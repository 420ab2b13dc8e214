"""Optimisers and the course of the learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from hirescam_cli.train.options import TrainOptions


def new_optimiser(module: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """SGD as AxialNet's authors used it, or AdamW."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=options.lr, weight_decay=options.weight_decay)
    return torch.optim.SGD(
        parameters, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay
    )


def rate(options: TrainOptions, done: int, steps: int) -> float:
    """The learning rate after `done` steps in all, `steps` of them in the epochs: a function of these alone.

    So nothing of it need be kept. The warm-up and the epochs have each a rate and its whole course.
    """
    if done < options.warm_up:
        return _course(options, options.warm_up_lr or options.lr, done / options.warm_up)
    return _course(options, options.lr, (done - options.warm_up) / max(1, steps))


def _course(options: TrainOptions, highest: float, share: float) -> float:
    if options.schedule == "constant":
        return highest
    return highest * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
