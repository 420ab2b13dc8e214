"""Scans from an archive and results back into it, over DICOMweb (DICOM PS3.18)."""
