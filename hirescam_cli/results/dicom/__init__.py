"""Results as DICOM objects, written with highdicom (the extra `dicom`).

Importing `formats` imports neither highdicom nor pydicom; everything else here does.
"""
