"""Optimisation of a step's exemplars: groups, queries, and repeatability."""

import dataclasses
import gc
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.data.examples import Examples
from bsce_keras.learner import exemplar_pixels as exemplars_module
from bsce_keras.learner import pixel_phase
from bsce_keras.learner.exemplar_pixels import _groups, _halves, _queries
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.phases import Run
from bsce_keras.learner.pixel_phase import PixelPhase
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.methods.base import PixelObjective
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.signals import Stopped


@dataclasses.dataclass
class Increment:
    """Step 1 after its main phase, with a run folder.

    Args:
        config: configuration of the run.
        steps: both `Step`s.
        base: weights and memory after the base step.
        trained: weights after the main phase.
        stats: `TrainingStats` of the main phase.
        chosen: exemplars of the memory before the pixel phase.
        optimized: images of these exemplars after the pixel phase.
    """

    config: object
    steps: list
    base: tuple
    trained: dict
    stats: object
    chosen: object
    optimized: object

    def learner(self, strategy=None, stop_requests=None):
        strategy = strategy or tf.distribute.get_strategy()
        checkpoints = Checkpoints(self.config.run_dir)
        return Learner(self.config, Runtime(strategy, stop_requests), checkpoints)

    def optimize(self, strategy=None):
        """Optimises the exemplars again."""
        learner = self.learner(strategy)
        learner.restore(self.steps[1], self.trained)
        return PixelPhase(learner)._optimized(self.steps[1], self.chosen)

    def resume(self, stop_requests=None):
        """Resumes the step as a new process does; returns the images."""
        learner = self.learner(stop_requests=stop_requests)
        weights, held = self.base
        learner.restore(self.steps[0], weights)
        memory = ReplayMemory(self.config.memory, self.config.training.seed)
        memory.restore(held)
        return whole_step(learner, memory, self.steps[1])[2]


def whole_step(learner, memory, step):
    """Returns stats, exemplars before and images after the pixel phase."""
    chosen = []

    class Watched(PixelPhase):
        def run(self, step, memory, stats):
            chosen.append(memory.examples())
            return super().run(step, memory, stats)

    # Leave out the balanced fine-tuning.
    learner._phases[1:] = [Watched(learner)]
    stats = learner.learn(step, memory)
    return stats, *chosen, memory.examples().images


@pytest.fixture(scope="module")
def increment(two_steps, tmp_path_factory):
    config = make_config(
        "digits",
        method="mnemonics",
        backbone="small",
        epochs=1,
        batch_size=16,
        exemplars_per_class=3,
        precision="float32",
        run_dir=str(tmp_path_factory.mktemp("runs") / "run"),
    )
    # Few inner updates, because they take long to trace.
    parameters = dataclasses.replace(config.method.parameters, inner_updates=2)
    method = dataclasses.replace(config.method, parameters=parameters)
    config = dataclasses.replace(config, method=method)
    checkpoints = Checkpoints(config.run_dir)
    learner = Learner(config, Runtime(), checkpoints)
    memory = ReplayMemory(config.memory, config.training.seed)
    whole_step(learner, memory, two_steps[0])
    base = learner.to_arrays(), memory.to_arrays()
    checkpoints.save_step(0, base[0], {})
    outcome = whole_step(learner, memory, two_steps[1])
    return Increment(config, two_steps, base, learner.to_arrays(), *outcome)


def test_all_exemplars_change_and_images_of_the_stream_stay(increment):
    before, after = increment.chosen, increment.optimized
    assert (after.dtype, after.shape) == (np.uint8, before.images.shape)
    np.testing.assert_array_equal(before.labels, np.repeat(np.arange(6), 3))
    change = np.abs(after.astype(int) - before.images).max(axis=(1, 2, 3))
    assert change.min() >= 1
    # The memory does not change images of the stream.
    new = increment.steps[1].examples
    for image, place in zip(before.images[-3:], before.ids[-3:], strict=True):
        np.testing.assert_array_equal(image, new.images[new.ids == place][0])


def test_queries_are_new_images_then_the_other_half_of_old_exemplars(
    increment, monkeypatch
):
    pools = []

    class Recorded(exemplars_module.TrainingInput):
        def __init__(self, pool, *args):
            pools.append(pool)
            super().__init__(pool, *args)

    monkeypatch.setattr(exemplars_module, "TrainingInput", Recorded)
    np.testing.assert_array_equal(increment.optimize(), increment.optimized)
    before = increment.chosen
    new, second, first = pools
    assert new is increment.steps[1].examples
    assert set(new.labels) == {5}
    assert {*first.labels} == {*second.labels} == set(range(5))
    assert sorted([*first.ids, *second.ids]) == sorted(before.ids[:15])
    originals = dict(zip(before.ids, before.images, strict=True))
    for pool, changed in ((second, False), (first, True)):
        for number, image in zip(pool.ids, pool.images, strict=True):
            assert np.any(image != originals[number]) == changed


