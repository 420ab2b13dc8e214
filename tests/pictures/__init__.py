"""Tests of what is written for people to look at."""
