"""Estimate of the time that a matrix still takes."""

from bsce_keras.options.make_config import make_config
from bsce_keras.reports import time_left


def test_steps_that_train_nothing_take_no_time(monkeypatch, tmp_path):
    """Base steps take 2 epochs of 650 images, and increments of acil a solution."""
    monkeypatch.chdir(tmp_path)
    configs = [
        make_config("digits", method="acil", epochs=2, seed=seed) for seed in (1, 2)
    ]
    base = {"epochs": 2, "train_images": 650, "num_classes": 5, "train_seconds": 10.0}
    finished = {configs[0].run_dir: [base], configs[1].run_dir: []}
    monkeypatch.setattr(
        time_left, "_finished_steps", lambda config: finished[config.run_dir]
    )
    assert time_left.seconds_left(configs) == 10.0
