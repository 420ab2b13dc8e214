"""What a picture of a label shows, by value: the point of interest, the plane images, the sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import Case, Label
from hirescam_cli.case.view import CaseView
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.mask import Mask
from hirescam_cli.pictures.canvas import number
from hirescam_cli.pictures.colour import RGB, Scale, compose
from hirescam_cli.pictures.outlines import outlines_of
from hirescam_cli.pictures.planes import (
    PLANES,
    Box,
    Frame,
    PlaneName,
    bounding_box,
    covered,
    frame,
    inverse,
    sample,
    sample_scan,
)

DEMONSTRATION = "DEMONSTRATION MODEL, NO CLINICAL MEANING"
PLACEMENT_NAMES = {
    "stretch": "stretch (cells span the image)",
    "receptive-field": "receptive field of the cells",
}


@dataclass(frozen=True, eq=False)
class PlaneImage:
    """One plane by value [rows, columns]: HU, where the scan is, where the network saw, logits."""

    frame: Frame
    hu: NDArray[np.float32]
    inside: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    evidence: NDArray[np.float32]

    def rgb(self, window_hu: tuple[float, float], scale: Scale) -> RGB:
        """The plane in colours."""
        return compose(self.hu, self.evidence, self.inside, self.seen, window_hu, scale)


@dataclass(frozen=True)
class Focus:
    """The point that the planes go through.

    `cell` (s, y, x) of the map and its centre `cell_mm`, or None when the planes go through the scan's
    middle; `point_mm` is the same point, brought into the scan where it lies `beyond` it.
    """

    kind: Literal["peak", "strongest-negative", "middle"]
    point_mm: tuple[float, float, float]
    cell: tuple[int, int, int] | None
    cell_mm: tuple[float, float, float] | None
    beyond: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """A map of one label on one scan: `cam` [S, h, w] in the method's unit at `affine_ras`, and how it is looked at."""

    view: CaseView
    method: str
    label: str
    placement: str
    signed: bool
    smooth: bool
    cam: NDArray[np.float32]
    affine_ras: Affine
    focus: Focus
    box: Box

    @property
    def scale(self) -> Scale:
        """From 0 to the map's maximum; signed, to its largest magnitude on either side."""
        limit = max(0.0, float(self.cam.max()))
        return Scale(max(limit, -float(self.cam.min())) if self.signed else limit, self.signed)

    @property
    def oblique(self) -> bool:
        """Whether the scan's own axes are others than the patient's."""
        return affines.is_oblique(self.view.volume.affine_ras)

    @property
    def entry(self) -> Label:
        """What the case says of the label."""
        return self.view.label(self.label)

    @property
    def title(self) -> str:
        """The method's name for people."""
        return self.view.title(self.method)

    @property
    def unit(self) -> str:
        """The unit of the map's cells."""
        return self.view.unit(self.method)

    @property
    def masks(self) -> list[tuple[Mask, str]]:
        """The masks that are outlined, the label's own first, each with its colour."""
        return outlines_of(self.view, self.label)

    def plane(
        self, name: PlaneName, step_mm: float, through_mm: tuple[float, float, float] | None = None
    ) -> PlaneImage:
        """One plane through the focus (or another point), with pixels of `step_mm`."""
        volume = self.view.volume
        pixels = frame(name, self.box, through_mm or self.focus.point_mm, step_mm)
        inside = covered(volume.array_ijk.shape, volume.affine_ras, pixels)
        return PlaneImage(
            pixels,
            sample_scan(volume.array_ijk, volume.affine_ras, pixels),
            inside,
            covered(self.view.seen.shape, self.view.seen.affine_ras, pixels),
            sample(self.cam, self.affine_ras, pixels, smooth=self.smooth),
        )

    def planes(self, step_mm: float) -> tuple[PlaneImage, PlaneImage, PlaneImage]:
        """Axial, coronal and sagittal plane through the focus."""
        axial, coronal, sagittal = (self.plane(name, step_mm) for name in PLANES)
        return axial, coronal, sagittal


def make_scene(
    view: CaseView,
    method: str,
    label: str,
    *,
    signed: bool = False,
    placement: str | None = None,
    smooth: bool = True,
    focus: Focus | None = None,
) -> Scene:
    """The scene of one map. Raises KeyError for a method or placement that the case lacks."""
    placed = placement or view.placement
    cam, affine = view.map_of(method, label), view.affines_ras[placed]
    chosen = focus or find_focus(view, cam, affine, signed=signed)
    return Scene(
        view, method, label, placed, signed, smooth, cam, affine, chosen, bounding_box(view.volume.grid)
    )


def find_focus(
    view: CaseView, cam: NDArray[np.float32], affine_ras: Affine, *, signed: bool = False
) -> Focus:
    """The largest positive cell's centre; else, if `signed`, the most negative's; else the scan's middle."""
    grid = view.volume.grid
    kind: Literal["peak", "strongest-negative"]
    if cam.max() > 0:
        kind, flat = "peak", int(cam.argmax())
    elif signed and cam.min() < 0:
        kind, flat = "strongest-negative", int(cam.argmin())
    else:
        return Focus(
            "middle",
            _point(affines.apply(grid.affine_ras, (np.array(grid.shape) - 1) / 2)),
            None,
            None,
            False,
        )
    s, y, x = (int(n) for n in np.unravel_index(flat, cam.shape))
    centre = affines.apply(affine_ras, (s, y, x))
    index = affines.apply(inverse(grid.affine_ras), centre)
    last = np.array(grid.shape) - 1.0
    beyond = bool(((index < -0.5) | (index > last + 0.5)).any())
    point = affines.apply(grid.affine_ras, np.clip(index, 0.0, last)) if beyond else centre
    return Focus(kind, _point(point), (s, y, x), _point(centre), beyond)


