"""AdoptionPhase: a trained classifier becomes the base step; nothing is trained."""

import time

import numpy as np

from bsce_keras.learner.growth import new_classifier
from bsce_keras.learner.step_phase import StepPhase
from bsce_keras.learner.step_warnings import warn_of_misspelt_classes
from bsce_keras.learner.training_stats import TrainingStats
from bsce_keras.models.saved_classifier import cut_classifier


class AdoptionPhase(StepPhase):
    """Takes over a saved classifier at the base step, then chooses exemplars.

    Its last dense layer becomes the head, so that predictions stay the same.
    """

    name = "adoption"

    def applies(self, step):
        return step.index == 0

    def run(self, step, memory, stats):
        learner = self.learner
        config, begin = learner.config, time.perf_counter()
        saved = cut_classifier(
            config.model.backbone_path, config.model.backbone_image(config.stream.image)
        )
        method = learner.method
        head = method.training_head(step.num_old_classes, step.num_new_classes)
        with learner.runtime.strategy.scope():
            classifier = new_classifier(config, method.variant, head)
        head.kernel.assign(saved.kernel)
        head.bias.assign(saved.bias)
        learner.adopt(classifier)
        memory.update(step, learner.features)
        counts = np.bincount(step.examples.labels, minlength=step.num_classes)
        later = config.stream.arriving_class_names[step.num_classes :]
        warn_of_misspelt_classes(step, counts, later)
        return TrainingStats(
            train_images=len(step.examples),
            class_counts=counts.tolist(),
            epochs=0,
            train_seconds=time.perf_counter() - begin,
            images_per_second=0.0,
        )
