"""A copy of a classifier for inference: batch normalisation inside the convolutions."""

import keras
import numpy as np

from bsce_keras.models.layers import ChannelShift, FusedBatchNormalization


def folded(classifier, dtype=None):
    """A copy whose convolutions carry the batch normalisation after them.

    In inference mode batch normalisation is a product and a sum per channel, and the
    product may as well be taken with the kernel before it:

        factor = gamma / sqrt(moving_variance + epsilon)
        kernel <- kernel * factor        shift = beta - moving_mean * factor

    On a CPU, TensorFlow (2.21) then computes convolution, shift, residual sum and ReLU
    as one operation. Without, it fuses normalisation and ReLU into the convolution in
    float32, but not the sum, and in bfloat16 nothing.

    Args:
        classifier: functional `keras.Model`, such as `build_classifier` returns.
        dtype: what the copy computes in and keeps its weights in; by default as the
            classifier does.

    Returns:
        A `keras.Model` for inference, of the same inputs and outputs. It differs by
        rounding; later changes of `classifier` do not reach it.
    """
    pairs = list(_foldable(classifier))
    shifted = {id(normalization) for _, normalization in pairs}
    copies = {}

    def copied(layer):
        config = layer.get_config()
        if dtype is not None:
            config["dtype"] = dtype
        if id(layer) in shifted:
            copy = ChannelShift(name=layer.name, dtype=dtype or layer.dtype_policy)
        else:
            copy = layer.__class__.from_config(config)
        copies[id(layer)] = copy
        return copy

    copy = keras.models.clone_model(classifier, clone_function=copied, recursive=True)
    weights = {id(layer): layer.get_weights() for layer in _leaves(classifier)}
    for convolution, normalization in pairs:
        (kernel,) = weights[id(convolution)]
        gamma, beta, mean, variance = weights[id(normalization)]
        factor = gamma / np.sqrt(variance + normalization.epsilon)
        weights[id(convolution)] = [kernel * factor]
        weights[id(normalization)] = [beta - mean * factor]
    for original, values in weights.items():
        if values:  # Keras makes inputs itself: they are not among the copies.
            copies[original].set_weights(values)
    return copy


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
            # Keras (3.15) has no public way from a layer to its neighbours.
            before = layer.input._keras_history.operation
            if (
                isinstance(before, keras.layers.Conv2D)
                and not before.use_bias
                and before.activation is keras.activations.linear
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
