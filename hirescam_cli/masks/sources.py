"""A file that holds one mask or several, by name: what each kind of file is to a collection of masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hirescam_cli.masks import dicom_objects
from hirescam_cli.masks.image import kind_of as image_kind
from hirescam_cli.masks.image import own_layers, own_names, read_image, read_layers
from hirescam_cli.masks.mask import Inside, Mask, checked, refused
from hirescam_cli.masks.segmentation import load_segments, segment_names
from hirescam_cli.masks.structures import load_structures, structure_names


class MaskSource(Protocol):
    """A file that holds masks."""

    @property
    def path(self) -> Path:
        """The file."""

    def names(self) -> tuple[str, ...]:
        """What it holds."""

    def load(self, name: str) -> Mask:
        """One of them. Raises MaskError."""


@dataclass(frozen=True)
class BinaryImage:
    """An image of one mask, called `name`: 0 outside, one other value inside."""

    path: Path
    name: str

    def names(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    def load(self, name: str) -> Mask:
        """The mask. Raises MaskError, "mask-values" where there is more than one value besides 0."""
        image = read_image(self.path)
        if len(image.present - {0}) > 1:
            raise refused(
                self.path,
                "it holds more than one value besides 0 and does not say what they mean",
                "mask-values",
                "Give binary masks, or name the values of the one label map of each case with --mask-labels.",
            )
        return checked(name, np.asarray(image.values_ijk != 0), image.affine_ras, self.path, image.sha256)


@dataclass(frozen=True)
class LabelMap:
    """An image of several masks: what each value above 0 means. Values of one name are one mask."""

    path: Path
    table: Mapping[int, str]

    def names(self) -> tuple[str, ...]:
        """All names, also of values that do not occur: their masks are empty."""
        return tuple(dict.fromkeys(self.table.values()))

    def load(self, name: str) -> Mask:
        """One mask. Raises MaskError, "mask-values" where a value of the file has no name."""
        image = read_image(self.path)
        nameless = image.present - self.table.keys() - {0}
        if nameless:
            raise refused(
                self.path, f"it holds the value {min(nameless)}, which has no name", "mask-values",
                "Name every value with --mask-labels.",
            )  # fmt: skip
        wanted = [value for value, meaning in self.table.items() if meaning == name]
        inside: Inside = np.isin(image.values_ijk, wanted)
        return checked(name, inside, image.affine_ras, self.path, image.sha256)


@dataclass(frozen=True)
class LayeredMap:
    """An image of several label maps that may overlap: what each value above 0 of each layer means."""

    path: Path
    table: Mapping[tuple[int, int], str]

    def names(self) -> tuple[str, ...]:
        """All names; values of one name are one mask."""
        return tuple(dict.fromkeys(self.table.values()))

    def load(self, name: str) -> Mask:
        """One mask. Raises MaskError, "mask-values" where a value has no name or a layer is not there."""
        layers = read_layers(self.path).layers
        for layer, image in enumerate(layers):
            nameless = image.present - {value for at, value in self.table if at == layer} - {0}
            if nameless:
                what = f"it holds the value {min(nameless)} in layer {layer}, which has no name"
                raise refused(self.path, what, "mask-values", "Save the segments again.")
        wanted = [where for where, meaning in self.table.items() if meaning == name]
        beyond = next((layer for layer, _ in wanted if layer >= len(layers)), None)
        if beyond is not None:
            what = f"{name} should be in layer {beyond}, and it has {len(layers)}"
            raise refused(self.path, what, "mask-values", "Save the segments again.")
        first = layers[0]
        inside = np.zeros(first.values_ijk.shape, dtype=np.bool_)
        for layer, value in wanted:
            inside |= layers[layer].values_ijk == value
        return checked(name, inside, first.affine_ras, self.path, first.sha256)


@dataclass(frozen=True)
class Segments:
    """A DICOM SEG object: labels by segment number. Segments of one label are one mask."""

    path: Path
    table: Mapping[int, str]

    def names(self) -> tuple[str, ...]:
        """The segments' labels."""
        return tuple(dict.fromkeys(self.table.values()))

    def load(self, name: str) -> Mask:
        """One mask. Raises MaskError."""
        return load_segments(self.path, name, _keys(self.table, name))


@dataclass(frozen=True)
class Regions:
    """An RTSTRUCT object: names by region number. Regions of one name are one mask."""

    path: Path
    table: Mapping[int, str]

    def names(self) -> tuple[str, ...]:
        """The regions' names."""
        return tuple(dict.fromkeys(self.table.values()))

    def load(self, name: str) -> Mask:
        """One mask. Raises MaskError."""
        return load_structures(self.path, name, _keys(self.table, name))


def is_mask_file(path: Path) -> bool:
    """Whether a file is of a kind that holds masks; a DICOM file by its content, an image by its ending."""
    if path.suffix.lower() == ".img" and path.with_suffix(".hdr").exists():
        return False
    return image_kind(path) is not None or dicom_objects.kind_of(path) is not None


def source_of(path: Path, name: str, alone: bool, given: Mapping[int, str] | None) -> MaskSource:
    """How a file is read. `alone`: it is its case's only image; `given`: the names of --mask-labels.

    An image that is alone is a label map where values have names, those of --mask-labels before its own; a
    `.seg.nrrd` is one always, with overlapping segments in several layers, which only its own names tell apart; any
    other image is a binary mask called `name`. Raises MaskError.
    """
    kind = None if image_kind(path) else dicom_objects.kind_of(path)
    if kind == dicom_objects.SEG:
        return Segments(path, segment_names(path))
    if kind == dicom_objects.RTSTRUCT:
        return Regions(path, structure_names(path))
    several = alone or path.name.lower().endswith(".seg.nrrd")
    layers = own_layers(path) if several else None
    if layers is not None:
        return LayeredMap(path, layers)
    if alone and given:
        return LabelMap(path, given)
    own = own_names(path) if several else {}
    return LabelMap(path, own) if own else BinaryImage(path, name)


def _keys(table: Mapping[int, str], name: str) -> tuple[int, ...]:
    return tuple(key for key, meaning in table.items() if meaning == name)
