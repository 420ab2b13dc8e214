"""Rows as a data frame, for those who have pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from hirescam_cli.errors import UnavailableError

if TYPE_CHECKING:
    import pandas

Row: TypeAlias = dict[str, str | int | float | bool | None]


def data_frame(rows: Sequence[Row]) -> pandas.DataFrame:
    """A data frame of these rows. Raises UnavailableError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise UnavailableError(
            "to_pandas() needs pandas, which is not installed.",
            hint="pip install pandas, or use rows(), which any table takes.",
            code="pandas-missing",
        ) from error
    return pandas.DataFrame.from_records(rows)
