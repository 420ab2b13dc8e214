"""Merlin, Sybil and CT-Net against what their published code answers for weights and inputs given by formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from hirescam_cli.case.evidence import certificate
from hirescam_cli.errors import ModelError
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.model.architectures.sybil import SOFTMAXES
from hirescam_cli.model.cells import follow, refuse_misplaced
from hirescam_cli.model.checkpoint import fit
from hirescam_cli.model.contract import Cells, Network
from hirescam_cli.model.spec import load_spec
from hirescam_cli.registries import ARCHITECTURES
from tests.explain.networks import unit
from tests.model.test_video import filled

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "networks.npz"


def merlin_input() -> NDArray[np.float32]:
    values = unit(64 * 80 * 48, 999).reshape(1, 64, 80, 48).astype(np.float32)
    values[:, 20:40, 10:25, 4:20] += np.float32(0.5)
    return values


def sybil_input() -> NDArray[np.float32]:
    values = unit(3 * 48 * 96 * 80, 999).reshape(3, 48, 96, 80).astype(np.float32) - np.float32(0.5)
    values[:, 12:24, 20:50, 10:35] += np.float32(0.5)
    return values


def ctnet_input() -> NDArray[np.float32]:
    groups = [unit(3 * 420 * 420, 1000 + s).reshape(3, 420, 420).astype(np.float32) for s in range(134)]
    values = np.stack(groups) - np.float32(0.449)
    values[40:60, :, 100:220, 240:330] += np.float32(0.5)
    return values


@dataclass(frozen=True)
class Given(Feed):
    """A feed that answers with a reference's input."""

    values: Callable[[], NDArray[np.float32]] = merlin_input

    def tensor(self, _positions: torch.Tensor, *_more: Any, **_options: Any) -> torch.Tensor:
        given = torch.from_numpy(self.values())
        return given[None] if "n" in self.inputs else given


@dataclass(frozen=True)
class World:
    """A network of the reference: its architecture, number of labels, input, shape of that, labels with maps."""

    architecture: str
    labels: int
    values: Callable[[], NDArray[np.float32]]
    shape: tuple[int, int, int]
    mapped: tuple[int, ...]


WORLDS = {
    "merlin_five_year": World("merlin", 6, merlin_input, (64, 80, 48), (0, 5)),
    "sybil": World("sybil", 6, sybil_input, (48, 96, 80), (0, 5)),
    "ctnet": World("ctnet", 9, ctnet_input, (402, 420, 420), (0, 8)),
}
NAMES = tuple(WORLDS)
CT_NET_SLICES = slice(38, 64)


@pytest.fixture(scope="module")
def reference() -> Mapping[str, NDArray[Any]]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


def built(name: str, reference: Mapping[str, NDArray[Any]]) -> Network:
    world = WORLDS[name]
    network = ARCHITECTURES.find(world.architecture).build({}, world.labels)
    filled(network.module, reference[f"{name}/keys"])
    return network


def explained(
    network: Network,
    name: str,
    methods: tuple[str, ...] = ("hirescam", "gradcam"),
    freeze: tuple[str, ...] = (),
) -> Explanation:
    world = WORLDS[name]
    slab = 3 if name == "ctnet" else 1
    count = world.shape[0] // slab
    engine = Engine(network, Given((), "one", slab, network.inputs, (), world.values), freeze=freeze)
    engine.check(methods)
    # Only the number of positions counts: the feed has the values.
    return engine.explain(np.zeros((count, slab, 1, 1), dtype=np.int16), np.zeros(count, dtype=bool), methods)


