"""Memory of finished steps is freed."""

import gc
import os
import pathlib
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from bsce_keras.learner.learner import Learner, _forget_former_models
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime

ROOT = pathlib.Path(__file__).parents[2]


def graphs_alive():
    gc.collect()
    return {
        id(thing): thing
        for thing in gc.get_objects()
        if isinstance(thing, tf.Graph) and thing.building_function
    }


def test_settings_of_keras_outlive_the_models_of_a_step():
    """A method is debugged with whole tracebacks, and scripts log without bars."""
    keras.config.disable_traceback_filtering()
    keras.config.disable_interactive_logging()
    try:
        _forget_former_models()
        assert not keras.config.is_traceback_filtering_enabled()
        assert not keras.config.is_interactive_logging_enabled()
    finally:
        keras.config.enable_traceback_filtering()
        keras.config.enable_interactive_logging()


@pytest.mark.slow
@pytest.mark.parametrize("replicas", ["one", "two"])
def test_only_the_graph_of_inference_outlives_its_step(
    tiny_config, two_steps, replicas, request
):
    """The next step needs the graph of inference."""
    strategy = tf.distribute.get_strategy()
    if replicas == "two":
        strategy = request.getfixturevalue("two_devices")
    config = tiny_config(
        classification_loss="meta_balanced_softmax", exemplars_per_class=4
    )
    learner = Learner(config, Runtime(strategy), Checkpoints(config.run_dir))
    memory = ReplayMemory(config.memory, config.training.seed)
    before = graphs_alive()
    for step in two_steps:
        learner.learn(step, memory)
    left = [graph.name for key, graph in graphs_alive().items() if key not in before]
    assert left == ["forward"]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_twenty_increments_use_the_memory_of_two():
    """Resident memory after step 20 is within 5 % of that after step 2."""
    lines = subprocess.run(
        [sys.executable, "-m", "tools.memory_growth", "--network=tiny"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout.splitlines()
    resident = [int(line.split()[2]) for line in lines]
    assert len(resident) == 21
    assert resident[20] <= 1.05 * resident[2]
