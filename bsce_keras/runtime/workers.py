"""Workers: communication between the processes of one run.

One of them, the chief, reads and writes the run folder and sends data to the others.
All workers must call the same methods in the same order, because each call is a sum
over all workers. A call that one worker makes without the others waits forever.
"""

import contextlib
import io
import json

import numpy as np
import tensorflow as tf

from bsce_keras.runtime.errors import RequestError, RunError
from bsce_keras.runtime.signals import Stopped

# Largest number of bytes per message.
_MOST_BYTES = 2**26


class Workers:
    """Workers of a strategy; a single one if it is not a multi-worker strategy.

    Args:
        strategy: `tf.distribute` strategy.

    Attributes:
        number: number of workers.
        index: index of this process among them.
    """

    def __init__(self, strategy):
        resolver = strategy.cluster_resolver
        self.number, self.index = 1, 0
        if resolver is not None:
            self.number = resolver.cluster_spec().num_tasks("worker")
            self.index = resolver.task_id
        self._strategy = strategy
        self._num_local = strategy.num_replicas_in_sync // self.number
        self._sum = None

    @property
    def is_chief(self):
        """True if this process reads and writes the run folder."""
        return self.index == 0

    @property
    def local_replicas(self):
        """Range of the numbers of this worker's replicas."""
        first = self.index * self._num_local
        return range(first, first + self._num_local)

    def from_chief(self, make):
        """Returns the result of `make()` on the chief; the others do not call it.

        Args:
            make: function without arguments that returns a JSON value.

        Raises:
            RequestError, Stopped: `make()` raised it on the chief.
        """
        return self.arrays_from_chief(lambda: ({}, make()))[1]

    def array_from_chief(self, make):
        """Does the same as `from_chief` for an array."""
        return self.arrays_from_chief(lambda: ({"array": make()}, None))[0]["array"]

    def arrays_from_chief(self, make):
        """Does the same as `from_chief` for `(named arrays, JSON value)`."""
        if self.number == 1:
            return make()
        answer, failure = None, None
        if self.is_chief:
            try:
                answer = make()
            except (RequestError, Stopped) as error:
                failure = error
        sent = self._sent(_encoded(answer or ({}, None), failure))
        if failure:
            raise failure
        if self.is_chief:
            return answer
        arrays, value, failure = _decoded(sent)
        if failure:
            raise failure
        return arrays, value

    def told(self, number):
        """Returns the non-negative numbers of all workers, as a list by index."""
        if self.number == 1:
            return [number]
        row = np.zeros(self.number, np.int64)
        row[self.index] = number
        return self._total(row).tolist()

    def wait(self):
        """Waits until every worker calls it."""
        self.told(0)

    def refuse_unlike(self, ours, differences, what):
        """Refuses to train if a worker has another value than the chief.

        Args:
            ours: JSON value of this worker.
            differences: `(theirs, ours) -> lines` that describe the differences.
            what: name of the value in messages, such as "flags".

        Raises:
            RequestError: on every worker, if one differs from the chief.
        """
        if self.number == 1:
            return
        theirs = self.from_chief(lambda: ours)
        lines = differences(
            json.loads(json.dumps(theirs)), json.loads(json.dumps(ours))
        )
        unlike = [i for i, differs in enumerate(self.told(bool(lines))) if differs]
        if lines:
            raise RequestError(
                [
                    f"Worker {self.index} has other {what} than the chief, worker 0. "
                    f'Give all workers the same {what}. Differences ("was" is the '
                    "chief's):",
                    *lines,
                ]
            )
        if unlike:
            raise RequestError(
                f"Workers with other {what} than the chief's: "
                f"{', '.join(map(str, unlike))}. Their messages list the differences."
            )

    def _sent(self, data):
        """Returns the chief's bytes on every worker."""
        size = sum(self.told(len(data) if self.is_chief else 0))
        parts = []
        for start in range(0, size, _MOST_BYTES):
            length = min(_MOST_BYTES, size - start)
            words = np.zeros(-(-length // 8), np.int64)
            if self.is_chief:
                words.view(np.uint8)[:length] = np.frombuffer(
                    data, np.uint8, length, start
                )
            parts.append(self._total(words).tobytes()[:length])
        return b"".join(parts)

    def _total(self, values):
        """Returns the exact sum of an int64 vector over workers."""
        if self._sum is None:
            self._sum = self._make_sum()
        return self._sum(tf.constant(values)).numpy()

    def _make_sum(self):
        strategy, first = self._strategy, self.local_replicas.start

        def of_replica(values):
            replica = tf.distribute.get_replica_context()
            # Only the first replica of each worker contributes.
            speaks = tf.equal(replica.replica_id_in_sync_group, first)
            values = tf.where(speaks, values, tf.zeros_like(values))
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)

        @tf.function(
            autograph=False, input_signature=[tf.TensorSpec((None,), tf.int64)]
        )
        def total(values):
            sums = strategy.run(of_replica, (values,))
            return strategy.experimental_local_results(sums)[0]

        return total


@contextlib.contextmanager
def lost_workers_told(workers):
    """Turns TensorFlow's error of a lost worker into a `RunError`."""
    try:
        yield
    except tf.errors.OpError as error:
        is_lost = isinstance(error, tf.errors.UnavailableError)
        is_lost = is_lost or "Collective ops is aborted" in str(error)
        if workers.number == 1 or not is_lost:
            raise
        raise RunError(
            f"worker {workers.index} of {workers.number} (0 is the chief) has lost the "
            "others: one of them ended or cannot be reached, and its last message "
            "gives the reason. Start all workers again with the same command; the run "
            "goes on from its last save."
        ) from error


def _encoded(answer, failure):
    """Returns `(arrays, value)` and a failure or None as bytes, without pickles."""
    arrays, value = answer
    told = None
    if isinstance(failure, RequestError):
        told = {"problems": failure.problems}
    elif failure is not None:
        told = {"message": str(failure), "signum": failure.signum}
    text = json.dumps([sorted(arrays), value, told]).encode()
    numbered = {str(i): arrays[name] for i, name in enumerate(sorted(arrays))}
    buffer = io.BytesIO()
    np.savez(buffer, text=np.frombuffer(text, np.uint8), **numbered)
    return buffer.getvalue()


def _decoded(data):
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        names, value, told = json.loads(file["text"].tobytes())
        arrays = {name: file[str(i)] for i, name in enumerate(names)}
    failure = None
    if told is not None:
        failure = RequestError(**told) if "problems" in told else Stopped(**told)
    return arrays, value, failure
