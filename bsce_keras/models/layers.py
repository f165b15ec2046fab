"""Layers that compute as in the references: batch normalisation, convolutions."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from bsce_keras.models.plain import with_weights


@keras.saving.register_keras_serializable(package="bsce_keras")
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation over the channels of `(batch, height, width, channels)`.

        y = (x - mean) / sqrt(variance + epsilon) * gamma + beta

    In training, moments are those of the batch, and the moving averages take 10 % of
    them. The averaged variance is unbiased, as in PyTorch. Keras's layer averages the
    biased one, and it is several times slower because it is not one op. Scale, shift
    and averages are float32 even for narrower inputs. The fused op supports neither
    float64 nor the synchronised mode; single operations compute the same function
    there.

    Args:
        momentum: factor of the old average (0.9, as in the references).
        epsilon: added to the variance (1e-5, as in the references).
        zero_gamma: gamma starts at 0 instead of 1.
        synchronized: moments are taken over all replicas. By default, each replica
            uses its own, as in the references.
    """

    def __init__(
        self, momentum=0.9, epsilon=1e-5, zero_gamma=False, synchronized=False, **kwargs
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.zero_gamma = zero_gamma
        self.synchronized = synchronized

    def build(self, input_shape):
        shape = (input_shape[-1],)
        gamma = "zeros" if self.zero_gamma else "ones"
        self.gamma = self._weight("gamma", shape, gamma)
        self.beta = self._weight("beta", shape, "zeros")
        self.moving_mean = self._weight("moving_mean", shape, "zeros", trainable=False)
        self.moving_variance = self._weight(
            "moving_variance", shape, "ones", trainable=False
        )

    def _weight(self, name, shape, initializer, trainable=True):
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            trainable=trainable,
            dtype=dtype,
            autocast=False,
        )

    def call(self, inputs, training=False):
        fusible = self.compute_dtype != "float64"
        if not training:
            return self._inference(inputs, fusible)
        is_fused = fusible and not self.synchronized
        normalize = self._fused if is_fused else self._written_out
        outputs, mean, variance = normalize(inputs)
        self.moving_mean.assign(tf.stop_gradient(mean))
        self.moving_variance.assign(tf.stop_gradient(variance))
        return outputs

    def _inference(self, inputs, fusible):
        scale, shift = self.gamma.value, self.beta.value
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if not fusible:
            return _normalize(inputs, mean, variance, scale, shift, self.epsilon)
        return tf.compat.v1.nn.fused_batch_norm(
            inputs, scale, shift, mean, variance, self.epsilon, is_training=False
        )[0]

    def _fused(self, inputs):
        """Returns outputs and new averages; the op averages the unbiased variance."""
        return tf.compat.v1.nn.fused_batch_norm(
            inputs,
            self.gamma.value,
            self.beta.value,
            self.moving_mean.value,
            self.moving_variance.value,
            self.epsilon,
            exponential_avg_factor=1.0 - self.momentum,
        )

    def _written_out(self, inputs):
        """Returns the same as `_fused`, computed by single operations."""
        wide = tf.cast(inputs, self.gamma.dtype)
        reduce = _sum_over_replicas if self.synchronized else tf.identity
        shape = tf.shape(wide)
        count = reduce(tf.cast(shape[0] * shape[1] * shape[2], wide.dtype))
        mean = reduce(tf.reduce_sum(wide, (0, 1, 2))) / count
        variance = reduce(tf.reduce_sum(tf.square(wide - mean), (0, 1, 2))) / count
        outputs = _normalize(
            wide, mean, variance, self.gamma.value, self.beta.value, self.epsilon
        )
        unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
        return (
            tf.cast(outputs, inputs.dtype),
            self._averaged(self.moving_mean, mean),
            self._averaged(self.moving_variance, unbiased),
        )

    def _averaged(self, average, value):
        return average.value * self.momentum + value * (1.0 - self.momentum)

    def plain(self, inputs):
        """Applies Keras's batch normalisation with the same weights; see `plain`."""
        layer = keras.layers.BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, name=self.name
        )
        return with_weights(layer, inputs, self.get_weights())

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "zero_gamma": self.zero_gamma,
            "synchronized": self.synchronized,
        }


