"""FirstPhase: training at the base step, for methods whose increments train nothing."""

from bsce_keras.learner.main_phase import MainPhase


class FirstPhase(MainPhase):
    """Main phase of the base step only; increments train nothing."""

    def applies(self, step):
        return step.index == 0 and super().applies(step)
