"""`load_classifier` returns the network that a step was scored with."""

import json

import numpy as np
import pytest

from bsce_keras import load_classifier, make_config, run_experiment
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.runtime.errors import RequestError


def config_of(run_dir, **request):
    return make_config(
        "digits",
        backbone="small",
        num_base_classes=8,
        num_increments=1,
        epochs=1,
        precision="float32",
        export=False,
        run_dir=run_dir,
        **request,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Configuration of a finished run of a method that predicts by exemplars."""
    config = config_of(tmp_path_factory.mktemp("runs") / "icarl", method="icarl")
    run_experiment(config)
    return config


@pytest.mark.parametrize(("step", "index"), [(-1, 1), (0, 0), (1, 1), (-2, 0)])
def test_classifier_has_the_recorded_accuracy_of_its_step(run, step, index):
    import keras

    classifier = load_classifier(run.run_dir, step)
    assert isinstance(classifier, keras.Model)
    stream = ClassIncrementalStream(run.stream)
    test = stream.seen_test(stream.steps[index])
    logits = classifier.predict(test.images, verbose=0)["logits"]
    with open(f"{run.run_dir}/steps.jsonl") as lines:
        recorded = [json.loads(line) for line in lines][index]
    # Other batches round otherwise, and few images are on the border of two classes.
    accuracy = np.mean(logits.argmax(axis=1) == test.labels)
    assert accuracy == pytest.approx(recorded["accuracy"], abs=0.005)
    names = run.stream.arriving_class_names
    assert classifier.class_names == names[: recorded["num_classes"]]


@pytest.mark.parametrize("step", [2, -3, 0.5, "0"])
def test_step_that_is_not_finished_is_refused(run, step):
    with pytest.raises(RequestError, match="has 2 finished, undamaged steps"):
        load_classifier(run.run_dir, step)


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"is not a run folder|config\.json"):
        load_classifier(tmp_path)
