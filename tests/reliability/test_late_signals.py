"""Ctrl-C and SIGTERM before the first update of a run, after the last, and between."""

import functools
import os
import signal

import pytest

from bsce_keras import experiment, make_config, run_experiment
from bsce_keras.runtime.signals import Stopped, ctrl_c_handler


@pytest.fixture
def make(tmp_path):
    """Function from flags to the configuration of a run of one epoch a step."""
    return functools.partial(
        make_config,
        "digits",
        backbone="small",
        epochs=1,
        precision="float32",
        export=False,
        run_dir=str(tmp_path / "run"),
    )


@pytest.fixture
def config(make):
    return make(num_increments=0)


def sends(signum):
    return lambda *_: os.kill(os.getpid(), signum)


def test_ctrl_c_while_images_are_read_ends_the_run_at_once(config, monkeypatch):
    """No update follows for a long time where many images are decoded."""
    monkeypatch.setattr(experiment, "ClassIncrementalStream", sends(signal.SIGINT))
    # A shell ignores Ctrl-C for what it runs in the background.
    with (
        ctrl_c_handler(signal.default_int_handler),
        pytest.raises(KeyboardInterrupt),
    ):
        run_experiment(config)
    assert not os.path.exists(os.path.join(config.run_dir, "config.json"))


def test_signal_after_the_last_update_stops_once_the_run_is_complete(
    config, monkeypatch
):
    """Otherwise `reproduce` and `tune` would begin the next run."""
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "warn_of_chance", sends(signal.SIGTERM))
        with pytest.raises(Stopped, match=f"{config.run_dir} is complete") as stopped:
            run_experiment(config)
    assert stopped.value.exit_code == 143
    assert run_experiment(config)["final_accuracy"] > 0


def test_signal_between_two_steps_ends_a_run_that_trains_nothing(make, monkeypatch):
    """Increments of `imprint` have no updates."""
    config = make(method="imprint", num_base_classes=9)
    monkeypatch.setattr(experiment, "warn_of_chance", sends(signal.SIGTERM))
    with pytest.raises(Stopped, match="stopped before step 1"):
        run_experiment(config)
