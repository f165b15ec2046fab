"""Backbones of `keras.applications` and KerasHub, with pretrained weights."""

import warnings

import keras

from bsce_keras.config.backbone_inputs import BackboneInput
from bsce_keras.config.choices import KERAS_APPLICATIONS, KERAS_HUB
from bsce_keras.models.saved_backbone import checked_backbone, first_line
from bsce_keras.runtime.errors import RequestError

_OF_A_FILE = (
    "Use weights that were saved without the top layer, by "
    "`model.save_weights('NAME.weights.h5')`, and images large enough."
)
_FETCHED = (
    "Use images large enough. If the fetch failed, try again with network access, or "
    "pass a file of weights by --backbone_weights."
)


def load_application(config, image):
    """Returns a network of `keras.applications` without its top layer.

    Args:
        config: `ModelConfig` of `applications:NAME`. Without a `backbone_path`, Keras
            fetches the weights of ImageNet, or takes them from its cache.
        image: `ImageSpec` of the network's images.

    Returns:
        `keras.Model` from images to features, averaged over the last map.

    Raises:
        RequestError: the weights cannot be read or fetched, or do not fit.
    """
    name = config.backbone.removeprefix(KERAS_APPLICATIONS)
    weights = config.backbone_path or "imagenet"
    try:
        with warnings.catch_warnings():
            # Keras leaves weights random that the file lacks, and only warns.
            warnings.filterwarnings("error", "Skipping")
            # Weights without the top layer fit images of any size.
            warnings.filterwarnings("ignore", "`input_shape` is undefined")
            return getattr(keras.applications, name)(
                include_top=False,
                weights=weights,
                input_shape=(image.size, image.size, image.channels),
                pooling="avg",
            )
    except Exception as error:  # Keras documents no set of exceptions.
        raise RequestError(
            f"--backbone={config.backbone} cannot be built with weights {weights} for "
            f"images {image.size}x{image.size}x{image.channels}: {first_line(error)}. "
            f"{_OF_A_FILE if config.backbone_path else _FETCHED}"
        ) from error


def load_preset(config, image):
    """Returns the backbone of a KerasHub preset, with pooled features.

    Maps `(batch, height, width, d)` are averaged. Tokens `(batch, tokens, d)` give
    the first one, the class token of vision transformers.

    Args:
        config: `ModelConfig` of `keras_hub:PRESET`.
        image: `ImageSpec` of the network's images.

    Raises:
        RequestError: the preset cannot be loaded or is not an image backbone.
    """
    import keras_hub

    backbone = _from_preset(keras_hub.models.Backbone, config)
    output = backbone.outputs[0] if len(backbone.outputs) == 1 else None
    if output is not None and len(output.shape) == 4:
        output = keras.layers.GlobalAveragePooling2D(name="pooling")(output)
    elif output is not None and len(output.shape) == 3:
        output = output[:, 0]
    model = keras.Model(backbone.inputs, output) if output is not None else backbone
    return checked_backbone(f"--backbone={config.backbone}", model, image)


def preset_input(config):
    """Returns the `BackboneInput` of a preset, from its image converter.

        x scale + offset = (x / 255 - mean) / std

    Raises:
        RequestError: the preset does not tell its input.
    """
    import keras_hub

    converter = _from_preset(keras_hub.layers.ImageConverter, config)
    scale, offset = _channels(converter.scale, 1.0), _channels(converter.offset, 0.0)
    length = max(len(scale), len(offset))
    scale, offset = (values * (length // len(values)) for values in (scale, offset))
    std = tuple(1 / (255 * factor) for factor in scale)
    mean = tuple(-a * b for a, b in zip(offset, std, strict=True))
    return BackboneInput(mean, std)


def _from_preset(kind, config):
    preset = config.backbone_path or config.backbone.removeprefix(KERAS_HUB)
    try:
        return kind.from_preset(preset)
    except Exception as error:  # KerasHub documents no set of exceptions.
        raise RequestError(
            f"--backbone={KERAS_HUB}{preset} has no {kind.__name__} that can be "
            f"loaded: {first_line(error)}. Use a preset of an image network; "
            "--backbone_input names the input of one without an ImageConverter. If a "
            "fetch failed, name the folder of a preset."
        ) from error


def _channels(values, default):
    if values is None:
        return (default,)
    values = keras.ops.convert_to_numpy(values)
    return tuple(float(value) for value in values.reshape(-1))
