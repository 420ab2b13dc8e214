"""GIF: an animation of each map through the scan."""

from __future__ import annotations

from hirescam_cli.results.format import Made, Request, ResultFormat


def write(request: Request) -> list[Made]:
    """The animations of the wanted labels."""
    from hirescam_cli.pictures import draw_volume_gif

    made = []
    for method in request.view.methods:
        for label in request.labels:
            path = f"{request.stem(method, label)}.gif"
            draw_volume_gif(request.view, method, label, request.folder / path, placement=request.placement)
            made.append(Made(path, "animation", method, label, request.placement))
    return made


FORMAT = ResultFormat("gif", "animations", write)
