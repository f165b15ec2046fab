"""The method that CONTRIBUTING.md shows trains as it stands there."""

import pathlib
import re

import pytest

from bsce_keras import make_config, run_experiment
from bsce_keras.methods import METHODS

PAGE = pathlib.Path(__file__).parent.parent / "CONTRIBUTING.md"


def shown_method():
    return re.search(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]


@pytest.mark.parametrize("loss", ["softmax", "meta_balanced_softmax"])
def test_the_shown_method_trains_two_steps(loss, tmp_path, monkeypatch):
    (tmp_path / "cosine_baseline.py").write_text(shown_method(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "cosine_baseline", "cosine_baseline:CosineBaseline")
    config = make_config(
        "digits",
        method="cosine_baseline",
        classification_loss=loss,
        num_base_classes=9,
        epochs=2,
        export=False,
        run_dir=str(tmp_path / "run"),
    )
    summary = run_experiment(config)
    assert summary["average_incremental_accuracy"] > 0.3  # chance is a tenth


def test_it_is_short_enough_to_be_an_example():
    lines = [line for line in shown_method().splitlines() if line.strip()]
    assert len(lines) <= 30
