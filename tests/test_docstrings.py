"""Examples in docstrings give what they show."""

import doctest
import importlib
import pathlib

import numpy as np
import pytest

import bsce_keras

ROOT = pathlib.Path(bsce_keras.__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "bsce_keras").rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_the_shown_results(name):
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, extraglobs={"np": np})
    assert tried and not failed
