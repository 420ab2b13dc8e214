"""PNG: a picture of each map, of each label's methods side by side, of all positive labels, and of all slice scores."""

from __future__ import annotations

from hirescam_cli.results.format import Made, Request, ResultFormat

SLICE_SCORES = "slice-scores.png"


def write(request: Request) -> list[Made]:
    """The pictures of the wanted labels."""
    # matplotlib takes half a second to import.
    from hirescam_cli.pictures import draw_comparison, draw_label, draw_mosaic, draw_slice_scores

    view, style, placement = request.view, request.style, request.placement
    made = []
    for label in request.labels:
        for method in view.methods:
            path = f"{request.stem(method, label)}.png"
            draw_label(
                view, method, label, request.folder / path,
                signed=style.signed, placement=placement, smooth=style.smooth,
            )  # fmt: skip
            made.append(Made(path, "picture", method, label, placement))
        if len(view.methods) > 1:
            path = f"{request.stem('comparison', label)}.png"
            draw_comparison(view, label, request.folder / path, placement=placement, smooth=style.smooth)
            made.append(Made(path, "picture", None, label, placement))
    if sum(label.positive for label in view.case.labels) > 1:
        for method in view.methods:
            path = f"mosaic.{method}{request.suffix}.png"
            draw_mosaic(
                view,
                method,
                request.folder / path,
                signed=style.signed,
                placement=placement,
                smooth=style.smooth,
            )
            made.append(Made(path, "picture", method, None, placement))
    if view.slice_scores(view.case.labels[0].name) is not None:
        draw_slice_scores(view, request.folder / SLICE_SCORES)
        made.append(Made(SLICE_SCORES, "picture"))
    return made


FORMAT = ResultFormat("png", "pictures", write)