def test_old_exemplars_get_a_share_of_the_updates_of_new_ones(
    tiny_config, two_steps, monkeypatch
):
    """Two passes over 130 images in batches of 16; at least a quarter for each half."""
    updates = []

    class Counted:
        def __init__(self, features_of, objective, image):
            pass

        def close(self):
            pass

        def optimized(self, images, labels, queries):
            updates.append((len({*labels}), len([*queries])))
            return images

    class Batches:
        def __init__(self, *args):
            pass

        def epoch(self, epoch):
            return [None] * 4

    monkeypatch.setattr(exemplars_module, "PixelOptimizer", Counted)
    monkeypatch.setattr(exemplars_module, "TrainingInput", Batches)
    config = tiny_config(method="mnemonics")
    old = two_steps[0].examples
    stored = [np.flatnonzero(old.labels == label)[:4] for label in range(5)]
    new = two_steps[1].examples.select(slice(4))
    exemplars = Examples.concatenate([old.select(np.concatenate(stored)), new])
    exemplars_module.optimized_exemplars(
        Run(config, Runtime(), None),
        two_steps[1],
        exemplars,
        None,
        PixelObjective(None, 0.01, passes=2, old_share=0.25, classes_at_once=3),
    )
    # Both groups of old classes share the 5 updates of each half, rounded up.
    assert updates[0] == (1, 18)
    assert sorted(updates[1:]) == [(2, 3), (2, 3), (3, 3), (3, 3)]


def test_queries_are_drawn_anew_in_every_pass_and_part(tiny_config, two_steps):
    run, (step, _) = Run(tiny_config(), Runtime(), None), two_steps
    orders = []
    for part in (0, 1):
        # A pass over 160 images has 10 batches.
        batches = itertools.islice(_queries(run, step, part, step.examples), 20)
        labels = np.concatenate([labels for _, labels in batches])
        orders += np.split(labels, 2)
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.sort(step.examples.labels))
    assert len({order.tobytes() for order in orders}) == 4


@pytest.mark.slow
def test_interrupted_optimisation_ends_with_the_same_bytes(
    increment, stop_after, capsys
):
    """Only the pixel phase runs again, with the same draws."""
    with pytest.raises(Stopped, match="step 1, while exemplars were"):
        increment.resume(stop_after(8))
    np.testing.assert_array_equal(increment.resume(), increment.optimized)
    assert "epoch" not in capsys.readouterr().out


def test_two_replicas_give_the_images_of_one_device(increment, two_devices):
    np.testing.assert_array_equal(increment.optimize(two_devices), increment.optimized)


def test_optimisation_leaves_only_the_graph_of_inference(increment):
    before = {id(graph) for graph in graphs_alive()}
    increment.optimize()
    left = [graph.name for graph in graphs_alive() if id(graph) not in before]
    assert set(left) <= {"forward"}


def graphs_alive():
    gc.collect()
    return [
        thing
        for thing in gc.get_objects()
        if isinstance(thing, tf.Graph) and thing.building_function
    ]


def test_pixels_are_optimised_in_float32_under_mixed_precision(increment, monkeypatch):
    types = []

    def recorded(run, step, exemplars, features_of, objective):
        types.append(features_of(exemplars.images[:2]).dtype)
        return exemplars.images

    monkeypatch.setattr(pixel_phase, "optimized_exemplars", recorded)
    keras.config.set_dtype_policy("mixed_bfloat16")
    increment.optimize()
    assert types == [tf.float32]
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("num_classes", "sizes"), [(0, []), (10, [10]), (23, [8, 8, 7])]
)
def test_groups_contain_every_class_once(num_classes, sizes):
    labels = np.repeat(np.arange(num_classes), 2)
    groups = _groups(labels, 10, np.random.default_rng(1))
    assert [len(group) for group in groups] == sizes
    assert sorted(label for group in groups for label in group) == [*range(num_classes)]


def test_classes_are_assigned_to_groups_at_random():
    first, again, other = (
        [
            group.tolist()
            for group in _groups(range(20), 10, np.random.default_rng(seed))
        ]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert max(first[0]) > min(first[1])


def test_halves_contain_all_exemplars_of_classes_with_several():
    labels = np.array([0, 0, 0, 1, 2, 2, 3, 3])
    first, second = _halves(labels, labels < 3, seed=1, step=1)
    assert sorted([*first, *second]) == [0, 1, 2, 4, 5]
    assert np.bincount(labels[first]).tolist() == [2, 0, 1]
    other, _ = _halves(labels, labels < 3, seed=1, step=3)
    assert sorted(other) != sorted(first)
