"""Checkpoints of a run that several workers train: one folder, which the chief has."""


class SharedCheckpoints:
    """What the learner needs of `Checkpoints`, on every worker.

    The chief alone reads and writes; the others get what it read. No file system has to
    be shared for that, and none can be late to show what was written.

    Args:
        checkpoints: `Checkpoints`, used on the chief.
        workers: `Workers`.
    """

    def __init__(self, checkpoints, workers):
        self._checkpoints = checkpoints
        self._workers = workers

    def save_step(self, step, arrays, state):
        """As `Checkpoints.save_step`, on the chief; nothing elsewhere."""
        if self._workers.is_chief:
            self._checkpoints.save_step(step, arrays, state)

    def save_progress(self, *progress):
        """As `Checkpoints.save_progress`, on the chief; nothing elsewhere."""
        if self._workers.is_chief:
            self._checkpoints.save_progress(*progress)

    def drop_leftovers(self):
        """As `Checkpoints.drop_leftovers`, on the chief; nothing elsewhere."""
        if self._workers.is_chief:
            self._checkpoints.drop_leftovers()

    def finished_states(self):
        """As `Checkpoints.finished_states`; all workers have to ask."""
        return self._workers.from_chief(self._checkpoints.finished_states)

    def load_step(self, step):
        """As `Checkpoints.load_step`; all workers have to ask."""
        return self._shared(lambda: self._checkpoints.load_step(step))

    def load_progress(self, step, phase):
        """As `Checkpoints.load_progress`; all workers have to ask."""
        return self._shared(lambda: self._checkpoints.load_progress(step, phase))

    def _shared(self, load):
        arrays, state = self._workers.arrays_from_chief(lambda: load() or ({}, None))
        return None if state is None else (arrays, state)
