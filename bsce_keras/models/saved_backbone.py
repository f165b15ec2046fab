"""Backbones from files that `keras.Model.save` wrote."""

import keras

from bsce_keras.runtime.errors import RequestError


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

    Args:
        flag: flag that names the file, for messages.
        path: path of a `.keras` file.

    Raises:
        RequestError: the file cannot be loaded, or it contains code.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras documents no set of exceptions.
        raise RequestError(
            f"{flag}={path} cannot be loaded: {first_line(error)}. Save a model by "
            "`model.save('NAME.keras')`, made of Keras's own layers."
        ) from error


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
    if not isinstance(model, keras.Sequential):
        return model
    # `Sequential` lacks the `output` that a classifier is built on.
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
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return last_operation(operation)
    return operation


def is_softmax(operation):
    """Returns True for a layer or operation whose outputs are probabilities."""
    names = ("Softmax", "softmax")
    activation = getattr(operation, "activation", None)
    return type(operation).__name__ in names or (
        getattr(activation, "__name__", "") in names
    )


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
