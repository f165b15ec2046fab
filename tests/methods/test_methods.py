"""Facts that hold for all methods, and the terms of each method."""

import dataclasses
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from threadpoolctl import threadpool_limits

from bsce_keras import losses, make_config
from bsce_keras.config.classification_losses import LOSS_CHOICES
from bsce_keras.methods import METHODS, load_method
from bsce_keras.methods.base import CLASSIFICATION, StepContext
from bsce_keras.methods.tpcil import TPCIL

NUM_OLD, NUM_NEW = 3, 1
COUNTS = (5, 5, 5, 100)
LABELS = np.array([0, 3, 1])
# Edges of nine anchors: the first with all others, the second with the third.
EDGES = np.zeros((9, 9), bool)
EDGES[0, 1:] = EDGES[1, 2] = True


def context(loss="balanced_softmax", num_old=NUM_OLD, alpha=1.0):
    num_new = len(COUNTS) - num_old
    sizes = (num_old, num_new) if num_old else (num_new,)
    return StepContext(num_old, num_new, COUNTS, loss, alpha, sizes, num_old > 0)


def outputs(num_classes, seed):
    """Returns all outputs that methods use, including those of the trainer."""
    rng = np.random.default_rng(seed)
    shapes = {
        "logits": (3, num_classes),
        "cosines": (3, num_classes),
        "similarities": (3, num_classes),
        "scale": (3, 1),
        "features": (3, 8),
        "anchor_features": (9, 8),
        "stage1": (3, 4, 4, 2),
        "stage2": (3, 2, 2, 4),
    }
    found = {
        name: tf.constant(rng.normal(size=shape), tf.float32)
        for name, shape in shapes.items()
    }
    return {**found, "anchor_edges": tf.constant(EDGES)}


def method(name, **request):
    # Two new classes, because a separated softmax of one class is always 0.
    config = make_config("digits", method=name, increments=[2], **request)
    return load_method(config.method)


def terms(name, loss="balanced_softmax", **request):
    return {
        term.name: term for term in method(name, **request).loss_terms(context(loss))
    }


@pytest.mark.parametrize("name", METHODS)
def test_base_step_has_only_the_classification_term(name):
    found = method(name).loss_terms(context(num_old=0))
    assert [(term.name, term.weight) for term in found] == [(CLASSIFICATION, 1.0)]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("loss", ["softmax", "balanced_softmax"])
def test_classification_term_is_the_configured_loss(name, loss):
    term = method(name).loss_terms(context(loss, alpha=0.5))[0]
    student = outputs(4, seed=1)
    counts, alpha = (COUNTS, 0.5) if loss == "balanced_softmax" else ((1,) * 4, 1.0)
    expected = losses.balanced_softmax_crossentropy(
        LABELS, student["logits"], counts, alpha, NUM_OLD
    )
    actual = term.values(LABELS, student, outputs(3, seed=2))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSS_CHOICES[1:])
def test_every_classification_loss_has_one_value_per_image(loss):
    term = method("finetune").loss_terms(context(loss))[0]
    assert term.values(LABELS, outputs(4, seed=1), None).shape == (3,)


