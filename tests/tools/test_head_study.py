"""The study of features for the head of `acil` solves the heads that `acil` solves."""

import json

import numpy as np
import pytest

from bsce_keras import load_classifier, make_config, run_experiment
from bsce_keras.models.classifier import head_of
from tools import head_study
from tools.head_study import Study, Variant

REQUEST = {
    "num_base_classes": 6,
    "epochs": 1,
    "precision": "float32",
}


def train(run_dir, **more):
    request = {**REQUEST, "run_dir": str(run_dir), "export": False, **more}
    run_experiment(make_config("digits", **request))


@pytest.mark.slow
def test_a_row_has_the_accuracies_of_acil_with_that_expansion(tmp_path, monkeypatch):
    base, run = tmp_path / "base", tmp_path / "acil"
    train(base, num_increments=0, validation_share=0.2)
    train(
        run,
        num_increments=2,
        validation_share=0.2,
        method="acil",
        base_run_dir=str(base),
        ridge=1.0,
        expansion_size=64,
        parameters={"depths": 2, "mirrored": True},
    )
    expansion = np.asarray(head_of(load_classifier(run)).expansion)
    monkeypatch.setattr(head_study, "draw_expansion", lambda *_: (expansion, 0.0))
    average, final, base_accuracy, new = Study(base, increment=2).scores(
        Variant("", depths=2), expansion_size=64, ridge=1.0
    )
    lines = [json.loads(line) for line in (run / "steps.jsonl").open()]
    assert average == pytest.approx(np.mean([line["accuracy"] for line in lines]))
    assert final == pytest.approx(lines[-1]["accuracy"])
    assert base_accuracy == pytest.approx(lines[-1]["base_accuracy"])
    assert new == pytest.approx(lines[-1]["new_accuracy"])


def test_a_run_without_held_out_images_is_refused(monkeypatch):
    config = make_config("digits", **REQUEST)
    monkeypatch.setattr(head_study, "recorded_config", lambda run_dir: config)
    with pytest.raises(SystemExit, match="RUN holds no images out.*validation_share"):
        Study("RUN", increment=2)


def test_whitened_base_features_are_expanded_as_if_uncorrelated():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(4000, 3)) @ [[1.0, 0, 0], [0.9, 0.5, 0], [0, 0, 20.0]]
    plain, _ = head_study.draw_expansion(Variant("", is_whitened=False), base, 3)
    white, _ = head_study.draw_expansion(Variant("", is_whitened=True), base, 3)
    drawn = plain * base.std(axis=0)[:, None]
    np.testing.assert_allclose(
        np.cov((base @ white).T), drawn.T @ drawn, rtol=0.02, atol=0.01
    )


def test_centred_columns_start_within_the_offsets_at_the_mean_of_the_base_images():
    base = np.random.default_rng(1).normal(5, 1, size=(100, 4))
    expansion, offsets = head_study.draw_expansion(
        Variant("", is_centred=True), base, 8
    )
    assert np.abs(base.mean(axis=0) @ expansion + offsets).max() <= 0.3
