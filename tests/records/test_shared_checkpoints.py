"""Checkpoints of a run with several workers are sent by the chief."""

import numpy as np

from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.shared_checkpoints import SharedCheckpoints
from bsce_keras.runtime import workers


class Sender:
    """`Workers` whose answers are encoded and decoded, as those of two workers."""

    is_chief = True

    def arrays_from_chief(self, make):
        arrays, value, _ = workers._decoded(workers._encoded(make(), None))
        return arrays, value


def test_the_last_step_and_its_progress_reach_every_worker(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    shared = SharedCheckpoints(checkpoints, Sender())
    weights = {"weights": np.arange(3)}
    # The state of a step holds vectors, which JSON does not.
    checkpoints.save_step(0, weights, {"class_counts": np.arange(2), "number": 1})
    shared.save_progress(1, "main", 0, weights, {"epoch": 0})
    assert shared.load_arrays(0)["weights"].tolist() == [0, 1, 2]
    arrays, state = shared.load_progress(1, "main")
    assert (arrays["weights"].tolist(), state) == ([0, 1, 2], {"epoch": 0})
    assert shared.load_progress(2, "main") is None
