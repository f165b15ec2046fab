"""Losses without the rest of the package, and on another backend of Keras."""

import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

ON_JAX = """
import sys
import keras, numpy as np
from bsce_keras.losses import BalancedSoftmaxLoss, balanced_softmax_crossentropy

assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
zeros = np.zeros((2, 3), "float32")
values = np.array(balanced_softmax_crossentropy([0, 2], zeros, [3, 0, 1]))
np.testing.assert_allclose(values, np.log([4 / 3, 4]), rtol=1e-6)
one_hot = balanced_softmax_crossentropy(np.eye(3)[[0, 2]], zeros, [3, 0, 1])
np.testing.assert_allclose(one_hot, values, rtol=1e-6)
assert balanced_softmax_crossentropy([1, 1], zeros, [3, 0, 1])[0] == np.inf

rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 64)
images = (np.eye(4)[labels] + rng.normal(scale=0.1, size=(64, 4))).astype("float32")
for activation in (None, "softmax"):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation)])
    loss = BalancedSoftmaxLoss.from_labels(labels, 3, from_logits=not activation)
    model.compile(keras.optimizers.SGD(0.5), loss)
    losses = model.fit(images, labels, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0], losses
print("trained")
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


ALONE = """
import json, keras, sys
before = set(sys.modules)
sys.modules.update(dict.fromkeys(BLOCKED))
import bsce_keras.losses
modules = sorted({*sys.modules} - before - {*BLOCKED} - sys.stdlib_module_names)
loss = float(bsce_keras.losses.BalancedSoftmaxLoss([3, 1])([0], [[0.0, 0.0]]))
print(json.dumps([modules, loss]))
"""


@pytest.fixture(scope="module")
def alone():
    """Modules that the losses import, and a loss, without the other packages."""
    blocked = ("tensorflow_datasets", "keras_tuner", "matplotlib", "scipy", "sklearn")
    done = run(f"BLOCKED = {blocked}\n{ALONE}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_losses_import_only_keras_and_themselves(alone):
    package, *modules = alone[0]
    assert package == "bsce_keras"
    assert all(name.startswith("bsce_keras.losses") for name in modules)


def test_loss_works_without_the_packages_that_only_training_needs(alone):
    assert alone[1] == pytest.approx(math.log(4 / 3))


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed")
def test_the_loss_trains_on_the_jax_backend_without_tensorflow():
    done = run(ON_JAX, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trained\n"
