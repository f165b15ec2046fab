"""Texts that define a search space."""

import pytest

from bsce_keras.options.search_space import (
    Range,
    Values,
    flag_lines,
    read_space,
    rounded,
)


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("0.1,0.25,1", Values((0.1, 0.25, 1.0))),
        (" 2 , 1e-3", Values((2.0, 0.001))),
        ("0.5", Values((0.5,))),
        ("0.05:1", Range(0.05, 1.0)),
    ],
)
def test_lists_and_ranges_are_read(text, space):
    assert read_space("alphas", text) == (space, [])


@pytest.mark.parametrize(
    "text",
    ["", ",", "a", "1,", "1,1", "1,1.0", "1_0", "nan", "inf", "1:1", "0:1", "1:2:3"],
)
def test_other_texts_are_refused(text):
    space, (problem,) = read_space("alphas", text)
    assert space is None
    assert problem.startswith("--alphas must be different numbers")


def test_the_flagfile_of_a_trial_repeats_it_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = {"dataset": "folder", "data_dir": "photos", "export": False}
    lines = ["--dataset=folder", f"--data_dir={tmp_path}/photos", "--export=false"]
    assert flag_lines(request) == lines


def test_a_rounded_number_is_repeated_exactly_by_a_flag():
    assert rounded(0.123456) == 0.1235
    assert float(f"{rounded(0.000123456):g}") == rounded(0.000123456)
