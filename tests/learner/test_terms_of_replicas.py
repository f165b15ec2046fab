"""Loss terms and the gradient of alpha over the uneven batches of two replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.learner.global_means import global_size, mean_of_term
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods.base import LossTerm, StepContext
from bsce_keras.methods.finetune import Finetune
from bsce_keras.methods.parameters import NoParameters
from bsce_keras.models.classifier import build_classifier
from bsce_keras.models.heads import LinearHead
from bsce_keras.optimizers import CoupledSGD
from bsce_keras.runtime.replicas import all_reduce_sum

VALUES = [np.array([1.0, 2.0, 6.0], np.float32), np.array([4.0], np.float32)]
IS_OLD = [np.array([True, True, False]), np.array([True])]


@pytest.mark.parametrize(
    ("is_masked", "expected"), [(False, (1 + 2 + 6 + 4) / 4), (True, (1 + 2 + 4) / 3)]
)
def test_term_is_the_mean_over_the_images_of_both_replicas(
    is_masked, expected, two_devices
):
    """With a mask, the last image of the first replica does not count."""

    def values(labels, student, teacher):
        return (student, labels) if is_masked else student

    def share(labels, student):
        term, size = LossTerm("mine", 1.0, values), global_size(labels)
        return all_reduce_sum([mean_of_term(term, labels, student, None, size)])[0]

    batch = of_replicas(two_devices, IS_OLD), of_replicas(two_devices, VALUES)
    means = tf.function(lambda: two_devices.run(share, batch), autograph=False)()
    for mean in two_devices.experimental_local_results(means):
        np.testing.assert_allclose(mean, expected, rtol=1e-6)


def make_trainer(form):
    """Makes a trainer of a linear model from pixels, with a held alpha."""
    keras.utils.set_random_seed(1)
    image = ImageSpec(size=4, stored_size=4, channels=1, mean=(0.5,), std=(0.3,))
    inputs = keras.Input((4, 4, 1))
    backbone = keras.Model(inputs, keras.layers.Flatten()(inputs))
    alpha = LearnedAlpha(None, "held")
    context = StepContext(
        *(2, 1, (3, 3, 20), "meta_balanced_softmax"), alpha=alpha.value
    )
    trainer = IncrementalTrainer(
        build_classifier(backbone, LinearHead(3), image),
        None,
        Finetune(NoParameters()).loss_terms(context),
        context,
        alpha,
        form,
    )
    trainer.compile(optimizer=CoupledSGD(0.05))
    trainer.optimizer.build(trainer.student.trainable_variables)
    return trainer


@pytest.mark.parametrize("form", ["closed_form", "nested_tapes"])
def test_gradient_of_alpha_is_that_of_the_whole_batch(form, two_devices):
    rng = np.random.default_rng(0)
    batch = []
    for size in (6, 5):  # of the pool, and of the alpha split
        batch.append(rng.integers(0, 256, (size, 4, 4, 1)).astype(np.uint8))
        batch.append((np.arange(size) % 3).astype(np.int32))
    expected = make_trainer(form).train_step(batch)["alpha_gradient"]
    with two_devices.scope():
        trainer = make_trainer(form)
    parts = tuple(of_replicas(two_devices, (rows[:2], rows[2:])) for rows in batch)
    update = tf.function(
        lambda: two_devices.run(trainer.train_step, (parts,)), autograph=False
    )
    for found in two_devices.experimental_local_results(update()["alpha_gradient"]):
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def of_replicas(strategy, parts):
    """Returns a value that has one of the parts on each replica."""
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(parts[replica.replica_id_in_sync_group])
    )
