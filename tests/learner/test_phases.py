"""Phases of methods with frozen class vectors: trained weights, stops, replicas."""

import dataclasses
import types
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.learner import finetuning_phase, main_phase
from bsce_keras.learner.finetuning_phase import FinetuningPhase
from bsce_keras.learner.learner import Learner
from bsce_keras.losses import balanced_softmax_crossentropy
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.memory.unit_rows import unit_rows
from bsce_keras.models.classifier import backbone_of, head_of
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.signals import Stopped

# PODNet covers more terms; LUCIR would double the time.
FREEZING = pytest.mark.parametrize(
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
def test_old_class_vectors_stay_bit_identical_in_the_main_phase(
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
def test_new_class_vectors_start_at_the_mean_direction_of_their_images(
    method, tiny_config, two_steps
):
    """The rate is almost 0, so the vectors keep their start.

    PODNet starts proxies at k-means centres. The mean of the centres, weighted by the
    number of their images, is the mean of the features.
    """
    learner, memory = base_learner(tiny_config(method=method), two_steps)
    slow = tiny_config(
        method=method, learning_rate=1e-8, balanced_finetuning="false", run_dir="slow"
    )
    frozen = Learner(slow, Runtime(), Checkpoints("slow"))
    frozen.restore(two_steps[0], learner.to_arrays())
    images = two_steps[1].examples.images
    rows = unit_rows(frozen.features(images).astype(np.float64))
    lengths = np.linalg.norm(head_of(frozen.classifier).new_vectors, axis=-1)
    frozen.learn(two_steps[1], memory)
    starts = head_of(frozen.classifier).new_vectors.numpy().astype(np.float64)
    centres = starts.reshape(-1, starts.shape[-1]) / lengths.mean()
    distances = np.linalg.norm(rows[:, None] - centres, axis=-1)
    sizes = np.bincount(distances.argmin(axis=1), minlength=len(centres))
    np.testing.assert_allclose(
        unit_rows(sizes @ centres), unit_rows(rows.mean(axis=0)), atol=1e-3
    )


@dataclasses.dataclass
class Tuned:
    """Weights and stats before and after balanced fine-tuning of an increment.

    Args:
        method: name of the method.
        heads: `(before, after)`, weights by name.
        backbones: `(before, after)`, lists of weights without moving averages.
        averages: `(before, after)`, moving averages of batch normalisation.
        seconds: `(before, after)`, training time of the step.
        selections: number of times that exemplars of the step were selected.
    """

    method: str
    heads: tuple
    backbones: tuple
    averages: tuple
    seconds: tuple
    selections: int


@pytest.fixture(scope="module", params=["lucir", "podnet"])
def tuned(request, two_steps, tmp_path_factory):
    config = make_config(
        "digits",
        method=request.param,
        backbone="small",
        balanced_finetuning="true",
        epochs=1,
        batch_size=16,
        learning_rate=0.05,
        precision="float32",
        run_dir=str(tmp_path_factory.mktemp("tuned") / "run"),
    )
    learner, memory = base_learner(config, two_steps)
    states = []

    def record(stats):
        classifier = learner.classifier
        weights = backbone_of(classifier).weights
        states.append(
            (
                numbers(head_of(classifier).weights),
                [w.numpy().copy() for w in weights if "moving" not in w.path],
                moving_averages(classifier),
                stats.train_seconds,
            )
        )

    class Watched(FinetuningPhase):
        """Records the state before the phase."""

        def run(self, step, memory, stats):
            record(stats)
            return super().run(step, memory, stats)

    learner._phases[-1] = Watched(learner)
    with mock.patch.object(memory, "update", wraps=memory.update) as update:
        record(learner.learn(two_steps[1], memory))
    return Tuned(request.param, *zip(*states, strict=True), update.call_count)


def test_finetuning_moves_every_class_vector(tuned):
    before, after = tuned.heads
    for name in ("old_vectors", "new_vectors"):
        assert np.all(after[name] != before[name])


def test_finetuning_keeps_the_scale_of_the_head(tuned):
    before, after = tuned.heads
    assert after["scale"] == before["scale"]


def test_finetuning_keeps_the_weights_of_the_backbone(tuned):
    for before, after in zip(*tuned.backbones, strict=True):
        np.testing.assert_array_equal(after, before)


def test_finetuning_moves_batch_statistics_only_in_podnet(tuned):
    """LUCIR's reference tunes in inference mode, PODNet's in training mode."""
    moved = any(np.any(a != b) for a, b in zip(*tuned.averages, strict=True))
    assert moved == (tuned.method == "podnet")


def test_finetuning_adds_its_training_time(tuned):
    before, after = tuned.seconds
    assert after > before


def test_only_podnet_selects_exemplars_again_after_finetuning(tuned):
    assert tuned.selections == (2 if tuned.method == "podnet" else 1)


@pytest.fixture
def phases(monkeypatch):
    """`(PhasePlan, trainer)` of every phase; `train_phase` does not train here."""
    begun = []

    def train_phase(run, phase, trainer, *pools):
        begun.append((phase, trainer))
        return types.SimpleNamespace(seconds=1.0, alphas=[], history=[{"loss": 1.0}])

    for module in (main_phase, finetuning_phase):
        monkeypatch.setattr(module, "train_phase", train_phase)
    return begun


@pytest.mark.parametrize(
    ("loss", "tuned_with"),
    [
        ("softmax", "softmax"),
        ("balanced_softmax", "balanced_softmax"),
        ("meta_balanced_softmax", "balanced_softmax"),
    ],
)
def test_finetuning_uses_the_class_counts_of_the_exemplars(
    loss, tuned_with, tiny_config, two_steps, phases
):
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

    _, trainer = phases[-1]
    counts = trainer.context.class_counts
    assert counts == (3, 8, 8, 8, 8, 8)
    assert trainer.context.classification_loss == tuned_with
    logits = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
    labels = np.arange(6)
    expected = balanced_softmax_crossentropy(
        labels, logits, (1,) * 6 if loss == "softmax" else counts
    )
    found = trainer.terms[0].values(labels, {"logits": tf.constant(logits)}, None)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_classification_term_weighs_old_classes_by_the_learned_alpha(
    tiny_config, two_steps, phases
):
    config = tiny_config(
        method="finetune",
        classification_loss="meta_balanced_softmax",
        meta_gradient="nested_tapes",
        alpha_optimizer="sgd",
        alpha_learning_rate=0.3,
        alpha_statistics="running",
    )
    learner, memory = base_learner(config, two_steps)
    learner.learn(two_steps[1], memory)
    (_, base), (_, trainer) = phases
    assert base.learned_alpha is None
    alpha = trainer.learned_alpha
    assert (alpha.optimizer, alpha.learning_rate) == ("sgd", 0.3)
    assert alpha.uses_running_statistics and float(alpha.value) == 1.0
    assert trainer.meta_gradient == "nested_tapes"
    alpha.value.assign(0.25)
    logits = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
    labels = np.arange(6)
    expected = balanced_softmax_crossentropy(
        labels, logits, trainer.context.class_counts, 0.25, num_old_classes=5
    )
    found = trainer.terms[0].values(labels, {"logits": tf.constant(logits)}, None)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_optimizers_of_both_phases_have_the_configured_decay_and_clamp(
    tiny_config, two_steps, phases
):
    """PODNet clamps gradients. Fine-tuning draws other crops than the main phase."""
    config = tiny_config(
        method="podnet", weight_decay=3e-4, balanced_finetuning="true", epochs=3
    )
    training = config.training
    learner, memory = base_learner(config, two_steps)
    learner.learn(two_steps[1], memory)
    names = [(plan.step, plan.name, plan.first_draw) for plan, _ in phases]
    assert names == [(0, "main", 0), (1, "main", 0), (1, "finetuning", 3)]
    assert training.gradient_clamp
    for _, trainer in phases:
        optimizer = trainer.optimizer
        assert (optimizer.momentum, optimizer.coupled_weight_decay) == (0.9, 3e-4)
        assert optimizer.gradient_clamp == training.gradient_clamp


def test_increments_of_tpcil_train_on_the_topology_of_their_anchors(
    tiny_config, two_steps, phases
):
    learner, memory = base_learner(tiny_config(method="tpcil"), two_steps)
    exemplars = memory.examples()
    features = learner.features(exemplars.images)
    learner.learn(two_steps[1], memory)
    (_, base), (_, trainer) = [entry for entry in phases if entry[0].name == "main"]
    assert [term.name for term in base.terms] == ["classification"]
    assert [term.name for term in trainer.terms] == ["classification", "topology"]
    assert base.anchors is None
    drawn = trainer.anchors.draw(tf.constant(0))
    assert len(drawn.features) > 1 and np.any(drawn.edges)
    for image, row in zip(drawn.images.numpy(), drawn.features, strict=True):
        [place] = np.flatnonzero((exemplars.images == image).all(axis=(1, 2, 3)))
        np.testing.assert_array_equal(row, features[place])


def fewer(step):
    """Returns the examples of a step, with only three of the first class."""
    others = np.flatnonzero(step.examples.labels != 0)
    first = np.flatnonzero(step.examples.labels == 0)[:3]
    return step.examples.select(np.concatenate([first, others]))


@pytest.mark.slow
def test_stopped_finetuning_ends_with_the_same_bits(
    tiny_config, two_steps, stop_after, capsys
):
    """Only fine-tuning goes on; the main phase is not trained again."""

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
    # A stop is requested only if the main phase is trained again.
    found = whole_step("runs/stopped", stop_after(updates))
    said = [line for line in capsys.readouterr().out.splitlines() if "goes on" in line]
    assert said == ["step 1/5 finetuning goes on in epoch 2"]
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.slow
@FREEZING
def test_two_replicas_equal_one_device(method, tiny_config, two_steps, two_devices):
    """The step has all terms of the method, and balanced fine-tuning follows."""
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


@pytest.mark.slow
@FREEZING
def test_closed_form_and_nested_tapes_agree_with_every_term(
    method, tiny_config, two_steps
):
    """The step has a gradient clamp and frozen class vectors."""
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
    """Relative run folders are made inside the test's temporary folder."""
    monkeypatch.chdir(tmp_path)
