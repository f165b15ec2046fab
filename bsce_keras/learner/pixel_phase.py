"""PixelPhase: optimises the pixels of the memory's exemplars."""

import dataclasses
import time

import numpy as np

from bsce_keras.learner.exemplar_pixels import optimized_exemplars
from bsce_keras.learner.step_phase import StepPhase
from bsce_keras.models.classifier import head_of
from bsce_keras.models.folding import folded
from bsce_keras.runtime.text import duration


class PixelPhase(StepPhase):
    """Optimises the pixels of exemplars for the method's `PixelObjective`.

    The network runs in inference mode and in float32, independent of the training
    precision. The chief does the work; other workers wait for its images.
    """

    name = "pixels"

    def run(self, step, memory, stats):
        exemplars = memory.examples()
        if exemplars is None:
            return stats
        begin = time.perf_counter()
        workers = self.learner.runtime.workers
        images = workers.array_from_chief(lambda: self._optimized(step, exemplars))
        memory.replace_images(images)
        seconds = stats.train_seconds + time.perf_counter() - begin
        return dataclasses.replace(stats, train_seconds=seconds)

    def _optimized(self, step, exemplars):
        learner = self.learner
        begin = time.perf_counter()
        title = f"step {step.index}/{len(learner.plans) - 1} exemplars"
        print(f"{title}  optimising the pixels of {len(exemplars)}")
        network = folded(learner.classifier, "float32")
        images = optimized_exemplars(
            learner.run,
            step,
            exemplars,
            lambda images: network(images, training=False)["features"],
            learner.method.pixel_objective(head_of(network)),
        )
        change = np.abs(images.astype(np.int16) - exemplars.images).mean()
        print(
            f"{title}  changed by {change:.1f} grey levels on average in "
            f"{duration(time.perf_counter() - begin)}"
        )
        return images
