"""Backbones from files that `keras.Model.save` wrote."""

import keras
import numpy as np

from bsce_keras.models.plain import is_network
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import listed


def load_backbone(path, image):
    """Loads a backbone and checks that a classifier can use it.

    Keras's safe mode is on, so files that contain code are refused.

    Args:
        path: path of a `.keras` file with a model from images to features.
        image: `ImageSpec` of its images.

    Returns:
        `keras.Model` with the weights of the file.

    Raises:
        RequestError: the file cannot be loaded, or its model is not a backbone.
    """
    model = load_model("--backbone", path)
    if getattr(model, "outputs", None):
        refuse_softmax(path, model)
    return checked_backbone(f"--backbone={path}", model, image)


def load_model(flag, path):
    """Loads a model without running code of its file.

    Layers of 16 and of 64 bits take Keras's policy, which is that of the run. The
    gradients of float16 vanish where the loss is not scaled, and only `mixed_float16`
    scales it. An update needs gradients of one type. Layers of float32 stay.

    Args:
        flag: flag that names the file, for messages.
        path: path of a `.keras` file.

    Raises:
        RequestError: the file cannot be loaded, it contains code, or a weight is not
            finite.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        model = _in_policy(model, keras.config.dtype_policy().name)
    except Exception as error:  # Keras documents no set of exceptions.
        raise RequestError(
            f"{flag}={path} cannot be loaded: {first_line(error)}. Save a model by "
            "`model.save('NAME.keras')`, made of Keras's own layers."
        ) from error
    broken = [variable.path for variable in model.weights if not _is_finite(variable)]
    if broken:
        raise RequestError(
            f"{flag}={path} has weights that are not finite: {listed(broken)}. Its "
            "training diverged. Save a model whose loss is a number."
        )
    return model


def checked_backbone(name, model, image):
    """Returns a model as a functional one, after checking that it is a backbone.

    Args:
        name: flag and value, for messages.
        model: `keras.Model`.
        image: `ImageSpec` of its images.

    Raises:
        RequestError: the model is not a backbone for these images.
    """
    problem = _problem(model, image)
    if problem:
        raise RequestError(
            f"{name} must be a functional or sequential model from images "
            f"(batch, {image.size}, {image.size}, {image.channels}) to features "
            f"(batch, d). {problem}."
        )
    # A classifier is built on the `output`, which a `Sequential` lacks. That of other
    # models may be a list or dictionary of one tensor.
    return keras.Model(model.inputs[0], model.outputs[0])


def refuse_softmax(path, model):
    """Refuses a saved backbone that ends in class probabilities."""
    layer = last_operation(model)
    if is_softmax(layer):
        raise RequestError(
            f"--backbone={path} is a classifier: its layer {layer.name!r} ends in a "
            f"softmax over {model.outputs[0].shape[-1]} classes. Use "
            "--initial_model to add classes to it. Or save the part below the "
            "classes: keras.Model(model.input, model.layers[-2].output)."
        )


def last_operation(model):
    """Returns the layer or operation that computes the first output of a model.

    It looks into a model that is the last layer.
    """
    # Keras (3.15) has only private ways from a tensor to its layer.
    operation = model.outputs[0]._keras_history.operation
    if is_network(operation):
        return last_operation(operation)
    return operation


def is_softmax(operation):
    """Returns True for a layer or operation whose outputs are a softmax."""
    return _is_activation(operation, "softmax")


def is_sigmoid(operation):
    """Returns True for a layer or operation whose outputs are a sigmoid."""
    return _is_activation(operation, "sigmoid")


def _is_activation(operation, name):
    activation = getattr(operation, "activation", None)
    names = (type(operation).__name__, getattr(activation, "__name__", ""))
    return name in map(str.lower, names)


def _is_finite(variable):
    return np.isfinite(np.asarray(variable, np.float32)).all()


def _in_policy(model, name):
    """Returns the model with its layers of 16 or 64 bits in this policy."""
    config = model.get_config()
    changed = _with_policy(config, name)
    if changed == config:
        return model
    rebuilt = type(model).from_config(changed)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _with_policy(config, name):
    """Returns a configuration with another policy in place of 16 and 64 bits."""
    if isinstance(config, list | tuple):
        return type(config)(_with_policy(value, name) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and (
        config["config"]["name"].endswith(("float16", "float64"))
    ):
        return {**config, "config": {"name": name}}
    return {key: _with_policy(value, name) for key, value in config.items()}


def _problem(model, image):
    """Returns the reason why a model is not a backbone, or None."""
    if not getattr(model, "outputs", None):  # a subclassed model
        return f"Received: {type(model).__name__}"
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return f"Received: {len(model.inputs)} inputs, {len(model.outputs)} outputs"
    wanted = (image.size, image.size, image.channels)
    taken = tuple(model.inputs[0].shape[1:])
    if len(taken) != 3 or any(
        side is not None and side != needed
        for side, needed in zip(taken, wanted, strict=True)
    ):
        way_out = ""
        if len(taken) == 3 and taken[0] == taken[1] and taken[2] == image.channels:
            way_out = f". Use --image_size={taken[0]} or "
            way_out += f"--backbone_input_size={taken[0]}"
        return f"Received: images {tuple(model.inputs[0].shape)}{way_out}"
    if len(model.outputs[0].shape) != 2:
        return (
            f"Received: features {tuple(model.outputs[0].shape)}. Save another model, "
            "for instance one that ends in global average pooling"
        )
    return None


def first_line(error):
    """Returns the first line of the text of an exception."""
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
