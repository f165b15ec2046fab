"""Backbones from files that `keras.Model.save` wrote."""

import keras

from bsce_keras.runtime.errors import RequestError


def load_backbone(path, image):
    """Loads a backbone and checks that a classifier can use it.

    Keras's safe mode is on, so files that contain code are refused.

    Args:
        path: path of a `.keras` file with a model from normalised images to features.
        image: `ImageSpec` of its images.

    Returns:
        `keras.Model` with the weights of the file.

    Raises:
        RequestError: the file cannot be loaded, or its model is not a backbone.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras documents no set of exceptions.
        raise RequestError(
            f"--backbone={path} cannot be loaded: {_first_line(error)}. Save a "
            "backbone by `model.save('NAME.keras')`, made of Keras's own layers."
        ) from error
    problem = _problem(model, image)
    if problem:
        raise RequestError(
            f"--backbone={path} must be a functional or sequential model from images "
            f"(batch, {image.size}, {image.size}, {image.channels}) to features "
            f"(batch, d), without layers that draw random numbers. {problem}. Save "
            "another, for instance one that ends in global average pooling."
        )
    if not isinstance(model, keras.Sequential):
        return model
    # `Sequential` lacks the `output` that a classifier is built on.
    return keras.Model(model.inputs[0], model.outputs[0])


def _problem(model, image):
    """Returns the reason why a model is not a backbone, or None."""
    if not getattr(model, "outputs", None):  # a subclassed model
        return f"Received: {type(model).__name__}"
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return f"Received: {len(model.inputs)} inputs, {len(model.outputs)} outputs"
    wanted = (image.size, image.size, image.channels)
    taken = model.inputs[0].shape[1:]
    if len(taken) != 3 or any(
        side is not None and side != needed
        for side, needed in zip(taken, wanted, strict=True)
    ):
        return f"Received: images {tuple(model.inputs[0].shape)}"
    if len(model.outputs[0].shape) != 2:
        return f"Received: features {tuple(model.outputs[0].shape)}"
    # State of random layers is not a weight, so checkpoints would lose it.
    random = [v.path for v in model.variables if "float" not in v.dtype]
    if random:
        return f"Received: {', '.join(random)}"
    return None


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
