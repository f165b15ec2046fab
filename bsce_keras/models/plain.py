"""Copies of a classifier made of Keras's own layers, for files that leave the package.

A layer of this package may have a method `plain(inputs)`. It applies Keras's own
layers to symbolic inputs, so that the outputs are those of the layer in inference.
"""

import keras

from bsce_keras.models.plain_resizing import is_antialiased, resized
from bsce_keras.runtime.precision import dtype_policy


def plain(classifier):
    """Returns a float32 copy of a classifier for inference, of Keras's own layers.

    Layers without `plain` are copied as they are, and so are those that override `call`
    without it. A saved copy loads only where their code is; see `foreign_layers`.

    Args:
        classifier: functional `keras.Model`, such as `build_classifier` returns. Its
            outputs are a dictionary that holds `logits`.

    Returns:
        `keras.Model` with the same inputs and outputs. Its results differ by rounding.
    """
    originals, networks = {}, {}
    if isinstance(classifier, keras.Sequential):
        # Keras clones only functional models through a `call_function`.
        classifier = keras.Model(
            classifier.inputs[0], classifier.outputs[0], name=classifier.name
        )

    def copied(layer):
        is_operation = not isinstance(layer, keras.layers.Layer)
        is_made_anew = _has_plain(layer) or is_antialiased(layer)
        if is_operation or is_made_anew or is_network(layer):
            return layer
        copy = layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})
        originals[id(copy)] = layer
        return copy

    def called(layer, *args, **kwargs):
        if _has_plain(layer):
            return layer.plain(*args)
        if is_network(layer):
            # A network that is called twice has one copy.
            if id(layer) not in networks:
                networks[id(layer)] = plain(layer)
            return networks[id(layer)](*args)
        if is_antialiased(layer):
            return resized(layer, *args)
        outputs = layer(*args, **kwargs)
        if id(layer) not in originals:
            return outputs
        layer.set_weights(originals[id(layer)].get_weights())
        refresh_statistics(layer)
        return outputs

    # A method `plain` makes layers in Keras's precision, which may be that of a run.
    with dtype_policy("float32"):
        return keras.models.clone_model(
            classifier, clone_function=copied, call_function=called
        )


def _has_plain(layer):
    """True if `plain` is not that of a class whose `call` was overridden."""
    for kind in type(layer).__mro__:
        if "plain" in vars(kind):
            return True
        if "call" in vars(kind):
            return False
    return False


def foreign_layers(model):
    """Returns the sorted class names of layers that are not Keras's own."""
    return sorted({kind.__name__ for kind in foreign_classes(model)})


def foreign_classes(model):
    """Returns the set of classes of layers that are not Keras's own."""
    kinds = {type(layer) for layer in layers_of(model)}
    return {kind for kind in kinds if not kind.__module__.startswith("keras.")}


def layers_of(model):
    """Yields the layers of a model, and those of models in it."""
    for layer in model.layers:
        if is_network(layer):
            yield from layers_of(layer)
        else:
            yield layer


def is_network(layer):
    """Returns True for a functional or sequential model.

    The layers of a subclassed model are not a graph: its `call` may be any code.
    """
    return isinstance(layer, keras.Model) and bool(getattr(layer, "outputs", None))


def refresh_statistics(layer):
    """Lets a `Normalization` layer compute with the weights that were just set."""
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


def with_weights(layer, inputs, weights):
    """Applies a new layer to symbolic inputs, and sets its weights.

    Args:
        layer: `keras.layers.Layer` that was never called.
        inputs: `keras.KerasTensor`.
        weights: list of arrays, as `set_weights` takes them.

    Returns:
        The outputs of the layer.
    """
    outputs = layer(inputs)
    layer.set_weights(weights)
    return outputs


def dense(features, kernel, bias=None):
    """Applies a dense layer with these weights to symbolic features."""
    layer = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None)
    return with_weights(layer, features, [kernel] if bias is None else [kernel, bias])
