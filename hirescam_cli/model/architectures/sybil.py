"""Sybil (Mikhael et al. 2023, "Sybil: a validated deep learning model to predict future lung cancer risk").

The features of r3d_18, pooled in three ways: by attention within each slice and then over slices, by the maximum of
each slice and then attention over slices, and by the maximum of all. Two linear layers follow; the logit of a year is a
base plus what each year up to it adds, which is never below 0. Names are those of the published files without `model.`.
The softmaxes' weights depend on what they weigh, so a map closes on the logit only while they are held constant.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.architectures.parameters import flat_only, only
from hirescam_cli.model.architectures.video import encoder
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.placement import At

_CHANNELS = 512
_KERNEL = 11

SOFTMAXES = ("pool.image_pool1.softmax", "pool.volume_pool1.softmax", "pool.volume_pool2.aggregate.softmax")
"""The modules that weigh by attention."""


class Attention(nn.Module):
    """The mean of vectors [n, c, m] over m, weighted by the softmax of a linear score of each: [n, c]."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_fc = nn.Linear(_CHANNELS, 1)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores, weights, mean."""
        weights = self.softmax(self.attention_fc(x.transpose(1, 2)).transpose(1, 2))
        found: Tensor = (x * weights).sum(dim=-1)
        return found


class ConvolvedAttention(nn.Module):
    """A convolution along slices, [n, c, t], then attention over them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1d = nn.Conv1d(_CHANNELS, _CHANNELS, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.aggregate = Attention()

    def forward(self, x: Tensor) -> Tensor:
        """[n, c]."""
        found: Tensor = self.aggregate(self.conv1d(x))
        return found


class Pool(nn.Module):
    """Features [1, c, t, h, w] to [1, c]."""

    def __init__(self) -> None:
        super().__init__()
        self.image_pool1 = Attention()
        self.volume_pool1 = Attention()
        self.volume_pool2 = ConvolvedAttention()
        # A part of the published files that no logit depends on.
        self.multi_img_hidden_fc = nn.Linear(2 * _CHANNELS, _CHANNELS)
        self.hidden_fc = nn.Linear(3 * _CHANNELS, _CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Attention and attention, maximum and attention, maximum of all."""
        scans, channels, slices = x.shape[:3]
        planes = x.flatten(3)
        by_slice = self.image_pool1(planes.transpose(1, 2).reshape(scans * slices, channels, -1))
        attended = self.volume_pool1(by_slice.reshape(scans, slices, channels).transpose(1, 2))
        greatest = self.volume_pool2(planes.max(dim=-1).values)
        found: Tensor = self.hidden_fc(
            torch.cat([attended, greatest, planes.flatten(2).max(dim=-1).values], dim=-1)
        )
        return found


class CumulativeHazard(nn.Module):
    """Logits [n, years] of features [n, c]: base + the sum of ReLU(hazard) over the years up to each."""

    def __init__(self, years: int) -> None:
        super().__init__()
        self.hazard_fc = nn.Linear(_CHANNELS, years)
        self.base_hazard_fc = nn.Linear(_CHANNELS, 1)
        self.relu = nn.ReLU(inplace=True)
        # A constant, under the name that it has in the published files.
        self.register_buffer("upper_triagular_mask", torch.triu(torch.ones(years, years)))

    def forward(self, x: Tensor) -> Tensor:
        """Hazards, added up."""
        mask = self.get_buffer("upper_triagular_mask")
        found: Tensor = self.relu(self.hazard_fc(x)) @ mask + self.base_hazard_fc(x)
        return found


class Sybil(nn.Module):
    """Logits [1, years] of a scan [1, 3, t, h, w]."""

    def __init__(self, years: int) -> None:
        super().__init__()
        self.image_encoder = encoder()
        self.pool = Pool()
        self.relu = nn.ReLU()
        self.prob_of_failure_layer = CumulativeHazard(years)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [1, years]."""
        found: Tensor = self.prob_of_failure_layer(self.relu(self.pool(self.image_encoder(x))))
        return found


def _cells(layer: str, _shape: Shape3, at: At = "output") -> Cells:
    if layer != "image_encoder":
        raise flat_only("sybil", layer, "image_encoder")
    return Cells((8.0, 16.0, 16.0) if at == "output" else (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def _build(parameters: Mapping[str, object], labels: int) -> Network:
    only("sybil", parameters)
    return Network(
        Sybil(labels),
        inputs="ncijk",
        target_layer="image_encoder",
        activation=lambda _layer: "ncijk",
        cells=_cells,
        trunk=("image_encoder",),
        norms_follow=True,
    )


ARCHITECTURE = Architecture(
    "sybil", "r3d_18 with attention and maximum pools, cumulative hazard (JCO 41:2191)", _build
)
