"""Anchors: draws, and the topology term of updates with anchors."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.learner.anchors import Anchors
from bsce_keras.learner.epoch_loop import EpochLoop
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.phase_progress import EpochSums
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods.base import StepContext
from bsce_keras.methods.parameters import TpcilParameters
from bsce_keras.methods.tpcil import TPCIL
from bsce_keras.models.classifier import build_classifier
from bsce_keras.optimizers import CoupledSGD
from bsce_keras.runtime.replicas import gather_shares, share_of
from tests.small_backbone import small_backbone

IMAGE = ImageSpec(
    size=8, stored_size=10, channels=1, flip=False, mean=(0.5,), std=(0.3,)
)
NUM_OLD, NUM_NEW, NUM_VERTICES = 2, 1, 12
# A path, and a vertex that is joined to all other vertices.
EDGES = np.array(
    sorted(
        {(i, i + 1) for i in range(NUM_VERTICES - 1)}
        | {(0, i) for i in range(1, NUM_VERTICES)}
    )
)


def noise_images(number, side, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (number, side, side, 1)).astype(np.uint8)


def make_anchors(features=None, edges=EDGES, num_drawn=5, seed=3):
    if features is None:
        features = np.arange(NUM_VERTICES, dtype=np.float32)[:, None]
    stored = noise_images(NUM_VERTICES, IMAGE.stored_size)
    return Anchors(stored, features, edges, num_drawn, IMAGE, seed)


def drawn_by(anchors, update):
    drawn = anchors.draw(tf.constant(update))
    return drawn, drawn.features.numpy()[:, 0].astype(int)


def test_draw_depends_only_on_seed_and_update():
    first = [drawn_by(make_anchors(), update)[1].tolist() for update in range(4)]
    again = [drawn_by(make_anchors(), update)[1].tolist() for update in range(4)]
    other = [drawn_by(make_anchors(seed=4), update)[1].tolist() for update in range(4)]
    assert first == again != other
    assert len({tuple(vertices) for vertices in first}) == 4


def test_anchors_are_distinct_uncropped_ends_of_edges():
    stored = noise_images(NUM_VERTICES, IMAGE.stored_size)
    for update in range(5):
        drawn, vertices = drawn_by(make_anchors(), update)
        assert len(set(vertices)) == len(vertices) <= 10
        np.testing.assert_array_equal(drawn.images, stored[vertices, 1:9, 1:9])
        joined = {tuple(edge) for edge in EDGES.tolist()}
        for i, j in itertools.combinations(range(len(vertices)), 2):
            ends = tuple(sorted((vertices[i], vertices[j])))
            assert bool(drawn.edges[i, j]) == (ends in joined)
        assert not np.any(np.tril(drawn.edges))
        # Every anchor has a neighbour.
        assert np.all(np.any(drawn.edges | np.transpose(drawn.edges), axis=1))


def test_every_edge_is_eventually_drawn():
    anchors = make_anchors(num_drawn=1)
    seen = {tuple(sorted(drawn_by(anchors, update)[1])) for update in range(400)}
    assert seen == {tuple(edge) for edge in EDGES.tolist()}


def test_replicas_share_the_anchors_of_an_update(two_devices):
    anchors = make_anchors()
    whole, _ = drawn_by(anchors, 1)
    draw = tf.function(lambda: anchors.draw(tf.constant(1)).images)
    parts = two_devices.experimental_local_results(two_devices.run(draw))
    assert abs(len(parts[0]) - len(parts[1])) <= 1
    np.testing.assert_array_equal(np.concatenate(parts), whole.images)


def make_trainer(anchors=True, learned_alpha=None, batch_statistics=True):
    """Makes a trainer of three classes with the features of all anchors."""
    keras.utils.set_random_seed(1)
    method = TPCIL(TpcilParameters())
    loss = "meta_balanced_softmax" if learned_alpha else "softmax"
    context = StepContext(
        NUM_OLD, NUM_NEW, (6, 6, 20), loss, has_anchors=anchors is True
    )
    student = build_classifier(
        small_backbone("lucir"), method.make_head(NUM_OLD, NUM_NEW), IMAGE
    )
    features = Inference(student, IMAGE).features(
        noise_images(NUM_VERTICES, IMAGE.stored_size)
    )
    trainer = IncrementalTrainer(
        student,
        None,
        method.loss_terms(context),
        context,
        learned_alpha,
        batch_statistics=batch_statistics,
        anchors=make_anchors(features, num_drawn=20) if anchors else None,
    )
    trainer.compile(optimizer=CoupledSGD(0.05, weight_decay=1e-4))
    trainer.optimizer.build(student.trainable_variables)
    return trainer


def make_batch(size=6, seed=0):
    labels = np.arange(size, dtype=np.int32) % (NUM_OLD + NUM_NEW)
    return noise_images(size, IMAGE.size, seed), labels


def test_topology_term_is_minus_1_for_unchanged_network():
    logs = make_trainer(batch_statistics=False).train_step(make_batch())
    np.testing.assert_allclose(logs["topology"], -1.0, atol=1e-5)
    expected = logs["classification"] + 10.0 * logs["topology"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-6)


def test_anchors_affect_only_their_own_term():
    without = make_trainer(anchors=None, batch_statistics=False)
    logs = make_trainer(batch_statistics=False).train_step(make_batch())
    alone = without.train_step(make_batch())
    np.testing.assert_allclose(
        logs["classification"], alone["classification"], rtol=1e-5
    )
    assert set(alone) == {"loss", "classification", "train_accuracy"}


def test_topology_term_restores_cosines_of_anchors():
    """Batch statistics change features at once; only this term trains here."""
    trainer = make_trainer()
    weights = {"classification": 0.0, "topology": 1.0}
    trainer.terms = [
        dataclasses.replace(term, weight=weights[term.name]) for term in trainer.terms
    ]
    update = tf.function(trainer.train_step, autograph=False)
    batch = tuple(map(tf.constant, make_batch()))
    values = [float(update(batch)["topology"]) for _ in range(60)]
    assert np.mean(values[-5:]) < np.mean(values[:5]) - 0.02


def test_draws_follow_the_update_count_of_the_optimizer():
    """The count is part of the optimizer's state, so a resumed step repeats draws."""
    trainer = make_trainer()
    asked = []
    draw = trainer.anchors.draw
    trainer.anchors.draw = lambda update: asked.append(int(update)) or draw(update)
    for _ in range(3):
        trainer.train_step(make_batch())
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    "precision",
    [
        "float32",
        pytest.param("mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_nan_reference_features_are_named_and_change_nothing(precision):
    keras.config.set_dtype_policy(precision)
    trainer = make_trainer()
    trainer.anchors = make_anchors(
        np.full((NUM_VERTICES, 32), np.nan, np.float32), num_drawn=20
    )
    before = [variable.numpy() for variable in trainer.student.variables]
    update = tf.function(trainer.train_step, autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="topology"):
        update(tuple(map(tf.constant, make_batch())))
    for old, variable in zip(before, trainer.student.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_updates_are_traced_once_for_all_numbers_of_anchors():
    images, labels = make_batch(10)
    stored = noise_images(10, IMAGE.stored_size)
    pool = Examples(stored, labels.astype(np.int64), np.arange(10))
    trainer = make_trainer(learned_alpha=LearnedAlpha(1.0))
    inputs = [TrainingInput(pool, IMAGE, 4, seed=1, step=1) for _ in range(2)]
    loop = EpochLoop(trainer, *inputs, 2, tf.distribute.get_strategy(), [], 2)
    for epoch in range(2):
        loop.run_epoch(epoch, 0.01, EpochSums())
    assert loop.num_traces == (1, 1)


@pytest.mark.parametrize("number", [1, 5])
def test_gathered_shares_have_correct_values_and_gradients(number, two_devices):
    """With fewer rows than replicas, a replica has an empty share."""
    rows = np.random.default_rng(1).normal(size=(number, 3)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(number, 3)).astype(np.float32)

    def run():
        start, end = share_of(number)
        mine = tf.constant(rows)[start:end]
        with tf.GradientTape() as tape:
            tape.watch(mine)
            gathered = gather_shares(mine, number)
            # Each replica computes its part of the mean over replicas.
            loss = tf.reduce_sum(tf.square(gathered) * weights) / 2
        slope = tape.gradient(loss, mine)
        return gathered, gather_shares(slope, number)

    gathered, slopes = two_devices.run(tf.function(run))
    for each in two_devices.experimental_local_results(gathered):
        np.testing.assert_allclose(each, rows, rtol=1e-6)
    for each in two_devices.experimental_local_results(slopes):
        np.testing.assert_allclose(each, 2 * rows * weights, rtol=1e-5)
