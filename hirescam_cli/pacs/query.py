"""What to pull: KEY=VALUE pairs over the attributes that QIDO-RS searches by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hirescam_cli.errors import UsageError
from hirescam_cli.identifiers import is_uid

# PS3.18 tables 10.6.1-3 and 10.6.1-5, with the tag of each.
STUDY_KEYS = {
    "StudyInstanceUID": "0020000D",
    "PatientID": "00100020",
    "PatientName": "00100010",
    "AccessionNumber": "00080050",
    "StudyDate": "00080020",
    "StudyTime": "00080030",
    "StudyID": "00200010",
    "StudyDescription": "00081030",
    "ReferringPhysicianName": "00080090",
    "ModalitiesInStudy": "00080061",
}
SERIES_KEYS = {
    "SeriesInstanceUID": "0020000E",
    "Modality": "00080060",
    "SeriesNumber": "00200011",
    "SeriesDescription": "0008103E",
}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID")
_MATCHES_MANY = frozenset("*?\\-")


@dataclass(frozen=True)
class Query:
    """Filters by attribute, of studies and of series."""

    study: Mapping[str, str]
    series: Mapping[str, str]

    @property
    def exact(self) -> dict[str, str]:
        """The filters that match one value only: by tag, neither patterns nor ranges."""
        tags = STUDY_KEYS | SERIES_KEYS
        both = {**self.study, **self.series}
        return {tags[key]: value for key, value in both.items() if not _MATCHES_MANY & set(value)}


def parse_query(texts: Sequence[str]) -> Query:
    """A query from `KEY=VALUE` texts. Raises UsageError, without the value, which may name a patient."""
    known = ", ".join([*STUDY_KEYS, *SERIES_KEYS])
    study: dict[str, str] = {}
    series: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise UsageError("A part of the query has no '='.", hint=f"Write KEY=VALUE; keys: {known}.")
        into = study if key in STUDY_KEYS else series
        if key not in STUDY_KEYS | SERIES_KEYS:
            raise UsageError(f"The query has the unknown key {key!r}.", hint=f"Known: {known}.")
        if not value:
            raise UsageError(f"The query gives {key} no value.", hint="Write KEY=VALUE.")
        if key in into:
            raise UsageError(f"The query gives {key} twice.", hint="Give each key once.")
        if key in _UIDS and not is_uid(value):
            raise UsageError(f"The query's {key} is not a UID.", hint="Write numbers joined by dots.")
        into[key] = value
    if not study and not series:
        raise UsageError("The query is empty.", hint=f"Write KEY=VALUE; keys: {known}.")
    return Query(study, series)