@pytest.mark.parametrize("name", METHODS)
def test_corrected_losses_use_the_counts_of_the_step(name):
    student = outputs(4, seed=1)
    logits = student["logits"]
    for loss, expected in {
        "separated_softmax": losses.separated_softmax_crossentropy(
            LABELS, logits, NUM_OLD
        ),
        "rescaled_softmax": losses.rescaled_softmax_crossentropy(
            LABELS, logits, COUNTS
        ),
    }.items():
        term = method(name).loss_terms(context(loss))[0]
        actual = term.values(LABELS, student, outputs(3, seed=2))
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_distillation_gradient_is_zero_when_student_equals_teacher(name):
    student = outputs(4, seed=1)
    teacher = {**student, "logits": student["logits"][:, :NUM_OLD]}
    for term in terms(name).values():
        if term.name in (CLASSIFICATION, "margin_ranking"):
            continue  # these do not use the teacher
        with tf.GradientTape() as tape:
            tape.watch(student)
            values = term.values(LABELS, student, teacher)
            loss = tf.reduce_mean(values[0] if isinstance(values, tuple) else values)
        for slope in tape.gradient(loss, student).values():
            np.testing.assert_allclose(0.0 if slope is None else slope, 0.0, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_small_step_against_its_gradient_lowers_every_term(name):
    """A term with student and teacher exchanged may have its value, and no gradient."""
    student, teacher = outputs(4, seed=1), outputs(3, seed=2)
    edges = student.pop("anchor_edges")

    def mean(term, student):
        values = term.values(LABELS, student, {**teacher, "anchor_edges": edges})
        return tf.reduce_mean(values[0] if isinstance(values, tuple) else values)

    for term in terms(name).values():
        with tf.GradientTape() as tape:
            tape.watch(student)
            before = mean(term, student)
        slopes = tape.gradient(before, student, unconnected_gradients="zero")
        moved = {key: value - 0.01 * slopes[key] for key, value in student.items()}
        assert mean(term, moved) < before, term.name


def test_il_baseline_weights_terms_by_the_fraction_of_old_classes():
    found = terms("il_baseline")
    assert found[CLASSIFICATION].weight == 0.25
    assert found["distillation"].weight == 0.75
    student, teacher = outputs(4, seed=1), outputs(3, seed=2)
    np.testing.assert_allclose(
        found["distillation"].values(LABELS, student, teacher),
        losses.logit_distillation(teacher["logits"], student["logits"], 2.0),
    )


def test_lucir_weights_less_forget_by_the_root_of_old_to_new():
    found = terms("lucir")
    assert found[CLASSIFICATION].weight == found["margin_ranking"].weight == 1.0
    assert found["less_forget"].weight == pytest.approx(5.0 * math.sqrt(3 / 1))


def test_lucir_ranks_only_images_of_old_classes():
    values, mask = terms("lucir")["margin_ranking"].values(
        LABELS, outputs(4, seed=1), None
    )
    np.testing.assert_array_equal(mask, [True, False, True])
    assert values.shape == (3,)


def test_podnet_weights_terms_by_the_root_of_seen_to_new():
    found = terms("podnet")
    assert found["pod_spatial"].weight == pytest.approx(3.0 * math.sqrt(4 / 1))
    assert found["pod_flat"].weight == pytest.approx(1.0 * math.sqrt(4 / 1))


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_podnet_has_two_variants_of_its_own_loss(variant):
    term = terms("podnet", "nca", parameters={"nca": variant})[CLASSIFICATION]
    student = outputs(4, seed=1)
    expected = losses.nca(
        LABELS,
        student["similarities"],
        student["scale"][0, 0],
        margin=0.6,
        variant=variant,
    )
    np.testing.assert_allclose(term.values(LABELS, student, None), expected)


def test_pod_compares_every_map():
    student, teacher = outputs(4, seed=1), outputs(4, seed=2)
    values = terms("podnet")["pod_spatial"].values
    before = values(LABELS, student, teacher)
    for name in ("stage1", "stage2"):
        changed = {**teacher, name: teacher[name] + 1.0}
        assert np.all(values(LABELS, student, changed) != before)


def test_learned_alpha_is_read_at_every_call():
    alpha = keras.Variable(1.0)
    found = method("finetune").loss_terms(context("meta_balanced_softmax", alpha=alpha))
    student = outputs(4, seed=1)
    before = found[0].values(LABELS, student, None)
    alpha.assign(0.1)
    assert np.all(found[0].values(LABELS, student, None) != before)


def topology(student, teacher, edges=EDGES, **changes):
    """Returns value and mask of TPCIL's topology term."""
    parameters = dataclasses.replace(method("tpcil").parameters, **changes)
    found = TPCIL(parameters).loss_terms(context())[1]
    assert (found.name, found.weight) == ("topology", parameters.topology_weight)
    return found.values(LABELS, student, {**teacher, "anchor_edges": edges})


def cosines(features, pairs):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return np.array([unit[i] @ unit[j] for i, j in pairs])


@pytest.mark.parametrize("pairs", ["edges", "all_in_batch"])
def test_tpcil_correlates_the_cosines_of_pairs_of_anchors(pairs):
    student, teacher = outputs(4, seed=1), outputs(3, seed=2)
    chosen = np.argwhere(EDGES)
    if pairs == "all_in_batch":
        chosen = list(itertools.combinations(range(9), 2))
    (value,), (is_counted,) = topology(student, teacher, pairs=pairs)
    before, now = (
        cosines(each["anchor_features"].numpy(), chosen) for each in (teacher, student)
    )
    np.testing.assert_allclose(value, -np.corrcoef(before, now)[0, 1], rtol=1e-5)
    assert is_counted


@pytest.mark.parametrize("num_pairs", [0, 7, 8])
def test_tpcil_leaves_the_term_out_with_fewer_than_8_pairs(num_pairs):
    edges = np.zeros_like(EDGES)
    edges[0, 1 : num_pairs + 1] = True
    (value,), (is_counted,) = topology(
        outputs(4, seed=1), outputs(3, seed=2), tf.constant(edges), pairs="edges"
    )
    assert np.isfinite(value) and bool(is_counted) == (num_pairs >= 8)


def test_tpcil_without_anchors_or_weight_has_only_classification():
    no_anchors = dataclasses.replace(context(), has_anchors=False)
    assert len(method("tpcil").loss_terms(no_anchors)) == 1
    parameters = dataclasses.replace(method("tpcil").parameters, topology_weight=0.0)
    assert TPCIL(parameters).num_anchor_edges == 0
    assert method("tpcil").num_anchor_edges == 64


@pytest.mark.parametrize("name", ["tpcil", "lucir", "podnet"])
def test_only_tpcil_trains_the_vectors_of_old_classes(name):
    head = method(name).training_head(2, 1)
    head.build((None, 8))
    trained = any(weight is head.old_vectors for weight in head.trainable_weights)
    assert trained == (name == "tpcil")


def test_tpcil_refuses_unknown_pairs():
    parameters = dataclasses.replace(method("tpcil").parameters, pairs="all")
    with pytest.raises(ValueError, match="must be one of all_in_batch, edges"):
        TPCIL(parameters)


def test_tpcil_trains_old_class_vectors_and_lucir_does_not():
    for name, trains in (("lucir", False), ("tpcil", True)):
        head = method(name).make_head(3, 2)
        head.build((None, 4))
        assert head.old_vectors.trainable == trains


class HeadStub:
    """Records the imprinted directions."""

    vectors_shape = (10,)

    def imprint(self, directions):
        self.directions = directions


@pytest.mark.parametrize("name", ["lucir", "tpcil"])
def test_new_class_vectors_are_mean_directions(name):
    head = HeadStub()
    features = np.array([[2.0, 0.0], [0.0, 0.5]])
    method(name).imprint(head, iter([features, features * 7.0]), seed=1)
    np.testing.assert_allclose(head.directions, np.full((2, 2), math.sqrt(0.5)))


def test_podnet_imprints_cluster_centres():
    """Features form ten distant groups; each centre is the mean of one group."""
    rng = np.random.default_rng(1)
    groups = np.eye(10)[:, None] + 0.01 * rng.normal(size=(10, 6, 10))
    head = HeadStub()
    method("podnet").imprint(head, iter([5.0 * groups.reshape(60, 10)]), seed=1)
    unit = groups / np.linalg.norm(groups, axis=-1, keepdims=True)
    found = head.directions[0]
    found = found[np.argmax(found, axis=1).argsort()]
    np.testing.assert_allclose(found, unit.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("num_images", [1, 4])
def test_podnet_repeats_centres_of_few_images(num_images):
    features = np.random.default_rng(1).normal(size=(num_images, 3))
    head = HeadStub()
    method("podnet").imprint(head, iter([features]), seed=1)
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    assert head.directions.shape == (1, 10, 3)
    distances = np.linalg.norm(head.directions[0][:, None] - unit, axis=-1)
    np.testing.assert_allclose(distances.min(axis=0), 0.0, atol=1e-6)


def test_podnets_centres_do_not_depend_on_threads(monkeypatch):
    """A class of ImageNet has as many images; they fill chunks of several threads."""
    features = np.random.default_rng(1).normal(size=(1300, 16)).astype(np.float32)
    # More threads than most machines have cores.
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    heads = [HeadStub() for _ in range(5)]
    with threadpool_limits(8, user_api="openmp"):
        for head in heads:
            method("podnet").imprint(head, iter([features]), seed=1)
    assert len({head.directions.tobytes() for head in heads}) == 1


def test_only_podnet_and_ss_il_have_own_default_losses():
    losses_of = {
        name: make_config(
            "digits", method=name, increments=[2]
        ).method.classification_loss
        for name in METHODS
    }
    assert losses_of.pop("podnet") == "nca"
    assert losses_of.pop("ss_il") == "separated_softmax"
    assert set(losses_of.values()) == {"softmax"}


def test_finetuning_follows_only_two_methods_with_own_loss():
    def finetunes(**request):
        training = make_config("digits", **request).training
        return dataclasses.asdict(training)["finetuning"] is not None

    assert finetunes(method="podnet")
    assert finetunes(method="mnemonics")
    assert not finetunes(method="mnemonics", classification_loss="balanced_softmax")
    assert not finetunes(method="podnet", classification_loss="balanced_softmax")
    assert not finetunes(method="lucir")
    assert finetunes(method="lucir", balanced_finetuning="true")
    assert not finetunes(method="podnet", balanced_finetuning="false")
