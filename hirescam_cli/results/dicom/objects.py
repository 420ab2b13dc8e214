"""What all DICOM results of a case share: who it is of, what made it, when, and that it is for research only."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypedDict

from highdicom import AlgorithmIdentificationSequence, ContributingEquipment
from pydicom.dataset import Dataset

from hirescam_cli.case.record import Case
from hirescam_cli.results.dicom import codes
from hirescam_cli.results.dicom.formats import check_source
from hirescam_cli.results.dicom.references import References, references_to
from hirescam_cli.results.dicom.uids import Uids
from hirescam_cli.results.format import Request

MANUFACTURER = "hirescam"
RESEARCH = "research use only"
DEMONSTRATION = "DEMONSTRATION MODEL"
CONTENT_LABEL = "HIRESCAM"

_LO, _ST = 64, 1024
_SERIES_NUMBERS = {"dicom-pm": 9100, "dicom-seg": 9300, "dicom-sc": 9500, "dicom-sr": 9700}

# Copied from the source as they stand, whatever they hold; those of type 2 are empty where the source has none.
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyID",
    "AccessionNumber", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyDescription", "PatientIdentityRemoved",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
    "BodyPartExamined", "Laterality", "TimezoneOffsetFromUTC", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
)  # fmt: skip

_NOT_OF_REPORTS = ("BodyPartExamined", "Laterality")


class Equipment(TypedDict):
    """What highdicom's constructors are told of what made an object."""

    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str


@dataclass(frozen=True, eq=False)
class Objects:
    """The maker of a case's objects of one format."""

    request: Request
    format: str
    references: References
    uids: Uids

    @property
    def case(self) -> Case:
        """The case that they are of."""
        return self.request.view.case

    @property
    def version(self) -> str:
        """The program's version that explained the case."""
        return self.case.run.version

    @property
    def equipment(self) -> Equipment:
        """What made the objects, as highdicom's constructors take it; the weights' hash is the serial number."""
        model = self.case.model
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": codes.plain(model.name, _LO),
            "software_versions": self.version,
            "device_serial_number": model.weights_sha256 or "unknown",
        }

    def contributing(self) -> list[ContributingEquipment]:
        """The program as one that processed the images."""
        return [
            ContributingEquipment(
                manufacturer=MANUFACTURER,
                purpose_of_reference=codes.PROCESSING_EQUIPMENT,
                manufacturer_model_name=codes.plain(self.case.model.name, _LO),
                software_versions=self.version,
                contribution_description=f"Explained a classifier's answer; {RESEARCH}",
            )
        ]

    def algorithm(self) -> AlgorithmIdentificationSequence:
        """The network and what it was explained with."""
        return AlgorithmIdentificationSequence(
            name=codes.plain(f"hirescam: {self.case.model.name}", _LO),
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=self.version,
            source=MANUFACTURER,
            parameters=self.parameters(),
        )

    def parameters(self) -> dict[str, str]:
        """What the answer depends on, by name."""
        case = self.case
        return {
            "weights SHA-256": case.model.weights_sha256 or "unknown",
            "model file SHA-256": case.model.file_sha256 or "unknown",
            "target layer": f"{case.target.layer} ({case.target.at})",
            "placement": self.request.placement,
            "precision": case.run.precision,
            "case": case.run.params_hash,
        }

    def series_uid(self, *what: str | int | float | bool | None) -> str:
        """The UID of a series of this format."""
        return self.uids.of(self.format, "series", *what)

    def sop_uid(self, *what: str | int | float | bool | None) -> str:
        """The UID of an object of this format."""
        return self.uids.of(self.format, "object", *what)

    def series_number(self, method: str | None = None, label: str | None = None) -> int:
        """A number of its own for each method and label, after those of the scanner's series."""
        base = _SERIES_NUMBERS[self.format]
        if method is None or label is None:
            return base
        methods = list(self.case.methods)
        return base + methods.index(method) * len(self.case.labels) + self.case.label(label).index

    def description(self, method: str | None = None, label: str | None = None, what: str = "") -> str:
        """What a list of series shows: what it is, for research only, and whether of a demonstration model."""
        warning = f"{DEMONSTRATION}, " if self.case.model.demonstration else ""
        tail = f" ({warning}{RESEARCH})"
        title = what or f"{self.request.view.title(method or '')} {label}"
        return codes.plain(title, _LO - len(tail)) + tail

    def derivation(self, method: str, label: str) -> str:
        """How a map came about, in a sentence."""
        found = self.case.label(label).maps[method]
        complete = "complete" if found.complete else "not complete"
        text = (
            f"{self.request.view.title(method)} of '{label}' by the model {self.case.model.name}, "
            f"{self.request.view.unit(method)}; placement {self.request.placement}; map part {found.sum:.6g}, "
            f"bias part {found.bias:.6g}, logit {self.case.label(label).logit:.6g}, "
            f"residual {found.residual:.2g}: {complete}; "
            f"hirescam {self.version}; {RESEARCH}."
        )
        if self.case.model.demonstration:
            text = f"{DEMONSTRATION}, no clinical meaning. {text}"
        return codes.plain(text, _ST)

    def finish(self, ds: Dataset, description: str, *what: str | int | float | bool | None) -> None:
        """Say of an object who it is of, when it was made and what it is; nothing in it changes from run to run."""
        header = self.references.header
        for keyword in _IDENTITY:
            if keyword in header and not (keyword in _NOT_OF_REPORTS and self.format == "dicom-sr"):
                ds[keyword] = header[keyword]
        for item in ds.get("DeidentificationMethodCodeSequence") or []:
            # Text of items stays in the source's characters until it is asked for.
            item.decode()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SeriesDescription = description
        when = _local(self.case.started, str(header.get("TimezoneOffsetFromUTC") or ""))
        for kind in ("InstanceCreation{}", "Content{}", "{}OfSecondaryCapture"):
            date, time = kind.format("Date"), kind.format("Time")
            if date in ds:
                setattr(ds, date, when.strftime("%Y%m%d"))
                setattr(ds, time, when.strftime("%H%M%S"))
        for item in ds.get("ContributingEquipmentSequence") or []:
            if item.get("ManufacturerModelName") == "highdicom" and "ContributionDateTime" in item:
                item.ContributionDateTime = when.strftime("%Y%m%d%H%M%S")
        organisation = self.uids.of(self.format, "dimensions", *what)
        for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
            for item in ds.get(keyword) or []:
                item.DimensionOrganizationUID = organisation


def objects_of(request: Request, format: str) -> Objects:
    """The maker of objects of one format. Raises ScanError where the scan has no series to refer to."""
    volume = request.view.volume
    return Objects(request, format, references_to(volume), Uids(request.view.case, check_source(volume)))


def save(ds: Dataset, path: Path) -> None:
    """Write an object as a DICOM file."""
    ds.save_as(path, enforce_file_format=True)


@contextmanager
def silence() -> Iterator[None]:
    """highdicom and pydicom quote values of patients in their warnings: nobody is to see them."""
    loggers = [logging.getLogger(name) for name in ("highdicom", "pydicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _local(started: str, offset: str) -> datetime:
    """When the case was started, in the time of the source's clock where it tells, else as the case has it."""
    when = datetime.fromisoformat(started)
    try:
        sign, hours, minutes = {"+": 1, "-": -1}[offset[:1]], int(offset[1:3]), int(offset[3:5])
        return when.astimezone(timezone(sign * timedelta(hours=hours, minutes=minutes)))
    except (KeyError, ValueError):
        return when
