"""Whole steps on tiny pools: replicas, meta updates, stops, and statistics."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config.classification_losses import while_finetuning
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.learner import phases
from bsce_keras.learner.finetuning_phase import FinetuningPhase
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.progress import ScalarLog
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.memory.unit_rows import unit_rows
from bsce_keras.methods.parameters import IcarlParameters
from bsce_keras.models.classifier import head_of
from bsce_keras.models.layers import FusedBatchNormalization
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import DivergedError
from bsce_keras.runtime.signals import Stopped


def learn(config, steps, strategy=None):
    """Trains the steps; returns the learner and the stats of each step."""
    strategy = strategy or tf.distribute.get_strategy()
    learner = Learner(config, Runtime(strategy), Checkpoints(config.run_dir))
    memory = ReplayMemory(config.memory, config.training.seed)
    return learner, [learner.learn(step, memory) for step in steps]


class FixedMemory(ReplayMemory):
    """Memory that holds the first of these examples from the first step on."""

    def __init__(self, config, examples, number=None):
        super().__init__(config.memory, config.training.seed)
        self._held = examples.select(slice(number))

    def update(self, step, features_of):
        self._trained_on = [self._held]


def weights_of(learner):
    return [np.asarray(weight) for weight in learner.classifier.get_weights()]


# TPCIL has anchors in every update.
SYSTEMS = pytest.mark.parametrize(
    "method", ["il_baseline", pytest.param("tpcil", marks=pytest.mark.slow)]
)


LEARNED = {
    "classification_loss": "meta_balanced_softmax",
    "alpha_every": 3,
    "alpha_optimizer": "sgd",
}


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ("il_baseline", {"classification_loss": "balanced_softmax"}),
        pytest.param("il_baseline", LEARNED, marks=pytest.mark.slow),
        pytest.param("tpcil", LEARNED, marks=pytest.mark.slow),
    ],
)
def test_two_replicas_equal_one_device(
    method, loss, tiny_config, two_steps, two_devices
):
    """Steps have 11 updates with distillation or anchors; some also move alpha."""
    request = {
        "method": method,
        **loss,
        "batch_size": 14,
        "synchronized_batch_norm": True,
        "exemplars_per_class": 4,
    }
    one, one_facts = learn(tiny_config(**request, run_dir="runs/one"), two_steps)
    two, two_facts = learn(
        tiny_config(**request, run_dir="runs/two"), two_steps, two_devices
    )
    for ours, theirs in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    moves_alpha = loss is LEARNED
    assert len(one_facts[1].alphas) == 4 * moves_alpha
    assert (one_facts[1].alpha != 1.0) == moves_alpha
    np.testing.assert_allclose(one_facts[1].alphas, two_facts[1].alphas, atol=1e-5)


@pytest.mark.slow
@SYSTEMS
@pytest.mark.parametrize(
    ("precision", "statistics"),
    [("float32", "batch"), ("float32", "running"), ("mixed_bfloat16", "batch")],
)
def test_closed_form_and_nested_tapes_move_alpha_alike(
    method, tiny_config, two_steps, precision, statistics
):
    """The steps have momentum, weight decay and further terms."""
    alphas = {}
    for form in ("closed_form", "nested_tapes"):
        keras.config.set_dtype_policy(precision)
        config = tiny_config(
            method=method,
            classification_loss="meta_balanced_softmax",
            meta_gradient=form,
            alpha_optimizer="sgd",
            alpha_every=1,
            alpha_statistics=statistics,
            learning_rate=0.1,
            run_dir=f"runs/{form}",
        )
        alphas[form] = np.array(learn(config, two_steps)[1][1].alphas)
    moved = np.abs(alphas["nested_tapes"] - 1.0).max()
    tolerance = 1e-4 if precision == "float32" else 0.2
    assert moved > 1e-4
    np.testing.assert_allclose(*alphas.values(), atol=tolerance * moved)


@SYSTEMS
@pytest.mark.parametrize("updates", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_stopped_step_ends_with_the_same_bits(
    updates, method, tiny_config, two_steps, stop_after, monkeypatch
):
    """Compares weights, alphas and logged means."""
    logged = []
    monkeypatch.setattr(
        ScalarLog, "on_epoch_end", lambda self, epoch, logs: logged.append(logs)
    )
    request = {
        "method": method,
        "classification_loss": "meta_balanced_softmax",
        "alpha_every": 3,
        "epochs": 3,
    }
    config = tiny_config(**request, run_dir="runs/whole")
    strategy, checkpoints = tf.distribute.get_strategy(), Checkpoints(config.run_dir)
    memory = ReplayMemory(config.memory, config.training.seed)
    whole = Learner(config, Runtime(strategy), checkpoints)
    whole.learn(two_steps[0], memory)
    base = {**whole.to_arrays(), **memory.to_arrays()}
    logged.clear()
    whole_facts = whole.learn(two_steps[1], memory)
    expected = list(logged)
    rates = [means["learning_rate"] for means in expected]
    assert rates == pytest.approx([0.01, 0.01, 0.001])  # The rate drops at epoch 2.

    config = tiny_config(**request, run_dir="runs/stopped")
    checkpoints = Checkpoints(config.run_dir)
    memory.restore(base)
    stopping = Learner(config, Runtime(strategy, stop_after(updates)), checkpoints)
    stopping.restore(two_steps[0], base)
    with pytest.raises(Stopped, match="give the same command") as stopped:
        stopping.learn(two_steps[1], memory)
    assert stopped.value.exit_code == 143

    logged.clear()
    again = Learner(config, Runtime(strategy), checkpoints)
    again.restore(two_steps[0], base)
    facts = again.learn(two_steps[1], memory)
    assert facts.alphas == whole_facts.alphas
    assert facts.alpha_by_epoch == whole_facts.alpha_by_epoch
    assert facts.loss_by_epoch == whole_facts.loss_by_epoch
    assert logged == expected
    for ours, theirs in zip(weights_of(again), weights_of(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_gradient_of_held_alpha_is_recorded_per_epoch(
    tiny_config, two_steps, monkeypatch
):
    """An epoch has 10 updates; every third one measures the gradient."""
    logged = []
    monkeypatch.setattr(
        ScalarLog, "on_epoch_end", lambda self, epoch, logs: logged.append(logs)
    )
    config = tiny_config(
        classification_loss="meta_balanced_softmax",
        alpha_optimizer="held",
        alpha_every=3,
        alpha=0.7,
        epochs=3,
    )
    method = dataclasses.replace(config.method, alpha_visits=((1, 0.5), (2, 0.25)))
    facts = learn(dataclasses.replace(config, method=method), two_steps)[1][1]
    assert facts.alphas == pytest.approx([0.7] * 4 + [0.5] * 3 + [0.25] * 3)
    by_epoch = facts.alpha_by_epoch
    assert by_epoch["alpha_updates"] == [4, 3, 3]
    assert by_epoch["alpha"] == pytest.approx([0.7, 0.5, 0.25])
    assert all(by_epoch["alpha_gradient_mean"]) and all(by_epoch["alpha_gradient_std"])
    for name in ("alpha_gradient_mean", "alpha_gradient_std"):
        scalars = [means[name] for means in logged[3:]]
        assert by_epoch[name] == pytest.approx(scalars, rel=1e-5)


def test_teacher_has_the_logits_of_the_previous_classifier(tiny_config, two_steps):
    """Training a student does not change its teacher."""
    config = tiny_config()
    learner, _ = learn(config, two_steps[:1])
    images = two_steps[0].examples.images
    before = learner.logits(images)
    learner.learn(two_steps[1], FixedMemory(config, two_steps[0].examples, 20))
    taught = Inference(learner.teacher, config.stream.image).logits(images)
    np.testing.assert_allclose(taught, before, atol=1e-4)
    assert not np.allclose(learner.logits(images)[:, :5], before, atol=1e-2)
    layers = learner.teacher._flatten_layers()
    assert not any(isinstance(layer, FusedBatchNormalization) for layer in layers)


def test_student_starts_equal_with_and_without_teacher(tiny_config, two_steps):
    """With equal seeds, two methods differ only by the method."""
    starts = {}
    for method in ("finetune", "il_baseline"):
        # At this rate, weights keep their initial values.
        config = tiny_config(
            method=method, learning_rate=1e-30, run_dir=f"runs/{method}"
        )
        learner, _ = learn(config, two_steps)
        assert (learner.teacher is None) == (method == "finetune")
        starts[method] = weights_of(learner)
    for ours, theirs in zip(*starts.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-25)


def test_class_counts_are_those_of_the_training_pool(tiny_config, two_steps):
    """The alpha split has two of the 20 images of every class."""
    config = tiny_config(
        classification_loss="meta_balanced_softmax", exemplars_per_class=20
    )
    _, (base, increment) = learn(config, two_steps)
    num_images = [len(step.examples) for step in two_steps]
    assert (base.train_images, sum(base.class_counts)) == (num_images[0],) * 2
    assert increment.class_counts == [18] * 5 + [num_images[1] - 2]
    assert increment.train_images == 5 * 18 + num_images[1] - 2
    assert base.alpha is None


def test_only_increments_oversample_exemplars(tiny_config, two_steps, monkeypatch):
    """Base step and balanced fine-tuning take every image once per epoch."""
    epochs = []

    class Recorded(TrainingInput):
        def epoch(self, *args):
            labels = [labels.numpy() for _, labels in super().epoch(*args)]
            epochs.append(np.concatenate(labels))
            return super().epoch(*args)

    monkeypatch.setattr(phases, "TrainingInput", Recorded)
    config = tiny_config(
        replay_sampling="memory_oversampling", balanced_finetuning="true"
    )
    learner = Learner(config, Runtime(), Checkpoints(config.run_dir))
    base, increment = two_steps
    memory = FixedMemory(config, base.examples, 25)
    exemplars = base.examples.select(slice(25))
    learner.learn(base, memory)
    learner.learn(increment, memory)
    np.testing.assert_array_equal(np.sort(epochs[0]), np.sort(base.examples.labels))
    # 185 draws: five standard deviations are 0.18.
    assert np.mean(epochs[1] < 5) == pytest.approx(0.5, abs=0.18)
    assert len(epochs[1]) == len(increment.examples) + 25
    np.testing.assert_array_equal(np.sort(epochs[2]), np.sort(exemplars.labels))


def test_oversampling_without_effect_is_reported(tiny_config, two_steps, caplog):
    config = tiny_config(replay_sampling="memory_oversampling")
    learner = Learner(config, Runtime(), Checkpoints(config.run_dir))
    base, increment = two_steps
    memory = FixedMemory(config, base.examples)
    learner.learn(base, memory)
    learner.learn(increment, memory)
    (told,) = [line for line in caplog.messages if "oversampling" in line]
    assert told.startswith("Step 1: --replay_sampling=memory_oversampling has no")
    # 160 images in batches of 16, once.
    assert "Step 0 has only 10 updates." in caplog.text


@pytest.mark.parametrize("method", ["il_baseline", "lucir"])
def test_finetuning_has_classification_at_weight_1(method, tiny_config, two_steps):
    """In the main phase, IL-Baseline's terms have weights 1 / 6 and 5 / 6."""
    config = tiny_config(method=method, balanced_finetuning="true")
    learner = Learner(config, Runtime(), Checkpoints(config.run_dir))
    context = FinetuningPhase(learner).context(two_steps[1], two_steps[1].examples)
    step_terms = learner.method.loss_terms(context)
    tuning_terms = learner.method.finetuning_terms(context)
    assert tuning_terms[0].name == "classification"
    assert tuning_terms[0].weight == 1.0
    others = [(term.name, term.weight) for term in step_terms[1:]]
    assert [(term.name, term.weight) for term in tuning_terms[1:]] == others
    if method == "il_baseline":
        assert step_terms[0].weight == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("separated_softmax", "softmax"),
        ("meta_balanced_softmax", "balanced_softmax"),
        ("rescaled_softmax", "rescaled_softmax"),
    ],
)
def test_finetuning_uses_losses_that_compare_old_and_new_classes(loss, expected):
    assert while_finetuning(loss) == expected


