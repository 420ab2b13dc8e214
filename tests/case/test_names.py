"""File names from labels."""

from __future__ import annotations

import re

from hirescam_cli.case.names import label_slugs
from hirescam_cli.model.spec import load_spec


def test_ordinary_labels_stay_as_they_are() -> None:
    labels = load_spec("axialnet-83").labels
    assert label_slugs(labels) == {label: label for label in labels}


def test_anything_unsafe_becomes_an_underscore() -> None:
    slugs = label_slugs(["a b", "../x", "lung: höhle", "<b>$1", "t\n", "..", "a.b"])
    assert list(slugs.values()) == ["a_b", "___x", "lung__h_hle", "_b__1", "t_", "__", "a_b_6"]


def test_names_differ_even_where_case_does_not_count() -> None:
    labels = ["Mass", "mass", "MASS", "mass_1", "m\u00e4ss", "m_ss"]
    slugs = list(label_slugs(labels).values())
    assert len({slug.lower() for slug in slugs}) == len(labels)
    assert slugs[0] == "Mass"


def test_an_appended_position_does_not_collide_in_turn() -> None:
    slugs = list(label_slugs(["mass_1", "a/b", "a_b", "a_b_2", "Mass", "mass"]).values())
    assert len({slug.lower() for slug in slugs}) == 6
    assert list(label_slugs(["x_2", "x", "X"]).values()) == ["x_2", "x", "X_2_2"]
    clash = list(label_slugs(["x_1", "X_1", "x", "X", "x_3", "x_1_1"]).values())
    assert len({slug.lower() for slug in clash}) == 6


def test_the_name_of_the_exact_maps_is_not_taken() -> None:
    slugs = label_slugs(["cams", "CAMS", "\u4e2d"])
    assert not {"cams", ""} & {slug.lower() for slug in slugs.values()}


def test_long_labels_are_cut_and_stay_different() -> None:
    labels = ["x" * 300 + str(n) for n in range(3)]
    slugs = list(label_slugs(labels).values())
    assert len(set(slugs)) == 3
    assert max(map(len, slugs)) < 100


def test_every_name_is_safe() -> None:
    labels = [chr(code) + "label" for code in (0, 7, 34, 42, 47, 58, 63, 92, 124, 127, 8364)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", slug) for slug in label_slugs(labels).values())
