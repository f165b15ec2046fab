"""TrainingStats: images, epochs, time and alpha of a step, for the records."""

import dataclasses

import numpy as np

from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.learner.trainer import TRAIN_ACCURACY
from bsce_keras.methods.recipes import published

# Names of `EpochSums.alpha_means`.
ALPHA_COLUMNS = (
    "alpha_updates",
    "alpha",
    "alpha_gradient_mean",
    "alpha_gradient_std",
)
# Means of an epoch that are not losses.
_NO_LOSSES = {*ALPHA_COLUMNS, TRAIN_ACCURACY, "learning_rate"}


@dataclasses.dataclass(frozen=True)
class TrainingStats:
    """Images, epochs, time and alpha of a trained step.

    `train_seconds` covers all phases; the other values describe the main phase.
    `alphas` holds alpha after every update that moved it. `alpha` is None at the base
    step and under losses without alpha. `alpha_by_epoch` holds a list over the epochs
    for each of `ALPHA_COLUMNS`, to 6 digits. Epochs that do not move alpha have None.
    `alpha_by_epoch` itself is None where alpha is not learned. `loss_by_epoch` holds
    the means of the loss and of each of its terms over the updates of every epoch, to 6
    digits; None where nothing is trained. `ridge` is that of a solved head, else None.
    """

    train_images: int
    class_counts: list[int]
    epochs: int
    train_seconds: float
    images_per_second: float
    alpha: float | None = None
    alphas: list[float] = dataclasses.field(default_factory=list)
    alpha_clips: int = 0
    alpha_by_epoch: dict[str, list] | None = None
    loss_by_epoch: dict[str, list] | None = None
    ridge: float | None = None


def training_stats(training, context, learned_alpha, num_images, progress):
    """Returns the `TrainingStats` of a main phase.

    Args:
        training: `TrainingConfig`.
        context: the `StepContext`.
        learned_alpha: `LearnedAlpha`, or None where alpha is not learned.
        num_images: size of the pool.
        progress: `PhaseProgress` at the end of the phase.
    """
    fixed = loss_facts(context.classification_loss).takes_alpha
    alpha, clips = context.alpha if fixed else None, 0
    if learned_alpha is not None:
        alpha = float(learned_alpha.value.numpy())
        clips = int(learned_alpha.num_clips.numpy())
    return TrainingStats(
        train_images=num_images,
        class_counts=list(context.class_counts),
        epochs=training.epochs,
        train_seconds=progress.seconds,
        images_per_second=training.epochs * num_images / progress.seconds,
        alpha=alpha if context.num_old_classes else None,
        alphas=progress.alphas,
        alpha_clips=clips,
        alpha_by_epoch=learned_alpha and _alpha_by_epoch(progress.history),
        loss_by_epoch=_loss_by_epoch(progress.history),
    )


def one_pass(step, method, seconds):
    """Returns the `TrainingStats` of a step that computes a head from its images.

    Args:
        step: the `Step`.
        method: `MethodConfig`.
        seconds: time of the step.
    """
    labels = step.examples.labels
    takes_alpha = loss_facts(method.classification_loss).takes_alpha
    takes_alpha = takes_alpha and published(method.name).uses_alpha
    return TrainingStats(
        train_images=len(labels),
        class_counts=np.bincount(labels, minlength=step.num_classes).tolist(),
        epochs=1,
        train_seconds=seconds,
        images_per_second=len(labels) / seconds,
        alpha=method.alpha if takes_alpha and step.num_old_classes else None,
    )


def _alpha_by_epoch(history):
    columns = {
        name: [_rounded(means.get(name)) for means in history] for name in ALPHA_COLUMNS
    }
    columns["alpha_updates"] = [means.get("alpha_updates", 0) for means in history]
    return columns


def _loss_by_epoch(history):
    # Epochs of another version of the package may have other terms.
    common = set.intersection(*map(set, history)) - _NO_LOSSES
    names = [name for name in history[0] if name in common]
    return {name: [_rounded(means[name]) for means in history] for name in names}


def _rounded(value):
    return None if value is None else float(f"{value:.6g}")