def _normalize(inputs, mean, variance, scale, shift, epsilon):
    factor = scale * tf.math.rsqrt(variance + epsilon)
    return inputs * factor + (shift - mean * factor)


def _sum_over_replicas(tensor):
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return tensor
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tensor)


@keras.saving.register_keras_serializable(package="bsce_keras")
class ChannelShift(keras.layers.Layer):
    """Adds a number per channel to maps `(batch, height, width, channels)`.

    It replaces a batch normalisation whose scale was folded into a kernel.
    """

    def build(self, input_shape):
        self.shift = self.add_weight(
            name="shift", shape=(input_shape[-1],), initializer="zeros"
        )

    def call(self, inputs):
        # TensorFlow fuses this operation into convolutions, but not a plain sum.
        return tf.nn.bias_add(inputs, ops.convert_to_tensor(self.shift))


@keras.saving.register_keras_serializable(package="bsce_keras")
class SubsampleAndPadChannels(keras.layers.Layer):
    """PODNet's shortcut without parameters: every second pixel, zeros as channels."""

    def call(self, inputs):
        taken = inputs[:, ::2, ::2, :]
        return ops.concatenate([taken, ops.zeros_like(taken)], axis=-1)

    def plain(self, inputs):
        """Applies a strided 1x1 convolution with a fixed kernel; see `plain`."""
        channels = inputs.shape[-1]
        layer = keras.layers.Conv2D(
            2 * channels, 1, strides=2, use_bias=False, name=self.name
        )
        kernel = np.eye(channels, 2 * channels)[None, None]
        return with_weights(layer, inputs, [kernel])

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, -(-height // 2), -(-width // 2), 2 * channels


def convolution(inputs, filters, kernel_size, strides=1, name=None):
    """Adds a convolution with symmetric padding and He fan-out, without bias.

    This is the convolution of the references. Keras's `same` pads only right and bottom
    at stride 2, so a separate layer pads there.
    """
    padding = "same"
    if strides > 1 and kernel_size > 1:
        inputs = keras.layers.ZeroPadding2D(kernel_size // 2)(inputs)
        padding = "valid"
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            scale=2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
    )(inputs)


@keras.saving.register_keras_serializable(package="bsce_keras")
class NormalizeImages(keras.layers.Layer):
    """Maps uint8 images to `(x / 255 - mean) / std`, in float32.

    It is a layer of the classifier, and pixels are normalised only here. Training,
    evaluation and exported model therefore agree.

    Args:
        mean, std: one number per channel, or one for all, for pixels in [0, 1].
        reverses_channels: the last channel comes first in `mean`, `std` and outputs.
    """

    def __init__(self, mean, std, reverses_channels=False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.reverses_channels = reverses_channels

    def call(self, inputs):
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        images = ops.cast(inputs, dtype)
        if self.reverses_channels:
            images = images[..., ::-1]
        if not any(self.mean) and all(255 * std == 1 for std in self.std):
            # Exact, for networks that take whole numbers and would cut off 253.99998.
            return images
        mean = ops.convert_to_tensor(self.mean, dtype)
        std = ops.convert_to_tensor(self.std, dtype)
        return (images / 255.0 - mean) / std

    def plain(self, inputs):
        """Applies Keras's rescaling, after a 1x1 convolution that reverses channels."""
        if self.reverses_channels:
            number = inputs.shape[-1]
            reversal = keras.layers.Conv2D(number, 1, use_bias=False)
            kernel = np.eye(number)[::-1].reshape(1, 1, number, number)
            inputs = with_weights(reversal, ops.cast(inputs, "float32"), [kernel])
        std = np.array(self.std)
        return keras.layers.Rescaling(
            scale=(1 / (255 * std)).tolist(),
            offset=(-np.array(self.mean) / std).tolist(),
            name=self.name,
        )(inputs)

    def compute_output_spec(self, inputs):
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        return keras.KerasTensor(inputs.shape, dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "mean": self.mean,
            "std": self.std,
            "reverses_channels": self.reverses_channels,
        }
