"""The README's tables of the demonstration model, from what `hirescam evaluate` says of phantoms it has not seen.

    python -m tests.phantom.held_out OUT/evaluation/evaluation.json

after the commands that the README gives, from a checkout: writes `sample_data/demo-heldout.json` and prints the tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HELDOUT_SEED, HELDOUT_SCANS = 900_000, 140
PLACEMENTS = ("stretch", "receptive-field")
METHODS = ("hirescam", "gradcam")
PLAIN, BY_METHOD = ("blind", "chance", "ceiling"), ("near", "evidence_in", "score")
MEAN = "mean over labels"

Row = dict[str, Any]


def digest(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What the tables need of an evaluation.json."""
    (model,) = evaluation["models"]
    return {
        "model": model["name"],
        "weights_sha256": model["weights_sha256"],
        "first_seed": HELDOUT_SEED,
        "scans": evaluation["cases"]["finished"],
        "labels": [_known(counts) for counts in evaluation["counts"]],
        "finds": {placement: _finds(evaluation, placement) for placement in PLACEMENTS},
        "papers": _papers(evaluation),
    }


def _known(counts: Mapping[str, Any]) -> Row:
    positive = counts["true_positives"] + counts["false_negatives"] + counts["unmarked"] + counts["empty"]
    figures = {key: round(counts[key], 4) for key in ("auroc", "sensitivity", "specificity")}
    return {"label": counts["label"], "present": positive, **figures}


def _finds(evaluation: Mapping[str, Any], placement: str) -> list[Row]:
    """A row a label, and the mean over labels; figures are [mean, low, high]."""
    chosen: dict[str, dict[str, Any]] = {}
    for part, name in (("results", "label"), ("overall", "over")):
        for found in evaluation[part]:
            if (found["placement"], found["group"]) != (placement, "true_positives"):
                continue
            if part == "overall" and found["over"] != "labels":
                continue
            key = MEAN if part == "overall" else found[name]
            chosen.setdefault(key, {})[found["method"]] = found["measures"]
    rows = []
    for label, by_method in chosen.items():
        first = by_method[METHODS[0]]
        row: Row = {"label": label, "n": first["near"]["n"]}
        row |= {measure: _three(first[measure]) for measure in PLAIN}
        row |= {measure: {m: _three(by_method[m][measure]) for m in METHODS} for measure in BY_METHOD}
        row["difference"], row["p"], row["p_holm"] = _difference(evaluation, placement, label)
        rows.append(row)
    return rows


def _difference(evaluation: Mapping[str, Any], placement: str, label: str) -> tuple[Any, Any, Any]:
    over = {"over": "labels", "label": None} if label == MEAN else {"over": "label", "label": label}
    wanted = {
        "what": "methods",
        "group": "true_positives",
        "placement": placement,
        "measure": "score",
        **over,
    }
    (found,) = [d for d in evaluation["differences"] if all(d[key] == value for key, value in wanted.items())]
    assert (found["a"], found["b"]) == METHODS
    return _three(found["difference"]), found["p"], found["p_holm"]


def _papers(evaluation: Mapping[str, Any]) -> list[Row]:
    rows: dict[str, Row] = {}
    for found in evaluation["papers"]:
        if found["placement"] != "stretch":
            continue
        row = rows.setdefault(
            found["label"], {"label": found["label"], "n": found["n"], "chance": found["chance"]}
        )
        row[found["method"]] = [found["organ_precision"], found["organ_precision_authors"]]
    order = [counts["label"] for counts in evaluation["counts"]]
    return sorted(rows.values(), key=lambda row: order.index(row["label"]))


def _three(figure: Mapping[str, Any]) -> list[float | None]:
    return [None if figure[key] is None else round(figure[key], 5) for key in ("mean", "low", "high")]


def knows(figures: Mapping[str, Any]) -> str:
    """What the model knows, as a Markdown table."""
    lines = ["| label | scans with it | AUROC | sensitivity | specificity |", "|---|---|---|---|---|"]
    for row in figures["labels"]:
        rates = [f"{row[key]:.0%}" for key in ("sensitivity", "specificity")]
        lines.append(_line([row["label"], str(row["present"]), f"{row['auroc']:.3f}", *rates]))
    return "\n".join(lines)


def finds(figures: Mapping[str, Any], placement: str) -> str:
    """Where its maps point in a placement, as a Markdown table."""
    lines = [
        "| label | n | near: HiResCAM | near: Grad-CAM | blind | evidence in: HiResCAM | Grad-CAM | chance | ceiling "
        "| score: HiResCAM | Grad-CAM | difference in score [95 %] | p (Holm) |",
        "|" + "---|" * 13,
    ]
    for row in figures["finds"][placement]:
        near = [_percent(row["near"][method]) for method in METHODS]
        evidence = [f"{row['evidence_in'][method][0]:.3f}" for method in METHODS]
        score = [f"{row['score'][method][0]:.2f}" for method in METHODS]
        mean, low, high = row["difference"]
        p = f"{row['p']:.1g} (not adjusted)" if row["p_holm"] is None else f"{row['p_holm']:.3f}"
        name = f"**{row['label']}**" if row["label"] == MEAN else row["label"]
        lines.append(
            _line([
                name, str(row["n"]), *near, f"{row['blind'][0]:.0%}".replace("%", " %"), *evidence,
                f"{row['chance'][0]:.3f}", f"{row['ceiling'][0]:.2f}", *score,
                f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]", p,
            ])
        )  # fmt: skip
    return "\n".join(lines)


def papers(figures: Mapping[str, Any]) -> str:
    """Organ precision, right and with the authors' error, as a Markdown table."""
    lines = [
        "| label | n | HiResCAM | Grad-CAM | HiResCAM, with the error | Grad-CAM, with the error | chance |",
        "|" + "---|" * 7,
    ]
    for row in figures["papers"]:
        values = [f"{row[method][part]:.2f}" for part in (0, 1) for method in METHODS]
        lines.append(_line([row["label"], str(row["n"]), *values, f"{row['chance']:.2f}"]))
    return "\n".join(lines)


def _percent(three: Sequence[float]) -> str:
    mean, low, high = (100.0 * value for value in three)
    return f"{mean:.0f} % [{low:.0f}, {high:.0f}]"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main(path: Path) -> None:
    """Write the file and print the tables."""
    figures = digest(json.loads(path.read_text(encoding="utf-8")))
    target = Path(__file__).resolve().parents[2] / "sample_data" / "demo-heldout.json"
    target.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    parts = [knows(figures), *(finds(figures, placement) for placement in PLACEMENTS), papers(figures)]
    print("\n\n".join(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
