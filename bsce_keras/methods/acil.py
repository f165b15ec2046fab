"""ACIL: a frozen backbone and a head solved in closed form."""

import dataclasses
from collections.abc import Callable

import numpy as np

from bsce_keras.evaluation.calibration import fitted_temperature
from bsce_keras.methods.base import Method
from bsce_keras.methods.ridge import RidgeSolution, RidgeSums, balanced_weights
from bsce_keras.models.analytic_head import AnalyticHead

# Phases of a step, see `learner.step_phase.StepPhase`.
BASE = "bsce_keras.learner.analytic_phase:BasePhase"
ANALYTIC = "bsce_keras.learner.analytic_phase:AnalyticPhase"

# Numbers in a block of expanded features; 128 MB in float64.
_BLOCK_NUMBERS = 2**24
# Columns of the expansion where the base step has few images.
_LEAST_EXPANSION, _COLUMNS_PER_IMAGE = 2048, 4
# Images that temperature and ridge are fitted to.
_MOST_CALIBRATED = 1000
# Choices for a ridge of 0. The first is that of the published method.
RIDGES = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)


@dataclasses.dataclass(frozen=True, eq=False)
class AnalyticStep:
    """Images of one step as an analytic method takes them.

    Args:
        features: float, shape `(n, d)`, of the frozen backbone without augmentation.
        labels: int, shape `(n,)`, in `[num_old_classes, num_classes)`.
        num_old_classes, num_classes: classes before and after the step.
        expansion: E, shape `(d, m)`.
        is_balanced: all classes have the same weight, not all images.
        alpha: factor of the old classes' counts, if balanced.
        num_base_classes: number of classes that `base_weight` is for.
        base_weight: factor of the weights of their images.
    """

    features: np.ndarray
    labels: np.ndarray
    num_old_classes: int
    num_classes: int
    expansion: np.ndarray
    is_balanced: bool = False
    alpha: float = 1.0
    num_base_classes: int = 0
    base_weight: float = 1.0

    def blocks(self, activation):
        """Yields `(rows, places)`: expanded features in float64, and their images."""
        size = max(1, _BLOCK_NUMBERS // self.expansion.shape[1])
        for start in range(0, len(self.labels), size):
            places = slice(start, start + size)
            yield self.expanded(places, activation), places

    def sums(self, activation, targets):
        """Returns the `RidgeSums` of the images.

        Args:
            activation: function of the expanded features.
            targets: shape `(n, num_classes)`.
        """
        weights = self.weights
        blocks = (
            (rows, targets[places], weights[places])
            for rows, places in self.blocks(activation)
        )
        return RidgeSums.of_blocks(blocks, self.expansion.shape[1], self.num_classes)

    def expanded(self, places, activation):
        """Returns the expanded features of some images in float64."""
        features = self.features[places].astype(np.float64)
        return activation(features @ self.expansion.astype(np.float64))

    @property
    def sampled(self):
        """Places of up to 1000 images, evenly spaced."""
        number = min(len(self.labels), _MOST_CALIBRATED)
        return np.linspace(0, len(self.labels) - 1, number).astype(int)

    def temperature(self, left_out_logits):
        """Returns the temperature of the head's probabilities.

        The images may all be right, and the new ones are not. The fit therefore
        expects about one error among them.

        Args:
            left_out_logits: leave-one-out logits of the images of `sampled`.
        """
        labels = self.labels[self.sampled]
        return fitted_temperature(left_out_logits, labels, num_random=1)

    @property
    def weights(self):
        """Weight of each image, shape `(n,)`."""
        weights = np.ones(self.num_classes)
        if self.is_balanced:
            counts = np.bincount(self.labels, minlength=self.num_classes)
            weights = balanced_weights(counts)[0]
        weights[: self.num_base_classes] *= self.base_weight
        return weights[self.labels]

    @property
    def old_factor(self):
        """Factor of the weights of old classes."""
        return 1.0 / self.alpha if self.is_balanced else 1.0

    def kappa(self, old_counts):
        """Returns the common factor of all weights.

        Args:
            old_counts: number of images of each old class.
        """
        if not self.is_balanced:
            return 1.0
        new = np.bincount(self.labels, minlength=self.num_classes)
        new = new[self.num_old_classes :]
        return balanced_weights([*(self.alpha * old_counts), *new])[1]

    @property
    def targets(self):
        """One-hot labels, shape `(n, num_classes)`."""
        return np.eye(self.num_classes)[self.labels]


@dataclasses.dataclass(frozen=True, eq=False)
class AnalyticState:
    """Sums that an analytic method keeps of all images so far.

    Args:
        streams: `RidgeSums` by name of the stream.
        counts: number of images of each seen class, shape `(num_classes,)`.
        ridge: that of the stream `main` at every step; 0 if none is chosen yet.
    """

    streams: dict[str, RidgeSums]
    counts: np.ndarray
    ridge: float = 0.0

    def to_arrays(self):
        """Returns the state as named arrays for checkpoints."""
        arrays = {"counts": self.counts, "ridge": np.array(self.ridge)}
        for name, sums in self.streams.items():
            arrays |= {f"{name}/gram": sums.gram, f"{name}/moments": sums.moments}
        return arrays

    @classmethod
    def from_arrays(cls, arrays):
        """Returns the state of `to_arrays`."""
        names = [name.removesuffix("/gram") for name in arrays if "/gram" in name]
        streams = {
            name: RidgeSums(arrays[f"{name}/gram"], arrays[f"{name}/moments"])
            for name in names
        }
        return cls(streams, arrays["counts"], float(arrays.get("ridge", 0.0)))


def relu(values):
    """Returns `max(values, 0)`."""
    return np.maximum(values, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class RidgeStream:
    """Ridge regression of one stream after a step.

    Args:
        name: name of the stream in the `AnalyticState`.
        activation: function of the expanded features.
        targets: targets of the step's images, shape `(n, num_classes)`.
        sums: `RidgeSums` of all images so far.
        solution: `RidgeSolution` of the head.
        ridge: number that was added to the diagonal, times kappa.
    """

    name: str
    activation: Callable
    targets: np.ndarray
    sums: RidgeSums
    solution: RidgeSolution
    ridge: float

    @classmethod
    def fitted(cls, state, name, step, activation, targets, ridges, tell):
        """Adds a step's images to the sums of a stream and solves it.

        Of several ridges, the leave-one-out errors of `step.sampled` choose one.
        """
        new, old = step.sums(activation, targets), state.streams[name]
        sums = weighed = old.plus(new)
        if step.old_factor != 1.0:
            weighed = old.times(step.old_factor).plus(new)
        tell(f"{name} Gram matrix {sums.size} x {sums.size}")
        places, kappa = step.sampled, step.kappa(state.counts)
        solution = RidgeSolution.by_leave_one_out(
            weighed,
            [ridge / kappa for ridge in ridges],
            step.expanded(places, activation),
            targets[places],
            step.weights[places],
        )
        ridge = solution.ridge * kappa
        tell(f"{name} solution, ridge {ridge:g}")
        return cls(name, activation, targets, sums, solution, ridge)

    def left_out_logits(self, step):
        """Returns leave-one-out logits of the images of `step.sampled`."""
        places = step.sampled
        rows = step.expanded(places, self.activation)
        return self.solution.leave_one_out(
            rows, self.targets[places], step.weights[places]
        )


def state_after(state, step, *streams):
    """Returns the `AnalyticState` after a step with its fitted streams."""
    counts = np.pad(state.counts, (0, step.num_classes - len(state.counts)))
    counts += np.bincount(step.labels, minlength=step.num_classes)
    sums = {stream.name: stream.sums for stream in streams}
    return AnalyticState(sums, counts, streams[0].ridge)


class ACIL(Method):
    """Analytic class-incremental learning: one ridge regression over all images.

        phi(x) = relu(f(x) E),   E uniform in +-1/sqrt(d), drawn once from the seed
        G = sum phi phi',   Q = sum phi y',   W = (G + ridge I)^-1 Q

    The base step trains backbone and linear head as usual. Then the backbone stays as
    it is and the linear head is replaced by the solved one. Increments train nothing.
    The head after the last step does not depend on the number of steps.

    With `balanced_softmax`, every class has the same weight:

        G = kappa sum_c G_c / n_c,   Q_c = kappa / n_c sum phi
        kappa = C / sum_c 1 / n_c

    alpha multiplies the counts n_c of old classes, as in the balanced softmax. The
    previous state holds the old classes' sums, so alpha applies at the solution. With
    `softmax`, every image has the weight 1.

    Three parameters go beyond the published method; their defaults are off. `depths`
    and `mirrored` give f further maps and the mirror image, see `AnalyticHead`. Rows of
    E are divided by the standard deviation of their feature over the base images then.
    `base_weight` is a factor of the weights of base images. They trained the backbone,
    so their features are more alike than those of unseen images, and the head prefers
    base classes.

    The temperature of the exported probabilities is fitted to leave-one-out logits of
    up to 1000 training images of the step, and to one image with a random label, see
    `fitted_temperature`. A `ridge` of 0 is chosen at the base step, by the
    leave-one-out errors of such images. It stays for all steps.

    Source: Zhuang et al., NeurIPS 2022; balanced: AIR, arXiv 2408.10349. The authors
    update W by Woodbury's identity; sums and one solution give the same numbers.
    """

    phases = (BASE, ANALYTIC)
    uses_teacher = False
    compensates = False

    def make_head(self, num_old_classes, num_new_classes):
        return self._head(
            num_old_classes + num_new_classes, self.parameters.expansion_size
        )

    def training_head(self, num_old_classes, num_new_classes):
        return super().make_head(num_old_classes, num_new_classes)

    def restored_head(self, num_old_classes, num_new_classes, weights):
        expansion = weights[-4 if self.compensates else -3]
        return self._head(num_old_classes + num_new_classes, expansion.shape[1])

    def head_of_images(self, num_classes, num_images):
        """Returns the head of a base step with this number of images.

        Few images get fewer columns, so that state and time stay small. A ridge
        regression with about as many columns as images predicts worst, so there are
        four times as many, and at least 2048.
        """
        size = max(_LEAST_EXPANSION, _COLUMNS_PER_IMAGE * num_images)
        return self._head(num_classes, min(self.parameters.expansion_size, size))

    def _head(self, num_classes, expansion_size):
        return AnalyticHead(
            num_classes,
            expansion_size,
            self.compensates,
            self.parameters.depths,
            self.parameters.mirrored,
        )

    def first_state(self, expansion_size):
        """Returns the `AnalyticState` of no images."""
        streams = {"main": RidgeSums.zeros(expansion_size)}
        return AnalyticState(streams, np.zeros(0, np.int64))

    def solve(self, state, step, tell=lambda what: None):
        """Adds a step to the state and solves the head.

        Args:
            state: `AnalyticState` of the earlier steps.
            step: `AnalyticStep`.
            tell: called with the name of each finished part.

        Returns:
            `(state, weights)`: the new state, and the head's weights by name.

        Raises:
            RunError: the Gram matrix is not finite or not positive definite.
        """
        main = self.main_stream(state, step, tell)
        logits = main.left_out_logits(step)
        return state_after(state, step, main), {
            "kernel": main.solution.kernel,
            "temperature": step.temperature(logits),
        }

    def main_stream(self, state, step, tell):
        """Returns the `RidgeStream` of the targets themselves."""
        ridge = state.ridge or self.parameters.ridge
        ridges = (ridge,) if ridge else RIDGES
        return RidgeStream.fitted(state, "main", step, relu, step.targets, ridges, tell)

    def forget(self, state, removed, kept, last):
        """Subtracts classes from the state and solves the head.

        State and head are those of the same steps without these classes.

        Args:
            state: `AnalyticState`.
            removed: `AnalyticStep` of all images of the classes to forget.
            kept: bool, shape `(num_classes,)`: classes that stay.
            last: `AnalyticStep` of the last step's images of classes that stay, with
                the new labels. The temperature is fitted to them.

        Returns:
            `(state, weights)`, as `solve`.

        Raises:
            RunError: as `solve`.
        """
        sums = state.streams["main"].plus(removed.sums(relu, removed.targets).times(-1))
        sums = RidgeSums(sums.gram, sums.moments[:, kept])
        counts = state.counts[kept]
        kappa = balanced_weights(counts)[1] if last.is_balanced else 1.0
        ridge = state.ridge or self.parameters.ridge
        solution = RidgeSolution(sums, ridge / kappa)
        stream = RidgeStream("main", relu, last.targets, sums, solution, ridge)
        logits = stream.left_out_logits(last)
        return AnalyticState({"main": sums}, counts, ridge), {
            "kernel": solution.kernel,
            "temperature": last.temperature(logits),
        }
