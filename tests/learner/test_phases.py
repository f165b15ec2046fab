"""What trains in which phase, to the bit, for the methods that freeze class vectors."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.learner import finetuning_phase, main_phase
from bsce_keras.learner.finetuning_phase import FinetuningPhase
from bsce_keras.learner.learner import Learner
from bsce_keras.losses import balanced_softmax_crossentropy
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.models.classifier import backbone_of, head_of
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.signals import Stopped

FREEZING = pytest.mark.parametrize("method", ["lucir", "podnet"])
# PODNet's terms are the more involved ones; LUCIR's take as long again.
FREEZING_SLOWLY = pytest.mark.parametrize(
    "method", [pytest.param("lucir", marks=pytest.mark.slow), "podnet"]
)


def base_learner(config, steps, strategy=None):
    strategy = strategy or tf.distribute.get_strategy()
    learner = Learner(config, Runtime(strategy), Checkpoints(config.run_dir))
    memory = ReplayMemory(config.memory, config.training.seed)
    learner.learn(steps[0], memory)
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
    config = tiny_config(method=method, balanced_finetuning="false")
    learner, memory = base_learner(config, two_steps)
    before = head_of(learner.classifier).new_vectors.numpy()
    learner.learn(two_steps[1], memory)
    head = head_of(learner.classifier)
    np.testing.assert_array_equal(head.old_vectors.numpy(), before)
    assert head.scale.numpy() != 1.0


@FREEZING
def test_new_classes_start_where_their_images_are(method, tiny_config, two_steps):
    """At a rate of almost nothing, new images are taken for their own class."""
    config = tiny_config(method=method, learning_rate=0.05)
    learner, memory = base_learner(config, two_steps)
    slow = tiny_config(method=method, learning_rate=1e-8)
    frozen = Learner(slow, Runtime(), Checkpoints("runs/slow"))
    frozen.restore(two_steps[0], learner.to_arrays())
    frozen.learn(two_steps[1], memory)
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
    trained = {}

    class Watched(FinetuningPhase):
        """Notes what the main phase left behind."""

        def run(self, step, memory, stats, is_followed):
            classifier = self.learner.classifier
            weights = numbers(backbone_of(classifier).trainable_weights)
            trained.update(stats=stats, weights=weights)
            trained.update(averages=moving_averages(classifier))
            trained.update(head=numbers(head_of(classifier).weights))
            return super().run(step, memory, stats, is_followed)

    learner._phases[-1] = Watched(learner)
    tuned_stats = learner.learn(two_steps[1], memory)
    backbone, head = trained["weights"], trained["head"]
    averages = trained["averages"]

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
    assert tuned_stats.train_seconds > trained["stats"].train_seconds


@pytest.mark.parametrize("loss", ["softmax", "balanced_softmax"])
def test_finetuning_knows_of_classes_smaller_than_their_quota(
    loss, tiny_config, two_steps, monkeypatch
):
    """Nothing is trained here: what the phases were given is looked at."""
    trainers = []

    def train_phase(run, phase, trainer, *pools):
        trainers.append(trainer)
        return types.SimpleNamespace(seconds=1.0, alphas=[])

    for module in (main_phase, finetuning_phase):
        monkeypatch.setattr(module, "train_phase", train_phase)
    few = [dataclasses.replace(step, examples=fewer(step)) for step in two_steps]
    config = tiny_config(
        method="finetune",
        classification_loss=loss,
        alpha=0.5 if loss == "balanced_softmax" else None,
        balanced_finetuning="true",
        exemplars_per_class=8,
    )
    learner, memory = base_learner(config, few)
    learner.learn(few[1], memory)

    counts = trainers[-1].context.class_counts
    assert counts == (3, 8, 8, 8, 8, 8)
    logits = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
    labels = np.arange(6)
    expected = balanced_softmax_crossentropy(
        labels, logits, counts if loss == "balanced_softmax" else (1,) * 6
    )
    term = trainers[-1].terms[0]
    found = term.values(labels, {"logits": tf.constant(logits)}, None)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def fewer(step):
    """The examples of a step, but three of the first class."""
    others = np.flatnonzero(step.examples.labels != 0)
    first = np.flatnonzero(step.examples.labels == 0)[:3]
    return step.examples.select(np.concatenate([first, others]))


def test_finetuning_that_was_stopped_ends_with_the_same_bits(
    tiny_config, two_steps, stop_after, capsys
):
    """The main phase is not trained again, and its exemplars are the same."""

    def make_config(run_dir):
        request = {"method": "podnet", "epochs": 2, "exemplars_per_class": 8}
        config = tiny_config(**request, run_dir=run_dir)
        finetuning = dataclasses.replace(config.training.finetuning, epochs=2)
        training = dataclasses.replace(config.training, finetuning=finetuning)
        return dataclasses.replace(config, training=training)

    config = make_config("runs/whole")
    learner, memory = base_learner(config, two_steps)
    base, held = learner.to_arrays(), memory.to_arrays()

    def whole_step(run_dir, stop_requests=None):
        config = make_config(run_dir)
        checkpoints = Checkpoints(run_dir)
        if not checkpoints.exist():
            checkpoints.save_step(0, base, {})
        strategy = tf.distribute.get_strategy()
        learner = Learner(config, Runtime(strategy, stop_requests), checkpoints)
        learner.restore(two_steps[0], base)
        memory.restore(held)
        learner.learn(two_steps[1], memory)
        return learner.to_arrays()

    expected = whole_step("runs/whole")
    pool_size = len(two_steps[1].examples) + 5 * 8
    updates = 2 * -(-pool_size // config.training.batch_size)
    with pytest.raises(Stopped, match="finetuning, epoch 2, after update 1"):
        whole_step("runs/stopped", stop_after(updates + 4))
    capsys.readouterr()
    # Nobody asks it to stop, and training the main phase would be noticed here.
    found = whole_step("runs/stopped", stop_after(updates))
    said = [line for line in capsys.readouterr().out.splitlines() if "goes on" in line]
    assert said == ["step 1/5 finetuning goes on in epoch 2"]
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@FREEZING_SLOWLY
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
        learner.learn(two_steps[1], memory)
        return [np.asarray(weight) for weight in learner.classifier.get_weights()]

    for ours, theirs in zip(run("runs/one"), run("runs/two", two_devices), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@FREEZING_SLOWLY
def test_meta_learning_works_with_every_term(method, tiny_config, two_steps):
    """Closed form and nested tapes move alpha alike under clamp and frozen vectors."""
    alphas = {}
    for form in ("closed_form", "nested_tapes"):
        config = tiny_config(
            method=method,
            classification_loss="meta_balanced_softmax",
            meta_gradient=form,
            alpha_optimizer="sgd",
            alpha_every=2,
            learning_rate=0.1,
            run_dir=f"runs/{form}",
        )
        learner, memory = base_learner(config, two_steps)
        facts = learner.learn(two_steps[1], memory)
        alphas[form] = np.array(facts.alphas)
    moved = np.abs(alphas["nested_tapes"] - 1.0).max()
    assert moved > 1e-5
    np.testing.assert_allclose(*alphas.values(), atol=1e-3 * moved)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Relative run folders land in the test's own folder."""
    monkeypatch.chdir(tmp_path)
