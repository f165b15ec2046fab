"""StepRecord: scores and statistics of one finished step, as records have them."""

import dataclasses
import math

import numpy as np

from bsce_keras.evaluation import metrics, scores
from bsce_keras.evaluation.confusion import from_sparse, to_sparse
from bsce_keras.runtime.machine import peak_memory_mb

# Fields of a `StepRecord` that are lists of numbers, with their types.
_VECTORS = (
    ("class_counts", np.int64),
    ("exemplars_per_class", np.int64),
    ("alphas", np.float64),
)


@dataclasses.dataclass(frozen=True, eq=False)
class StepRecord:
    """Record of one finished step.

    Args:
        step: 0 for the base step.
        num_classes: classes seen, N_t.
        num_old_classes: classes seen before this step, N_{t-1}; 0 at step 0.
        num_base_classes: classes of step 0.
        train_images: size of the training pool, exemplars included.
        confusion: int, shape `(N_t, N_t)`: rows are true classes, columns
            predictions, in arrival order. None if only its tally is known, as of all
            steps but the last.
        epochs: epochs trained.
        train_seconds: wall time of training.
        images_per_second: training throughput.
        peak_memory_mb: largest memory of the process or the device so far.
        class_counts: training images of each seen class.
        exemplars_per_class: exemplars of each seen class after the step.
        alpha: alpha at the end of the step; None without one, as at step 0.
        alphas: alpha after every update that moved it.
        alpha_clips: number of updates of alpha that met its bounds.
        alpha_by_epoch: lists over the epochs: `alpha_updates`, their number, `alpha`
            after the last one, and `alpha_gradient_mean` and `alpha_gradient_std` over
            them; None where alpha is not learned.
        loss_by_epoch: lists over the epochs: means of the `loss` and of each of its
            terms; None where nothing is trained.
        ridge: ridge of a solved head; None for other heads.
        nme_accuracy: accuracy of the nearest-mean-of-exemplars classifier, which is
            that of `confusion`; None where the method predicts by its head.
        head_accuracy: accuracy of the trained head; None where the method predicts by
            it.
        memory_bytes: bytes that the method keeps of earlier classes after the step:
            `exemplars`, `state` and `teacher`; None if unknown.
        further: scores of `evaluation.scores.DEFINITIONS`, NaN where undefined; None
            if unknown.
        temperature: number that the served logits are divided by; None without one.
        calibrated_on: images that the temperature was fitted to, a key of
            `evaluation.calibration.FITTED_TO`; None without one.
        accuracy_by_alpha: `evaluation.scores.alpha_curve` on validation images; None
            without them, and at the base step.
        scored: `Tally` of the step; by default, that of `confusion`.

    Raises:
        ValueError: the confusion matrix does not have one row per seen class.
    """

    step: int
    num_classes: int
    num_old_classes: int
    num_base_classes: int
    train_images: int
    confusion: np.ndarray | None
    epochs: int
    train_seconds: float
    images_per_second: float
    peak_memory_mb: float
    class_counts: list[int]
    exemplars_per_class: list[int]
    alpha: float | None = None
    alphas: list[float] = dataclasses.field(default_factory=list)
    alpha_clips: int = 0
    alpha_by_epoch: dict[str, list] | None = None
    loss_by_epoch: dict[str, list] | None = None
    ridge: float | None = None
    nme_accuracy: float | None = None
    head_accuracy: float | None = None
    memory_bytes: dict[str, int] | None = None
    further: dict[str, float] | None = None
    temperature: float | None = None
    calibrated_on: str | None = None
    accuracy_by_alpha: dict[str, list] | None = None
    scored: metrics.Tally | None = None

    def __post_init__(self):
        if self.scored is not None:
            return
        if np.shape(self.confusion) != (self.num_classes, self.num_classes):
            raise ValueError(
                f"`confusion` of step {self.step} needs one row and one column per "
                f"seen class, shape ({self.num_classes}, {self.num_classes}). "
                f"Received: shape {np.shape(self.confusion)}"
            )
        object.__setattr__(self, "scored", metrics.tally(self.confusion))

    def to_line(self):
        """Returns the fields of steps.jsonl; undefined values are None.

        `alpha_gradient_mean` and `alpha_gradient_std` are the mean and the population
        standard deviation of alpha's gradient. They are over all updates of the step
        that moved alpha, or measured its gradient while it was held.
        """
        gradient_mean, gradient_std = self._alpha_gradient()
        accuracies = metrics.step_accuracies(
            self.scored, self.num_base_classes, self.num_old_classes
        )
        harmonic = scores.harmonic_mean(
            accuracies["old_accuracy"], accuracies["new_accuracy"]
        )
        return {
            "step": self.step,
            "num_classes": self.num_classes,
            "num_old_classes": self.num_old_classes,
            "train_images": self.train_images,
            **{name: defined(accuracy) for name, accuracy in accuracies.items()},
            "nme_accuracy": defined(self.nme_accuracy),
            "alpha": defined(self.alpha),
            "epochs": self.epochs,
            "train_seconds": defined(self.train_seconds),
            "images_per_second": defined(self.images_per_second),
            "peak_memory_mb": defined(self.peak_memory_mb),
            "class_counts": [int(count) for count in self.class_counts],
            "exemplars_per_class": [int(count) for count in self.exemplars_per_class],
            "alpha_updates": len(self.alphas),
            "alpha_clips": self.alpha_clips,
            "alpha_gradient_mean": gradient_mean,
            "alpha_gradient_std": gradient_std,
            "alpha_by_epoch": self.alpha_by_epoch,
            "head_accuracy": defined(self.head_accuracy),
            "memory_bytes": self.memory_bytes,
            "harmonic_accuracy": defined(harmonic),
            **{
                name: defined((self.further or {}).get(name))
                for name in scores.DEFINITIONS
            },
            "temperature": defined(self.temperature),
            "calibrated_on": self.calibrated_on,
            "accuracy_by_alpha": self.accuracy_by_alpha,
            "ridge": defined(self.ridge),
            "loss_by_epoch": self.loss_by_epoch,
        }

    def to_state(self):
        """Returns the record without its confusion matrix, as JSON values and vectors.

        Its size grows with the number of classes, not with its square.
        """
        line = self.to_line()
        state = {
            field.name: line.get(field.name, getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in ("confusion", "scored", "further")
        }
        if self.further is not None:
            state["further"] = {n: defined(v) for n, v in self.further.items()}
        vectors = {name: np.asarray(state[name], kind) for name, kind in _VECTORS}
        return {**state, **vectors, **self.scored._asdict()}

    def to_arrays(self):
        """Returns the confusion matrix as a named array for the step's checkpoint."""
        return {"confusion": to_sparse(self.confusion)}

    @classmethod
    def from_state(cls, state, arrays=None):
        """Returns the record of `to_state`.

        Args:
            state: dictionary of `to_state`.
            arrays: named arrays with those of `to_arrays`; without them, the record
                has no confusion matrix.
        """
        confusion = None
        if arrays is not None:
            confusion = from_sparse(arrays["confusion"], state["num_classes"])
        scored = metrics.Tally(*(state[name] for name in metrics.Tally._fields))
        plain = {n: v for n, v in state.items() if n not in metrics.Tally._fields}
        lists = {name: state[name].tolist() for name, _ in _VECTORS}
        return cls(**{**plain, **lists}, confusion=confusion, scored=scored)

    def _alpha_gradient(self):
        epochs = self.alpha_by_epoch
        if epochs is None:
            return None, None
        moments = metrics.pooled_moments(
            epochs["alpha_updates"],
            epochs["alpha_gradient_mean"],
            epochs["alpha_gradient_std"],
        )
        return tuple(map(defined, moments))


def step_record(step, stats, scores, exemplars_per_class, memory_bytes, stream):
    """Returns the `StepRecord` of a trained step.

    Args:
        step: the `Step`.
        stats: its `TrainingStats`.
        scores: fields of the record that come from the evaluation.
        exemplars_per_class: exemplars of each seen class after the step.
        memory_bytes: `Learner.memory_bytes` after the step.
        stream: `StreamConfig`.
    """
    return StepRecord(
        step=step.index,
        num_classes=step.num_classes,
        num_old_classes=step.num_old_classes,
        num_base_classes=stream.num_base_classes,
        peak_memory_mb=peak_memory_mb(),
        exemplars_per_class=exemplars_per_class,
        memory_bytes=memory_bytes,
        **scores,
        **vars(stats),
    )


def defined(value):
    """Returns a number as float; None if it is undefined, None or NaN."""
    return None if value is None or math.isnan(value) else float(value)
