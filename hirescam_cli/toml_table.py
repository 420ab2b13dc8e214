"""Reading a table of a TOML file, key by key: a refusal names the file, the key, the value and what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from hirescam_cli.errors import ModelError


class Faults:
    """What is wrong with a file, collected while the rest of it is read with stand-ins."""

    def __init__(self, file: str) -> None:
        self.file, self.found = file, list[ModelError]()

    def add(self, fault: ModelError) -> None:
        """One more, unless it is known."""
        if all(fault.message != other.message for other in self.found):
            self.found.append(fault)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect what is raised inside."""
        try:
            yield
        except ModelError as fault:
            self.add(fault)

    def refuse(self) -> None:
        """Raise all of them as one ModelError, if there are any."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            lines = [f"{fault.message} {fault.hint or ''}".rstrip() for fault in self.found]
            raise ModelError(
                f"{self.file} has {len(lines)} faults:\n"
                + "\n".join(f"  {n}. {line}" for n, line in enumerate(lines, 1)),
                hint="Correct all of them; `hirescam model show demo --toml` prints a whole file.",
                code=self.found[0].code,
            )


class Table:
    """One table. `file`: its name for messages; `where`: the table's name in the file ("" for the file itself).

    With `faults`, what is missing or wrong is put there and reading goes on with a stand-in; else it is raised.
    """

    def __init__(
        self, file: str, where: str, values: Mapping[str, object], faults: Faults | None = None
    ) -> None:
        self.file, self.where, self.values, self.faults = file, where, values, faults

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def name(self, key: str) -> str:
        """The dotted name of a key."""
        return f"{self.where}.{key}" if self.where else key

    @property
    def doubtful(self) -> int:
        """How many faults the file is known to have: after one, what follows from stand-ins is not to be judged."""
        return 0 if self.faults is None else len(self.faults.found)

    def fail(self, key: str, value: object, expected: str, line: str | None = None) -> ModelError:
        """The refusal of a value; `line`: one that the file could have instead."""
        return ModelError(
            f"{self.file}: {self.name(key)} is {value!r}, expected {expected}.",
            code="model-toml",
            hint="Correct the file." if line is None else self._write(line),
        )

    def missing(self, key: str, expected: str, line: str | None = None) -> ModelError:
        """The refusal of a table without a key; `line`: one that the file could have."""
        return ModelError(
            f"{self.file}: {self.name(key)} is missing, expected {expected}.",
            code="model-toml",
            hint="Add it." if line is None else self._write(line),
        )

    def _write(self, line: str) -> str:
        return f"Write, for example: {line}" + (f" (in [{self.where}])" if self.where else "")

    def refuse(self, fault: ModelError) -> None:
        """Raise a fault, or collect it."""
        if self.faults is None:
            raise fault
        self.faults.add(fault)

    def only(self, keys: Iterable[str]) -> None:
        """Refuse a key that is none of `keys`."""
        known = sorted(keys)
        for key in sorted(set(self.values) - set(known)):
            self.refuse(
                ModelError(
                    f"{self.file}: unknown key {key!r} in {f'[{self.where}]' if self.where else 'the file'}.",
                    hint=f"Known keys: {', '.join(known)}.",
                    code="model-toml",
                )
            )

    def _wrong(self, key: str, expected: str, line: str) -> None:
        """Refuse a key that is missing or has another value than was expected."""
        value = self.values.get(key)
        self.refuse(
            self.missing(key, expected, line) if value is None else self.fail(key, value, expected, line)
        )

    def text(self, key: str, expected: str = "a string", default: str | None = None) -> str:
        """A string."""
        value = self.values.get(key, default)
        if isinstance(value, str):
            return value
        self._wrong(key, expected, f'{key} = "..."')
        return ""

    def choice(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        """One of some words."""
        value = self.values.get(key, default)
        if isinstance(value, str) and value in allowed:
            return value
        self._wrong(key, " or ".join(allowed), f'{key} = "{allowed[0]}"')
        return allowed[0]

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if isinstance(value, bool):
            return value
        self._wrong(key, "true or false", f"{key} = true")
        return default

    def whole(self, key: str, expected: str, default: int | None = None, lowest: int = 1) -> int:
        """A whole number of at least `lowest`."""
        value = self.values.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value >= lowest:
            return value
        self._wrong(key, expected, f"{key} = {lowest}")
        return lowest

    def number(self, key: str, expected: str = "a number", default: float | None = None) -> float:
        """A finite number."""
        value = self.values.get(key, default)
        if is_number(value):
            return float(value)  # type: ignore[arg-type]
        self._wrong(key, expected, f"{key} = 1.0")
        return 1.0

    def numbers(self, key: str, count: int, default: Sequence[float] | None = None) -> tuple[float, ...]:
        """`count` finite numbers."""
        value = self.values.get(key, default)
        if isinstance(value, list | tuple) and len(value) == count and all(map(is_number, value)):
            return tuple(float(number) for number in value)
        example = tuple(float(n) for n in range(1, count + 1))
        self._wrong(key, f"{count} finite numbers", f"{key} = {list(example)}")
        return example

    def words(self, key: str, expected: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of strings."""
        value = self.values.get(key, default)
        if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
            return tuple(value)
        self._wrong(key, expected, f'{key} = ["..."]')
        return ()

    def table(self, key: str, *, required: bool = True) -> Table:
        """A table inside this one; an empty one where it is not required and absent."""
        value = self.values.get(key, None if required else {})
        if isinstance(value, Mapping):
            return Table(self.file, self.name(key), value, self.faults)
        self._wrong(key, "a table", f"[{self.name(key)}]")
        # What it lacks is not told one by one.
        return Table(self.file, self.name(key), {}, Faults(self.file))

    def tables(self, key: str) -> list[Table]:
        """A list of tables ([[key]] in the file), each called by its number from 1."""
        value = self.values.get(key)
        if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            return [
                Table(self.file, f"{self.name(key)}.{n}", item, self.faults)
                for n, item in enumerate(value, 1)
            ]
        self._wrong(key, f"one [[{key}]] for each step", f"[[{self.name(key)}]]")
        return []


def is_number(value: object) -> bool:
    """Whether `value` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
