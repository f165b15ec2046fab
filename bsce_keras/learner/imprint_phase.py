"""ImprintPhase: new columns of the head from features of new images."""

import time

import numpy as np

from bsce_keras.learner.growth import with_other_head
from bsce_keras.learner.step_phase import StepPhase
from bsce_keras.learner.training_stats import one_pass
from bsce_keras.models.classifier import head_of


class ImprintPhase(StepPhase):
    """Computes the columns of the step's classes; nothing is trained.

    The chief does the work; other workers wait for the weights. An interrupted phase
    starts again.
    """

    name = "imprint"

    def applies(self, step):
        return step.index > 0

    def run(self, step, memory, stats, is_followed):
        learner = self.learner
        begin = time.perf_counter()
        weights, _ = learner.runtime.workers.arrays_from_chief(
            lambda: (self._weights(step), None)
        )
        head = learner.method.grown_head(len(weights["bias"]), step.num_classes)
        with learner.runtime.strategy.scope():
            classifier = with_other_head(
                learner.config, learner.method, head, learner.classifier
            )
        for name, values in weights.items():
            getattr(head, name).assign(values)
        learner.adopt(classifier)
        memory.update(step, learner.features)
        return one_pass(step, learner.config.method, time.perf_counter() - begin)

    def _weights(self, step):
        """Returns the weights of the grown head by name."""
        learner, head = self.learner, head_of(self.learner.classifier)
        images, labels = step.examples.images, step.examples.labels
        of_classes = [
            images[labels == label]
            for label in range(step.num_old_classes, step.num_classes)
        ]
        kernel, bias = np.asarray(head.kernel), np.asarray(head.bias)
        unit_kernel, unit_bias = learner.method.columns(
            [learner.own_features(chosen) for chosen in of_classes],
            [learner.logits(chosen) for chosen in of_classes],
            np.linalg.norm(kernel, axis=0).mean(),
        )
        if hasattr(head, "unit_kernel"):
            unit_kernel = np.concatenate([head.unit_kernel, unit_kernel], axis=1)
            unit_bias = np.concatenate([head.unit_bias, unit_bias])
        return {
            "kernel": kernel,
            "bias": bias,
            "unit_kernel": np.asarray(unit_kernel, np.float32),
            "unit_bias": np.asarray(unit_bias, np.float32),
        }
