"""Losses on a hand-made network of two groups, their gradients, and the map against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.train.evidence import scaled_map, usable_head
from hirescam_cli.train.losses import classification_loss, forbidden_cells, lesion_loss, mask_loss

LN2 = math.log(2.0)
NAN = math.nan


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_cross_entropy_of_known_labels_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3.0), 5.0], requires_grad=True)
    loss = classification_loss(logits, torch.tensor([1.0, 0.0, NAN]))
    # ln 2, and -ln(1 - 3/4) = ln 4; the third label is unknown.
    assert loss.item() == pytest.approx((LN2 + math.log(4.0)) / 2, rel=1e-6)
    loss.backward()
    # (sigmoid - truth) / 2.
    torch.testing.assert_close(logits.grad, torch.tensor([-0.25, 0.375, 0.0]))


def test_a_scan_of_which_nothing_is_known_has_no_gradient() -> None:
    logits = torch.tensor([2.0, -1.0], requires_grad=True)
    loss = classification_loss(logits, torch.tensor([NAN, NAN]))
    assert loss.item() == 0.0
    loss.backward()
    torch.testing.assert_close(logits.grad, torch.zeros(2))


def two_groups() -> tuple[nn.Conv2d, Tensor]:
    """A head of two labels over two channels and a 1 x 2 plane, and activations of two groups."""
    head = nn.Conv2d(2, 2, (1, 2))
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[[[1.0, 2.0]], [[0.0, -1.0]]], [[[0.5, 0.0]], [[3.0, 1.0]]]]))
        assert head.bias is not None
        head.bias.copy_(torch.tensor([0.25, -1.0]))
    activation = torch.tensor([[[[1.0, 2.0]], [[3.0, 1.0]]], [[[0.0, 1.0]], [[2.0, 0.0]]]])
    return head, activation.requires_grad_()


# Sums over channels of W * A: label 0: 1*1 + 0*3, 2*2 - 1*1; 1*0 + 0*2, 2*1 - 1*0; label 1: .5*1 + 3*3, ...
MAP = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]], [[[9.5, 1.0]], [[6.0, 0.0]]]])


def test_the_map_of_two_groups_by_hand() -> None:
    head, activation = two_groups()
    logits = head(activation).flatten(1).mean(dim=0)
    found = scaled_map(activation, "icjk", logits, usable_head(head, (1, 2), scored=True), scored=True)
    torch.testing.assert_close(found, MAP)
    # Completeness: the logit is the mean over groups of the map's sum, plus the bias.
    assert head.bias is not None
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)) / 2 + head.bias, logits)
    by_autograd = scaled_map(activation, "icjk", logits, None, scored=True)
    torch.testing.assert_close(by_autograd, MAP)


def test_both_mask_losses_of_two_groups_by_hand() -> None:
    """Label 0 is there, in the second cell of the first group; label 1 is not."""
    allowed = torch.zeros(2, 2, 1, 2, dtype=torch.bool)
    allowed[0, 0, 0, 1] = True
    allowed[1, 1, 0, 0] = True
    forbidden = forbidden_cells(torch.tensor([1.0, 0.0]), allowed, torch.tensor([True, True]))
    outside = [1.0, 0.0, 2.0, 9.5, 1.0, 6.0, 0.0]
    assert sorted(MAP[forbidden].tolist()) == sorted(outside)
    papers = mask_loss("papers", MAP, forbidden).item()
    assert papers == pytest.approx(sum(map(softplus, outside)) / 7, rel=1e-6)
    two_sided = mask_loss("two-sided", MAP, forbidden).item()
    assert two_sided == pytest.approx(sum(v * v for v in outside) / 7, rel=1e-6)
    # At no evidence at all the authors' loss is ln 2 and still falls; the other rests at 0. Below 0 it does not push.
    assert mask_loss("papers", 0 * MAP, forbidden).item() == pytest.approx(LN2)
    assert mask_loss("two-sided", -MAP, forbidden).item() == 0.0


@pytest.mark.parametrize("kind", ["papers", "two-sided"])
def test_allowed_cells_have_no_gradient_and_forbidden_ones_their_own(kind: str) -> None:
    evidence = MAP.clone().requires_grad_()
    allowed = torch.zeros(2, 2, 1, 2, dtype=torch.bool)
    allowed[0, 0] = True
    forbidden = forbidden_cells(torch.tensor([1.0, 0.0]), allowed, torch.tensor([True, False]))
    mask_loss(kind, evidence, forbidden).backward()
    slope = torch.sigmoid(MAP) if kind == "papers" else 2 * torch.relu(MAP)
    torch.testing.assert_close(evidence.grad, torch.where(forbidden, slope / 6, 0.0))
    assert forbidden.sum() == 6


@pytest.mark.parametrize("truth", [(NAN, NAN), (1.0, NAN)])
def test_unknown_labels_and_present_ones_without_masks_have_no_term(truth: tuple[float, float]) -> None:
    evidence = MAP.clone().requires_grad_()
    forbidden = forbidden_cells(
        torch.tensor(truth), torch.zeros(2, 2, 1, 2, dtype=torch.bool), torch.tensor([False, True])
    )
    loss = mask_loss("papers", evidence, forbidden)
    loss.backward()
    assert loss.item() == 0.0
    torch.testing.assert_close(evidence.grad, torch.zeros_like(MAP))


def test_the_map_of_an_axialnet_is_autograds_with_its_derivative() -> None:
    torch.manual_seed(0)
    network = AxialNet(3, 2, (4, 4)).double().eval()
    network.fc = nn.Conv2d(4, 3, 3).double()
    kept: list[Tensor] = []
    network.get_submodule(network.last_layer).register_forward_hook(lambda _m, _i, out: kept.append(out))
    groups = torch.rand(4, 3, 224, 224, dtype=torch.float64)
    gradients = []
    for closed in (True, False):
        network.zero_grad()
        kept.clear()
        logits = network.scores(groups).mean(dim=0)
        head = usable_head(network.fc, (3, 3), scored=True) if closed else None
        found = scaled_map(kept[0], "icjk", logits, head, scored=True)
        mask_loss("papers", found, torch.ones_like(found, dtype=torch.bool)).backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    # All parameters but the head's bias, which is part of no map.
    assert len(gradients[0]) == len(list(network.parameters())) - 1
    for one, other in zip(gradients[0], gradients[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9)


def test_the_map_behind_a_mean_is_each_cells_own_score() -> None:
    """A linear layer behind a mean over all cells: cells are to the logit what groups are in AxialNet."""
    torch.manual_seed(1)
    head = nn.Linear(5, 3)
    activation = torch.rand(1, 5, 2, 3, 4, requires_grad=True)
    logits = head(activation.mean(dim=(2, 3, 4)))[0]
    closed = scaled_map(activation, "ncijk", logits, usable_head(head, (3, 4), scored=False), scored=False)
    torch.testing.assert_close(closed, torch.einsum("lc,cijk->lijk", head.weight, activation[0]))
    torch.testing.assert_close(closed.mean(dim=(1, 2, 3)) + head.bias, logits)
    torch.testing.assert_close(scaled_map(activation, "ncijk", logits, None, scored=False), closed)


def test_no_tensor_of_labels_by_activation_is_made() -> None:
    """Of 64 labels over 400,000 activations: 102 MB if they were multiplied out, 6.4 MB is the map."""
    head = nn.Conv2d(16, 64, 6)
    activation = torch.rand(700, 16, 6, 6)
    with torch.profiler.profile(profile_memory=True) as profile:
        scaled_map(activation, "icjk", torch.zeros(64), head, scored=True)
    largest = max(abs(event.cpu_memory_usage) for event in profile.events())
    assert largest < 30e6


def lesion_world() -> dict[str, Tensor]:
    """One label, two positions of 1 x 2 cells: the second cell of the first position holds the lesion."""
    cells = torch.zeros(1, 2, 1, 2, dtype=torch.bool)
    cells[0, 0, 0, 1] = True
    return {
        "worth": torch.tensor([[[[2.0, 4.0]], [[-1.0, 0.5]]]]),
        "rest": torch.tensor([-3.0]),
        "cells": cells,
        "weight": torch.tensor([[1.0, 0.0]]),
        "known": torch.ones(1, 2, dtype=torch.bool),
    }


def test_the_loss_of_lesions_by_hand() -> None:
    outside = softplus(2 - 3) + softplus(-1 - 3) + softplus(0.5 - 3)
    inside = softplus(3 - 4)
    # The sums are 6 - 3 where the lesion is, and -0.5 - 3 where it is not.
    score = softplus(-3.0) + softplus(-3.5)
    expected = (outside + 3 * inside + 2 * score + 0.5 * 0.5**2) / 2
    assert lesion_loss(**lesion_world()).item() == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_lesions_pushes_evidence_up_inside_alone() -> None:
    world = lesion_world()
    worth = world["worth"] = torch.zeros_like(world["worth"]).requires_grad_()
    lesion_loss(**world).backward()
    assert worth.grad is not None
    slope = worth.grad[0, :, 0]
    assert slope[0, 1] < 0
    # The score of the whole position asks its other cell up too, less than its own margin lets it.
    assert slope[0, 1] < 2 * slope[0, 0]
    assert (slope[1] > 0).all()


def test_a_tenth_of_a_lesion_is_not_asked_for_in_the_score() -> None:
    world = lesion_world() | {"weight": torch.tensor([[0.1, 0.0]])}
    outside = softplus(2 - 3) + softplus(-1 - 3) + softplus(0.5 - 3)
    expected = (outside + 3 * 0.1 * softplus(3 - 4) + 2 * softplus(-3.5) + 0.5 * 0.5**2) / 2
    assert lesion_loss(**world).item() == pytest.approx(expected, rel=1e-6)


def test_what_the_masks_do_not_tell_costs_nothing() -> None:
    world = lesion_world() | {"known": torch.zeros(1, 2, dtype=torch.bool)}
    worth = world["worth"].requires_grad_()
    loss = lesion_loss(**world)
    assert loss.item() == 0.0
    loss.backward()
    assert worth.grad is not None
    assert not worth.grad.any()
    half = lesion_world() | {"known": torch.tensor([[False, True]])}
    assert lesion_loss(**half).item() == pytest.approx(
        softplus(-1 - 3) + softplus(0.5 - 3) + 2 * softplus(-3.5) + 0.5 * 0.5**2, rel=1e-6
    )
