"""Making a self-contained HTML document: assets inlined, data escaped, a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_SLOT = re.compile(r"\{\{(\w+)\}\}")
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@cache
def asset(name: str) -> str:
    """Text of a file of `assets/`."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def style(*names: str) -> str:
    """The named style sheets as one."""
    return "\n".join(asset(name) for name in names)


def json_text(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda match: _IN_SCRIPT[match.group()], text)


def document(
    template: str,
    *,
    title: str,
    code: str,
    css: str,
    images: str,
    data: Mapping[str, str],
) -> str:
    """The HTML text of `template` with everything inlined.

    `images`: the sources that pictures may come from, as in a content security policy; scripts and styles
    may only be the very ones given here (by their SHA-256), and nothing else may be loaded at all. `data`:
    blocks by id, either JSON from `json_text` (ids that end in "json") or base64.
    """
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_source(code)}",
            f"style-src {_hash_source(css)}",
            f"img-src {images}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    slots = {
        "policy": html.escape(policy),
        "title": html.escape(title),
        "style": css,
        "script": code,
        "data": "\n".join(_block(name, text) for name, text in data.items()),
    }
    return _SLOT.sub(lambda match: slots[match.group(1)], asset(template))


def _hash_source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _block(name: str, text: str) -> str:
    kind = "application/json" if name.endswith("json") else "text/plain"
    return f'<script type="{kind}" id="{name}">{text}</script>'
