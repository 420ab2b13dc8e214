"""Pushing the DICOM results of finished cases: each object as the bytes that its case's summary vouches for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread

from hirescam_cli.case.listing import case_folders, read_case, root_of
from hirescam_cli.case.record import Case, Output
from hirescam_cli.choices import Existing
from hirescam_cli.errors import NoInputError, OutputCreateError, UnavailableError
from hirescam_cli.options import check, stated
from hirescam_cli.pacs.archive import Archive, RefusedError
from hirescam_cli.pacs.ledger import Ledger, open_ledger
from hirescam_cli.pacs.patience import Say
from hirescam_cli.pacs.result import PushResult, Sent

_IDENTITY = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
# What these answers refuse is not one object but every one: the address is wrong.
_WRONG_PLACE = frozenset((301, 302, 303, 307, 308, 404, 405, 501))


@dataclass(frozen=True)
class PushOptions:
    """Options of a push; see the table in `options`. `verify`: read every object back from the archive."""

    existing: Existing = stated("existing")
    verify: bool = stated("verify")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class _Object:
    """A DICOM result of a case."""

    out: Path
    folder: Path
    case: str
    output: Output


def push(archive: Archive, arguments: Sequence[Path], options: PushOptions, say: Say) -> PushResult:
    """Send the DICOM results of the cases that `arguments` are or hold; what an archive took before is not sent again.

    Raises NoInputError where there is nothing to send, UnavailableError where the archive fails for long,
    OutputCreateError and OutputIOError where what it took cannot be noted.
    """
    objects, passed_over = _objects(arguments)
    if not objects:
        raise NoInputError(
            "None of the cases has DICOM results.",
            hint="Explain them with --format dicom-pm,dicom-sr,dicom-sc, or add those with hirescam render.",
            code="pacs-no-results",
        )
    sent: list[Sent] = []
    for out in dict.fromkeys(one.out for one in objects):
        with open_ledger(out) as ledger:
            sender = _Sender(archive, ledger, options)
            for one in objects:
                if one.out != out:
                    continue
                sent.append(_sent(sender, one, sent, len(objects)))
                if sent[-1].status != "already done":
                    say(_line(sent[-1]))
    return PushResult(tuple(sent), tuple(passed_over))


def _sent(sender: _Sender, one: _Object, before: Sequence[Sent], total: int) -> Sent:
    try:
        return sender.send(one)
    except UnavailableError as error:
        there = sum(done.status in ("sent", "already done") for done in before)
        raise UnavailableError(
            f"{error.message} {there} of {total} objects are in the archive.",
            hint=error.hint,
            code=error.code,
            stage=error.stage,
        ) from None


def _objects(arguments: Sequence[Path]) -> tuple[list[_Object], list[str]]:
    """The DICOM results under `arguments`, and the cases that have none."""
    found: dict[Path, list[_Object]] = {}
    passed_over = []
    for argument in arguments:
        if not argument.is_dir():
            raise NoInputError(f"{argument} is not a folder.", hint="Give folders of finished cases.")
        root = argument.resolve()
        record = read_case(root, root.name)
        cases = [root] if record is not None else [root / name for name in case_folders(root)]
        if not cases:
            raise NoInputError(f"{argument} holds no case.", hint="Give folders of finished cases.")
        for folder in cases:
            record = read_case(folder, folder.name)
            outputs = record.outputs if isinstance(record, Case) else ()
            name = folder.name if record is None else record.case
            out = root_of(folder, name)
            found[folder] = [_Object(out, folder, name, one) for one in outputs if one.role == "dicom"]
            if not found[folder] and str(folder) not in passed_over:
                passed_over.append(str(folder))
    return [one for objects in found.values() for one in objects], passed_over


@dataclass(frozen=True)
class _Sender:
    """Sends objects of one output and notes what was taken."""

    archive: Archive
    ledger: Ledger
    options: PushOptions

    def send(self, one: _Object) -> Sent:
        """Send one object, unless it is there already."""
        url, case, path = self.archive.url, one.case, one.output.path
        if self.options.existing != "overwrite" and self.ledger.has(url, one.output.sha256):
            if self.options.existing == "error":
                raise OutputCreateError(
                    f"{path} of the case {case} was pushed to this archive before.",
                    hint="Use --existing skip or overwrite.",
                    code="already-pushed",
                )
            return Sent(case, path, "already done")
        try:
            data = (one.folder / path).read_bytes()
        except OSError as error:
            return Sent(case, path, "damaged", f"it cannot be read: {error.strerror or type(error).__name__}")
        if sha256(data).hexdigest() != one.output.sha256:
            return Sent(case, path, "damaged", "it is not the file that the case was finished with")
        header = _header(data)
        if header is None:
            return Sent(case, path, "damaged", "it is not a DICOM object")
        return self._store(one, data, header)

    def _store(self, one: _Object, data: bytes, header: Dataset) -> Sent:
        case, path, instance = one.case, one.output.path, str(header.SOPInstanceUID)
        try:
            stored = self.archive.store(data, instance)
        except RefusedError as refused:
            if refused.status in _WRONG_PLACE:
                raise
            return Sent(case, path, "refused", refused.reason)
        if stored.duplicate and self._holds(data, header):
            stored = type(stored)()
        if stored.reason is not None:
            other = ", and it is not this one" if stored.duplicate else ""
            return Sent(case, path, "refused", f"{stored.reason}{other}")
        if self.options.verify and not self._holds(data, header):
            return Sent(case, path, "refused", "the archive holds something else under its UID")
        self.ledger.add(self.archive.url, case, path, one.output.sha256, instance)
        return Sent(case, path, "sent", "the archive says that it altered it" if stored.changed else None)

    def _holds(self, data: bytes, header: Dataset) -> bool:
        """Whether the archive gives back this object: its bytes, or the same dataset in another encoding."""
        uids = [str(header[keyword].value) for keyword in _IDENTITY]
        try:
            held = self.archive.retrieve(*uids)
        except RefusedError:
            return False
        if held == data:
            return True
        try:
            return bool(dcmread(BytesIO(held)) == dcmread(BytesIO(data)))
        except Exception:
            # pydicom raises errors of many kinds for damaged data, and each means: not this object.
            return False


def _header(data: bytes) -> Dataset | None:
    """The UIDs of an encoded object; None where it has not all of them."""
    try:
        header = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=_IDENTITY)
        return header if all(header.get(keyword) for keyword in _IDENTITY) else None
    except Exception:
        # pydicom raises errors of many kinds for what is not DICOM, and each means the same here.
        return None


def _line(sent: Sent) -> str:
    return f"{sent.case}/{sent.path}: {sent.status}" + (f" ({sent.message})" if sent.message else "")
