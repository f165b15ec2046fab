"""A copy of a classifier for inference: batch normalisation inside the convolutions."""

import keras
import numpy as np
import tensorflow as tf

from bsce_keras.models.layers import FusedBatchNormalization


def folded(classifier):
    """A frozen classifier whose convolutions carry the batch normalisation after them.

    In inference mode batch normalisation is a product and a sum per channel, and the
    product may as well be taken with the kernel before it:

        factor = gamma / sqrt(moving_variance + epsilon)
        kernel <- kernel * factor        shift = beta - moving_mean * factor

    Convolution, shift, sum and ReLU are then one operation on a CPU. TensorFlow does as
    much by itself in float32, but not in bfloat16 (2.21).

    Args:
        classifier: functional `keras.Model`, such as `build_classifier` returns.

    Returns:
        A `keras.Model` of the same inputs, outputs and layer names, not trainable. Its
        outputs differ by rounding; later changes of `classifier` do not reach it.
    """
    pairs = list(_foldable(classifier))
    shifted = {normalization.name for _, normalization in pairs}

    def copied(layer):
        if layer.name in shifted:
            return ChannelShift(name=layer.name, dtype=layer.dtype_policy)
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(classifier, clone_function=copied, recursive=True)
    weights = {layer.name: layer.get_weights() for layer in _leaves(classifier)}
    for convolution, normalization in pairs:
        (kernel,) = weights[convolution.name]
        gamma, beta, mean, variance = weights[normalization.name]
        factor = gamma / np.sqrt(variance + normalization.epsilon)
        weights[convolution.name] = [kernel * factor]
        weights[normalization.name] = [beta - mean * factor]
    for layer in _leaves(copy):
        if layer.weights:  # Without any, inputs among them, names may have changed.
            layer.set_weights(weights[layer.name])
    copy.trainable = False
    return copy


@keras.saving.register_keras_serializable(package="bsce_keras")
class ChannelShift(keras.layers.Layer):
    """Adds a number per channel to maps `(batch, height, width, channels)`."""

    def build(self, input_shape):
        self.shift = self.add_weight(
            name="shift", shape=(input_shape[-1],), initializer="zeros"
        )

    def call(self, inputs):
        # Not a plain sum: this is the operation that TensorFlow fuses.
        return tf.nn.bias_add(inputs, tf.cast(self.shift.value, inputs.dtype))


def _leaves(model):
    """The layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _foldable(classifier):
    """Pairs of a convolution and the normalisation that alone reads its output."""
    outputs = {id(output) for output in _outputs(classifier)}
    for layer in _leaves(classifier):
        if isinstance(layer, FusedBatchNormalization):
            before = layer.input._keras_history.operation
            if (
                isinstance(before, keras.layers.Conv2D)
                and not before.use_bias
                and len(before._outbound_nodes) == 1
                and id(before.output) not in outputs
            ):
                yield before, layer


def _outputs(model):
    """Tensors that leave a model or a model in it."""
    yield from model.outputs
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _outputs(layer)
