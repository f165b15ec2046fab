"""PhaseProgress: state of a phase, saved in the checkpoints within a step."""

import dataclasses
import time

import numpy as np

from bsce_keras.runtime.array_files import pack, unpack


@dataclasses.dataclass
class EpochSums:
    """Sums of the logs of an unfinished epoch.

    The logs of an update stay on the device until they are needed, because reading
    them waits for the device. Sums are taken in the order of the updates. An
    interrupted epoch therefore has the same bits.

    Args:
        num_updates: number of finished updates.
        totals: sum of each logged term over these updates.
        alphas: alpha after every one of these updates that moved it.
        alpha_gradients: gradient of alpha in each update that moved it.
    """

    num_updates: int = 0
    totals: dict[str, float] = dataclasses.field(default_factory=dict)
    alphas: list[float] = dataclasses.field(default_factory=list)
    alpha_gradients: list[float] = dataclasses.field(default_factory=list)
    _pending: list = dataclasses.field(default_factory=list)

    def add(self, logs):
        """Adds the logs of the next update, scalar tensors by name."""
        self.num_updates += 1
        self._pending.append(logs)

    @property
    def last(self):
        """Logs of the last update; empty if they are not known."""
        return self._pending[-1] if self._pending else {}

    def means(self):
        """Returns the mean of each term over the updates so far."""
        self._settle()
        return {name: sum_ / self.num_updates for name, sum_ in self.totals.items()}

    def alpha_means(self):
        """Returns the last alpha, and mean and deviation of its gradient.

        Returns:
            Dictionary with `alpha`, `alpha_updates` (number of updates that moved it),
            `alpha_gradient_mean` and `alpha_gradient_std` (population standard
            deviation). Empty without such an update.
        """
        self._settle()
        if not self.alphas:
            return {}
        return {
            "alpha": self.alphas[-1],
            "alpha_updates": len(self.alphas),
            "alpha_gradient_mean": float(np.mean(self.alpha_gradients)),
            "alpha_gradient_std": float(np.std(self.alpha_gradients)),
        }

    def to_state(self):
        """Returns plain numbers for checkpoints."""
        self._settle()
        return {
            "num_updates": self.num_updates,
            "totals": self.totals,
            "alphas": self.alphas,
            "alpha_gradients": self.alpha_gradients,
        }

    def _settle(self):
        for logs in self._pending:
            values = {name: float(value) for name, value in logs.items()}
            if "alpha" in values:
                self.alphas.append(values.pop("alpha"))
                self.alpha_gradients.append(values.pop("alpha_gradient"))
            for name, value in values.items():
                self.totals[name] = self.totals.get(name, 0.0) + value
        self._pending = []


class PhaseProgress:
    """State of a phase: weights, optimizer, alpha, position and logged values.

    Args:
        checkpoints: `Checkpoints`.
        phase: the `PhasePlan`.
        trainer: the `IncrementalTrainer` whose state is saved.
        save_minutes: training time between two saves, in minutes.

    Attributes:
        epoch: number of the current epoch, from 0.
        sums: `EpochSums` of this epoch.
        history: means of every finished epoch, as logged.
        alphas: alpha after every update of the finished epochs that moved it.
    """

    def __init__(self, checkpoints, phase, trainer, save_minutes):
        self._checkpoints = checkpoints
        self._trainer = trainer
        self._phase = phase
        self._save_seconds = 60.0 * save_minutes
        self._seconds = 0.0
        self._since = self._saved_at = time.perf_counter()
        self.epoch = 0
        self.sums = EpochSums()
        self.history = []
        self.alphas = []

    @property
    def seconds(self):
        """Training time of the phase in seconds, over all processes that trained it."""
        return self._seconds + time.perf_counter() - self._since

    @property
    def is_due(self):
        """True if the time between two saves has passed."""
        return time.perf_counter() - self._saved_at >= self._save_seconds

    def restore(self):
        """Restores the last saved state; returns False if there is none."""
        loaded = self._checkpoints.load_progress(self._phase.step, self._phase.name)
        if loaded is None:
            return False
        arrays, state = loaded
        for prefix, variables in self._variables().items():
            saved = unpack(prefix, arrays)
            for variable, value in zip(variables, saved, strict=True):
                variable.assign(value)
        self._seconds = state["seconds"]
        self._since = self._saved_at = time.perf_counter()
        self.epoch = state["epoch"]
        self.sums = EpochSums(**state["sums"])
        self.history, self.alphas = state["history"], state["alphas"]
        return True

    def finish_epoch(self, means):
        """Records the means of an epoch and moves to the next one."""
        self.history.append(means)
        self.alphas += self.sums.alphas
        self.epoch += 1
        self.sums = EpochSums()

    def save(self):
        """Saves all state that the rest of the phase depends on."""
        arrays = {}
        for prefix, variables in self._variables().items():
            arrays |= pack(prefix, [variable.numpy() for variable in variables])
        state = {
            "epoch": self.epoch,
            "sums": self.sums.to_state(),
            "history": self.history,
            "alphas": self.alphas,
            "seconds": self.seconds,
        }
        self._checkpoints.save_progress(
            self._phase.step,
            self._phase.name,
            self.epoch,
            arrays,
            state,
            self.sums.num_updates,
        )
        self._saved_at = time.perf_counter()

    def _variables(self):
        learned_alpha = self._trainer.learned_alpha
        return {
            "student": self._trainer.student.variables,
            "optimizer": self._trainer.optimizer.variables,
            "alpha": learned_alpha.variables if learned_alpha else [],
        }
