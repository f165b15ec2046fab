"""Copies of a classifier for inference, with batch normalisation in convolutions."""

import keras
import numpy as np

from bsce_keras.models.layers import ChannelShift, FusedBatchNormalization
from bsce_keras.models.plain import is_network, refresh_statistics


def folded(classifier, dtype=None):
    """Returns a copy that folds batch normalisation into the convolutions before it.

    In inference mode, batch normalisation is a product and a sum per channel. The
    product is moved into the kernel of the convolution:

        factor = gamma / sqrt(moving_variance + epsilon)
        kernel <- kernel * factor        shift = beta - moving_mean * factor

    On a CPU, TensorFlow (2.21) then computes convolution, shift, residual sum and ReLU
    as one operation. Without folding, it fuses normalisation and ReLU into the
    convolution only in float32, and never the sum.

    Args:
        classifier: functional `keras.Model`, such as `build_classifier` returns.
        dtype: dtype of the copy's weights and computations; by default that of the
            classifier.

    Returns:
        `keras.Model` for inference, with the same inputs and outputs. Its results
        differ by rounding. It does not share weights with
        `classifier`.
    """
    pairs = list(_foldable(classifier))
    shifted = {id(normalization) for _, normalization in pairs}
    copies = {}

    def copied(layer):
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation without weights
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
        if values:  # Keras copies input layers itself, so `copies` lacks them.
            copies[original].set_weights(values)
            refresh_statistics(copies[original])
    return copy


def _leaves(model):
    """Yields the layers of a model and of the models in it."""
    for layer in model.layers:
        if is_network(layer):
            yield from _leaves(layer)
        else:
            yield layer


def _foldable(classifier):
    """Yields pairs of a convolution and the normalisation that is its only reader."""
    outputs = {id(output) for output in _outputs(classifier)}
    for layer in _leaves(classifier):
        if isinstance(layer, FusedBatchNormalization):
            # Keras (3.15) has only private ways from a layer to its neighbours.
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
    """Yields output tensors of a model and of the models in it."""
    yield from model.outputs
    for layer in model.layers:
        if is_network(layer):
            yield from _outputs(layer)
