"""Which studies a query means; an archive that ignores a filter must not make us pull all that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.pacs.archive import STUDY, Archive, Attributes
from hirescam_cli.pacs.query import SERIES_KEYS, STUDY_KEYS, Query

_NAMES = {tag: key for key, tag in (STUDY_KEYS | SERIES_KEYS).items()}


def find_studies(archive: Archive, query: Query, most: int) -> list[str]:
    """The Study Instance UIDs that match. Raises NoInputError for none, UsageError for more than `most`, or where the
    archive answers what was not asked for."""
    if "SeriesInstanceUID" in query.series and not query.study:
        rows = archive.series(None, query.series, most)
    else:
        modality = query.series.get("Modality")
        narrowed = {} if modality is None else {"ModalitiesInStudy": modality}
        rows = archive.studies({**narrowed, **query.study}, most)
    check_filters(rows, query.exact)
    studies = dict.fromkeys(one for row in rows for one in _values(row, STUDY))
    if not studies:
        raise NoInputError(
            "The archive has no study that matches the query.",
            hint="Check the query; an archive shows only what we may see.",
            code="pacs-no-study",
        )
    if len(studies) > most:
        raise UsageError(
            f"More than {most} studies match the query.",
            hint="Narrow it, or raise --max-studies.",
            code="pacs-many-studies",
        )
    return list(studies)


def check_filters(rows: Sequence[Attributes], exact: Mapping[str, str]) -> None:
    """Raise UsageError for an answer that says of itself that it does not match."""
    for row in rows:
        for tag, wanted in exact.items():
            found = [_plain(value) for value in _values(row, tag)]
            if found and _plain(wanted) not in found:
                raise UsageError(
                    f"The archive does not search by {_NAMES[tag]}: it answers with others too.",
                    hint="Search by StudyInstanceUID, PatientID or AccessionNumber.",
                    code="pacs-query-ignored",
                )


def _values(row: Attributes, tag: str) -> list[str]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    names = [value.get("Alphabetic") if isinstance(value, dict) else value for value in values or []]
    return [str(name) for name in names if name not in (None, "")]


def _plain(text: str) -> str:
    return text.strip().rstrip("^").casefold()
