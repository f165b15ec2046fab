"""What trains in which phase, to the bit, for the methods that freeze class vectors."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.learner.checkpoints import Checkpoints
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.models.classifier import backbone_of, head_of

FREEZING = pytest.mark.parametrize("method", ["lucir", "podnet"])


def base_learner(config, steps, strategy=None):
    strategy = strategy or tf.distribute.get_strategy()
    learner = Learner(config, strategy, Checkpoints(config.run_dir))
    memory = ReplayMemory(config.memory, config.training.seed)
    learner.learn(steps[0], None)
    memory.update(steps[0], learner.features)
    return learner, memory


def numbers(weights):
    return {weight.path.split("/")[-1]: weight.numpy().copy() for weight in weights}


def moving_averages(classifier):
    weights = backbone_of(classifier).non_trainable_weights
    return [w.numpy() for w in weights if "moving" in w.path]


@FREEZING
def test_old_class_vectors_stay_bit_identical_while_a_step_trains(
    method, tiny_config, two_steps
):
    learner, memory = base_learner(tiny_config(method=method), two_steps)
    before = head_of(learner.classifier).new_vectors.numpy()
    learner.learn(two_steps[1], memory.examples())
    head = head_of(learner.classifier)
    np.testing.assert_array_equal(head.old_vectors.numpy(), before)
    assert head.scale.numpy() != 1.0


@FREEZING
def test_new_classes_start_where_their_images_are(method, tiny_config, two_steps):
    """At a rate of almost nothing, new images are taken for their own class."""
    config = tiny_config(method=method, learning_rate=0.05)
    learner, memory = base_learner(config, two_steps)
    slow = tiny_config(method=method, learning_rate=1e-8)
    frozen = Learner(slow, tf.distribute.get_strategy(), Checkpoints("runs/slow"))
    frozen.restore(two_steps[0], learner.to_arrays())
    frozen.learn(two_steps[1], memory.examples())
    old, new = np.split(
        head_of(frozen.classifier).cosines(
            frozen.features(two_steps[1].examples.images)
        ),
        [5],
        axis=1,
    )
    assert new.mean() > old.mean()


@FREEZING
def test_finetuning_moves_class_vectors_alone(method, tiny_config, two_steps):
    config = tiny_config(method=method, balanced_finetuning="true", learning_rate=0.05)
    learner, memory = base_learner(config, two_steps)
    facts = learner.learn(two_steps[1], memory.examples())
    memory.update(two_steps[1], learner.features)
    classifier = learner.classifier
    backbone = numbers(backbone_of(classifier).trainable_weights)
    averages = moving_averages(classifier)
    head = numbers(head_of(classifier).weights)
    tuned_facts = learner.finetune(two_steps[1], memory.examples(), facts)

    tuned = numbers(head_of(learner.classifier).weights)
    assert tuned.pop("scale") == head.pop("scale")
    assert all(np.all(tuned[name] != head[name]) for name in head)
    weights = backbone_of(learner.classifier).weights
    after = {k: v for k, v in numbers(weights).items() if k in backbone}
    for name, value in backbone.items():
        np.testing.assert_array_equal(after[name], value)
    drifted = any(
        np.any(ours != theirs)
        for ours, theirs in zip(
            moving_averages(learner.classifier), averages, strict=True
        )
    )
    # LUCIR's reference tunes in inference mode, PODNet's goes on in training mode.
    assert drifted == (method == "podnet")
    assert tuned_facts.train_seconds > facts.train_seconds


def test_finetuning_goes_on_from_its_last_saved_epoch(
    tiny_config, two_steps, monkeypatch
):
    """Stopped within it, the same bits come out; the main phase is not repeated."""
    request = {"method": "podnet", "epochs": 8, "exemplars_per_class": 8}

    def whole_step(learner, memory):
        facts = learner.learn(two_steps[1], memory.examples())
        memory.update(two_steps[1], learner.features)
        learner.finetune(two_steps[1], memory.examples(), facts)
        return learner.to_arrays()

    config = tiny_config(**request, run_dir="runs/whole")
    assert config.training.finetuning.epochs == 2
    expected = whole_step(*base_learner(config, two_steps))

    config = tiny_config(**request, run_dir="runs/stopped")
    learner, memory = base_learner(config, two_steps)
    base = learner.to_arrays()
    saved = []

    def save_and_stop(self, step, phase, epoch, arrays, state):
        save(self, step, phase, epoch, arrays, state)
        saved.append((phase, epoch))
        if (phase, epoch) == ("finetuning", 1):
            raise KeyboardInterrupt

    save = Checkpoints.save_progress
    monkeypatch.setattr(Checkpoints, "save_progress", save_and_stop)
    held = memory.to_arrays()
    with pytest.raises(KeyboardInterrupt):
        whole_step(learner, memory)
    assert saved[-2:] == [("main", 8), ("finetuning", 1)]

    again = Learner(config, tf.distribute.get_strategy(), Checkpoints(config.run_dir))
    again.restore(two_steps[0], base)
    memory.restore(held)
    found = whole_step(again, memory)
    assert saved[-1] == ("finetuning", 2) and saved.count(("main", 8)) == 1
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@FREEZING
def test_two_replicas_equal_one_device(method, tiny_config, two_steps, two_devices):
    """Every term of the step, and the balanced fine-tuning after it."""
    request = {
        "method": method,
        "batch_size": 14,
        "synchronized_batch_norm": True,
        "exemplars_per_class": 4,
        "balanced_finetuning": "true",
    }

    def run(run_dir, strategy=None):
        config = tiny_config(**request, run_dir=run_dir)
        learner, memory = base_learner(config, two_steps, strategy)
        facts = learner.learn(two_steps[1], memory.examples())
        memory.update(two_steps[1], learner.features)
        learner.finetune(two_steps[1], memory.examples(), facts)
        return [np.asarray(weight) for weight in learner.classifier.get_weights()]

    for ours, theirs in zip(run("runs/one"), run("runs/two", two_devices), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@FREEZING
def test_meta_learning_works_with_every_term(method, tiny_config, two_steps):
    """Closed form and nested tapes move alpha alike under clamp and frozen vectors."""
    alphas = {}
    for form in ("closed_form", "nested_tapes"):
        config = tiny_config(
            method=method,
            classification_loss="meta_balanced_softmax",
            meta_gradient=form,
            alpha_every=2,
            learning_rate=0.1,
            run_dir=f"runs/{form}",
        )
        learner, memory = base_learner(config, two_steps)
        facts = learner.learn(two_steps[1], memory.examples())
        alphas[form] = np.array(facts.alphas)
    moved = np.abs(alphas["nested_tapes"] - 1.0).max()
    assert moved > 1e-5
    np.testing.assert_allclose(*alphas.values(), atol=1e-3 * moved)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Relative run folders land in the test's own folder."""
    monkeypatch.chdir(tmp_path)
