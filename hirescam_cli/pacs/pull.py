"""Pulling what a query means: each series whole into a folder of its own, our own results left out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hirescam_cli.batch.lock import output_lock
from hirescam_cli.choices import Existing
from hirescam_cli.durable import output_error
from hirescam_cli.errors import NoInputError, OutputCreateError
from hirescam_cli.identifiers import Identifiers
from hirescam_cli.options import check, stated
from hirescam_cli.pacs.archive import SERIES, Archive, Attributes, RefusedError, count, text
from hirescam_cli.pacs.find import check_filters, find_studies
from hirescam_cli.pacs.manifest import Manifest, read_manifest
from hirescam_cli.pacs.own import is_ours, may_be_ours
from hirescam_cli.pacs.patience import Say
from hirescam_cli.pacs.query import SERIES_KEYS, Query
from hirescam_cli.pacs.result import PullResult, SeriesResult
from hirescam_cli.pacs.series import ROUNDS, Gathering, Names, first_of

_MODALITY, _INSTANCES = SERIES_KEYS["Modality"], "00201209"
_PULL_AGAIN = "Run the same command again later: what was received is kept."


@dataclass(frozen=True)
class PullOptions:
    """Options of a pull; see the table in `options`. `verify`: read finished series back before trusting them."""

    output: Path = stated("output")
    identifiers: Identifiers = stated("identifiers")
    existing: Existing = stated("existing")
    verify: bool = stated("verify")
    max_studies: int = stated("max-studies")
    include_own: bool = stated("include-own")

    def __post_init__(self) -> None:
        check(self)


def pull(archive: Archive, query: Query, options: PullOptions, say: Say) -> PullResult:
    """Pull all series that match, each whole or not at all; a series that fails leaves the others alone.

    Raises NoInputError where nothing matches, UsageError for a query that the archive cannot answer or that matches too
    much, UnavailableError where the archive fails for long, OutputCreateError and OutputIOError.
    """
    studies = find_studies(archive, query, options.max_studies)
    results: list[SeriesResult] = []
    with output_lock(options.output, None):
        for study in studies:
            results += _Study(archive, study, query, options, say).pull()
    if all(one.status == "left out" for one in results):
        own = " but hirescam's own results" if results else ""
        raise NoInputError(
            f"The archive has no series that matches the query{own}.",
            hint="Check the query; --include-own pulls those too.",
            code="pacs-no-series",
        )
    names = Names(options.identifiers == "none")
    told = [
        replace(one, study_uid=names.of(one.study_uid), series_uid=names.of(one.series_uid))
        for one in results
    ]
    return PullResult(str(options.output), tuple(told))


@dataclass(frozen=True)
class _Study:
    """One study of a pull."""

    archive: Archive
    study: str
    query: Query
    options: PullOptions
    say: Say

    def pull(self) -> list[SeriesResult]:
        """Pull its series, count again, and pull what has come in the meantime."""
        done: dict[str, SeriesResult] = {}
        for _ in range(ROUNDS):
            grown = self._grown(done)
            if not grown:
                return list(done.values())
            for row in grown:
                result = self._series(row)
                done[result.series_uid] = result
                self.say(_line(result))
        for row in self._grown(done):
            uid = text(row, SERIES)
            late = done.get(uid) or _result(self.study, row, "failed", 0)
            message = f"the study is still growing. {_PULL_AGAIN}"
            done[uid] = replace(late, status="failed", message=message)
        return list(done.values())

    def _grown(self, done: dict[str, SeriesResult]) -> list[Attributes]:
        """The series that are new, or have more instances than when they were pulled."""
        rows = self.archive.series(self.study, self.query.series)
        check_filters(rows, self.query.exact)
        return [
            row
            for row in rows
            if (known := done.get(text(row, SERIES))) is None or (count(row, _INSTANCES) or 0) > known.counted
        ]

    def _series(self, row: Attributes) -> SeriesResult:
        uid, modality = text(row, SERIES), text(row, _MODALITY)
        try:
            listed = self.archive.instances(self.study, uid)
        except RefusedError as refused:
            return _result(self.study, row, "failed", 0, f"{refused.reason} when asked to list it.")
        promised = max(count(row, _INSTANCES) or 0, len(listed))
        if not self.options.include_own and self._own(uid, modality, listed):
            return _result(self.study, row, "left out", promised, "hirescam made it.")
        names = Names(self.options.identifiers == "none")
        folder = Path(names.of(self.study), names.of(uid))
        final = self.options.output / folder
        gathering = Gathering(self.archive, self.study, uid, final, names, self.say)
        result = replace(_result(self.study, row, "pulled", promised), folder=folder.as_posix())
        with _writing(folder):
            before = self._before(gathering, frozenset(listed))
            if before is not None:
                return replace(result, status="already done", instances=len(before.instances))
            kept = read_manifest(gathering.partial)
            wanted, problems = gathering.gather([*listed, *(kept.uids if kept else ())])
            if promised > len(wanted):
                problems.append(f"the archive counts {promised} instances and lists {len(wanted)}")
            if not problems and wanted:
                gathering.publish(self.archive.url, modality, wanted)
                return replace(result, counted=len(wanted), instances=len(wanted))
        received = sum(1 for _ in gathering.partial.glob("*.dcm"))
        counted = max(promised, len(wanted))
        message = f"{received} of {counted} instances received: {first_of(problems) or 'none is listed'}. {_PULL_AGAIN}"
        return replace(
            result, status="failed", folder=None, counted=counted, instances=received, message=message
        )

    def _own(self, series: str, modality: str, listed: dict[str, str]) -> bool:
        for instance, sop_class in listed.items():
            if not may_be_ours(modality, sop_class):
                return False
            try:
                return is_ours(self.archive.metadata(self.study, series, instance))
            except RefusedError:
                return False
        return False

    def _before(self, gathering: Gathering, listed: frozenset[str]) -> Manifest | None:
        """The manifest of a series that an earlier run pulled whole; else the way is made free for this one."""
        final, options = gathering.final, self.options
        before = read_manifest(final)
        if before is None:
            if final.exists():
                raise OutputCreateError(
                    f"The output already holds {final.name}, which is not a series that was pulled.",
                    hint="Move it away or choose another output folder.",
                    code="output-foreign",
                )
            return None
        if options.existing == "error":
            raise OutputCreateError(
                f"The output already holds the series {final.name}.",
                hint="Choose another --output, or --existing skip or overwrite.",
                code="series-exists",
            )
        if options.existing == "overwrite":
            shutil.rmtree(gathering.partial, ignore_errors=True)
            return None
        if listed <= before.uids and not before.damaged(final, options.verify):
            return before
        gathering.go_on_from(before, options.verify)
        return None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(error, folder.as_posix()) from error


def _result(
    study: str, row: Attributes, status: str, counted: int, message: str | None = None
) -> SeriesResult:
    return SeriesResult(study, text(row, SERIES), text(row, _MODALITY), status, counted, message=message)  # type: ignore[arg-type]


def _line(result: SeriesResult) -> str:
    what = f"{result.modality or 'series'}, {result.instances or result.counted} instances: {result.status}"
    return f"{what} ({result.message})" if result.message else what
