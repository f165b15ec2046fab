"""What a user sees and keeps of training: a progress line, TensorBoard scalars."""

import contextlib
import pathlib
import sys
import time

import keras
import tensorflow as tf
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bsce_keras.runtime.tensorflow_errors import as_os_errors
from bsce_keras.runtime.text import duration


class ProgressLine(keras.callbacks.Callback):
    """One line per epoch: step, epoch, loss terms, images per second, time left.

    On a terminal the line is live; elsewhere it is printed once an epoch.

    Args:
        title: which phase of which step.
        images_per_epoch: size of the training pool.
    """

    REFRESH_SECONDS = 0.5

    def __init__(self, title, images_per_epoch):
        super().__init__()
        self._title = title
        self._images_per_epoch = images_per_epoch
        self._console = Console(file=sys.stdout, highlight=False)
        self._live = None
        self._first_epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        now = time.perf_counter()
        if self._first_epoch is None:
            self._first_epoch, self._training_begin = epoch, now
        self._epoch, self._epoch_begin, self._shown = epoch, now, now
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self._live is None or now - self._shown < self.REFRESH_SECONDS:
            return
        self._shown = now
        done = (batch + 1) / self.params["steps"]
        self._live.update(Text(self._line(done, logs)), refresh=True)

    def on_epoch_end(self, epoch, logs=None):
        line = Text(self._line(1.0, logs))
        if self._live is None:
            self._console.print(line, soft_wrap=True)
        else:
            self._live.update(line, refresh=True)
            self._live.stop()
            self._live = None

    def on_train_end(self, logs=None):
        # Left running by an epoch that failed, it would keep the cursor hidden.
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, done, logs):
        now = time.perf_counter()
        speed = done * self._images_per_epoch / max(now - self._epoch_begin, 1e-9)
        passed = self._epoch - self._first_epoch + done
        left = self.params["epochs"] - self._epoch - done
        seconds_left = (now - self._training_begin) / passed * left
        terms = "  ".join(
            f"{name} {float(value):.3g}"
            for name, value in logs.items()
            if not name.startswith("alpha_")
        )
        return (
            f"{self._title}  epoch {self._epoch + 1}/{self.params['epochs']}  {terms}  "
            f"{speed:.0f} images/s  {duration(seconds_left)} left in this step"
        )


class ScalarLog(keras.callbacks.Callback):
    """Means of every epoch as TensorBoard scalars.

    What an earlier process wrote of the phase is written anew, from what its checkpoint
    knows, so that nothing is there twice.

    Args:
        folder: of one phase, inside the run's `tensorboard/` folder.
        history: means of the epochs before, a dictionary each.
        alphas: alpha after every update of these that moved it.
    """

    def __init__(self, folder, history=(), alphas=()):
        super().__init__()
        self._folder = folder
        for path in pathlib.Path(folder).glob("events.out.tfevents.*"):
            path.unlink()
        with as_os_errors(folder):
            self._writer = tf.summary.create_file_writer(folder)
        for epoch, means in enumerate(history):
            self.on_epoch_end(epoch, means)
        self.log_alphas(alphas, 0)

    def on_epoch_end(self, epoch, logs=None):
        with self._written():
            for name, value in logs.items():
                tf.summary.scalar(name, value, step=epoch)

    def log_alphas(self, alphas, first):
        """alpha after every update that moved it."""
        with self._written():
            for number, alpha in enumerate(alphas, start=first):
                tf.summary.scalar("alpha_by_update", alpha, step=number)

    @contextlib.contextmanager
    def _written(self):
        with as_os_errors(self._folder):
            with self._writer.as_default():
                yield
            self._writer.flush()
