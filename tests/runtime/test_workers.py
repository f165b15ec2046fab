"""Workers: communication of two processes, and a single process."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.runtime.errors import RequestError, RunError
from bsce_keras.runtime.workers import Workers, lost_workers_told

TALK = """
import sys
import numpy as np
from bsce_keras.config import TrainingConfig
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime import workers as module
from bsce_keras.runtime.devices import prepared_runtime
from bsce_keras.runtime.signals import Stopped

module._MOST_BYTES = 1000  # messages of several parts
training = TrainingConfig(1, 8, 0.1, 0.0, precision="float32", strategy="multi_worker")


def refuse():
    raise RequestError(["first", "second"])


def stop():
    raise Stopped("stopped in step 1", 15)


with prepared_runtime(training) as runtime:
    workers = runtime.workers
    index = workers.index
    assert (workers.number, workers.is_chief) == (2, index == 0)
    assert workers.local_replicas == range(index, index + 1)
    assert workers.told(2**40 + index) == [2**40, 2**40 + 1]

    asked = []
    sent = {"floats": np.arange(1001) / 7, "empty/images": np.zeros((0, 2), np.uint8)}
    arrays, value = workers.arrays_from_chief(
        lambda: asked.append(1) or (sent, {"state": [1, None, "ä"]})
    )
    assert len(asked) == (index == 0)
    assert value == {"state": [1, None, "ä"]} and set(arrays) == set(sent)
    for name, array in sent.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert workers.from_chief(lambda: None) is None

    try:
        workers.from_chief(refuse)
        raise AssertionError("not refused")
    except RequestError as error:
        assert error.problems == ["first", "second"]
    try:
        workers.from_chief(stop)
        raise AssertionError("not stopped")
    except Stopped as error:
        assert (str(error), error.exit_code) == ("stopped in step 1", 143)

    workers.refuse_unlike("same", lambda a, b: [a] * (a != b), "flags")
    try:
        workers.refuse_unlike(index, lambda a, b: ["x"] * (a != b), "y")
        raise AssertionError("not refused")
    except RequestError as error:
        print(error)
    workers.wait()
"""


def test_two_workers_exchange_numbers_arrays_refusals_and_stops(start_workers):
    chief, other = (
        worker.end() for worker in start_workers(["-c", TALK], ["-c", TALK])
    )
    assert (chief[0], other[0]) == (0, 0), chief[1] + other[1]
    assert "worker 0, the chief, which writes the run folder, waits for" in chief[1]
    assert "Workers with other y than the chief's: 1." in chief[1]
    assert "Worker 1 has other y than the chief, worker 0." in other[1]


@pytest.mark.parametrize("several", [False, True])
def test_single_process_is_the_chief(several, request):
    strategy = tf.distribute.get_strategy()
    if several:
        strategy = request.getfixturevalue("two_devices")
    workers = Workers(strategy)
    assert (workers.number, workers.index, workers.is_chief) == (1, 0, True)
    assert workers.local_replicas == range(1 + several)
    assert workers.told(7) == [7]
    features = np.ones(3)
    arrays, _ = workers.arrays_from_chief(lambda: ({"features": features}, None))
    assert arrays["features"] is features
    with pytest.raises(RequestError, match="refused on the chief"):
        workers.from_chief(refused)


def refused():
    raise RequestError("refused on the chief")


class OneOfTwo:
    number, index = 2, 1


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Connection reset by peer"),
        tf.errors.InternalError(None, None, "Collective ops is aborted by: x"),
    ],
)
def test_lost_worker_is_reported_with_a_solution(error):
    lost = pytest.raises(RunError, match="worker 1 of 2.*has lost.*same command")
    with lost, lost_workers_told(OneOfTwo()):
        raise error


def test_other_errors_are_not_changed():
    error = tf.errors.InternalError(None, None, "x")
    with pytest.raises(tf.errors.InternalError), lost_workers_told(OneOfTwo()):
        raise error
