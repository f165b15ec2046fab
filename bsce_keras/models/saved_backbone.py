"""A backbone out of a file that `keras.Model.save` wrote."""

import keras

from bsce_keras.runtime.errors import RequestError


def load_backbone(path, image):
    """Loads a backbone and makes sure that a classifier can stand on it.

    Keras's safe mode is on: a file that holds code is refused.

    Args:
        path: of a `.keras` file: a model from normalised images to features.
        image: `ImageSpec` of the images that it is to see.

    Returns:
        A `keras.Model` with the weights of the file.

    Raises:
        RequestError: the file cannot be loaded, or holds another kind of model.
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
    # Which has layers, but no `output` to build on.
    return keras.Model(model.inputs[0], model.outputs[0])


def _problem(model, image):
    """What is wrong with a model for a backbone, or None."""
    if not getattr(model, "outputs", None):  # neither has one of another kind
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
    # Their state is no weight: a checkpoint would not hold it.
    random = [v.path for v in model.variables if "float" not in v.dtype]
    if random:
        return f"Received: {', '.join(random)}"
    return None


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
