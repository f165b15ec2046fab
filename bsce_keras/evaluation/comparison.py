"""Comparison of two models on the same images, class by class. NumPy and SciPy only."""

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True)
class Difference:
    """Results of two models on the same images.

    Args:
        name: name of the class or group of classes.
        images: number of images.
        old, new: accuracy of the two models, fractions; NaN without images.
        turned_wrong: number of images that only the old model classifies correctly.
        turned_right: number of images that only the new model classifies correctly.
        is_known: True if the old model knows the classes.
    """

    name: str
    images: int
    old: float
    new: float
    turned_wrong: int
    turned_right: int
    is_known: bool

    @property
    def gain(self):
        """Accuracy of the new model minus that of the old one, in points."""
        # Counts are exact. A difference of accuracies exceeds a limit by rounding.
        turned = self.turned_right - self.turned_wrong
        return 100 * turned / self.images if self.images else float("nan")

    @property
    def p_value(self):
        """Two-sided p-value of `mcnemar_exact`."""
        return mcnemar_exact(self.turned_wrong, self.turned_right)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Predictions of two models for the same images.

    Args:
        class_names: names of all classes that either model knows.
        old_knows: bool, shape `(num_classes,)`: True for a class of the old model.
        labels: true class of every image, shape `(n,)`.
        old, new: predicted class of every image by each model, shape `(n,)`.
    """

    class_names: tuple[str, ...]
    old_knows: np.ndarray
    labels: np.ndarray
    old: np.ndarray
    new: np.ndarray

    @functools.cached_property
    def groups(self):
        """`Difference` of all classes, of the old and of the new classes.

        The old model misses every image of a class that it does not know.
        """
        known = self.old_knows[self.labels]
        everything = np.ones(len(known), bool)
        return [
            self._difference("all classes", everything, True),
            self._difference("old classes", known, True),
            self._difference("new classes", ~known, False),
        ]

    @functools.cached_property
    def classes(self):
        """`Difference` of every class that has images."""
        size = len(self.class_names)
        was, now = self.old == self.labels, self.new == self.labels
        images, old, new, wrong, right = (
            np.bincount(self.labels, weights, size)
            for weights in (None, was, now, was & ~now, now & ~was)
        )
        return [
            Difference(
                name=self.class_names[label],
                images=int(images[label]),
                old=float(old[label] / images[label]),
                new=float(new[label] / images[label]),
                turned_wrong=int(wrong[label]),
                turned_right=int(right[label]),
                is_known=bool(self.old_knows[label]),
            )
            for label in np.flatnonzero(images).tolist()
        ]

    @property
    def losses(self):
        """Differences of the old classes that lost accuracy, the largest loss first."""
        lost = [one for one in self.classes if one.is_known and one.gain < 0]
        return sorted(lost, key=lambda one: one.gain)

    def large_old_classes(self, min_images):
        """Returns the names of the old classes that have as many images, or more."""
        return {
            one.name
            for one in self.classes
            if one.is_known and one.images >= min_images
        }

    @property
    def turned_wrong(self):
        """Positions of the images that only the old model classifies correctly."""
        return np.flatnonzero((self.old == self.labels) & (self.new != self.labels))

    def _difference(self, name, chosen, is_known):
        was = (self.old == self.labels)[chosen]
        now = (self.new == self.labels)[chosen]
        return Difference(
            name=name,
            images=len(was),
            old=float(was.mean()) if len(was) else float("nan"),
            new=float(now.mean()) if len(now) else float("nan"),
            turned_wrong=int((was & ~now).sum()),
            turned_right=int((now & ~was).sum()),
            is_known=is_known,
        )


def mcnemar_exact(turned_wrong, turned_right):
    """Returns the two-sided p-value of McNemar's exact test.

    Under the hypothesis that both models are equally good, each image on which they
    differ is equally likely to have turned right or wrong:

        p = min(1, 2 P(X <= min(b, c))),   X ~ Binomial(b + c, 1/2)

    Source: McNemar, Psychometrika 1947, https://doi.org/10.1007/BF02295996.

    Args:
        turned_wrong, turned_right: b and c, numbers of images.

    >>> mcnemar_exact(0, 5)
    0.0625
    """
    from scipy.stats import binom

    total = turned_wrong + turned_right
    return float(min(1.0, 2 * binom.cdf(min(turned_wrong, turned_right), total, 0.5)))


def gate_failures(comparison, max_drop=None, min_gain=None, min_images=20):
    """Returns a sentence for every condition that the new model fails.

    Args:
        comparison: `Comparison`.
        max_drop: largest loss of accuracy of an old class in points; None allows any.
        min_gain: smallest gain of the accuracy over all images in points; None allows
            any.
        min_images: smaller classes are left out of `max_drop`. Where it leaves no old
            class, the new model fails.
    """
    failures = []
    if max_drop is not None:
        judged = comparison.large_old_classes(min_images)
        failures += [
            f"class {one.name} lost {-one.gain:.2f} points, more than {max_drop:g}"
            for one in comparison.losses
            if one.name in judged and -one.gain > max_drop
        ]
        if not judged:
            failures.append(
                f"--max_drop judges no class, because no old class has {min_images} "
                "images; give a lower --min_images, or add images"
            )
    gain = comparison.groups[0].gain
    if min_gain is not None and not gain >= min_gain:
        failures.append(
            f"the accuracy over all images changed by {gain:+.2f} points, less than "
            f"{min_gain:g}"
        )
    return failures
