"""One TensorFlow set-up for the whole session, and a clean Keras for every test."""

import contextlib
import dataclasses
import gc
import json
import os
import pathlib
import socket
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import pytest

from bsce_keras.config.backbones import BACKBONES, Backbone
from bsce_keras.runtime.tensorflow_import import prefer_onednn

prefer_onednn()  # Tests compute as the commands do.
# `--backbone=small` halves the time of tests for which any network will do.
BACKBONES["small"] = Backbone("tests.small_backbone:small_backbone")

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
    # Every trained step collects garbage. Going through what was imported takes 0.3 s.
    gc.freeze()


@pytest.fixture(scope="session")
def two_devices():
    """The session's only `MirroredStrategy`: two replicas on two logical CPUs."""
    from bsce_keras.runtime.devices import mirrored_strategy

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


@pytest.fixture(scope="session")
def train_digits():
    """Trains digits with 8 + 2 classes, one epoch a step; returns the run folder."""
    from bsce_keras import make_config, run_experiment

    def train(run_dir, **settings):
        config = make_config(
            "digits",
            backbone="small",
            epochs=1,
            batch_size=130,
            num_base_classes=8,
            num_increments=1,
            precision="float32",
            run_dir=str(run_dir),
            **settings,
        )
        run_experiment(config)
        return run_dir

    return train


@dataclasses.dataclass(frozen=True)
class StartedWorker:
    """A worker process; `folder` is its working directory, `log` what it printed."""

    process: subprocess.Popen
    folder: pathlib.Path
    log: pathlib.Path

    def end(self):
        """The exit code, once it ended of itself, and what it printed."""
        code = self.process.wait(timeout=600)
        return code, self.log.read_text()


@pytest.fixture
def start_workers(tmp_path):
    """Starts two workers on this machine; what is left of them ends with the test.

    Called with the arguments that each gets after the interpreter's name, it returns
    two `StartedWorker`s.
    """
    started = []

    def start(*arguments_of_each):
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
        workers = []
        for index, arguments in enumerate(arguments_of_each):
            task = {"type": "worker", "index": index}
            tf_config = {"cluster": {"worker": addresses}, "task": task}
            folder = tmp_path / f"worker_{index}"
            folder.mkdir(exist_ok=True)
            log = tmp_path / f"worker_{index}_{len(started)}.log"
            with open(log, "w") as printed:
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    cwd=folder,
                    env={
                        **os.environ,
                        "PYTHONPATH": str(ROOT),
                        "TF_CONFIG": json.dumps(tf_config),
                    },
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                )
            started.append(process)
            workers.append(StartedWorker(process, folder, log))
        return workers

    yield start
    for process in started:
        process.kill()
        process.wait()


def _free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def prepared(tmp_path):
    """As much of prepared CIFAR-100 and ImageNet as a request reads."""
    for name, num_classes, test in (
        ("cifar100", 100, "test"),
        ("imagenet2012", 1000, "validation"),
    ):
        version = tmp_path / name / "5.1.0"
        version.mkdir(parents=True)
        splits = [{"name": "train"}, {"name": test}]
        features = {"featuresDict": {"features": {"image": {}, "label": {}}}}
        (version / "dataset_info.json").write_text(json.dumps({"splits": splits}))
        (version / "features.json").write_text(json.dumps(features))
        names = [f"n{index:08}" for index in range(num_classes)]
        (version / "label.labels.txt").write_text("\n".join(names))
    return str(tmp_path)


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
