"""Tests; a package so that helpers such as tests.io.dicom_factory can be imported from any of them."""
