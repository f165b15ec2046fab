"""Table of the inputs that pretrained backbones expect. Imports no TensorFlow.

A backbone of another kind than those of `FAMILIES` needs an entry there.
"""

import dataclasses
import re
from collections.abc import Mapping

# Layers of a saved model that leave the range of pixel values as it is.
_WITHOUT_EFFECT = re.compile(r"InputLayer|Random\w+|Resizing|CenterCrop|Dropout")
# A scalar factor up to this one, as the first operation, means pixels in [0, 255].
_LARGEST_PIXEL_FACTOR = 0.02


@dataclasses.dataclass(frozen=True)
class BackboneInput:
    """Values that a backbone expects: `(x / 255 - mean) / std` of pixels x.

    Args:
        mean, std: one number for all channels, or one per channel.
        reverses_channels: channels are blue, green, red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverses_channels: bool = False


# The default: mean and standard deviation of the data set.
NORMALIZED = "normalized"
# Scale and offset come from the files of a KerasHub preset.
AS_PRESET = "as_preset"
INPUTS = {
    "unit": BackboneInput((0.0,), (1.0,)),
    "0_255": BackboneInput((0.0,), (1 / 255,)),
    "-1_1": BackboneInput((0.5,), (0.5,)),
    "imagenet_mean_std": BackboneInput((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe_bgr": BackboneInput(
        (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,), True
    ),
}
INPUT_CHOICES = (NORMALIZED, *INPUTS)


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks of `keras.applications` that expect the same input.

    Args:
        input: key of `INPUTS`.
        sizes: side of the images that the weights were trained on, by name of the
            network.
        pattern: regular expression that matches the names of such a model, or of a
            layer that only these models have.
    """

    input: str
    sizes: Mapping[str, int]
    pattern: str


def _of_size(size, *names):
    return dict.fromkeys(names, size)


_EFFICIENTNET_SIZES = dict(
    zip(
        [f"EfficientNetB{number}" for number in range(8)],
        (224, 240, 260, 300, 380, 456, 528, 600),
        strict=True,
    )
) | {
    "EfficientNetV2B0": 224,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
}

# Source: `preprocess_input` and the constructors of every module of
# keras.applications 3.15.
FAMILIES = (
    Family("-1_1", _of_size(224, "MobileNet"), r"mobilenet_\d.*|conv_dw_1"),
    Family("-1_1", _of_size(224, "MobileNetV2"), r"mobilenetv2_.*|Conv1_relu"),
    Family(
        "0_255",
        _of_size(224, "MobileNetV3Small", "MobileNetV3Large"),
        r"MobileNetV3.*|expanded_conv_project_bn",
    ),
    Family("0_255", _EFFICIENTNET_SIZES, r"efficientnet(v2-)?[bsml]\d?"),
    Family(
        "0_255",
        _of_size(224, *(f"ConvNeXt{s}" for s in ("Tiny", "Small", "Base", "Large")))
        | _of_size(224, "ConvNeXtXLarge"),
        r"convnext_(tiny|small|base|large|xlarge)\w*",
    ),
    Family(
        "caffe_bgr",
        _of_size(224, "ResNet50", "ResNet101", "ResNet152"),
        r"resnet\d+|conv2_block1_3_bn",
    ),
    Family(
        "-1_1",
        _of_size(224, "ResNet50V2", "ResNet101V2", "ResNet152V2"),
        r"resnet\d+v2|conv2_block1_preact_bn",
    ),
    Family("caffe_bgr", _of_size(224, "VGG16", "VGG19"), r"vgg1[69]|block5_pool"),
    Family(
        "imagenet_mean_std",
        _of_size(224, "DenseNet121", "DenseNet169", "DenseNet201"),
        r"densenet\d+|conv2_block1_concat",
    ),
    Family("-1_1", _of_size(299, "Xception"), r"xception|block2_sepconv1"),
    Family("-1_1", _of_size(299, "InceptionV3"), r"inception_v3|mixed0"),
    Family("-1_1", _of_size(299, "InceptionResNetV2"), r"inception_resnet_v2|mixed_7a"),
    Family(
        "-1_1",
        {"NASNetMobile": 224, "NASNetLarge": 331},
        r"nasnet_(mobile|large)|stem_conv1",
    ),
    # Not of keras.applications: the first layer of the Keras file makes its own input.
    Family("imagenet_mean_std", {}, r"efficientnet_lite\d"),
)
# Families by name of a network of `keras.applications`.
APPLICATIONS = {name: family for family in FAMILIES for name in family.sizes}


@dataclasses.dataclass(frozen=True)
class SavedInput:
    """Facts about the input of a saved model, read from its configuration.

    Args:
        name: key of `INPUTS`; None if it is not known.
        shape: height, width and channels; None for those that are open or not known.
        is_mixed: a known network follows layers whose effect is not known.
    """

    name: str | None
    shape: tuple[int | None, ...] = (None, None, None)
    is_mixed: bool = False


def saved_input(config):
    """Returns the `SavedInput` of a model.

    Args:
        config: config.json of a `.keras` file, as a dictionary.
    """
    layers = _layers(config)
    shape = next((tuple(s[1:]) for s in map(_batch_shape, layers) if s), ())
    shape = shape if len(shape) == 3 else (None, None, None)
    first = next((layer for layer in layers if not _keeps_values(layer)), {})
    if _takes_bytes(layers) or _takes_pixels(first):
        return SavedInput("0_255", shape)
    outer = [_name(config), *(_name(layer) for layer in layers if not _layers(layer))]
    family = _family(outer) or _family(_names(first))
    return SavedInput(
        family and family.input,
        shape,
        is_mixed=family is None and _family(_names(config)) is not None,
    )


def _family(names):
    for family in FAMILIES:
        if any(re.fullmatch(family.pattern, name) for name in names):
            return family
    return None


def _layers(config):
    """Returns the configurations of the layers of a model; of a layer, none."""
    inner = config.get("config")
    layers = inner.get("layers", ()) if isinstance(inner, dict) else ()
    return [layer for layer in layers if isinstance(layer, dict)]


def _names(config):
    """Returns the name of a model or layer and those of all layers in it."""
    inner = (name for layer in _layers(config) for name in _names(layer))
    return [_name(config), *inner]


def _name(config):
    inner = config.get("config")
    return str(inner.get("name", "")) if isinstance(inner, dict) else ""


def _batch_shape(layer):
    inner = layer.get("config")
    return inner.get("batch_shape") if isinstance(inner, dict) else None


def _keeps_values(layer):
    inner = _layers(layer)
    if inner:
        return all(map(_keeps_values, inner))
    return re.fullmatch(_WITHOUT_EFFECT, str(layer.get("class_name", ""))) is not None


def _takes_bytes(layers):
    inputs = (layer for layer in layers if layer.get("class_name") == "InputLayer")
    return any(layer["config"].get("dtype") == "uint8" for layer in inputs)


def _takes_pixels(layer):
    inner = [one for one in _layers(layer) if not _keeps_values(one)]
    if inner:
        return _takes_pixels(inner[0])
    if layer.get("class_name") != "Rescaling":
        return False
    scale = layer["config"].get("scale")
    return isinstance(scale, float) and 0.0 < scale <= _LARGEST_PIXEL_FACTOR
