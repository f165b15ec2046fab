"""The method shown in CONTRIBUTING.md works as shown."""

import importlib
import pathlib
import re
import sys

import numpy as np
import pytest

from bsce_keras import make_config, run_experiment
from bsce_keras.methods import METHODS
from bsce_keras.methods.base import StepContext
from bsce_keras.methods.parameters import NoParameters

PAGE = pathlib.Path(__file__).parent.parent / "CONTRIBUTING.md"


def shown_method():
    return re.search(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]


@pytest.fixture
def shown_module(tmp_path, monkeypatch):
    """Imports the shown method as the module `cosine_baseline`."""
    (tmp_path / "cosine_baseline.py").write_text(shown_method(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cosine_baseline", raising=False)
    return importlib.import_module("cosine_baseline")


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_terms_of_the_shown_method_are_those_of_the_formulas(shown_module):
    """Distillation: cross-entropy at tau 2, times tau^2. Less-forget: 1 - cos."""
    context = StepContext(3, 2, (5, 5, 5, 90, 90), "softmax", step_sizes=(3, 2))
    terms = shown_module.CosineBaseline(NoParameters()).loss_terms(context)
    found = [(term.name, term.weight) for term in terms]
    assert found == [
        ("classification", 1.0),
        ("distillation", 1.0),
        ("less_forget", 1.0),
    ]
    rng = np.random.default_rng(1)
    student, teacher = (
        {"logits": rng.normal(size=(4, number)), "features": rng.normal(size=(4, 6))}
        for number in (5, 3)
    )
    target, shares = (
        softmax(logits / 2.0)
        for logits in (teacher["logits"], student["logits"][:, :3])
    )
    cosines = (unit(teacher["features"]) * unit(student["features"])).sum(axis=1)
    expected = {
        "distillation": -4.0 * (target * np.log(shares)).sum(axis=1),
        "less_forget": 1.0 - cosines,
    }
    for term in terms[1:]:
        values = term.values(None, student, teacher)
        np.testing.assert_allclose(values, expected[term.name], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["softmax", "meta_balanced_softmax"])
def test_shown_method_trains_two_steps(loss, shown_module, tmp_path, monkeypatch):
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


def test_shown_method_has_at_most_30_lines():
    lines = [line for line in shown_method().splitlines() if line.strip()]
    assert len(lines) <= 30
