"""CoupledSGD, the SGD of the references; the rule of Adam; learning-rate schedules."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, NoReturn

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="bsce_keras")
class CoupledSGD(keras.optimizers.Optimizer):
    """SGD with L2 in the gradient and a momentum buffer independent of the rate.

        g <- clamp(gradient) + weight_decay * w
        m <- momentum * m + g
        w <- w - learning_rate * m

    This is PyTorch's recursion. Keras's `SGD` differs in two ways. It decouples weight
    decay from the gradient: after 200 updates without a gradient, a weight falls from 1
    to .990 instead of .909. It also keeps the old rate in its buffer when the rate
    drops.

    Args:
        learning_rate: a number or a Keras schedule.
        momentum: factor of the buffer in every update.
        weight_decay: L2 coefficient, applied to every variable.
        gradient_clamp: bound on every gradient element, after the sum over replicas and
            before weight decay. None for unbounded gradients.

    Raises:
        ValueError: momentum is not from 0 to 1, weight decay is below 0 or infinite,
            or the clamp is not above 0.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        gradient_clamp: float | None = None,
        name: str = "coupled_sgd",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        _require("momentum", momentum, "from 0 to 1", lambda value: 0 <= value <= 1)
        _require(
            "weight_decay",
            weight_decay,
            "of 0 or more, and finite",
            lambda value: 0 <= value < math.inf,
        )
        if gradient_clamp is not None:
            above_0 = "above 0, or None"
            _require("gradient_clamp", gradient_clamp, above_0, lambda value: value > 0)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.gradient_clamp = gradient_clamp

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.buffers = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        # `variable` is a tf.Variable of one replica here.
        buffer = self.buffers[self._get_variable_index(variable)]
        value = tf.convert_to_tensor(variable)
        # One operation updates buffer and weight in place.
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=buffer.value.handle,
            lr=tf.cast(learning_rate, value.dtype),
            grad=self._decayed(gradient, value),
            momentum=tf.constant(self.momentum, value.dtype),
        )

    def virtual_update(
        self, gradients: Sequence[Any], values: Sequence[Any], variables: Sequence[Any]
    ) -> list[Any]:
        """Returns the values after one update, without assigning them.

        The result is differentiable by the gradients, so that nested tapes can use it.

        Args:
            gradients, values: lists of tensors, one per variable. Gradients are already
                summed over replicas.
            variables: variables whose momentum buffers are used.

        Returns:
            List of tensors.
        """
        rate = tf.convert_to_tensor(self.learning_rate)  # a schedule has no `.value`
        return [
            value
            - tf.cast(rate, value.dtype)
            * (
                self.momentum * self.buffers[self._get_variable_index(variable)].value
                + self._decayed(gradient, value)
            )
            for gradient, value, variable in zip(
                gradients, values, variables, strict=True
            )
        ]

    def virtual_update_sensitivity(
        self, gradients: Sequence[Any], tangents: Sequence[Any]
    ) -> list[Any]:
        """Returns the derivative of `virtual_update` along tangents of the gradients.

        Momentum and weight decay are constants of the update and drop out. An element
        with a clamped gradient has derivative 0.
        """
        rate = tf.convert_to_tensor(self.learning_rate)
        if self.gradient_clamp is None:
            return [-tf.cast(rate, tangent.dtype) * tangent for tangent in tangents]
        return [
            tf.where(
                tf.abs(gradient) <= self.gradient_clamp,
                -tf.cast(rate, tangent.dtype) * tangent,
                tf.zeros_like(tangent),
            )
            for gradient, tangent in zip(gradients, tangents, strict=True)
        ]

    def _decayed(self, gradient, value):
        """Returns the summand that enters the momentum buffer."""
        if self.gradient_clamp is not None:
            bound = self.gradient_clamp
            gradient = tf.clip_by_value(gradient, -bound, bound)
        return tf.cast(gradient, value.dtype) + self.coupled_weight_decay * value

    def exclude_from_weight_decay(
        self, var_list: Any = None, var_names: Any = None
    ) -> NoReturn:
        """Refuses: `weight_decay` applies to every variable, as in the references."""
        raise NotImplementedError(
            "`CoupledSGD` decays every variable. Freeze the layer, or use "
            "`keras.optimizers.SGD`, whose weight decay can leave variables out."
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "gradient_clamp": self.gradient_clamp,
        }


def _require(name, value, range_text, is_in_range):
    # Type checkers do not count float among numbers.Real.
    is_number = isinstance(value, (float, numbers.Real))
    if not (is_number and is_in_range(value)):
        raise ValueError(f"`{name}` must be a number {range_text}. Received: {value!r}")


ADAM_MEAN_STAYS, ADAM_SQUARE_STAYS = 0.9, 0.999


def adam_update(gradient, mean, square, number, epsilon):
    """Returns the direction of one update of Adam, and both moments after it.

        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        direction = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon)

    It works on tensors. A Keras optimizer would create variables and sum gradients over
    replicas.

    Args:
        gradient, mean, square: g, m and v, tensors of one shape; m and v start at 0.
        number: t, float; 1 for the first update.
        epsilon: keeps the direction finite where gradients are 0.

    Returns:
        `(direction, mean, square)`; the weights move by -rate times the direction.

    Source: Kingma and Ba, ICLR 2015, Algorithm 1, with its defaults b1 = 0.9 and
    b2 = 0.999.
    """
    mean = ADAM_MEAN_STAYS * mean + (1 - ADAM_MEAN_STAYS) * gradient
    square = ADAM_SQUARE_STAYS * square + (1 - ADAM_SQUARE_STAYS) * gradient**2
    size = tf.sqrt(square / (1 - ADAM_SQUARE_STAYS**number)) + epsilon
    return mean / (1 - ADAM_MEAN_STAYS**number) / size, mean, square


def learning_rate_at(config, epoch):
    """Returns the learning rate of an epoch, counted from 0.

    `multistep`: the rate falls to a tenth at each milestone. `cosine`: half a cosine
    from the full rate towards 0 over the epochs of the step, one epoch late. PODNet's
    released code gives its scheduler the number of the previous epoch. The first two
    epochs therefore have the full rate.

    Args:
        config: `TrainingConfig` or `FinetuningConfig`.
        epoch: number of the epoch.
    """
    if config.schedule == "cosine":
        share = max(epoch - 1, 0) / config.epochs
        return config.learning_rate * (0.5 + 0.5 * math.cos(math.pi * share))
    drops = sum(milestone <= epoch for milestone in config.milestones)
    return config.learning_rate * 0.1**drops
