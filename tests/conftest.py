"""One TensorFlow set-up for the whole session, and a clean Keras for every test."""

import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def pytest_collection_finish(session):
    """Splits the CPU in two, which TensorFlow allows only before its first operation.

    Operations are deterministic, so that tests may compare bits.

    Tests that need no TensorFlow do not wait for it, so this is not done earlier. It
    fails if importing a module already ran an operation: modules must not.
    """
    wanted = any("two_devices" in item.fixturenames for item in session.items)
    if wanted or "tensorflow" in sys.modules:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration() for _ in range(2)],
        )


@pytest.fixture(scope="session")
def two_devices():
    """The session's only `MirroredStrategy`: two replicas on two logical CPUs."""
    from bsce_keras.learner.distribution import mirrored_strategy

    return mirrored_strategy()


@pytest.fixture
def run_python(tmp_path):
    """Runs code in a process of its own, which must succeed; returns what it printed.

    An assertion in the code is one of the test.
    """

    def run(code, cwd=tmp_path):
        done = subprocess.run(
            [sys.executable, "-"],
            input=code.encode("utf-8", "surrogatepass"),
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    return run


@pytest.fixture(autouse=True)
def clean_keras():
    """Every test starts with the same seeds, and without layer names or a policy."""
    if "keras" in sys.modules:
        import keras

        keras.utils.set_random_seed(0)
    yield
    if "keras" in sys.modules:
        import keras

        # Freeing memory takes 0.2 s of garbage collection; Python gets there anyway.
        keras.backend.clear_session(free_memory=False)
        keras.config.set_dtype_policy("float32")
