"""The head of an AxialNet as training sees it: its maps, its bias, and a scale and an offset that fold into it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.phantom.lesions import FINDINGS


def head_maps(network: AxialNet, features: Tensor) -> Tensor:
    """HiResCAM maps of slice scores [n, labels, 6, 6] from the trunk's features: they sum to score minus bias."""
    with torch.autocast("cpu", torch.bfloat16):
        activations = network.conv2d(features)
    return torch.einsum("ncyx,lcyx->nlyx", activations.float(), network.fc.weight)


def bias_of(network: AxialNet) -> Tensor:
    """What the last layer adds to each label's score."""
    bias = network.fc.bias
    assert bias is not None
    return bias


class ScanHead(nn.Module):
    """The head with a scale and an offset per label on the mean over groups; both fold into `fc`."""

    def __init__(self, network: AxialNet) -> None:
        super().__init__()
        self.network = network
        self.log_scale = nn.Parameter(torch.full((len(FINDINGS),), 2.0))
        self.offset = nn.Parameter(torch.full((len(FINDINGS),), -3.0))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [scans, labels] and maps [scans * groups, labels, 6, 6] of features [scans, groups, ...]."""
        maps = head_maps(self.network, features.flatten(0, 1))
        evidence = maps.sum(dim=(2, 3)).reshape(len(features), -1, len(FINDINGS)).mean(dim=1)
        return self.log_scale.exp() * evidence + self.offset, maps

    @torch.no_grad()
    def fold(self) -> None:
        """Write scale and offset into the fully connected layer."""
        self.network.fc.weight.mul_(self.log_scale.exp()[:, None, None, None])
        bias_of(self.network).copy_(self.offset)


def scan_loss(head: ScanHead, features: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of whole scans, the mean over scans and labels."""
    return F.binary_cross_entropy_with_logits(head(features)[0], present.float())


def calibrate(head: ScanHead, held_back: Tensor, present: Tensor) -> None:
    """Phase 3: scale and offset per label by logistic regression on held-back scans, pulled to the old ones."""
    with torch.no_grad():
        logits = head(held_back)[0]
    target = present.float()
    change = torch.zeros(2, len(FINDINGS), requires_grad=True)
    optimizer = torch.optim.LBFGS([change], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        moved = change[0].exp() * logits + change[1]
        loss = F.binary_cross_entropy_with_logits(moved, target, reduction="sum") + 0.5 * (change**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.offset.mul_(change[0].exp()).add_(change[1])
        head.log_scale.add_(change[0])
