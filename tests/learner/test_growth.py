"""Growth: weights that the student of a step starts from."""

import dataclasses

import numpy as np
import pytest

from bsce_keras.learner.growth import grown_student, new_classifier
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.unit_rows import unit_rows
from bsce_keras.models.classifier import backbone_of, head_of
from bsce_keras.runtime.devices import Runtime


@pytest.mark.parametrize("method", ["joint", "il_baseline"])
def test_only_joint_training_starts_a_step_from_random_weights(
    method, tiny_config, two_steps
):
    config = tiny_config(method=method)
    learner = Learner(config, Runtime(), None)
    head = learner.method.training_head(0, 5)
    learner.classifier = new_classifier(config, learner.method.variant, head)
    student = grown_student(learner, two_steps[1], two_steps[1].examples)
    for part in (backbone_of, head_of):
        old, new = (part(c).get_weights()[0] for c in (learner.classifier, student))
        copied = np.array_equal(new[..., : old.shape[-1]], old)
        assert copied == (method == "il_baseline")
    assert student.output["logits"].shape[-1] == 6


def test_each_of_several_new_classes_starts_at_its_own_images(tiny_config, two_steps):
    """The pool also holds old images, and the classes are not in order."""
    learner = Learner(tiny_config(method="lucir"), Runtime(), None)
    head = learner.method.training_head(0, 3)
    learner.adopt(new_classifier(learner.config, learner.method.variant, head))
    pool = two_steps[0].examples
    step = dataclasses.replace(
        two_steps[0], index=1, num_old_classes=3, num_new_classes=2
    )
    student = grown_student(learner, step, pool)
    starts = unit_rows(head_of(student).new_vectors.numpy())
    expected = [
        unit_rows(
            unit_rows(learner.features(pool.images[pool.labels == label])).mean(0)
        )
        for label in (3, 4)
    ]
    np.testing.assert_allclose(starts, expected, atol=1e-6)
    assert np.abs(np.subtract(*expected)).max() > 1e-4
