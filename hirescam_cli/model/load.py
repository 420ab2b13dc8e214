"""A model ready to run: its description, its network with weights, and where its maps lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hirescam_cli.errors import ModelError, UnavailableError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.model.checkpoint import fit, read_weights
from hirescam_cli.model.registry import Architecture, Network, find_architecture
from hirescam_cli.model.spec import PLACEMENTS, ModelSpec


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """`network`: in evaluation mode, float32, on the CPU. `weights_sha256`: of the file that it came from."""

    spec: ModelSpec
    architecture: Architecture
    network: Network
    weights_sha256: str

    def cell_affine(self, layer: str, placement: str) -> Affine:
        """Affine from a cell (s, y, x) of a map at `layer` to an input voxel (z, y, x).

        "stretch" spreads the cells evenly over the input's plane; "receptive-field" puts each at the centre
        of its receptive field. Along z a cell is its group of slices, under both.
        """
        grid = self.architecture.layer_grid(self.network, layer, self.spec.preparation.side)
        slices = self.architecture.slices_per_group
        stride, first = grid.stride_px, grid.first_centre_px
        if placement == "stretch":
            stride = self.spec.preparation.side / grid.cells
            first = (stride - 1.0) / 2.0
        return affines.scaling((slices, stride, stride), ((slices - 1) / 2.0, first, first))

    def map_affines(self, layer: str, input_affine_ras: Affine) -> dict[str, Affine]:
        """Per placement the affine of a map: cell (s, y, x) to RAS mm, from the network input's affine."""
        return {p: np.asarray(input_affine_ras @ self.cell_affine(layer, p)) for p in PLACEMENTS}


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
    architecture = find_architecture(spec.architecture)
    if spec.preparation.slices % architecture.slices_per_group:
        raise ModelError(
            f"The model {spec.name} is inconsistent: preparation.slices is {spec.preparation.slices}, which makes no "
            f"whole groups of {architecture.slices_per_group}, as {spec.architecture} takes them.",
            hint="Correct preparation.slices.",
            code="model-parameters",
        )
    network = architecture.build(spec.parameters, len(spec.labels))
    cells = architecture.layer_grid(network, network.last_layer, spec.preparation.side).cells
    if (cells, cells) != tuple(network.fc.kernel_size):
        raise ModelError(
            f"The model {spec.name} is inconsistent: {spec.preparation.side} pixels give {cells} x {cells} cells "
            f"at {network.last_layer}, its last layer reads {' x '.join(map(str, network.fc.kernel_size))}.",
            hint="Correct preparation.side or the architecture's parameters.",
            code="model-parameters",
        )
    replaced = weights is not None and spec.weights_file is not None
    tensors, sha256 = read_weights(path, None if replaced else spec.weights_sha256)
    fit(network, tensors, path.name, len(spec.labels))
    return LoadedModel(spec, architecture, network.eval(), sha256)
