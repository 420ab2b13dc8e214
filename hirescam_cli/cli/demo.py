"""`hirescam demo`: the whole way on the embedded phantom, ending with the truth beside the maps and where to look."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hirescam_cli.cli.options import Given, setup_streams, with_options
from hirescam_cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.table import Table

    from hirescam_cli.case.record import Case

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Finding:
    """A label of the phantom: its prediction, whether it is there, the peaks of its maps, and how far they are from it.

    `distance_mm`: by method, from the peak to the nearest voxel of the lesion; `lesion_mm`: that voxel, RAS.
    """

    label: str
    probability: float
    positive: bool
    present: bool
    complete: bool
    peaks_mm: dict[str, Point]
    distance_mm: dict[str, float] | None = None
    lesion_mm: Point | None = None


@with_options("output", "json", "quiet", panels=False, defaults={"output": Path("hirescam-demo")})
def demo_command(given: Given) -> None:
    """Explain the embedded phantom with the embedded model, and compare with where its lesions really are."""
    output, as_json, quiet = given["output"], given["json"], given["quiet"]
    setup_streams(quiet=quiet, verbose=0)
    from hirescam_cli.batch.options import RunOptions
    from hirescam_cli.cli.run import Messages, run_cases
    from hirescam_cli.io.scan import InputPath
    from hirescam_cli.model.spec import load_spec
    from hirescam_cli.resources import sample_path
    from hirescam_cli.settings import Settings

    settings = Settings(methods=("hirescam", "gradcam"), formats=("nifti", "png", "html"))
    spec = load_spec(settings.model)
    _, result = run_cases(
        [InputPath(sample_path("phantom.nii.gz"))],
        output,
        settings,
        spec,
        RunOptions(existing="overwrite", jobs=0, handle_signals=True),
        parts=(1, 0),
        messages=Messages(as_json=as_json, quiet=quiet),
    )
    case = result.records.get("phantom")
    if case is not None:
        _tell(case, output / "phantom", as_json)
    if result.exit_code != ExitCode.OK:
        raise typer.Exit(result.exit_code)


def _tell(case: Case, folder: Path, as_json: bool) -> None:
    """Say what was found beside what is true, and where to look."""
    from hirescam_cli.cli.console import print_json, print_table, stdout
    from hirescam_cli.resources import sample_path

    rows = compare_with_truth(case)
    if as_json:
        print_json({"case": str(folder), "findings": [asdict(row) for row in rows]})
        return
    console = stdout()
    print_table(console, _table(rows))
    console.print(
        "\nDistances are from the peak of a map to the nearest voxel of the lesion's mask; cells are "
        f"{_cell_mm(case):.0f} mm wide, so 0 to {_cell_mm(case) / 2:.0f} mm is as near as a map can say."
    )
    for line in (
        f"\nLook at {folder / 'report.html'} in a browser, at the pictures {folder}/hirescam.*.png,",
        f"or load {sample_path('phantom.nii.gz')}",
        f"with the overlay {folder / _first_overlay(case)} in any NIfTI viewer.",
    ):
        console.print(line, markup=False)


def compare_with_truth(case: Case) -> list[Finding]:
    """One row per label: prediction, whether the phantom has it, and each map's distance from it in mm."""
    import nibabel
    import numpy as np

    from hirescam_cli.geometry import affine as affines
    from hirescam_cli.resources import sample_path

    rows = []
    for label in case.ranked:
        mask_file = sample_path("phantom.masks", f"{label.name}.nii.gz")
        peaks = {method: found.peak.world_mm for method, found in label.maps.items()}
        row = Finding(
            label.name,
            label.probability,
            label.positive,
            mask_file.is_file(),
            label.maps["hirescam"].complete,
            peaks,
        )
        if row.present:
            mask = nibabel.load(mask_file)
            points = affines.apply(mask.affine, np.argwhere(np.asarray(mask.dataobj) > 0))
            apart = {m: np.linalg.norm(points - np.asarray(p), axis=1) for m, p in peaks.items()}
            x, y, z = points[apart["hirescam"].argmin()].tolist()
            distances = {m: float(away.min()) for m, away in apart.items()}
            row = replace(row, distance_mm=distances, lesion_mm=(x, y, z))
        rows.append(row)
    return rows


def _table(rows: list[Finding]) -> Table:
    from hirescam_cli.cli.console import table

    numbers = (
        "probability",
        "HiResCAM peak (mm RAS)",
        "nearest lesion (mm RAS)",
        "distance",
        "Grad-CAM distance",
    )
    result = table("label", "in the phantom", *numbers, "certificate", right=numbers)
    for row in rows:
        distance = row.distance_mm or {}
        result.add_row(
            row.label,
            "yes" if row.present else "no",
            f"{row.probability:.3f}",
            _point(row.peaks_mm["hirescam"]) if row.positive or row.present else "",
            _point(row.lesion_mm) if row.lesion_mm else "",
            f"{distance['hirescam']:.0f} mm" if distance else "",
            f"{distance['gradcam']:.0f} mm" if distance else "",
            "complete" if row.complete else "NOT complete",
            style=None if row.positive else "dim",
        )
    return result


def _point(world_mm: Point) -> str:
    return " ".join(f"{value:.0f}" for value in world_mm)


def _cell_mm(case: Case) -> float:
    """Width of a map's cells in the axial plane."""
    column = [row[2] for row in case.target.affines[case.placement][:3]]
    return float(sum(value**2 for value in column) ** 0.5)


def _first_overlay(case: Case) -> str:
    """The overlay of the most probable label that has one."""
    found = [
        output.path for label in case.ranked for output in case.outputs_of("hirescam", label.name, "overlay")
    ]
    return found[0] if found else "hirescam.cams.nii.gz"