@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] if n == "ctnet" else []) for n in NAMES]
)
def found(request: pytest.FixtureRequest, reference: Mapping[str, NDArray[Any]]) -> tuple[str, Explanation]:
    name: str = request.param
    methods = ("hirescam", "gradcam", "xgradcam", *(["cam"] if name == "merlin_five_year" else []))
    return name, explained(built(name, reference), name, methods)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_parameters_are_the_publishers(name: str, reference: Mapping[str, NDArray[Any]]) -> None:
    module = ARCHITECTURES.find(WORLDS[name].architecture).build({}, WORLDS[name].labels).module
    left_out = ("num_batches_tracked", "upper_triagular_mask")
    assert (
        sorted(key for key in module.state_dict() if not key.endswith(left_out))
        == reference[f"{name}/keys"].tolist()
    )


def test_logits_and_maps_are_those_of_the_reference(
    found: tuple[str, Explanation], reference: Mapping[str, NDArray[Any]]
) -> None:
    name, explanation = found
    expected = reference[f"{name}/logits"]
    np.testing.assert_allclose(explanation.logits, expected, atol=1e-4 * np.abs(expected).max())
    assert explanation.slice_scores is None
    for method in ("hirescam", "gradcam"):
        for label in WORLDS[name].mapped:
            wanted = reference[f"{name}/{method}/{label}"]
            given = explanation.cams[method][label]
            if (
                name == "merlin_five_year"
            ):  # the reference lies along the axes inside the network: head, right, front
                given = given.transpose(2, 0, 1)
            if name == "ctnet":  # of which the reference holds the slices about the bright block
                given = given[CT_NET_SLICES]
            assert given.shape == wanted.shape
            assert np.abs(given - wanted).max() < 1e-4 * np.abs(wanted).max(), (method, label)


def test_sums_close_where_the_tail_is_piecewise_affine(found: tuple[str, Explanation]) -> None:
    name, explanation = found
    for label, logit in enumerate(explanation.logits):
        cams = {method: cam[label] for method, cam in explanation.cams.items()}
        residual = certificate(cams["hirescam"], explanation.biases[label], logit).residual
        assert (residual > 1e-3) if name == "sybil" else (residual < 1e-4)
        sums = [float(cams[method].sum(dtype=np.float64)) for method in ("hirescam", "xgradcam")]
        assert sums[0] == pytest.approx(sums[1], rel=1e-3, abs=1e-3)


def test_merlins_head_is_taken_in_closed_form_and_has_a_cam(reference: Mapping[str, NDArray[Any]]) -> None:
    network = built("merlin_five_year", reference)
    assert Engine(network, Given((), "one", 1, "ncijk")).closed_form
    explanation = explained(network, "merlin_five_year", ("hirescam", "gradcam", "cam"))
    np.testing.assert_array_equal(explanation.biases, reference["merlin_five_year/classifier.bias"])
    cams, cells = explanation.cams, np.prod(explanation.cells)
    scale = np.abs(cams["hirescam"]).max()
    assert np.abs(cams["cam"] - cells * cams["hirescam"]).max() < 1e-5 * cells * scale
    assert np.abs(cams["gradcam"] - cams["hirescam"]).max() < 1e-5 * scale


def test_sybils_attention_is_held_constant_as_its_description_asks(
    reference: Mapping[str, NDArray[Any]],
) -> None:
    freeze = load_spec("sybil").freeze
    assert freeze == ("softmax",)
    explanation = explained(built("sybil", reference), "sybil", ("hirescam",), freeze)
    assert explanation.frozen == ("softmax",)
    for label in (0, 5):
        wanted = reference[f"sybil/hirescam_frozen_attention/{label}"]
        assert np.abs(explanation.cams["hirescam"][label] - wanted).max() < 1e-4 * np.abs(wanted).max()
    for label, logit in enumerate(explanation.logits):
        assert (
            certificate(explanation.cams["hirescam"][label], explanation.biases[label], logit).residual < 1e-4
        )


