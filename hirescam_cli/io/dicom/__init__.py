"""DICOM: finding the CT volumes among files, and reading them faithfully or refusing them with a reason.

`find_series` finds scans (classic series, enhanced multi-frame, in folders or zip archives), `read_series`
reads one, `is_dicom` and `is_zip` tell what a file is by its bytes.
"""

from hirescam_cli.io.dicom.discovery import find_series
from hirescam_cli.io.dicom.headers import scan_headers
from hirescam_cli.io.dicom.reader import fingerprint_of, read_series
from hirescam_cli.io.dicom.recognise import is_dicom
from hirescam_cli.io.dicom.sources import is_zip

__all__ = ["find_series", "fingerprint_of", "is_dicom", "is_zip", "read_series", "scan_headers"]
