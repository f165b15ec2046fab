"""Losses of one update, compared with formulas in NumPy float64.

Inputs are the outputs of the networks. The formulas are from the papers and their
released code, without calls into the package.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec, MethodConfig, ModelConfig
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods import load_method
from bsce_keras.methods.base import StepContext
from bsce_keras.methods.recipes import CIFAR, parameters
from bsce_keras.models.classifier import build_classifier, make_backbone
from bsce_keras.optimizers import CoupledSGD

IMAGE = ImageSpec(size=32, stored_size=32, pad=4)
NUM_OLD, NUM_NEW, BATCH = 50, 10, 24
COUNTS = np.array([20] * NUM_OLD + [500] * NUM_NEW)
SYSTEMS = [
    pytest.param("il_baseline", "softmax", marks=pytest.mark.slow),
    ("il_baseline", "balanced_softmax"),
    pytest.param("lucir", "softmax", marks=pytest.mark.slow),
    ("lucir", "balanced_softmax"),
    ("podnet", "nca"),
    ("podnet", "balanced_softmax"),
]


def log_softmax(rows):
    shifted = rows - rows.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def crossentropy(logits, labels, loss):
    prior = np.log(COUNTS) if loss == "balanced_softmax" else 0.0
    return -log_softmax(logits + prior)[np.arange(BATCH), labels].mean()


def il_baseline(student, teacher, labels, loss):
    rho = NUM_OLD / (NUM_OLD + NUM_NEW)
    target = np.exp(log_softmax(teacher["logits"] / 2.0))
    log_p = log_softmax(student["logits"][:, :NUM_OLD] / 2.0)
    distillation = -4.0 * (target * log_p).sum(axis=1).mean()
    classification = crossentropy(student["logits"], labels, loss)
    return rho * distillation + (1.0 - rho) * classification


def lucir(student, teacher, labels, loss):
    cosines = (unit(student["features"]) * unit(teacher["features"])).sum(axis=1)
    weight = 5.0 * math.sqrt(NUM_OLD / NUM_NEW)
    return (
        crossentropy(student["logits"], labels, loss)
        + weight * (1.0 - cosines).mean()
        + margin_ranking(student["cosines"], labels)
    )


def margin_ranking(cosines, labels):
    terms = []
    for row, label in zip(cosines, labels, strict=True):
        if label < NUM_OLD:
            nearest = np.sort(row[NUM_OLD:])[-2:]
            terms += [max(0.0, 0.5 - row[label] + new) for new in nearest]
    return np.mean(terms)


def podnet(student, teacher, labels, loss):
    factor = math.sqrt((NUM_OLD + NUM_NEW) / NUM_NEW)
    cosines = (unit(student["features"]) * unit(teacher["features"])).sum(axis=1)
    maps = [f"stage{number}" for number in (1, 2, 3, 4)]
    spatial = np.mean([pod(student[name], teacher[name]) for name in maps])
    if loss == "nca":
        classification = released_nca(student["logits"], labels)
    else:
        classification = crossentropy(student["logits"], labels, loss)
    return classification + factor * (3.0 * spatial + 1.0 * (1.0 - cosines).mean())


def pod(mine, theirs):
    def pooled(maps):
        squares = maps**2
        sums = [squares.sum(axis=axis).reshape(BATCH, -1) for axis in (2, 1)]
        return unit(np.concatenate(sums, axis=1))

    return np.linalg.norm(pooled(mine) - pooled(theirs), axis=1).mean()


def released_nca(scaled, labels):
    """The target's entry becomes exp(0) after subtraction of the row's maximum."""
    values = []
    for row, label in zip(scaled, labels, strict=True):
        row = row - 0.6
        row = row - row.max()
        others = row.copy()
        others[label] = 0.0
        values.append(-(row[label] - np.log(np.exp(others).sum())))
    return np.mean(values)


REFERENCES = {"il_baseline": il_baseline, "lucir": lucir, "podnet": podnet}


@pytest.mark.parametrize(("name", "loss"), SYSTEMS)
def test_update_reports_the_loss_of_the_formulas(name, loss):
    method = load_method(MethodConfig(name, loss, parameters(name, CIFAR)))
    student, teacher = classifiers(method)
    context = StepContext(NUM_OLD, NUM_NEW, tuple(COUNTS.tolist()), loss)
    trainer = IncrementalTrainer(student, teacher, method.loss_terms(context), context)
    trainer.compile(optimizer=CoupledSGD(0.1))
    trainer.optimizer.build(student.trainable_variables)
    images, labels = batch()
    # Batch statistics, as in the update; moving averages of the copy do not matter.
    outputs = in_float64(keras.models.clone_model(student), student, images)
    taught = {k: np.float64(v) for k, v in teacher(images, training=False).items()}
    logs = trainer.train_step((images, labels))
    expected = REFERENCES[name](outputs, taught, labels, loss)
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)


def classifiers(method):
    """Returns student and teacher of step 1 on CIFAR-100, 50 + 10 classes."""

    def build(num_old, num_new):
        backbone = make_backbone(ModelConfig("resnet32"), IMAGE, method.variant)
        return build_classifier(backbone, method.make_head(num_old, num_new), IMAGE)

    return build(NUM_OLD, NUM_NEW), build(0, NUM_OLD)


def batch():
    """Returns noise images, because the formulas do not depend on pixels."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (BATCH, 32, 32, 3)).astype(np.uint8)
    return tf.constant(images), rng.integers(0, NUM_OLD + NUM_NEW, BATCH)


def in_float64(copy, student, images):
    copy.set_weights(student.get_weights())
    return {k: np.float64(v) for k, v in copy(images, training=True).items()}
