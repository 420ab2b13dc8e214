"""From files to scans: which CT volumes DICOM files hold, under which names, and what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hirescam_cli.errors import ScanError
from hirescam_cli.identifiers import Identifiers, told_uid
from hirescam_cli.io.dicom.classify import is_derived_view, reason_to_ignore
from hirescam_cli.io.dicom.grouping import (
    MIN_SLICES,
    Plane,
    frames_of_reference,
    selected,
    slice_count,
    volumes_of,
)
from hirescam_cli.io.dicom.headers import NOT_DICOM, Header, scan_headers
from hirescam_cli.io.dicom.labelmaps import is_label_map, is_plainly_no_label_map, may_be_a_label_map
from hirescam_cli.io.dicom.naming import SeriesPlace, case_names, common_folder
from hirescam_cli.io.dicom.sources import Source, is_zip, zip_sources
from hirescam_cli.io.isolated import Asking, directly
from hirescam_cli.io.names import own_name
from hirescam_cli.io.scan import Ignored, ReadOptions, Scan
from hirescam_cli.warning import Warning


@dataclass(frozen=True)
class _Candidate:
    scan: Scan
    series_uid: str | None
    study: str
    slices: int
    voxels: int
    derived: bool
    volumes_of_series: int


def find_series(
    root: Path,
    folder_files: Iterable[Path],
    options: ReadOptions,
    *,
    identifiers: Identifiers = "uids",
    isolated: Asking = directly,
) -> tuple[list[Scan], list[Ignored]]:
    """The CT volumes among `folder_files` (below the INPUT `root`, or itself), and what is left out.

    Zip archives count as folders named by their stem.
    Names do not depend on `options`; of these only `series` counts: "largest" is the volume of most slices,
    then of most voxels, of each study; a UID selects that series alone, be it short, a reformat or a mask.
    `isolated`: how pixels are looked at that may belong to a mask.
    """
    base = root if root.is_dir() else root.parent
    sources, ignored = _sources(base, folder_files)
    headers, left_out = scan_headers(sources)
    ignored.extend(_by_archive(sources, headers, left_out))
    series: dict[str, list[Header]] = {}
    for header in headers:
        reason = reason_to_ignore(header)
        if reason is None:
            series.setdefault(header.series_uid or f" {header.source.folder}", []).append(header)
        else:
            ignored.append(reason)
    places = [place for headers in series.values() for place in _copies_apart(headers)]
    candidates = _candidates(root, places, identifiers)
    scans, passed_over = _choose(candidates, options, isolated)
    return sorted(scans, key=lambda scan: scan.case), ignored + passed_over


def _copies_apart(headers: list[Header]) -> list[list[Header]]:
    """A series spread over several folders as one; folders that are copies of each other each for itself.

    A folder is a copy if at least half of its instances lie in the folders before it.
    """
    folders: dict[PurePosixPath, list[Header]] = {}
    for header in headers:
        folders.setdefault(header.source.folder, []).append(header)
    seen: set[str] = set()
    for members in folders.values():
        own = {header.sop_uid for header in members if header.sop_uid is not None}
        if own and 2 * len(own & seen) >= len(own):
            return list(folders.values())
        seen |= own
    return [headers]


def _sources(base: Path, files: Iterable[Path]) -> tuple[list[Source], list[Ignored]]:
    sources: list[Source] = []
    ignored: list[Ignored] = []
    for path in sorted(files):
        relative = PurePosixPath(path.relative_to(base).as_posix())
        if not is_zip(path):
            sources.append(Source(path, str(relative)))
            continue
        try:
            entries = zip_sources(path, relative.parent)
        except ScanError as error:
            ignored.append(Ignored(str(relative), error.code, error.message, path, error.hint))
            continue
        sources.extend(entries)
        if not entries:
            ignored.append(_without_dicom(path, str(relative)))
    return sources, ignored


def _by_archive(
    sources: Iterable[Source], headers: Iterable[Header], left_out: Iterable[Ignored]
) -> list[Ignored]:
    """What is left out, with one reason for all entries of an archive in which nothing is DICOM."""
    dicom = {header.source.path for header in headers}
    dicom |= {item.path for item in left_out if item.code != NOT_DICOM and item.path is not None}
    foreign = {
        source.path: _without_dicom(source.path, str(source.archive))
        for source in sources
        if source.archive is not None and source.path not in dicom
    }
    return [item for item in left_out if item.path not in foreign] + list(foreign.values())


def _without_dicom(path: Path, name: str) -> Ignored:
    return Ignored(name, "not-an-image", f"{name} is an archive without any DICOM object.", path)


def _candidates(root: Path, series: list[list[Header]], identifiers: Identifiers) -> list[_Candidate]:
    volumes = [volumes_of(headers) for headers in series]
    places = [
        SeriesPlace(common_folder([h.source.folder for h in headers]), headers[0].series_uid, len(split))
        for headers, split in zip(series, volumes, strict=True)
    ]
    order = sorted(range(len(places)), key=lambda n: (str(places[n].folder), places[n].series_uid or ""))
    own = own_name(root) if root.is_dir() else PurePosixPath(root.name).stem
    named = case_names([places[n] for n in order], own or "scan", identifiers)
    candidates: list[_Candidate] = []
    shared: Counter[frozenset[Source]] = Counter()
    for n, cases in zip(order, named, strict=True):
        for planes, case in zip(volumes[n], cases, strict=True):
            files = frozenset(plane.header.source for plane in planes)
            candidates.append(_candidate(root, planes, case, identifiers, len(volumes[n]), shared[files]))
            shared[files] += 1
    return candidates


def _candidate(
    root: Path, planes: list[Plane], case: str, identifiers: Identifiers, volumes_of_series: int, number: int
) -> _Candidate:
    """`number`: of the volume among those in the same files."""
    headers = selected(planes)
    first = headers[0]
    count = slice_count(planes)
    scan = Scan(
        kind="dicom-enhanced" if any(header.multi_frame for header in headers) else "dicom",
        case=case,
        name=case,
        files=tuple(dict.fromkeys(header.source.path for header in headers)),
        root=root,
        series_uid=told_uid(first.series_uid, identifiers),
        volume=number,
        selector=headers,
        warnings=_warnings(planes),
    )
    pixels = first.pixel_format.rows * first.pixel_format.columns if first.pixel_format else 0
    derived = all(is_derived_view(header) for header in headers)
    study = first.study_uid or str(first.source.folder)
    return _Candidate(scan, first.series_uid, study, count, count * pixels, derived, volumes_of_series)


def _warnings(planes: list[Plane]) -> tuple[Warning, ...]:
    frames = frames_of_reference(planes)
    if frames == 1:
        return ()
    return (
        Warning(
            "frames-of-reference",
            f"the {frames} slices name {frames} frames of reference, as some de-identification leaves "
            "them; their positions make one even volume, and they were taken for one.",
        ),
    )


def _choose(
    candidates: list[_Candidate], options: ReadOptions, isolated: Asking
) -> tuple[list[Scan], list[Ignored]]:
    """The scans that `options.series` asks for; the others with their reasons."""
    by_name = options.series not in ("all", "largest")
    usable: list[_Candidate] = []
    ignored: list[Ignored] = []
    for candidate in candidates:
        scan = candidate.scan
        reason = _not_asked_for(candidate, options.series) if by_name else _not_worth_it(candidate, isolated)
        if reason is None:
            usable.append(candidate)
        else:
            ignored.append(Ignored(scan.name, reason[0], f"{scan.name} {reason[1]}."))
    if options.series != "largest":
        return [candidate.scan for candidate in usable], ignored
    largest: dict[str, _Candidate] = {}
    for candidate in usable:
        rival = largest.get(candidate.study)
        if rival is None or (candidate.slices, candidate.voxels) > (rival.slices, rival.voxels):
            largest[candidate.study] = candidate
    chosen = [candidate for candidate in usable if largest[candidate.study] is candidate]
    for candidate in usable:
        if largest[candidate.study] is not candidate:
            reason_text = f"{candidate.scan.name} is not the largest volume of its study."
            ignored.append(Ignored(candidate.scan.name, "not-selected", reason_text))
    return [candidate.scan for candidate in chosen], ignored


def _not_asked_for(candidate: _Candidate, series: str) -> tuple[str, str] | None:
    if candidate.series_uid == series:
        return None
    return "not-selected", "is not the series that was asked for"


def _not_worth_it(candidate: _Candidate, isolated: Asking) -> tuple[str, str] | None:
    ask = f"--series {candidate.scan.series_uid or 'UID'} explains it all the same"
    if candidate.slices == 1:
        ask = "one alone is no volume: give the folder that holds its whole series"
    if candidate.derived:
        return "derived-view", f"is a reformat, projection or map computed from other slices; {ask}"
    if candidate.slices < MIN_SLICES:
        slices = "1 slice" if candidate.slices == 1 else f"{candidate.slices} slices"
        if candidate.volumes_of_series > 1:
            ask = (
                f"it is one of {candidate.volumes_of_series} parts of a series whose slices differ in frame of "
                "reference, orientation, size, spacing or phase and do not make one even volume"
            )
        return "few-slices", f"has {slices}, fewer than {MIN_SLICES}; {ask}"
    headers = candidate.scan.selector
    if (
        may_be_a_label_map(headers)
        and not is_plainly_no_label_map(headers)
        and isolated(is_label_map, headers, False)
    ):
        return "label-map", f"holds few whole numbers and none below 0: a mask, not a CT in HU; {ask}"
    return None
