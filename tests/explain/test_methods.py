"""The formulas on numbers that can be worked by hand."""

from __future__ import annotations

import numpy as np
import torch

from hirescam_cli.explain.methods import gradcam, hirescam

# One label, two groups, two channels, one cell row of two: A [S=2, C=2, h=1, w=2].
A = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]], [[[0.0, 1.0]], [[2.0, 4.0]]]])
G = torch.tensor([[[[[1.0, -1.0]], [[2.0, 5.0]]], [[[7.0, 3.0]], [[-1.0, 0.5]]]]])


def test_hirescam_multiplies_each_cell_with_its_own_gradient() -> None:
    # group 0: [1*1 + 2*3, -1*2 + 5*0] = [7, -2]; group 1: [7*0 - 1*2, 3*1 + 0.5*4] = [-2, 5]
    assert hirescam.maps(A, G).tolist() == [[[[7.0, -2.0]], [[-2.0, 5.0]]]]


def test_gradcam_uses_one_weight_a_channel() -> None:
    maps = gradcam.weighted_sum(A, gradcam.share(A, G, torch.ones(2), 4))
    # the mean gradients: (1 - 1 + 7 + 3) / 4 = 2.5, (2 + 5 - 1 + 0.5) / 4 = 1.625
    # group 0: [2.5 + 3*1.625, 2.5*2]; group 1: [2*1.625, 2.5 + 4*1.625]
    assert maps.tolist() == [[[[7.375, 5.0]], [[3.25, 9.0]]]]


def test_the_closed_form_at_the_last_layer_is_the_weight_over_the_number_of_groups() -> None:
    weight = torch.tensor([[[[4.0, -2.0]], [[6.0, 8.0]]]])  # [L=1, C=2, h=1, w=2]
    maps = hirescam.linear(A, weight, 2)
    # G = weight / 2 for both groups: group 0 [2*1 + 3*3, -1*2 + 4*0], group 1 [3*2, -1*1 + 4*4]
    assert maps.tolist() == [[[[11.0, -2.0]], [[6.0, 15.0]]]]
    assert torch.equal(maps, hirescam.maps(A, (weight / 2)[:, None].expand(1, 2, 2, 1, 2)))


def test_closed_form_alpha_keeps_a_mean_that_float32_would_lose() -> None:
    weight = torch.tensor([[[[1e8, 1.0, -1e8, 0.0]]]])
    assert gradcam.linear(torch.ones(1, 1, 1, 4), weight, 5)[0, 0, 0, 0].item() == np.float32(1.0 / 4 / 5)