def test_sybils_published_names_and_its_constant_are_taken(reference: Mapping[str, NDArray[Any]]) -> None:
    network = built("sybil", reference)
    published = {f"model.{name}": value.clone() for name, value in network.module.state_dict().items()}
    assert "model.prob_of_failure_layer.upper_triagular_mask" in published
    other = ARCHITECTURES.find("sybil").build({}, 6)
    fit(other, published, "member.ckpt", 6)
    for name, value in other.module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, network.module.state_dict()[name]), name


class Held(nn.Module):
    """Answers with what a softmax gave once."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, _scores: torch.Tensor) -> torch.Tensor:
        return self.weights


def test_sybils_map_given_the_attention_closes_and_is_the_references(
    reference: Mapping[str, NDArray[Any]],
) -> None:
    network = built("sybil", reference)
    weights: dict[str, torch.Tensor] = {}
    for name in SOFTMAXES:
        network.module.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: weights.update({name: out.detach()})
        )
    with torch.no_grad():
        network.module(torch.from_numpy(sybil_input())[None])
    assert set(weights) == set(SOFTMAXES)
    for name in SOFTMAXES:
        parent, _, last = name.rpartition(".")
        setattr(network.module.get_submodule(parent), last, Held(weights[name]))
    explanation = explained(network, "sybil")
    np.testing.assert_allclose(explanation.logits, reference["sybil/logits"], rtol=1e-4, atol=1e-3)
    for label in (0, 5):
        wanted = reference[f"sybil/hirescam_frozen_attention/{label}"]
        assert np.abs(explanation.cams["hirescam"][label] - wanted).max() < 1e-4 * np.abs(wanted).max()
    for label, logit in enumerate(explanation.logits):
        assert (
            certificate(explanation.cams["hirescam"][label], explanation.biases[label], logit).residual < 1e-4
        )


def test_sybils_maps_add_up_over_the_years(reference: Mapping[str, NDArray[Any]]) -> None:
    """Each year adds a hazard that is not below 0: a year whose hazard is 0 has the map of the year before."""
    explanation = explained(built("sybil", reference), "sybil", ("hirescam",))
    steps = np.diff(explanation.logits)
    assert (steps > -1e-4).all()
    for year in np.flatnonzero(np.abs(steps) < 1e-6):
        np.testing.assert_allclose(
            explanation.cams["hirescam"][year], explanation.cams["hirescam"][year + 1], atol=1e-5
        )


@pytest.mark.parametrize("name", ["merlin_five_year", "sybil"])
def test_declared_places_are_those_of_the_kernels(name: str) -> None:
    world = WORLDS[name]
    network = ARCHITECTURES.find(world.architecture).build({}, 2)
    declared = network.cells(network.target_layer, world.shape)
    if name == "sybil":
        assert follow(network.module, 3, "image_encoder", world.shape) == declared
        return
    # Behind the permutation inside the network places are followed no longer, so it is fed behind it.
    module = network.module
    trunk = nn.Sequential(
        module.get_submodule("conv1"), module.get_submodule("maxpool"),
        *(module.get_submodule(f"layer{n}") for n in range(1, 5)),
    )  # fmt: skip
    inside = follow(trunk, 3, "5", (48, 64, 80))
    assert (declared.stride, declared.offset) == (
        (inside.stride[1], inside.stride[2], inside.stride[0]),
        (inside.offset[1], inside.offset[2], inside.offset[0]),
    )


@pytest.mark.parametrize(
    ("architecture", "layer"), [("merlin", "layer4"), ("sybil", "pool"), ("ctnet", "reducingconvs")]
)
def test_what_has_no_place_or_is_no_parameter_is_refused(architecture: str, layer: str) -> None:
    found = ARCHITECTURES.find(architecture)
    with pytest.raises(ModelError, match="no parameter 'width'"):
        found.build({"width": 3}, 2)
    network = found.build({}, 2)
    with pytest.raises(ModelError, match=f"no layer '{layer}'"):
        network.cells(layer, (402, 420, 420))


def test_inputs_of_the_layers_that_have_a_place() -> None:
    ctnet, sybil, merlin = (ARCHITECTURES.find(name).build({}, 2) for name in ("ctnet", "sybil", "merlin"))
    cells = ctnet.place("features", (402, 420, 420), "input")
    assert (cells.stride, cells.offset) == ((3.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    shape = WORLDS["sybil"].shape
    assert sybil.place("image_encoder", shape, "input") == follow(
        sybil.module, 3, "image_encoder", shape, "input"
    )
    assert merlin.place("avgpool", (64, 80, 48)) == merlin.place("avgpool", (64, 80, 48), "input")
    with pytest.raises(ModelError, match="no layer 'avgpool'"):
        merlin.place("avgpool", (64, 80, 48), "output")


def _plain(cells: Callable[..., Cells]) -> Network:
    module = nn.Sequential(
        nn.Conv3d(1, 2, 3, stride=2, padding=1), nn.ReLU(), nn.Conv3d(2, 2, 3, stride=2, padding=1)
    )
    return Network(module, "ncijk", "2", lambda _layer: "ncijk", cells)


def test_a_network_that_speaks_of_one_end_is_not_taken_at_its_word_for_the_other() -> None:
    network = _plain(lambda _layer, _shape: Cells((4.0,) * 3, (0.0,) * 3))
    assert network.place("2", (8, 8, 8)) == network.place("2", (8, 8, 8), "output")
    with pytest.raises(ModelError, match="where the output of a layer lies, not where the input of '2'"):
        network.place("2", (8, 8, 8), "input")


def test_declared_cells_that_the_layers_contradict_are_refused() -> None:
    honest = _plain(lambda _l, _s, at="output": Cells((4.0 if at == "output" else 2.0,) * 3, (0.0,) * 3))
    for at in ("output", "input"):
        refuse_misplaced(honest, 1, "2", (8, 8, 8), at)
    same = _plain(lambda *_: Cells((4.0,) * 3, (0.0,) * 3))
    refuse_misplaced(same, 1, "2", (8, 8, 8), "output")
    with pytest.raises(ModelError, match=r"stride \(4, 4, 4\).* they have stride \(2, 2, 2\)"):
        refuse_misplaced(same, 1, "2", (8, 8, 8), "input")
    assert all(not parameter.is_meta for parameter in same.module.parameters())


def test_what_cannot_be_followed_is_taken_as_declared() -> None:
    network = _plain(lambda *_: Cells((4.0,) * 3, (7.0,) * 3))
    refuse_misplaced(network, 3, "2", (8, 8, 8), "output")
    refuse_misplaced(dataclasses.replace(network, inputs="icjk"), 1, "2", (8, 8, 8), "output")


def test_ct_nets_input_has_one_size() -> None:
    network = ARCHITECTURES.find("ctnet").build({}, 2)
    cells = network.cells("features", (402, 420, 420))
    assert (cells.stride, cells.offset) == ((3.0, 32.0, 32.0), (1.0, 0.0, 0.0))
    with pytest.raises(ModelError, match="402 x 420 x 420 voxels, not 405 x 420 x 420"):
        network.cells("features", (405, 420, 420))


def test_merlins_encoder_is_found_in_the_file_of_the_whole_model() -> None:
    network = ARCHITECTURES.find("merlin").build({}, 2)
    state = {name: torch.full_like(value, 0.5) for name, value in network.module.state_dict().items()}
    published = {f"encode_image.i3_resnet.{name}": value for name, value in state.items()}
    published |= {"encode_text.linear_layer.bias": torch.zeros(3), "logit_scale": torch.ones(())}
    fit(network, published, "published.pt", 2)
    assert all((value == 0.5).all() for value in network.module.parameters())
    with pytest.raises(ModelError, match=r"1 entries are missing, the first is bn1\.weight"):
        fit(
            network, {n: v for n, v in published.items() if not n.endswith("i3_resnet.bn1.weight")}, "p.pt", 2
        )
