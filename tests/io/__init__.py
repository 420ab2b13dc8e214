"""Tests of the readers and of discovery."""
