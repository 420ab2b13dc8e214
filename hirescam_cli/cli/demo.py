"""`hirescam demo`: the whole way on the embedded phantom, ending with the truth beside the maps and where to look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hirescam_cli.cli.options import setup_streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table


def demo_command(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")] = Path(
        "hirescam-demo"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print JSON on stdout, nothing else.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", metavar="", help="Only errors and results.")
    ] = False,
) -> None:
    """Explain the embedded phantom with the embedded model, and compare with where its lesions really are."""
    setup_streams(quiet=quiet, verbose=0)
    from hirescam_cli.batch.options import RunOptions
    from hirescam_cli.cli.console import print_json, stdout
    from hirescam_cli.cli.run import Messages, run_cases
    from hirescam_cli.io.scan import InputPath
    from hirescam_cli.model.spec import load_spec
    from hirescam_cli.resources import sample_path
    from hirescam_cli.settings import Settings

    settings = Settings(methods=("hirescam", "gradcam"), formats=("nifti", "png", "html"))
    spec = load_spec(settings.model)
    run_cases(
        [InputPath(sample_path("phantom.nii.gz"))],
        output,
        settings,
        spec,
        RunOptions(existing="overwrite", jobs=0, handle_signals=True),
        messages=Messages(as_json=as_json, quiet=quiet),
    )
    folder = output / "phantom"
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    rows = compare_with_truth(summary)
    if as_json:
        print_json({"case": str(folder), "findings": rows})
        return
    console = stdout()
    console.print(_table(rows))
    console.print(
        "\nDistances are from the peak of a map to the nearest voxel of the lesion's mask; cells are "
        f"{_cell_mm(summary):.0f} mm wide, so 0 to {_cell_mm(summary) / 2:.0f} mm is as near as a map can say."
    )
    console.print(
        f"\nLook at {folder / 'report.html'} in a browser, at the pictures {folder}/hirescam.*.png,"
    )
    console.print(f"or load {sample_path('phantom.nii.gz')}")
    console.print(f"with the overlay {folder / _first_overlay(summary)} in any NIfTI viewer.")


def compare_with_truth(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per label: prediction, whether the phantom has it, and each map's distance from it in mm."""
    import nibabel
    import numpy as np

    from hirescam_cli.geometry import affine as affines
    from hirescam_cli.resources import sample_path

    rows = []
    for entry in sorted(summary["labels"], key=lambda e: -e["logit"]):
        mask_file = sample_path("phantom.masks", f"{entry['name']}.nii.gz")
        row: dict[str, Any] = {
            "label": entry["name"],
            "probability": entry["probability"],
            "positive": entry["positive"],
            "present": mask_file.is_file(),
            "complete": entry["maps"]["hirescam"]["complete"],
            "peaks_mm": {m: maps["peak"]["world_mm"] for m, maps in entry["maps"].items()},
            "distance_mm": None,
            "lesion_mm": None,
        }
        if row["present"]:
            mask: Any = nibabel.load(mask_file)
            points = affines.apply(mask.affine, np.argwhere(np.asarray(mask.dataobj) > 0))
            row["distance_mm"] = {
                m: float(np.linalg.norm(points - np.asarray(p), axis=1).min())
                for m, p in row["peaks_mm"].items()
            }
            nearest = np.linalg.norm(points - np.asarray(row["peaks_mm"]["hirescam"]), axis=1).argmin()
            row["lesion_mm"] = [float(v) for v in points[nearest]]
        rows.append(row)
    return rows


def _table(rows: list[dict[str, Any]]) -> Table:
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
        distance = row["distance_mm"] or {}
        result.add_row(
            row["label"],
            "yes" if row["present"] else "no",
            f"{row['probability']:.3f}",
            _point(row["peaks_mm"]["hirescam"]) if row["positive"] or row["present"] else "",
            _point(row["lesion_mm"]) if row["lesion_mm"] else "",
            f"{distance['hirescam']:.0f} mm" if distance else "",
            f"{distance['gradcam']:.0f} mm" if distance else "",
            "complete" if row["complete"] else "NOT complete",
            style=None if row["positive"] else "dim",
        )
    return result


def _point(world_mm: list[float]) -> str:
    return " ".join(f"{value:.0f}" for value in world_mm)


def _cell_mm(summary: Mapping[str, Any]) -> float:
    """Width of a map's cells in the axial plane."""
    import numpy as np

    affine = np.asarray(summary["affines_ras"][summary["placement"]])
    return float(np.linalg.norm(affine[:3, 2]))


def _first_overlay(summary: Mapping[str, Any]) -> str:
    named = [e["maps"]["hirescam"]["overlay"] for e in sorted(summary["labels"], key=lambda e: -e["logit"])]
    return next((name for name in named if name), "hirescam.cams.nii.gz")
