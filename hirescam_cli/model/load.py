"""A model ready to run: its description, its network with weights, and where its maps lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hirescam_cli.errors import HirescamError, ModelError, UnavailableError, first_line
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.checkpoint import fit, read_weights
from hirescam_cli.model.contract import Architecture, Cells, Network, stretched
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.placement import PLACEMENTS, At, Placement
from hirescam_cli.registries import ARCHITECTURES

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """`network`: its module in evaluation mode, float32, on the CPU. `weights_sha256`: of the file it came from.

    Of an ensemble `members` are all networks, `network` is the first of them, and `member_sha256` are their files'.
    """

    spec: ModelSpec
    architecture: Architecture
    network: Network
    weights_sha256: str
    members: tuple[Network, ...] = ()
    member_sha256: tuple[str, ...] = ()

    @property
    def placement(self) -> Placement:
        """Where its cells lie unless a run says otherwise."""
        return self.spec.placement or self.architecture.placement

    @property
    def target_layer(self) -> str:
        """What is explained unless a run says otherwise."""
        return self.network.target_layer if self.spec.target_layer is None else self.spec.target_layer

    @property
    def at(self) -> At:
        """Which end of it."""
        return self.spec.at or self.network.at

    def cell_affine(self, layer: str, placement: str, cells: Shape3, shape: Shape3) -> Affine:
        """Affine from a cell of a map at `layer`, which has so many `cells`, to a voxel of an input of `shape`.

        "stretch" spreads the cells evenly over the input; "receptive-field" puts each at the centre of its
        receptive field. Raises ModelError for a layer that has no place.
        """
        found = self.network.place(layer, shape, self.at)
        return stretched(cells, shape) if placement == "stretch" else found.affine()

    def map_affines(self, layer: str, cells: Shape3, shape: Shape3, input_ras: Affine) -> dict[str, Affine]:
        """Per placement the affine of a map: cell to RAS mm, from the affine of the network's input."""
        return {name: input_ras @ self.cell_affine(layer, name, cells, shape) for name in PLACEMENTS}


def load_model(spec: ModelSpec, weights: Sequence[Path] = ()) -> LoadedModel:
    """Build the network of `spec` and load its weights, or those of the files `weights`; several are an ensemble.

    The SHA-256 in the description holds for the files that it names, or, if it names none, for `weights`.
    Raises ModelError for anything about them that does not fit, UnavailableError if there are none.
    """
    paths = tuple(weights) or spec.weights_files
    if not paths:
        raise UnavailableError(
            f"The model {spec.name} comes without weights.",
            hint="Give a checkpoint with --weights FILE.",
            code="weights-unavailable",
        )
    replaced = bool(weights) and bool(spec.weights_files)
    expected = () if replaced else spec.weights_sha256
    if expected and len(expected) != len(paths):
        raise ModelError(
            f"The model {spec.name} names {len(expected)} SHA-256, and there are {len(paths)} files of weights.",
            hint="Give as many files with --weights, or correct weights.sha256 in its description.",
            code="weights-sha256",
        )
    architecture = ARCHITECTURES.find(spec.architecture)
    members, digests = [], []
    for number, path in enumerate(paths):
        network = built(spec)
        _check_input(spec, network)
        tensors, sha256 = read_weights(path, expected[number] if expected else None)
        if sha256 in digests:
            raise ModelError(
                f"The weights {path.name} are given twice.",
                hint="Each member of an ensemble counts once.",
                code="weights-twice",
            )
        fit(network, tensors, path.name, len(spec.labels))
        network.module.eval()
        members.append(network)
        digests.append(sha256)
    return LoadedModel(spec, architecture, members[0], _together(digests), tuple(members), tuple(digests))


def built(spec: ModelSpec) -> Network:
    """The network of a model with random weights. Raises ModelError for whatever its code raises, now or later."""

    def build() -> Network:
        network = ARCHITECTURES.find(spec.architecture).build(spec.parameters, len(spec.labels))
        if not isinstance(network, Network):
            raise TypeError(f"`build` gives a {type(network).__name__}, not a Network")
        return network

    def activation(layer: str) -> str:
        return _asked(
            lambda: network.activation(layer), f"{name} says nothing of the axes of {layer!r}", "target-layer"
        )

    def cells(layer: str, shape: Shape3) -> Cells:
        return _asked(
            lambda: network.cells(layer, shape),
            f"{name} says nothing of the cells of {layer!r}",
            "target-layer",
        )

    name = f"The architecture {spec.architecture}"
    network = _asked(build, f"{name} cannot be built", "model-parameters")
    return replace(network, activation=activation, cells=cells)


def _asked(answer: Callable[[], Answer], what: str, code: str) -> Answer:
    """What an architecture's own code answers; ModelError if it fails."""
    try:
        return answer()
    except HirescamError:
        raise
    except Exception as error:
        raise ModelError(
            f"{what}: {first_line(error)}",
            hint="Correct the model file ([parameters], the target layer), or the architecture's code.",
            code=code,
        ) from error


def _together(digests: Sequence[str]) -> str:
    """The SHA-256 of the weights: the file's, or for an ensemble that of the members' in their order, one a line."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def _check_input(spec: ModelSpec, network: Network) -> None:
    """Refuse a preparation that cannot feed the network, as far as can be told without running it."""
    preparation = spec.preparation
    if preparation.shape is not None:
        network.place(spec.target_layer or network.target_layer, preparation.shape, spec.at)
