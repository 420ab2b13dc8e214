"""The page's JavaScript: its own tests, its geometry against ours, and how it gets into a page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import linear_at, linear_matrix
from hirescam_cli.page import bundle as bundling
from hirescam_cli.page import index_text, page_text
from hirescam_cli.page.bundle import BundleError, bundle
from tests.views import make_case

PACKAGE = Path(bundling.__file__).parent / "script"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None and os.environ.get("HIRESCAM_TEST_NODE") != "required", reason="needs Node.js"
)


def oblique(seed: int) -> NDArray[np.float64]:
    """An affine with a rotation about all axes, unequal spacing, maybe a mirror, and an offset."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return affines.from_parts(turn @ np.diag(rng.uniform(0.4, 5.0, 3)), rng.uniform(-300, 300, 3))


def answers(calls: list[list[Any]]) -> list[Any]:
    """What the page's own functions give for calls [name, argument, ...]."""
    script = PACKAGE / "test" / "answers.js"
    done = subprocess.run(
        ["node", str(script)], input=json.dumps(calls), capture_output=True, text=True, timeout=60, check=True
    )
    found: list[Any] = json.loads(done.stdout)
    return found


@needs_node
def test_the_scripts_own_tests_pass() -> None:
    tests = sorted(str(path) for path in (PACKAGE / "test").glob("*.test.js"))
    assert len(tests) >= 5
    done = subprocess.run(
        ["node", "--test", *tests], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


@needs_node
def test_affines_are_what_python_has() -> None:
    calls: list[list[Any]] = []
    wanted: list[NDArray[np.float64]] = []
    for seed in range(40):
        one, two = oblique(seed), oblique(1000 + seed)
        point, other = np.random.default_rng(seed).uniform(-200, 200, (2, 3))
        calls += [
            ["transform", one.tolist(), point.tolist()],
            ["multiply", one.tolist(), two.tolist()],
            ["invert", one.tolist()],
            ["spacingOf", one.tolist()],
            ["distanceMm", affines.apply(one, point).tolist(), affines.apply(one, other).tolist()],
        ]
        wanted += [
            affines.apply(one, point),
            one @ two,
            np.linalg.inv(one),
            np.array(affines.spacing_mm(one)),
            np.linalg.norm(one[:3, :3] @ (point - other)),
        ]
    for call, found, right in zip(calls, answers(calls), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-9, err_msg=call[0])


@needs_node
def test_a_map_has_the_values_of_geometry_resample() -> None:
    rng = np.random.default_rng(3)
    cam = rng.normal(size=(5, 6, 7)).astype(np.float32)
    flat = cam.ravel().astype(float).tolist()
    calls, wanted = [], []
    for seed in range(100):
        voxel_to_cell = np.linalg.inv(oblique(seed)) @ oblique(seed + 1)
        index = affines.apply(voxel_to_cell, np.zeros(3)) * 0.01 + rng.uniform(-1, 7, 3)
        calls.append(["linearAt", flat, 0, list(cam.shape), index.tolist()])
        rows = [linear_matrix(n, [at])[0] for n, at in zip(cam.shape, index, strict=True)]
        wanted.append(float(np.einsum("i,j,k,ijk", *rows, cam.astype(np.float64))))
        assert wanted[-1] == pytest.approx(float(linear_at(cam, index[None])[0]), abs=1e-6)
    found = answers(calls)
    assert sum(value != 0 for value in wanted) >= 20
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


@needs_node
def test_a_pixel_shows_the_point_that_it_covers() -> None:
    """Canvas pixel to embedded voxel to mm to cell, on oblique grids, against plain matrices."""
    planes = {0: (2, 1), 1: (2, 0), 2: (1, 0)}
    calls, wanted = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scan, cells = oblique(seed), oblique(seed + 50)
        voxel_to_cell = np.linalg.inv(cells) @ scan
        normal, (across, down) = seed % 3, planes[seed % 3]
        size, origin = rng.uniform(0.5, 6, 2), rng.uniform(-100, 300, 2)
        patch = {"left": int(rng.integers(0, 50)), "top": int(rng.integers(0, 50)), "step": 1 + seed % 2}
        definition = {"normal": normal, "across": across, "down": down}
        layout = {"size": size.tolist(), "origin": origin.tolist()}
        calls.append(["walkOf", voxel_to_cell.tolist(), definition, 17, layout, patch])
        row, column = 9, 13
        voxel = np.zeros(3)
        voxel[normal] = 17
        voxel[across] = (patch["left"] + (column + 0.5) * patch["step"] - origin[0]) / size[0]
        voxel[down] = (patch["top"] + (row + 0.5) * patch["step"] - origin[1]) / size[1]
        world = affines.apply(scan, voxel)
        wanted.append(affines.apply(np.linalg.inv(cells), world))
    for walk, right in zip(answers(calls), wanted, strict=True):
        found = np.array(walk["start"]) + 9 * np.array(walk["row"]) + 13 * np.array(walk["column"])
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-9)


def read_from(modules: dict[str, str]) -> Callable[[str], str]:
    return modules.__getitem__


def test_a_bundle_has_each_module_once_after_what_it_needs() -> None:
    modules = {
        "main.js": 'import { b } from "./b.js";\nimport { a } from "./a.js";\n\nb(a);\n',
        "b.js": 'import { a } from "./a.js";\n\nexport function b(x) {\n  return a + x;\n}\n',
        "a.js": "export const a = 1;\n",
    }
    assert bundle("main.js", read_from(modules)) == (
        '"use strict";\n(() => {\nconst a = 1;\n\nfunction b(x) {\n  return a + x;\n}\n\nb(a);\n})();\n'
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a.js": "const a = 1;\n"}, "a.js does not export a"),
        ({"a.js": 'import { b } from "./b.js";\nexport const a = b;\n'}, "import each other"),
        ({"a.js": "export const a = 1;\nconst own = 2;\n"}, "both declare own"),
        ({"a.js": "export const a = 1;\nexport default a;\n"}, "no import or export of the known form"),
        ({"a.js": 'import * as x from "./c.js";\nexport const a = 1;\n'}, "no import or export"),
    ],
)
def test_modules_that_would_make_a_wrong_script_are_refused(changes: dict[str, str], message: str) -> None:
    modules = {
        "b.js": 'import { a } from "./a.js";\nconst own = a;\nexport const b = own;\n',
        "a.js": "export const a = 1;\n",
        "c.js": "",
    }
    with pytest.raises(BundleError, match=message):
        bundle("b.js", read_from({**modules, **changes}))


def test_pages_hold_what_stands_in_the_source_and_nothing_built() -> None:
    for text, entry in ((page_text(make_case().view), "main.js"), (index_text(Path(), []), "index.js")):
        (inline,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert inline == bundle(entry, lambda name: (PACKAGE / "src" / name).read_text(encoding="utf-8"))
    bundled = {line for entry in ("main.js", "index.js") for line in bundle(entry).splitlines()}
    for path in (PACKAGE / "src").iterdir():
        code = re.sub(r"^import .*?;$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        lines = [line for line in code.splitlines() if line]
        left_out = [line for line in lines if line.removeprefix("export ") not in bundled]
        assert not left_out, path.name
    kept = {path.name for path in PACKAGE.iterdir()} - {"node_modules", "__pycache__"}
    assert kept == {"src", "test", "package.json", "package-lock.json", "biome.json"}
