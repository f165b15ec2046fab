"""Matrices whose cells are not trained."""

import sys
import types

import pytest

from tests.reproduce.matrix import write_run


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """Replaces training; list of the configurations that would be trained."""
    asked = []

    def run_experiment(config, flagfile):
        asked.append(config)
        write_run(config, flagfile)

    experiment = types.SimpleNamespace(run_experiment=run_experiment)
    monkeypatch.setitem(sys.modules, "bsce_keras.experiment", experiment)
    return asked