def _point(point_mm: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = point_mm.tolist()
    return (x, y, z)


def slice_positions_mm(cams_shape: tuple[int, ...], affine_ras: Affine) -> NDArray[np.float64]:
    """RAS z in mm of the middle of each slice group [S]."""
    groups, height, width = cams_shape[:3]
    cells = [(s, (height - 1) / 2, (width - 1) / 2) for s in range(groups)]
    return affines.apply(affine_ras, cells)[:, 2]


def half_spacing_mm(positions_mm: NDArray[np.float64]) -> float:
    """Half the distance between slice groups; infinite for a single one."""
    return abs(float(positions_mm[1] - positions_mm[0])) / 2 if len(positions_mm) > 1 else float("inf")


def on_scan(positions_mm: NDArray[np.float64], span_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """Which slice groups [S] overlap the scan's extent (z at top, z at bottom); the others are padding."""
    half, (top, bottom) = half_spacing_mm(positions_mm) - 1e-6, span_mm
    overlapping: NDArray[np.bool_] = (positions_mm - half < top) & (positions_mm + half > bottom)
    return overlapping


def certificate(label: Label, method: str) -> str:
    """The sentence that says how far a map accounts for its logit."""
    found = label.maps[method]
    residual = number(found.residual, 2)
    if found.complete:
        return f"complete: sum + bias = logit, residual {residual}"
    return f"not complete: sum + bias ≠ logit, residual {residual}"


def point_text(point_mm: tuple[float, float, float]) -> str:
    """A RAS point as the patient's sides: "R 57.0, P 11.3, z −286.0 mm"."""
    x, y, z = point_mm
    return (
        f"{'R' if x >= 0 else 'L'} {abs(x):.0f}, {'A' if y >= 0 else 'P'} {abs(y):.0f}, z {signed_mm(z)} mm"
    )


def signed_mm(value: float) -> str:
    """Millimetres to one decimal with a true minus sign."""
    return f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")


def probability(value: float) -> str:
    """A probability to three decimals, never rounded to certainty."""
    if 0 < value < 0.001:
        return "<0.001"
    return ">0.999" if 0.999 < value < 1 else f"{value:.3f}"


def headline(label: Label) -> str:
    """Probability, logit and verdict of a label in one line."""
    verdict = "positive" if label.positive else "negative"
    return (
        f"probability {probability(label.probability)}  ·  logit {number(label.logit)}"
        f"  ·  {verdict} at threshold {number(label.threshold)}"
    )


def source_text(case: Case) -> str:
    """Model and case that a picture's figures are of."""
    return f"model {case.model.name}  ·  case {case.case}"


def facts(scene: Scene) -> list[tuple[str, str]]:
    """The caption: what the picture shows and how far it can be trusted, as (name, value) pairs."""
    case, entry = scene.view.case, scene.entry
    slices, height, width = scene.cam.shape
    grouped = entry.slice_scores is not None
    cells = f"{height} × {width} cells per slice group" if grouped else f"{slices} × {height} × {width} cells"
    low, high = scene.view.window_hu
    shown = "interpolated" if scene.smooth else "as they are"
    rows = [
        ("Method", f"{scene.title} at {case.target.layer}"),
        ("Certificate", certificate(entry, scene.method)),
        ("Placement", PLACEMENT_NAMES.get(scene.placement, scene.placement)),
        ("Map", f"{cells}, {shown}"),
        _focus_fact(scene),
    ]
    share, padding = case.coverage.scan_seen_fraction, entry.maps[scene.method].padding_share
    rows.append(("Seen", f"{_percent(share)} of the scan{_unseen_note(share)}"))
    if padding >= 0.005:
        rows.append(("Padding", f"{_percent(padding)} of the evidence lies on padding, outside the scan"))
    rows.append(("Window", f"{number(low, 6)} to {number(high, 6)} HU, as the network"))
    return rows


def _unseen_note(share: float) -> str:
    return "" if share >= 0.9995 else " (greyed and hatched: not seen)"


def _percent(share: float) -> str:
    if 0.9 < share < 1:
        return f"{min(share, 0.999) * 100:.1f} %"
    return f"{share * 100:.0f} %"


def _focus_fact(scene: Scene) -> tuple[str, str]:
    focus = scene.focus
    if focus.cell is None or focus.cell_mm is None:
        return "Planes", "through the middle of the scan"
    value = number(float(scene.cam[focus.cell]))
    place = point_text(focus.cell_mm)
    name = "Peak" if focus.kind == "peak" else "Lowest"
    beyond = "; outside the scan, planes at its edge" if focus.beyond else ""
    return name, f"{value} {scene.unit.partition(' ')[0]} at {place}{beyond}"
