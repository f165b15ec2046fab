"""A record may keep the network of a base step, so that others start from it."""

import pathlib

import numpy as np
import pytest

from bsce_keras import make_config, run_experiment
from bsce_keras.runtime.errors import RequestError
from tools import collect


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Run folder of a base step without exemplars, and the request of it."""
    request = {
        "num_base_classes": 6,
        "epochs": 1,
        "precision": "float32",
        "export": False,
    }
    run_dir = str(tmp_path_factory.mktemp("runs") / "base")
    run_experiment(
        make_config(
            "digits",
            **request,
            num_increments=0,
            exemplars_per_class=0,
            run_dir=run_dir,
        )
    )
    return run_dir, request


def test_the_network_of_a_record_is_a_base_step(base, tmp_path):
    run_dir, request = base
    kept = collect.collect(run_dir, tmp_path, "kept", with_network=True)
    assert b"runs/base" not in (kept / "config.json").read_bytes()
    run_experiment(
        make_config(
            "digits",
            **request,
            num_increments=1,
            method="acil",
            expansion_size=32,
            base_run_dir=str(kept),
            run_dir=str(tmp_path / "run"),
        )
    )
    networks = [
        np.load(folder / "checkpoints/step_00.npz")
        for folder in (pathlib.Path(run_dir), tmp_path / "run")
    ]
    for number in range(10):  # The head is behind the layers of the backbone.
        name = f"classifier/{number:04}"
        np.testing.assert_array_equal(networks[0][name], networks[1][name])


def test_a_network_that_is_too_large_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "LARGEST_NETWORK", 1000)
    with pytest.raises(RequestError, match="--exemplars_per_class=0"):
        collect.collect(base[0], tmp_path, "kept", with_network=True)
    assert not (tmp_path / "kept").exists()
