"""Growth: weights that the student of a step starts from."""

import numpy as np
import pytest

from bsce_keras.learner.growth import grown_student, new_classifier
from bsce_keras.learner.learner import Learner
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
