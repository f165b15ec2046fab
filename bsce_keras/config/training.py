"""Sections of a configuration about training: optimizer and schedules."""

import dataclasses
import math

from bsce_keras.config.checks import Checked, not_negative, one_of, positive
from bsce_keras.config.choices import (
    FOUR_TO_ONE,
    PRECISIONS,
    SAMPLING_TEXTS,
    SCHEDULES,
    STRATEGIES,
)
from bsce_keras.config.fields import setting
from bsce_keras.runtime.text import counted


@dataclasses.dataclass(frozen=True)
class FinetuningConfig(Checked):
    """Schedule of the balanced fine-tuning, which trains class weights on exemplars."""

    epochs: int
    learning_rate: float
    milestones: tuple[int, ...] = ()
    schedule: str = "multistep"


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Checked):
    """Optimizer, scaled schedule and devices of every step.

    A step whose `epochs` have fewer than `min_updates` updates gets more epochs, with
    its drops of the learning rate in proportion.

    `finetuning` is None if steps do not end with a balanced fine-tuning. If
    `rate_falls_with_steps`, the learning rate of step t is divided by t + 1. With the
    sampling `four_to_one`, an increment adds `batch_size // 4` exemplars to each batch.
    """

    epochs: int = setting(check=positive)
    batch_size: int = setting(check=positive)
    learning_rate: float = setting(check=positive)
    weight_decay: float = setting(check=not_negative)
    momentum: float = setting(0.9, flag=None)
    schedule: str = setting("multistep", flag=None, check=one_of(SCHEDULES))
    milestones: tuple[int, ...] = setting((), flag=None)
    schedule_scale: float = setting(1.0, check=positive)
    min_updates: int = setting(0, check=not_negative)
    gradient_clamp: float | None = setting(None, flag=None)
    finetuning: FinetuningConfig | None = setting(
        None, flag="balanced_finetuning", decides_base_step=False
    )
    replay_sampling: str = setting(
        "uniform", decides_base_step=False, check=one_of(SAMPLING_TEXTS)
    )
    rate_falls_with_steps: bool = setting(False, flag=None)
    precision: str = setting("auto", check=one_of(PRECISIONS))
    strategy: str = setting("auto", check=one_of(STRATEGIES))
    virtual_devices: int = setting(0, check=not_negative)
    # The number of threads changes only the rounding of results.
    intra_op_threads: int = setting(0, decides_outcome=False, check=not_negative)
    save_minutes: float = setting(2.0, decides_outcome=False, check=not_negative)
    # Bit-exact repetition does not change the base step.
    deterministic: bool = setting(False, decides_base_step=False)
    seed: int = 1

    @property
    def schedule_text(self):
        """Epochs and updates of a step, for messages."""
        if self.min_updates:
            return f"at least {self.epochs} epochs and {self.min_updates} updates"
        return counted(self.epochs, "epoch")

    def batch_size_at(self, step):
        """Number of images in a global batch of the main phase of a step."""
        adds_exemplars = step and self.replay_sampling == FOUR_TO_ONE
        return self.batch_size + (self.batch_size // 4 if adds_exemplars else 0)

    def at_step(self, step, num_images):
        """Returns this with schedule, learning rate and batch size of one step.

        Args:
            step: the step's number.
            num_images: size of its pool.
        """
        scale = self.epochs_at(step, num_images) / self.epochs
        epochs, milestones = scaled_schedule(self.epochs, self.milestones, scale)
        divisor = step + 1 if self.rate_falls_with_steps else 1
        return dataclasses.replace(
            self,
            epochs=epochs,
            milestones=milestones,
            learning_rate=self.learning_rate / divisor,
            batch_size=self.batch_size_at(step),
        )

    def epochs_at(self, step, num_images):
        """Number of epochs of the main phase of a step.

        Args:
            step: its number.
            num_images: size of its pool.
        """
        per_epoch = max(1, math.ceil(num_images / self.batch_size_at(step)))
        return max(self.epochs, math.ceil(self.min_updates / per_epoch))

    def problems(self):
        found = []
        if not 0 <= self.seed < 2**31:
            found.append(f"--seed must be in [0, 2**31). Received: {self.seed}")
        if list(self.milestones) != sorted(set(self.milestones)):
            found.append(
                "Learning-rate drops must be distinct epochs in rising order. "
                f"Received: {list(self.milestones)}"
            )
        return found


def scaled_schedule(epochs, milestones, scale):
    """Scales a schedule in proportion.

    Epochs become `max(1, round(scale * epochs))`, drops become `round(scale * m)`. A
    drop that would coincide with the one before moves one epoch on. Drops at or past
    the end are left out.

    Returns:
        `(epochs, milestones)`.

    >>> scaled_schedule(250, (100, 150, 200), 0.04)
    (10, (4, 6, 8))
    """
    scaled_epochs = max(1, round(scale * epochs))
    kept = []
    for milestone in milestones:
        drop = max(round(scale * milestone), kept[-1] + 1 if kept else 0)
        kept.append(drop)
    return scaled_epochs, tuple(drop for drop in kept if 0 < drop < scaled_epochs)
