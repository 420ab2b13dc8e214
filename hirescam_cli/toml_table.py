"""Reading a table of a TOML file, key by key: a refusal names the file, the key, the value and what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from hirescam_cli.errors import ModelError


class Table:
    """One table. `file`: its name for messages; `where`: the table's name in the file ("" for the file itself)."""

    def __init__(self, file: str, where: str, values: Mapping[str, object]) -> None:
        self.file, self.where, self.values = file, where, values

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def name(self, key: str) -> str:
        """The dotted name of a key."""
        return f"{self.where}.{key}" if self.where else key

    def fail(self, key: str, value: object, expected: str) -> ModelError:
        """The refusal of a value."""
        return ModelError(
            f"{self.file}: {self.name(key)} is {value!r}, expected {expected}.",
            code="model-toml",
            hint="Correct the file.",
        )

    def missing(self, key: str, expected: str) -> ModelError:
        """The refusal of a table without a key."""
        return ModelError(
            f"{self.file}: {self.name(key)} is missing, expected {expected}.",
            code="model-toml",
            hint="Add it.",
        )

    def only(self, keys: Iterable[str]) -> None:
        """Refuse a key that is none of `keys`."""
        known = sorted(keys)
        for key in sorted(set(self.values) - set(known)):
            raise ModelError(
                f"{self.file}: unknown key {key!r} in {f'[{self.where}]' if self.where else 'the file'}.",
                hint=f"Known keys: {', '.join(known)}.",
                code="model-toml",
            )

    def text(self, key: str, expected: str = "a string", default: str | None = None) -> str:
        """A string."""
        value = self.values.get(key, default)
        if value is None:
            raise self.missing(key, expected)
        if not isinstance(value, str):
            raise self.fail(key, value, expected)
        return value

    def choice(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        """One of some words."""
        expected = " or ".join(allowed)
        value = self.values.get(key, default)
        if value is None:
            raise self.missing(key, expected)
        if not isinstance(value, str) or value not in allowed:
            raise self.fail(key, value, expected)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, value, "true or false")
        return value

    def whole(self, key: str, expected: str, default: int | None = None, lowest: int = 1) -> int:
        """A whole number of at least `lowest`."""
        value = self.values.get(key, default)
        if value is None:
            raise self.missing(key, expected)
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise self.fail(key, value, expected)
        return value

    def number(self, key: str, expected: str = "a number", default: float | None = None) -> float:
        """A finite number."""
        value = self.values.get(key, default)
        if value is None:
            raise self.missing(key, expected)
        if not is_number(value):
            raise self.fail(key, value, expected)
        return float(value)  # type: ignore[arg-type]

    def numbers(self, key: str, count: int, default: Sequence[float] | None = None) -> tuple[float, ...]:
        """`count` finite numbers."""
        expected = f"{count} finite numbers"
        value = self.values.get(key, default)
        if value is None:
            raise self.missing(key, expected)
        if not isinstance(value, list | tuple) or len(value) != count or not all(map(is_number, value)):
            raise self.fail(key, value, expected)
        return tuple(float(number) for number in value)

    def words(self, key: str, expected: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of strings."""
        value = self.values.get(key, default)
        if value is None:
            raise self.missing(key, expected)
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            raise self.fail(key, value, expected)
        return tuple(value)

    def table(self, key: str, *, required: bool = True) -> Table:
        """A table inside this one; an empty one where it is not required and absent."""
        value = self.values.get(key, None if required else {})
        if value is None:
            raise self.missing(key, "a table")
        if not isinstance(value, Mapping):
            raise self.fail(key, value, "a table")
        return Table(self.file, self.name(key), value)

    def tables(self, key: str) -> list[Table]:
        """A list of tables ([[key]] in the file), each called by its number from 1."""
        value = self.values.get(key)
        if value is None:
            raise self.missing(key, f"one [[{key}]] for each step")
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise self.fail(key, value, f"one [[{key}]] for each step")
        return [Table(self.file, f"{self.name(key)}.{n}", item) for n, item in enumerate(value, 1)]


def is_number(value: object) -> bool:
    """Whether `value` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
