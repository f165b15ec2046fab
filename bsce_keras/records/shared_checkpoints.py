"""Checkpoints of a run with several workers: one folder, which only the chief uses."""


class SharedCheckpoints:
    """Checkpoints that every worker may use.

    Only the chief reads and writes, and sends what it read to the other workers. The
    workers therefore need not share a file system.

    Args:
        checkpoints: `Checkpoints` that the chief uses.
        workers: `Workers`.
    """

    def __init__(self, checkpoints, workers):
        self._checkpoints = checkpoints
        self._workers = workers

    def save_state(self, step, arrays):
        """Calls `Checkpoints.save_state`; only the chief may call it."""
        self._checkpoints.save_state(step, arrays)

    def load_state(self, step):
        """Calls `Checkpoints.load_state`; only the chief may call it."""
        return self._checkpoints.load_state(step)

    def save_progress(self, *progress):
        """Calls `Checkpoints.save_progress` on the chief only."""
        if self._workers.is_chief:
            self._checkpoints.save_progress(*progress)

    def drop_leftovers(self):
        """Calls `Checkpoints.drop_leftovers` on the chief only."""
        if self._workers.is_chief:
            self._checkpoints.drop_leftovers()

    def load_arrays(self, step):
        """Returns the arrays of a finished step; all workers must call it."""
        arrays, _ = self._workers.arrays_from_chief(
            lambda: (self._checkpoints.load_step(step)[0], None)
        )
        return arrays

    def load_progress(self, step, phase):
        """Returns `Checkpoints.load_progress(...)`; all workers must call it."""
        arrays, state = self._workers.arrays_from_chief(
            lambda: self._checkpoints.load_progress(step, phase) or ({}, None)
        )
        return None if state is None else (arrays, state)
