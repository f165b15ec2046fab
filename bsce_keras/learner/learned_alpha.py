"""LearnedAlpha: weight of the old classes, with an optimizer of its own."""

import keras
import tensorflow as tf

from bsce_keras.optimizers import adam_update

# The paper says "usually between 0 and 1". With a bound at the starting value 1, noise
# would only push alpha down.
LOWEST, HIGHEST = 0.01, 1.5

_ADAM_EPSILON = 1e-8


class LearnedAlpha:
    """Alpha of one step, with the state of its optimizer.

    It has plain variables instead of a Keras optimizer, because the gradient is already
    summed over replicas and a Keras optimizer would sum it again.

    Args:
        learning_rate: rate of the outer update; the paper prints 1. `held` ignores it.
        optimizer: `sgd`, as printed, `adam`, or `held`, which keeps alpha constant.
        start: value before the first update.
        uses_running_statistics: batch normalisation uses running statistics on the
            alpha split instead of batch statistics.
    """

    def __init__(
        self,
        learning_rate,
        optimizer="sgd",
        start=1.0,
        uses_running_statistics=False,
    ):
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.uses_running_statistics = uses_running_statistics
        self.value = _scalar(start, "alpha")
        self.first_moment = _scalar(0.0, "alpha_first_moment")
        self.second_moment = _scalar(0.0, "alpha_second_moment")
        self.num_updates = _scalar(0.0, "alpha_updates")
        self.num_clips = _scalar(0.0, "alpha_clips")

    @property
    def variables(self):
        """Variables that a checkpoint must contain."""
        return [
            self.value,
            self.first_moment,
            self.second_moment,
            self.num_updates,
            self.num_clips,
        ]

    def descend(self, gradient):
        """Runs one outer update; returns the new alpha, clipped to [0.01, 1.5].

        `IncrementalTrainer` calls this where an update is due. It stops the training if
        the gradient is not finite, so everything computed here depends on the gradient.
        A held alpha is returned unchanged.
        """
        finite = tf.cast(tf.math.is_finite(gradient), tf.float32)
        self.num_updates.assign_add(finite)
        if self.optimizer == "held":
            return self.value * finite
        direction = gradient
        if self.optimizer == "adam":
            direction = self._adam_direction(gradient)
        wanted = self.value - self.learning_rate * direction
        alpha = tf.clip_by_value(wanted, LOWEST, HIGHEST)
        self.num_clips.assign_add(tf.cast(tf.not_equal(wanted, alpha), tf.float32))
        self.value.assign(alpha)
        return alpha

    def _adam_direction(self, gradient):
        direction, first, second = adam_update(
            gradient,
            self.first_moment,
            self.second_moment,
            self.num_updates.value,
            _ADAM_EPSILON,
        )
        self.first_moment.assign(first)
        self.second_moment.assign(second)
        return direction


def _scalar(value, name):
    return keras.Variable(value, dtype="float32", trainable=False, name=name)
