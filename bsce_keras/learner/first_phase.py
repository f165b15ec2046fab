"""FirstPhase: training at the base step, for methods whose increments train nothing."""

from bsce_keras.learner.main_phase import MainPhase
from bsce_keras.learner.training_stats import TrainingStats
from bsce_keras.methods.recipes import SHARED_NETWORK


class FirstPhase(MainPhase):
    """Main phase of the base step only; increments train nothing.

    With the network of another run's base step, it trains nothing either.
    """

    def applies(self, step):
        return step.index == 0 and super().applies(step)

    def run(self, step, memory, stats, is_followed):
        learner = self.learner
        shared = learner.run.checkpoints.load_progress(step.index, SHARED_NETWORK)
        if shared is None:
            return super().run(step, memory, stats, is_followed)
        arrays, statistics = shared
        head_of = learner.method.training_head
        learner.load(step, arrays, lambda old, new, weights: head_of(old, new))
        memory.update(step, learner.features)
        return TrainingStats(**statistics)
