"""Two small steps of noise images, shared by the learner's tests."""

import dataclasses
import signal

import numpy as np
import pytest

NUM_IMAGES = 160


@pytest.fixture(scope="session")
def two_steps():
    """Base step of 5 classes and increment of one class, 160 images each.

    Labels are those of digits; pixels are noise. Black borders of digits would put
    whole areas on the kink of a ReLU, where the order of a sum decides the result.
    """
    from bsce_keras.data.stream import ClassIncrementalStream
    from bsce_keras.options.make_config import make_config

    stream = ClassIncrementalStream(make_config("digits", num_increments=5).stream)

    def shrunk(step):
        rng = np.random.default_rng(step.index)
        chosen = rng.permutation(len(step.examples))[:NUM_IMAGES]
        examples = step.examples.select(chosen)
        noise = rng.integers(0, 256, examples.images.shape).astype(np.uint8)
        examples = dataclasses.replace(examples, images=noise)
        return dataclasses.replace(step, examples=examples)

    return [shrunk(step) for step in stream.steps[:2]]


@pytest.fixture
def tiny_config(tmp_path, monkeypatch):
    """Makes configurations of one epoch per step; keywords of `make_config`.

    The network is that of `small_backbone` by default. Relative folders are those of
    the test, so that a test that failed leaves nothing to the next one.
    """
    from bsce_keras.options.make_config import make_config

    monkeypatch.chdir(tmp_path)

    def make(**request):
        defaults = {
            "epochs": 1,
            "batch_size": 16,
            "learning_rate": 0.01,
            "precision": "float32",
            "backbone": "small",
            "run_dir": str(tmp_path / "run"),
        }
        return make_config("digits", **{**defaults, **request})

    return make


@pytest.fixture
def stop_after():
    """Makes stop requests that arrive when training has asked `looks` times."""

    class StopAfter:
        def __init__(self, looks):
            self.looks = looks

        @property
        def signum(self):
            self.looks -= 1
            return signal.SIGTERM if self.looks == 0 else None

    return StopAfter
