"""EpochLoop: one traced update per kind, on one device or many replicas."""

import re

import keras
import tensorflow as tf

from bsce_keras.runtime.traced_graphs import release


class NotFiniteError(Exception):
    """Not-finite loss or gradient; the message names it and the last finite values."""


class EpochLoop:
    """Runs epochs of updates through `strategy.run(trainer.train_step, ...)`.

    It replaces `fit` for three reasons. Updates that move alpha alternate with plain
    ones, a resumed epoch continues within the data, and Keras's `fit` does not run on
    several workers. Keras callbacks get the calls that `fit` makes in training.
    `stop_training` has no effect. Use it as a context, which begins and ends training
    for the callbacks.

    Args:
        trainer: compiled `IncrementalTrainer`, built inside the strategy's scope.
        training_input: `TrainingInput`.
        split_input: `TrainingInput` of the alpha split, or None.
        alpha_every: every how many updates alpha moves; the first update moves it.
        strategy: `tf.distribute` strategy.
        callbacks: Keras callbacks. `on_train_batch_end` gets tensors instead of
            floats, because reading one waits for the device.
        num_epochs: number of epochs, for callbacks that show progress.
    """

    def __init__(
        self,
        trainer,
        training_input,
        split_input,
        alpha_every,
        strategy,
        callbacks,
        num_epochs,
    ):
        self._trainer = trainer
        self._input = training_input
        self._split_input = split_input
        self._alpha_every = alpha_every
        self._strategy = strategy
        self._callbacks = keras.callbacks.CallbackList(
            callbacks,
            model=trainer,
            epochs=num_epochs,
            steps=training_input.updates_per_epoch,
        )

        # Python control flow does not depend on tensors, so AutoGraph is not needed.
        @tf.function(autograph=False)
        def plain_update(batches):
            return strategy.run(trainer.train_step, (self._next(batches),))

        @tf.function(autograph=False)
        def alpha_update(batches, split_batches):
            batch = (*self._next(batches), *self._next(split_batches))
            return strategy.run(trainer.train_step, (batch,))

        self._updates = {False: plain_update, True: alpha_update}
        self._traced = {}

    @property
    def num_traces(self):
        """Number of traces of each kind of update, `(plain, alpha)`; at most 1 each."""
        return tuple(
            update.experimental_get_tracing_count() for update in self._updates.values()
        )

    def __enter__(self):
        self._callbacks.on_train_begin()
        return self

    def __exit__(self, *_):
        self._callbacks.on_train_end()
        for traced in self._traced.values():
            release(traced)

    def run_epoch(self, epoch, learning_rate, sums, after_update=None):
        """Runs one epoch, or the rest of one, at one learning rate.

        Callbacks get the mean of each term over the epoch's updates, the rate, and the
        values of `EpochSums.alpha_means`.

        Args:
            epoch: number of the epoch, from 0.
            learning_rate: rate of all updates of the epoch.
            sums: `EpochSums` of the updates already done. It takes in the others.
            after_update: called without arguments after every update.

        Returns:
            The means, as the callbacks got them.

        Raises:
            NotFiniteError: a loss or gradient is not finite; names epoch and update.
            OSError: images cannot be read from the disk.
        """
        self._trainer.optimizer.learning_rate = learning_rate
        done = sums.num_updates
        first = epoch * self._input.updates_per_epoch
        updates = range(done, self._input.updates_per_epoch)
        moves = [self._moves_alpha(first + update) for update in updates]
        batches = iter(self._input.epoch(epoch, done))
        split_batches = self._split_batches(first + done, sum(moves))
        self._callbacks.on_epoch_begin(epoch)
        for update, moves_alpha in zip(updates, moves, strict=True):
            self._callbacks.on_train_batch_begin(update)
            iterators = (batches, split_batches) if moves_alpha else (batches,)
            try:
                logs = self._local(self._update(moves_alpha, iterators)(*iterators))
            except tf.errors.OpError as error:
                reason = self._input_failure() or _not_finite(
                    error, epoch, update, sums.last
                )
                raise reason or error from None
            sums.add(logs)
            self._callbacks.on_train_batch_end(update, logs)
            if after_update is not None:
                after_update()
        means = {
            **sums.means(),
            "learning_rate": learning_rate,
            **sums.alpha_means(),
        }
        self._callbacks.on_epoch_end(epoch, means)
        return means

    def _update(self, moves_alpha, iterators):
        """Returns the traced update of a kind; all epochs' iterators have one type."""
        if moves_alpha not in self._traced:
            update = self._updates[moves_alpha]
            self._traced[moves_alpha] = update.get_concrete_function(*iterators)
        return self._traced[moves_alpha]

    def _input_failure(self):
        inputs = (self._input, self._split_input)
        return next((one.failure for one in inputs if one and one.failure), None)

    def _moves_alpha(self, update):
        return self._split_input is not None and update % self._alpha_every == 0

    def _split_batches(self, first_update, num_batches):
        if self._split_input is None:
            return None
        already = -(-first_update // self._alpha_every)
        return iter(self._split_input.cycle(already, num_batches))

    def _next(self, batches):
        """Takes an element per replica of this worker; returns images and labels.

        A distributed iterator would do it too. Deleting one, at the end of an epoch,
        waits up to a minute for a sleeping thread of its autotuner.
        """
        distributed = self._strategy.experimental_distribute_values_from_function
        return distributed(lambda _: next(batches))

    def _local(self, logs):
        """Returns the first replica's logs; all replicas have the same."""
        return {
            name: self._strategy.experimental_local_results(value)[0]
            for name, value in logs.items()
        }


def _not_finite(error, epoch, update, last):
    """Returns the `NotFiniteError` of a failed check; None for other failures."""
    found = re.search(r"(the [^:\n]+) : Tensor had (\w+)", str(error))
    if not found:
        return None
    finite = ", ".join(f"{name} {float(value):.4g}" for name, value in last.items())
    return NotFiniteError(
        f"epoch {epoch + 1}, update {update + 1}: {found[1]} is {found[2]}; last "
        f"finite values of this epoch: {finite or 'none'}"
    )
