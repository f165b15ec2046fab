"""How far a step is: what a checkpoint within a step holds."""

from bsce_keras.learner.checkpoints import pack, unpack


class StepProgress:
    """How far a phase of a step is, saved after every epoch.

    Args:
        checkpoints: `Checkpoints`.
        phase: the `Phase`.
        trainer: the `IncrementalTrainer` whose state is saved.

    Attributes:
        seconds: training time of the phase so far.
        alphas: alpha after every update that moved it.
    """

    def __init__(self, checkpoints, phase, trainer):
        self._checkpoints = checkpoints
        self._trainer = trainer
        self._phase = phase
        self.seconds = 0.0
        self.alphas = []

    def restore(self):
        """Puts the last saved state back; returns the epoch to go on with."""
        loaded = self._checkpoints.load_progress(self._phase.step, self._phase.name)
        if loaded is None:
            return 0
        arrays, state = loaded
        for prefix, variables in self._variables().items():
            saved = unpack(prefix, arrays)
            for variable, value in zip(variables, saved, strict=True):
                variable.assign(value)
        self.seconds, self.alphas = state["seconds"], state["alphas"]
        return state["epoch"]

    def save(self, next_epoch, alphas, seconds):
        """Saves everything the rest of the phase depends on."""
        self.seconds += seconds
        self.alphas += alphas
        arrays = {}
        for prefix, variables in self._variables().items():
            arrays |= pack(prefix, [variable.numpy() for variable in variables])
        state = {"epoch": next_epoch, "seconds": self.seconds, "alphas": self.alphas}
        self._checkpoints.save_progress(
            self._phase.step, self._phase.name, next_epoch, arrays, state
        )

    def _variables(self):
        learned_alpha = self._trainer.learned_alpha
        return {
            "student": self._trainer.student.variables,
            "optimizer": self._trainer.optimizer.variables,
            "alpha": learned_alpha.variables if learned_alpha else [],
        }
