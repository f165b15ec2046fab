"""Training of one phase of a step: resumes, trains epoch by epoch, saves."""

import dataclasses
import functools
import math
import os

from bsce_keras.config import ExperimentConfig, FinetuningConfig, TrainingConfig
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.learner.epoch_loop import EpochLoop, NotFiniteError
from bsce_keras.learner.phase_progress import PhaseProgress
from bsce_keras.learner.progress import ProgressLine, ScalarLog
from bsce_keras.optimizers import CoupledSGD, learning_rate_at
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import DivergedError
from bsce_keras.runtime.signals import Stopped


@dataclasses.dataclass(frozen=True)
class PhasePlan:
    """Name, step and schedule of one phase.

    Args:
        name: `main` or `finetuning`; used in checkpoints and on the progress line.
        step: the step's number.
        schedule: epochs and rates; `TrainingConfig.at_step` for the main phase.
        num_steps: number of steps of the run, for messages.
        first_draw: number of the first epoch among the step's random draws. It keeps
            phases from repeating each other's order and crops.
        is_followed: another phase of the step begins where this one ends.
        images_after: number of images that later steps train on, over all epochs.
    """

    name: str
    step: int
    schedule: TrainingConfig | FinetuningConfig
    num_steps: int = 1
    first_draw: int = 0
    is_followed: bool = False
    images_after: int = 0

    @property
    def title(self):
        """Name on the progress line."""
        return f"step {self.step}/{self.num_steps - 1}{self._suffix}"

    @property
    def place(self):
        """Name in messages: step and phase."""
        return f"step {self.step}{self._suffix}"

    @property
    def folder(self):
        """Name of the folder of TensorBoard scalars."""
        return f"step_{self.step:02d}{self._suffix.replace(' ', '_')}"

    @property
    def _suffix(self):
        return "" if self.name == "main" else f" {self.name}"


def compile_trainer(trainer, training, schedule):
    """Gives a trainer the optimizer of a phase; call it inside the strategy's scope.

    Args:
        trainer: `IncrementalTrainer`. Exactly the weights that this phase trains are
            trainable in its student.
        training: `TrainingConfig`.
        schedule: schedule of the phase.
    """
    optimizer = CoupledSGD(
        schedule.learning_rate,
        training.momentum,
        training.weight_decay,
        training.gradient_clamp,
    )
    trainer.compile(optimizer=optimizer)
    # In mixed_float16, Keras wraps the optimizer in one that scales the loss. The scale
    # must exist before updates are traced or progress is restored.
    trainer.optimizer.build(trainer.student.trainable_variables)


@dataclasses.dataclass(frozen=True)
class Run:
    """Objects that all phases of a run share.

    Args:
        config: `ExperimentConfig`.
        runtime: `Runtime`.
        checkpoints: `Checkpoints` or `SharedCheckpoints` of `records`.
    """

    config: ExperimentConfig
    runtime: Runtime
    checkpoints: object


def train_phase(run, phase, trainer, pool, alpha_split=None, probabilities=None):
    """Trains a phase; goes on from its last save if there is one.

    Args:
        run: the `Run`.
        phase: the `PhasePlan`.
        trainer: compiled `IncrementalTrainer`.
        pool: `Examples` to train on.
        alpha_split: `Examples` of the alpha split, or None where alpha is not learned.
        probabilities: for each image of the pool, its probability of being drawn next.
            By default, every epoch takes each image once.

    Returns:
        The `PhaseProgress` at the end.

    Raises:
        DivergedError: a loss or gradient is not finite.
        Stopped: on request, after a save.
    """
    config = run.config
    progress = PhaseProgress(
        run.checkpoints, phase, trainer, config.training.save_minutes
    )
    is_resumed = progress.restore()
    was_finished = is_resumed and progress.epoch == phase.schedule.epochs
    shown, scalar_logs = [], []
    if run.runtime.workers.is_chief:
        if is_resumed and not was_finished:
            print(f"{phase.title} goes on in epoch {progress.epoch + 1}")
        else:
            print(_pool_line(phase, trainer.student, len(pool)))
        folder = os.path.join(config.run_dir, "tensorboard", phase.folder)
        scalar_logs = [ScalarLog(folder, progress.history, progress.alphas, len(pool))]
        shown = [ProgressLine(phase.title, len(pool), phase.images_after), *scalar_logs]
    loop = EpochLoop(
        trainer,
        _batches(run, phase, pool, probabilities),
        alpha_split and _batches(run, phase, alpha_split),
        config.method.alpha_every,
        run.runtime.strategy,
        shown,
        phase.schedule.epochs,
    )
    try:
        with loop:
            _train_epochs(run, phase, loop, progress, trainer, scalar_logs)
    except NotFiniteError as error:
        # The failed update changed nothing, so all saved numbers are finite.
        progress.save()
        run.runtime.workers.wait()
        raise DivergedError(
            f"Training stopped in {phase.place}, {error}. Nothing of this update was "
            "applied, and all updates before it are saved. Look at the images, or "
            "start another --run_dir with a lower --learning_rate or "
            "--precision=float32."
        ) from error
    # A second save of a finished phase would delete the progress of the next phase.
    if phase.is_followed and not was_finished:
        progress.save()
    return progress


def _pool_line(phase, student, num_images):
    """Returns a line with the numbers of images and parameters of a phase."""
    number = sum(math.prod(value.shape) for value in student.trainable_variables)
    return f"{phase.title}: {num_images} images, {number:,} trainable parameters"


def _train_epochs(run, phase, loop, progress, trainer, scalar_logs):
    """Runs the epochs that are left of a phase."""
    after_update = functools.partial(_save_or_stop, run, phase, progress)
    for epoch in range(progress.epoch, phase.schedule.epochs):
        rate = learning_rate_at(phase.schedule, epoch)
        held_alpha = run.config.method.held_alpha(epoch)
        if trainer.learned_alpha is not None and held_alpha is not None:
            trainer.learned_alpha.value.assign(held_alpha)
        means = loop.run_epoch(epoch, rate, progress.sums, after_update)
        for scalars in scalar_logs:
            scalars.log_alphas(progress.sums.alphas, len(progress.alphas))
        progress.finish_epoch(means)


def _save_or_stop(run, phase, progress):
    """Saves when a save is due; saves and raises `Stopped` when a stop is requested."""
    workers = run.runtime.workers
    # Every worker asks after every update. A worker that stopped without the others
    # would leave them waiting for its gradients. Only the chief decides when to save.
    signum = run.runtime.stop_signal()
    if signum or progress.is_due:
        progress.save()
    if signum:
        # Wait for the save: a worker that exits earlier looks like a failure to the
        # chief.
        workers.wait()
        raise Stopped(
            f"stopped in {phase.place}, epoch {progress.epoch + 1}, after update "
            f"{progress.sums.num_updates}. All updates so far are saved: give the "
            "same command to go on.",
            signum,
        )


def _batches(run, phase, examples, probabilities=None):
    training = run.config.training
    of_phase = phase.schedule if phase.name == "main" else training
    return TrainingInput(
        examples,
        run.config.stream.image,
        of_phase.batch_size,
        training.seed,
        phase.step,
        run.runtime.strategy.num_replicas_in_sync,
        phase.first_draw,
        probabilities,
        run.runtime.workers.local_replicas,
    )
