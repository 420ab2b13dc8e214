"""Writes the JSON Schema that ships with the package: python -m hirescam_cli.evaluate"""

from __future__ import annotations

import json
from pathlib import Path

from hirescam_cli.evaluate.document import schema

Path(__file__).with_name("evaluation.schema.json").write_text(
    json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
)
