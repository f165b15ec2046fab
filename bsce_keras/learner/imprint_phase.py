"""ImprintPhase: new columns of the head from features of new images."""

import time

from bsce_keras.learner.growth import grown_student
from bsce_keras.learner.step_phase import StepPhase
from bsce_keras.learner.training_stats import one_pass


class ImprintPhase(StepPhase):
    """Grows the classifier by imprinted classes; nothing is trained.

    An interrupted phase starts again.
    """

    name = "imprint"

    def applies(self, step):
        return step.index > 0

    def run(self, step, memory, stats):
        learner = self.learner
        begin = time.perf_counter()
        with learner.runtime.strategy.scope():
            student = grown_student(learner, step, step.examples)
        learner.adopt(student)
        memory.update(step, learner.features)
        return one_pass(step, learner.config.method, time.perf_counter() - begin)
