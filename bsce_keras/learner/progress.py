"""Progress line and TensorBoard scalars of a training phase."""

import contextlib
import pathlib
import sys
import time

import keras
import tensorflow as tf
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bsce_keras.learner.trainer import TRAIN_ACCURACY
from bsce_keras.runtime.tensorflow_errors import as_os_errors
from bsce_keras.runtime.text import duration

_WIDTH = 80
# Fields of steps.jsonl that TensorBoard shows.
STEP_SCALARS = (
    *("accuracy", "base_accuracy", "old_accuracy", "new_accuracy"),
    *("alpha", "images_per_second"),
)


class ProgressLine(keras.callbacks.Callback):
    """Line of at most 80 characters per epoch.

    It has step, epoch, loss, training accuracy and images per second. The time left in
    this phase and in the whole run follows, as in `1:20/2:10:00 left`. It is estimated
    by the pace of this epoch and the one before, so that it recovers from a pause.
    Later steps are assumed to be as fast. Loss terms are shown as far as they fit;
    TensorBoard has all.

    On a terminal that moves its cursor the line is live. Elsewhere it is printed at the
    end of every epoch, and once a minute in between.

    Args:
        title: phase and step.
        images_per_epoch: size of the training pool.
        images_after: number of images that later steps train on, over all epochs.
    """

    REFRESH_SECONDS = 0.5
    PRINT_SECONDS = 60

    def __init__(self, title, images_per_epoch, images_after=0):
        super().__init__()
        self._title = title
        self._images_per_epoch = images_per_epoch
        self._images_after = images_after
        self._console = Console(file=sys.stdout, highlight=False)
        self._live = None
        # Time and number of updates at the begin of the last two epochs.
        self._begins = []

    def on_epoch_begin(self, epoch, logs=None):
        now = time.perf_counter()
        if not self._begins:
            # A resumed epoch begins with the updates that it lacks.
            self._updates, self._shown = 0, now
        self._begins = [*self._begins[-1:], (now, self._updates)]
        self._epoch, self._epoch_begin, self._epoch_updates = epoch, now, 0
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def on_train_batch_end(self, batch, logs=None):
        self._updates += 1
        self._epoch_updates += 1
        now = time.perf_counter()
        pause = self.PRINT_SECONDS if self._live is None else self.REFRESH_SECONDS
        is_last = batch + 1 == self.params["steps"]
        if not is_last and now - self._shown >= pause:
            self._show(self._line((batch + 1) / self.params["steps"], logs))

    def on_epoch_end(self, epoch, logs=None):
        self._show(self._line(1.0, logs))
        self.on_train_end()

    def on_train_end(self, logs=None):
        # A failed epoch leaves the live line running, which hides the cursor.
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self, line):
        self._shown = time.perf_counter()
        if self._live is None:
            self._console.print(Text(line), soft_wrap=True)
        else:
            self._live.update(Text(line), refresh=True)

    def _line(self, done, logs):
        now = time.perf_counter()
        share = self._images_per_epoch / self.params["steps"]
        speed = share * self._epoch_updates / max(now - self._epoch_begin, 1e-9)
        images_left = self._images_per_epoch * (
            self.params["epochs"] - self._epoch - done
        )
        begin, updates_before = self._begins[0]
        pace = (now - begin) / max(share * (self._updates - updates_before), 1)
        left = duration(pace * images_left)
        if self._images_after:
            left += f"/{duration(pace * (images_left + self._images_after))}"
        terms = {name: float(value) for name, value in logs.items()}
        accuracy = terms.pop(TRAIN_ACCURACY, None)
        optional = [
            f"loss {terms.pop('loss'):.3g}",
            *([] if accuracy is None else [f"train acc {100 * accuracy:.1f}%"]),
            f"{speed:.0f} images/s",
            *(
                f"{name} {value:.3g}"
                for name, value in terms.items()
                if not name.startswith("alpha_")
            ),
        ]
        head = f"{self._title}  epoch {self._epoch + 1}/{self.params['epochs']}"
        return _fitted(head, optional, f"{left} left")


def _fitted(head, optional, tail):
    """Returns a line of head, the optional parts that fit, and tail."""
    parts = [head]
    for part in optional:
        if len("  ".join([*parts, part, tail])) <= _WIDTH:
            parts.append(part)
    return "  ".join([*parts, tail])


class ScalarLog(keras.callbacks.Callback):
    """Means and images per second of every epoch as TensorBoard scalars.

    Scalars of an earlier process are deleted and written again from the checkpoint, so
    that each value occurs once.

    Args:
        folder: folder of the phase, inside the run's `tensorboard/` folder.
        history: means of the earlier epochs, one dictionary each.
        alphas: alpha after every update of these epochs that moved it.
        images_per_epoch: size of the training pool; 0 leaves the speed out.
    """

    def __init__(self, folder, history=(), alphas=(), images_per_epoch=0):
        super().__init__()
        self._folder = folder
        self._images_per_epoch = images_per_epoch
        self._begin = None
        self._writer = _fresh_writer(folder)
        for epoch, means in enumerate(history):
            self.on_epoch_end(epoch, means)
        self.log_alphas(alphas, 0)

    def on_epoch_begin(self, epoch, logs=None):
        self._begin, self._updates = time.perf_counter(), 0

    def on_train_batch_end(self, batch, logs=None):
        self._updates += 1

    def on_epoch_end(self, epoch, logs=None):
        speed = {}
        if self._begin is not None and self._images_per_epoch:
            images = self._images_per_epoch * self._updates / self.params["steps"]
            seconds = max(time.perf_counter() - self._begin, 1e-9)
            speed = {"images_per_second": images / seconds}
        with self._written():
            for name, value in {**logs, **speed}.items():
                tf.summary.scalar(name, value, step=epoch)

    def log_alphas(self, alphas, first):
        """Writes alpha after every update that moved it, numbered from `first`."""
        with self._written():
            for number, alpha in enumerate(alphas, start=first):
                tf.summary.scalar("alpha_by_update", alpha, step=number)

    @contextlib.contextmanager
    def _written(self):
        with as_os_errors(self._folder):
            with self._writer.as_default():
                yield
            self._writer.flush()


def write_step_scalars(folder, lines):
    """Writes scores of all finished steps as TensorBoard scalars, by step.

    Events that were there are replaced.

    Args:
        folder: of the events.
        lines: list of dictionaries as in steps.jsonl.

    Raises:
        OSError: the folder cannot be written.
    """
    writer = _fresh_writer(folder)
    with as_os_errors(folder):
        with writer.as_default():
            for line in lines:
                for name in STEP_SCALARS:
                    if line[name] is not None:
                        tf.summary.scalar(name, line[name], step=line["step"])
        writer.close()


def _fresh_writer(folder):
    for path in pathlib.Path(folder).glob("events.out.tfevents.*"):
        path.unlink()
    with as_os_errors(folder):
        return tf.summary.create_file_writer(str(folder))
