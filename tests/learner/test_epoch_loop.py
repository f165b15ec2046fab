"""EpochLoop: kinds of updates, resumed epochs, callbacks, and values not finite."""

import os
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.data.stored_images import ImageFile, StoredImages
from bsce_keras.learner.epoch_loop import EpochLoop, NotFiniteError
from bsce_keras.learner.phase_progress import EpochSums

IMAGE = ImageSpec(
    size=4, stored_size=4, channels=1, flip=False, mean=(0.5,), std=(0.3,)
)


class Trainer:
    """Stands in for `IncrementalTrainer`; its loss is the sum of a batch's labels.

    Its alpha is the sum of the labels of the alpha split's batch.

    Args:
        bad_loss: value of the loss that is replaced by infinity, or None.
    """

    def __init__(self, bad_loss=None):
        self.bad_loss = bad_loss
        self.optimizer = types.SimpleNamespace(learning_rate=None)

    def train_step(self, batch):
        total = tf.cast(tf.reduce_sum(batch[1]), tf.float32)
        loss = total if self.bad_loss is None else self._spoiled(total)
        loss = tf.debugging.check_numerics(loss, "the loss term 'classification'")
        if len(batch) < 4:
            return {"loss": loss}
        return {"loss": loss, "alpha": tf.reduce_sum(batch[3]), "alpha_gradient": loss}

    def _spoiled(self, total):
        return tf.where(tf.equal(total, self.bad_loss), np.inf, total)


class Logs(keras.callbacks.Callback):
    """Records the loss of every update, and the logs of every epoch."""

    def __init__(self):
        super().__init__()
        self.losses, self.epochs = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(logs)


def make_input(images=None):
    """Returns batches of 4 of 10 images, whose labels are powers of 2."""
    if images is None:
        images = np.zeros((10, 4, 4, 1), np.uint8)
    pool = Examples(images, 2 ** np.arange(10), np.arange(10))
    return TrainingInput(pool, IMAGE, 4, seed=1, step=1)


def make_loop(trainer=None, has_split=False, alpha_every=1, inputs=None, callbacks=()):
    """Returns a loop of 3 updates per epoch, the last one with 2 of 10 images."""
    inputs = inputs or [make_input() for _ in range(2)]
    logs = Logs()
    loop = EpochLoop(
        trainer or Trainer(),
        inputs[0],
        inputs[1] if has_split else None,
        alpha_every,
        tf.distribute.get_strategy(),
        [logs, *callbacks],
        num_epochs=2,
    )
    return loop, logs


@pytest.mark.parametrize(("alpha_every", "moves"), [(2, [2, 1]), (3, [1, 1])])
def test_alpha_moves_at_every_nth_update_of_the_phase(alpha_every, moves):
    loop, _ = make_loop(has_split=True, alpha_every=alpha_every)
    sums = [EpochSums(), EpochSums()]
    for epoch in range(2):
        loop.run_epoch(epoch, 0.1, sums[epoch])
    assert [each.alpha_means()["alpha_updates"] for each in sums] == moves


def test_updates_of_alpha_take_the_batches_of_the_alpha_split_in_turn():
    """Updates 0, 2 and 4 move alpha; a resumed epoch goes on with the next batch."""
    expected = [sum(labels.numpy()) for _, labels in make_input().cycle(0, 3)]
    loop, _ = make_loop(has_split=True, alpha_every=2)
    sums = [EpochSums(), EpochSums()]
    for epoch in range(2):
        loop.run_epoch(epoch, 0.1, sums[epoch])
        sums[epoch].means()
    assert [sums[0].alphas, sums[1].alphas] == [expected[:2], expected[2:]]
    loop, _ = make_loop(has_split=True, alpha_every=2)
    for epoch, left in ((0, expected[1:2]), (1, expected[2:])):
        rest = EpochSums(num_updates=1)
        loop.run_epoch(epoch, 0.1, rest)
        assert rest.to_state()["alphas"] == left


