"""Facts in the table of classification losses agree with their values."""

import numpy as np
import pytest

from bsce_keras.config.classification_losses import (
    CLASSIFICATION_LOSSES,
    SOFTMAX_AT_EQUAL_COUNTS,
    at_base_step,
    loss_facts,
)
from bsce_keras.methods.base import StepContext
from bsce_keras.methods.classification import classification_values

COMMON = [name for name in CLASSIFICATION_LOSSES if not loss_facts(name).only_with]


def values(loss, num_old_classes=0, class_counts=(7, 3, 5, 2)):
    context = StepContext(
        num_old_classes, 4 - num_old_classes, class_counts, loss, alpha=0.5
    )
    logits = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    labels = np.arange(8) % 4
    return np.array(classification_values(context)(labels, {"logits": logits}, None))


@pytest.mark.parametrize("loss", COMMON)
def test_loss_without_old_classes_is_its_base_step_loss(loss):
    np.testing.assert_allclose(values(loss), values(at_base_step(loss)), rtol=1e-6)


@pytest.mark.parametrize("loss", sorted(SOFTMAX_AT_EQUAL_COUNTS))
def test_loss_of_equal_counts_without_old_classes_is_softmax(loss):
    equal = {"class_counts": (6, 6, 6, 6)}
    np.testing.assert_allclose(
        values(loss, **equal), values("softmax", **equal), rtol=1e-6
    )


@pytest.mark.parametrize("loss", COMMON)
def test_only_losses_that_count_classes_depend_on_the_counts(loss):
    others = values(loss, num_old_classes=2, class_counts=(1, 9, 4, 4))
    same = np.allclose(values(loss, num_old_classes=2), others)
    assert same != loss_facts(loss).counts_classes


@pytest.mark.parametrize("loss", COMMON)
def test_only_losses_that_drop_absent_classes_ignore_their_logits(loss):
    counts = (0, 7, 3, 5)
    context = StepContext(0, 4, counts, loss)
    logits = np.zeros((1, 4), np.float32)
    raised = logits + np.array([3, 0, 0, 0], np.float32)
    one, other = (
        np.array(classification_values(context)(np.array([1]), {"logits": z}, None))
        for z in (logits, raised)
    )
    assert np.allclose(one, other) == loss_facts(loss).drops_absent_classes
