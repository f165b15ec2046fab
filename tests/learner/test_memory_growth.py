"""What a step leaves behind in memory once the next one is trained."""

import gc
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from bsce_keras.learner.checkpoints import Checkpoints
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory

# Resident megabytes after each of 21 steps of two classes: a line each.
STEPS_OF_A_PROCESS = """
import sys, tempfile
import numpy as np, tensorflow as tf
from bsce_keras.data.stream import Step
from bsce_keras.examples import Examples
from bsce_keras.learner.checkpoints import Checkpoints
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.request import make_config

config = make_config(
    "digits", epochs=1, batch_size=16, run_dir=sys.argv[1], precision="float32",
    classification_loss="meta_balanced_softmax", exemplars_per_class=2,
)
strategy = tf.distribute.get_strategy()
learner = Learner(config, strategy, Checkpoints(config.run_dir))
memory = ReplayMemory(config.memory, 1)
rng = np.random.default_rng(0)
for index in range(21):
    images = rng.integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)
    labels = np.repeat([2 * index, 2 * index + 1], 32)
    examples = Examples(images, labels, np.arange(64))
    step = Step(index, 2 * index, 2, ("even", "odd"), examples)
    learner.learn(step, memory.examples())
    memory.update(step, learner.features)
    with open("/proc/self/status") as status:
        resident = next(line for line in status if line.startswith("VmRSS"))
    print("resident", int(resident.split()[1]) / 1024)
"""


def graphs_alive():
    gc.collect()
    return {
        id(thing): thing
        for thing in gc.get_objects()
        if isinstance(thing, tf.Graph) and thing.building_function
    }


@pytest.mark.parametrize("replicas", ["one", "two"])
def test_no_graph_outlives_its_step(tiny_config, two_steps, replicas, request):
    """Of a finished step's graphs only inference's own is kept, for the next step."""
    strategy = tf.distribute.get_strategy()
    if replicas == "two":
        strategy = request.getfixturevalue("two_devices")
    config = tiny_config(
        classification_loss="meta_balanced_softmax", exemplars_per_class=4
    )
    learner = Learner(config, strategy, Checkpoints(config.run_dir))
    memory = ReplayMemory(config.memory, config.training.seed)
    before = graphs_alive()
    for step in two_steps:
        learner.learn(step, memory.examples())
        memory.update(step, learner.features)
    left = [graph.name for key, graph in graphs_alive().items() if key not in before]
    assert left == ["forward"]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_twenty_increments_need_the_memory_of_two(tmp_path):
    """Resident memory after step 20 is within 5 % of that after step 2."""
    lines = subprocess.run(
        [sys.executable, "-c", STEPS_OF_A_PROCESS, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    resident = [float(line.split()[1]) for line in lines if line.startswith("resident")]
    assert len(resident) == 21
    assert resident[20] <= 1.05 * resident[2]