def test_alpha_does_not_move_without_an_alpha_split():
    loop, _ = make_loop()
    assert "alpha" not in loop.run_epoch(0, 0.1, EpochSums())


def test_resumed_epoch_sees_the_rest_of_its_batches():
    loop, whole = make_loop()
    loop.run_epoch(1, 0.1, EpochSums())
    loop, rest = make_loop()
    loop.run_epoch(1, 0.1, EpochSums(num_updates=1))
    assert rest.losses == whole.losses[1:]
    assert sum(whole.losses) == 2**10 - 1  # every image once


def test_every_epoch_has_its_own_order():
    loop, logs = make_loop()
    for epoch in range(2):
        loop.run_epoch(epoch, 0.1, EpochSums())
    batches = [labels for epoch in range(2) for _, labels in make_input().epoch(epoch)]
    assert logs.losses == [sum(labels.numpy()) for labels in batches]
    assert logs.losses[:3] != logs.losses[3:]


def test_callbacks_get_the_means_of_the_epoch_and_its_rate():
    trainer = Trainer()
    loop, logs = make_loop(trainer)
    with loop:
        means = loop.run_epoch(0, 0.25, EpochSums())
    assert logs.epochs == [means]
    assert means == {"loss": (2**10 - 1) / 3, "learning_rate": 0.25}
    assert trainer.optimizer.learning_rate == 0.25


class Calls(keras.callbacks.Callback):
    """Records the moment and the number of every call."""

    def __init__(self):
        super().__init__()
        self.made = []
        for moment in ("train", "epoch", "train_batch"):
            for end in ("begin", "end"):
                setattr(self, f"on_{moment}_{end}", self._recorder(f"{moment}_{end}"))

    def _recorder(self, moment):
        return lambda number, logs=None: self.made.append((moment, number))


def test_callbacks_get_the_calls_of_fit():
    calls = Calls()
    loop, _ = make_loop(callbacks=[calls])
    with loop:
        loop.run_epoch(1, 0.25, EpochSums(num_updates=1))
    batches = [(f"train_batch_{end}", n) for n in (1, 2) for end in ("begin", "end")]
    epoch = [("epoch_begin", 1), *batches, ("epoch_end", 1)]
    assert calls.made == [("train_begin", {}), *epoch, ("train_end", {})]
    assert calls.params == {"epochs": 2, "steps": 3}


def test_after_update_is_called_after_every_update():
    loop, logs = make_loop()
    seen = []
    loop.run_epoch(0, 0.1, EpochSums(), lambda: seen.append(len(logs.losses)))
    assert seen == [1, 2, 3]


def test_error_of_a_loss_that_is_not_finite_names_it_and_its_update():
    loop, logs = make_loop()
    loop.run_epoch(1, 0.1, EpochSums())
    first, second, _ = logs.losses
    loop, _ = make_loop(Trainer(bad_loss=second))
    message = r"epoch 2, update 2: the loss term 'classification' is Inf; last finite"
    sums = EpochSums()
    with pytest.raises(NotFiniteError, match=f"{message}.*: loss {first:.4g}$"):
        loop.run_epoch(1, 0.1, sums)
    assert sums.num_updates == 1


@pytest.mark.parametrize("place", [0, 1], ids=["pool", "alpha split"])
def test_an_image_file_that_was_cut_off_ends_the_epoch_by_name(place, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(bytes(10 * 4 * 4))
    images = StoredImages((ImageFile(path, (10, 4, 4, 1)),), np.arange(10))
    os.truncate(path, 0)
    inputs = [make_input(), make_input()]
    inputs[place] = make_input(images)
    loop, _ = make_loop(has_split=True, inputs=inputs)
    with pytest.raises(OSError, match="cut off while it was in use.*/images"):
        loop.run_epoch(0, 0.1, EpochSums())
