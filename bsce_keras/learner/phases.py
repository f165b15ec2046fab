"""A phase of training within a step: the main one, or balanced fine-tuning."""

import dataclasses
import os
import time

from bsce_keras.config import FinetuningConfig, TrainingConfig
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.errors import RunError
from bsce_keras.learner.loop import EpochLoop, NotFiniteError
from bsce_keras.learner.progress import ProgressLine, ScalarLog
from bsce_keras.learner.step_progress import StepProgress
from bsce_keras.optimizers import CoupledSGD, learning_rate_at


@dataclasses.dataclass(frozen=True)
class Phase:
    """Which phase of which step, and how long at which rates.

    Args:
        name: `main` or `finetuning`, in checkpoints and on the progress line.
        step: the step's number.
        schedule: epochs and rates.
        first_draw: number of the first epoch among the step's random draws, so that
            no phase repeats the order and the crops of another.
    """

    name: str
    step: int
    schedule: TrainingConfig | FinetuningConfig
    first_draw: int = 0


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


def train_phase(config, strategy, checkpoints, phase, trainer, pool, validation=None):
    """Trains a phase, from its last saved epoch if there is one.

    Args:
        config: `ExperimentConfig`.
        strategy: `tf.distribute` strategy.
        checkpoints: `Checkpoints`, for progress within the phase.
        phase: the `Phase`.
        trainer: compiled `IncrementalTrainer`.
        pool: `Examples` to train on.
        validation: `Examples` of the balanced split that alpha is learned on, or None.

    Returns:
        The `StepProgress` at the end.

    Raises:
        RunError: a loss or gradient that is not finite.
    """
    name = f"step_{phase.step:02d}"
    if phase.name != "main":
        name += f"_{phase.name}"
    scalars = ScalarLog(os.path.join(config.run_dir, "tensorboard", name))
    num_steps = 1 + len(config.stream.increments)
    title = f"step {phase.step}/{num_steps - 1}"
    if phase.name != "main":
        title += f" {phase.name}"

    def batches(examples):
        return TrainingInput(
            examples,
            config.stream.image,
            config.training.batch_size,
            config.training.seed,
            phase.step,
            strategy.num_replicas_in_sync,
            phase.first_draw,
        )

    loop = EpochLoop(
        trainer,
        batches(pool),
        validation and batches(validation),
        config.method.alpha_every,
        strategy,
        [ProgressLine(title, len(pool)), scalars],
        phase.schedule.epochs,
    )
    progress = StepProgress(checkpoints, phase, trainer)
    try:
        _run_epochs(loop, phase, progress, scalars, title)
    except NotFiniteError as error:
        raise RunError(
            f"Training stopped in step {phase.step}, {error}. Nothing of this update "
            "was applied; the checkpoint of the last finished epoch stays. Look at the "
            "images, or try a lower --learning_rate or --precision=float32."
        ) from error
    return progress


def _run_epochs(loop, phase, progress, scalars, title):
    first = progress.restore()
    if first:
        print(f"{title} goes on after its epoch {first}")
    with loop:
        for epoch in range(first, phase.schedule.epochs):
            began = time.perf_counter()
            alphas = loop.run_epoch(epoch, learning_rate_at(phase.schedule, epoch))
            scalars.log_alphas(alphas, len(progress.alphas))
            progress.save(epoch + 1, alphas, time.perf_counter() - began)
