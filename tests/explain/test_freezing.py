"""What counts as held constant: only what was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hirescam_cli.explain.freezing import HeldConstant


@pytest.mark.parametrize(
    ("more", "met"),
    [({}, {"softmax"}), ({"add_zero_attn": True}, set()), ({"add_bias_kv": True}, set())],
    ids=["plain", "a zero key", "keys of its own"],
)
def test_attention_is_met_where_its_weights_lost_their_gradients(
    more: dict[str, bool], met: set[str]
) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **more)
    x = torch.rand(5, 3, 8, requires_grad=True)
    with HeldConstant(["softmax"]) as held:
        answer, _ = attention(x, x, x)
    assert held.met == met
    torch.testing.assert_close(answer, attention(x, x, x)[0])


@pytest.mark.parametrize(("running", "met"), [(False, {"instance-norm"}), (True, set())])
def test_instance_norm_is_met_where_it_measures_its_input(running: bool, met: set[str]) -> None:
    norm = nn.InstanceNorm3d(4, track_running_stats=running).eval()
    x = torch.rand(2, 4, 3, 3, 3, requires_grad=True)
    with HeldConstant(["instance-norm"]) as held:
        answer = norm(x)
    assert held.met == met
    torch.testing.assert_close(answer, norm(x))