def test_ss_il_adds_a_quarter_to_batches_and_distils_after_the_base_step(
    tiny_config, two_steps, monkeypatch
):
    sizes = []

    class Recorded(TrainingInput):
        def epoch(self, *args):
            sizes.append([len(labels) for _, labels in super().epoch(*args)])
            return super().epoch(*args)

    monkeypatch.setattr(phases, "TrainingInput", Recorded)
    config = tiny_config(
        method="ss_il", classification_loss="softmax", exemplars_per_class=4
    )
    _, stats = learn(config, two_steps)
    assert [sizes[0][0], sizes[1][0]] == [16, 20]
    terms = ["loss", "classification"]
    assert [*stats[0].loss_by_epoch] == terms
    assert [*stats[1].loss_by_epoch] == [*terms, "distillation"]


@pytest.mark.parametrize("mirrors", [False, True])
def test_icarl_class_means_use_the_configured_views(tiny_config, two_steps, mirrors):
    config = tiny_config(method="icarl")
    parameters = IcarlParameters(mirrors_exemplars=mirrors)
    method = dataclasses.replace(config.method, parameters=parameters)
    config = dataclasses.replace(config, method=method)
    learner = Learner(config, Runtime(), Checkpoints(config.run_dir))
    exemplars = two_steps[0].examples
    memory = FixedMemory(config, exemplars)
    learner.learn(two_steps[0], memory)
    means = head_of(learner.predictor(memory)).means.numpy()
    for label, mean in enumerate(means):
        images = exemplars.images[exemplars.labels == label]
        views = [images, images[:, :, ::-1]] if mirrors else [images]
        features = unit_rows(np.concatenate([learner.features(v) for v in views]))
        expected = unit_rows(features.mean(axis=0, keepdims=True))[0]
        np.testing.assert_allclose(mean, expected, atol=1e-5)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Relative run folders are made inside the test's temporary folder."""
    monkeypatch.chdir(tmp_path)


def test_updates_before_a_loss_that_is_not_finite_are_saved(tiny_config, two_steps):
    config = tiny_config(learning_rate=1e30)
    with pytest.raises(DivergedError, match="Nothing of this update was applied"):
        learn(config, two_steps)
    arrays, _ = Checkpoints(config.run_dir).load_progress(0, "main")
    weights = [values for name, values in arrays.items() if "/" in name]
    assert weights and all(np.isfinite(values).all() for values in weights)
