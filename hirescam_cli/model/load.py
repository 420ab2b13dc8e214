"""A model ready to run: its description, its network with weights, and where its maps lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.errors import UnavailableError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.checkpoint import fit, read_weights
from hirescam_cli.model.contract import Architecture, Network, stretched
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.placement import PLACEMENTS, Placement
from hirescam_cli.registries import ARCHITECTURES


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """`network`: its module in evaluation mode, float32, on the CPU. `weights_sha256`: of the file it came from."""

    spec: ModelSpec
    architecture: Architecture
    network: Network
    weights_sha256: str

    @property
    def placement(self) -> Placement:
        """Where its cells lie unless a run says otherwise."""
        return self.spec.placement or self.architecture.placement

    @property
    def target_layer(self) -> str:
        """What is explained unless a run says otherwise."""
        return self.spec.target_layer or self.network.target_layer

    def cell_affine(self, layer: str, placement: str, cells: Shape3, shape: Shape3) -> Affine:
        """Affine from a cell of a map at `layer`, which has so many `cells`, to a voxel of an input of `shape`.

        "stretch" spreads the cells evenly over the input; "receptive-field" puts each at the centre of its
        receptive field. Raises ModelError for a layer that has no place.
        """
        found = self.network.cells(layer, shape)
        return stretched(cells, shape) if placement == "stretch" else found.affine()

    def map_affines(self, layer: str, cells: Shape3, shape: Shape3, input_ras: Affine) -> dict[str, Affine]:
        """Per placement the affine of a map: cell to RAS mm, from the affine of the network's input."""
        return {name: input_ras @ self.cell_affine(layer, name, cells, shape) for name in PLACEMENTS}


def load_model(spec: ModelSpec, weights: Path | None = None) -> LoadedModel:
    """Build the network of `spec` and load its weights, or those of the file `weights`.

    The SHA-256 in the description holds for the file that it names, or, if it names none, for `weights`.
    Raises ModelError for anything about them that does not fit, UnavailableError if there are none.
    """
    path = weights or spec.weights_file
    if path is None:
        raise UnavailableError(
            f"The model {spec.name} comes without weights.",
            hint="Give a checkpoint with --weights FILE.",
            code="weights-unavailable",
        )
    architecture = ARCHITECTURES.find(spec.architecture)
    network = architecture.build(spec.parameters, len(spec.labels))
    _check_input(spec, network)
    replaced = weights is not None and spec.weights_file is not None
    tensors, sha256 = read_weights(path, None if replaced else spec.weights_sha256)
    fit(network, tensors, path.name, len(spec.labels))
    network.module.eval()
    return LoadedModel(spec, architecture, network, sha256)


def _check_input(spec: ModelSpec, network: Network) -> None:
    """Refuse a preparation that cannot feed the network, as far as can be told without running it."""
    preparation = spec.preparation
    if preparation.shape is not None:
        network.cells(spec.target_layer or network.target_layer, preparation.shape)
