"""Training of one phase: from its last save, epoch by epoch, with saves."""

import dataclasses
import math
import os

from bsce_keras.config import ExperimentConfig, FinetuningConfig, TrainingConfig
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.learner.epoch_loop import EpochLoop, NotFiniteError
from bsce_keras.learner.progress import ProgressLine, ScalarLog
from bsce_keras.learner.step_progress import StepProgress
from bsce_keras.optimizers import CoupledSGD, learning_rate_at
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import DivergedError
from bsce_keras.runtime.signals import Stopped


@dataclasses.dataclass(frozen=True)
class PhasePlan:
    """Which phase of which step, and how long at which rates.

    Args:
        name: `main` or `finetuning`, in checkpoints and on the progress line.
        step: the step's number.
        schedule: epochs and rates; of the main phase, `training_of_step`.
        num_steps: of the run, for messages.
        first_draw: number of the first epoch among the step's random draws, so that
            no phase repeats the order and the crops of another.
        is_followed: whether another phase begins where this one ends.
        images_after: images that later steps train on, once for every epoch.
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
        """What the progress line calls it."""
        return f"step {self.step}/{self.num_steps - 1}{self._suffix}"

    @property
    def place(self):
        """Where in the run it is."""
        return f"step {self.step}{self._suffix}"

    @property
    def folder(self):
        """Name of its folder of TensorBoard scalars."""
        return f"step_{self.step:02d}{self._suffix.replace(' ', '_')}"

    @property
    def _suffix(self):
        return "" if self.name == "main" else f" {self.name}"


def compile_trainer(trainer, training, schedule):
    """Gives a trainer the optimizer of a phase; call it inside the strategy's scope.

    Args:
        trainer: `IncrementalTrainer` whose student has exactly those weights trainable
            that this phase trains.
        training: `TrainingConfig`.
        schedule: of the phase.
    """
    optimizer = CoupledSGD(
        schedule.learning_rate,
        training.momentum,
        training.weight_decay,
        training.gradient_clamp,
    )
    trainer.compile(optimizer=optimizer)
    optimizer.build(trainer.student.trainable_variables)


@dataclasses.dataclass(frozen=True)
class Run:
    """What all phases of a run share.

    Args:
        config: `ExperimentConfig`.
        runtime: `Runtime`.
        checkpoints: `Checkpoints` or `SharedCheckpoints` of `records`.
    """

    config: ExperimentConfig
    runtime: Runtime
    checkpoints: object


def train_phase(run, phase, trainer, pool, validation=None, probabilities=None):
    """Trains a phase, from where it was last saved if it was.

    Args:
        run: the `Run`.
        phase: the `PhasePlan`.
        trainer: compiled `IncrementalTrainer`.
        pool: `Examples` to train on.
        validation: `Examples` of the balanced split that alpha is learned on, or None.
        probabilities: of every image of the pool to be drawn next; by default each is
            taken once an epoch.

    Returns:
        The `StepProgress` at the end.

    Raises:
        DivergedError: a loss or gradient that is not finite.
        Stopped: on request, after a save.
    """
    config = run.config
    progress = StepProgress(
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
        line = ProgressLine(phase.title, len(pool), phase.images_after)
        shown = [line, *scalar_logs]
    loop = EpochLoop(
        trainer,
        _batches(run, phase, pool, probabilities),
        validation and _batches(run, phase, validation),
        config.method.alpha_every,
        run.runtime.strategy,
        shown,
        phase.schedule.epochs,
    )

    def after_update():
        # Asked at every update: a worker that stopped alone would leave the others
        # waiting for its gradients. When to save is the chief's own affair.
        signum = max(run.runtime.workers.told(run.runtime.stop_requests.signum or 0))
        if signum or progress.is_due:
            progress.save()
        if signum:
            # Whoever left before the save is done would look lost to the chief.
            run.runtime.workers.wait()
            raise Stopped(
                f"stopped in {phase.place}, epoch {progress.epoch + 1}, after update "
                f"{progress.sums.num_updates}. Everything up to there is saved: give "
                "the same command to go on.",
                signum,
            )

    try:
        with loop:
            for epoch in range(progress.epoch, phase.schedule.epochs):
                rate = learning_rate_at(phase.schedule, epoch)
                held_alpha = config.method.held_alpha(epoch)
                if trainer.learned_alpha is not None and held_alpha is not None:
                    trainer.learned_alpha.value.assign(held_alpha)
                means = loop.run_epoch(epoch, rate, progress.sums, after_update)
                for scalars in scalar_logs:
                    scalars.log_alphas(progress.sums.alphas, len(progress.alphas))
                progress.finish_epoch(means)
    except NotFiniteError as error:
        # Nothing of the update was applied: what there is, is finite.
        progress.save()
        run.runtime.workers.wait()
        raise DivergedError(
            f"Training stopped in {phase.place}, {error}. Nothing of this update was "
            "applied, and what came before is saved. Look at the images, or start "
            "another --run_dir with a lower --learning_rate or --precision=float32."
        ) from error
    # Saved again, it would drop the progress of the phase that follows as outdated.
    if phase.is_followed and not was_finished:
        progress.save()
    return progress


def _pool_line(phase, student, num_images):
    """Images and parameters that a phase trains."""
    number = sum(math.prod(value.shape) for value in student.trainable_variables)
    return f"{phase.title}: {num_images} images, {number:,} trainable parameters"


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
