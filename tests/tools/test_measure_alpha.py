"""Rows of the table that shows the root of alpha's gradient."""

import numpy as np
import pytest

from tools import measure_alpha


def test_a_row_covers_the_epochs_of_one_alpha_and_one_rate():
    gradients = [[1.0, 3.0], [5.0], [2.0], [4.0]]
    line = {
        "alpha_by_epoch": {
            "alpha_updates": [len(values) for values in gradients],
            "alpha": [1.0, 1.0, 0.5, 0.5],
            "alpha_gradient_mean": [np.mean(values) for values in gradients],
            "alpha_gradient_std": [np.std(values) for values in gradients],
        }
    }
    held = [(1.0, 0.1), (1.0, 0.1), (0.5, 0.1), (0.5, 0.01)]
    rows = measure_alpha.visit_rows(line, held.__getitem__)
    assert [row[:5] for row in rows] == [
        (1, 2, 1.0, 0.1, 3),
        (3, 3, 0.5, 0.1, 1),
        (4, 4, 0.5, 0.01, 1),
    ]
    assert rows[0][5:] == pytest.approx((3.0, np.std([1, 3, 5])))


def test_visits_and_the_size_of_the_increment_are_read(monkeypatch):
    asked = []
    monkeypatch.setattr(
        measure_alpha, "_measure", lambda values, own: asked.append((values, own))
    )
    arguments = ["--visits=60:1,80:0.5", "--increment=10", "--dataset=digits"]
    assert measure_alpha.main(arguments) == 0
    ((values, own),) = asked
    assert (own.visits, own.increment) == (((60, 1.0), (80, 0.5)), 10)
    assert values.dataset == "digits"
