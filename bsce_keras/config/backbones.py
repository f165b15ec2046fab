"""Table of the backbones of this package. Imports no TensorFlow.

A new backbone needs its function in `bsce_keras.models` and its entry here.
"""

import dataclasses

from bsce_keras.config.choices import CIFAR, IMAGENET, SMALL, SUBIMAGENET


@dataclasses.dataclass(frozen=True)
class Backbone:
    """Properties of a backbone.

    Args:
        build: "module:function" of the function that builds it from `(variant,
            image_size, channels, synchronized)`. The result is a `keras.Model` from
            normalised images to features. Its layers `stage1`, `stage2`, ... give
            attention maps.
        default_for: kinds of data sets that use this backbone by default.
    """

    build: str
    default_for: tuple[str, ...] = ()


BACKBONES = {
    "resnet8": Backbone("bsce_keras.models.resnet_cifar:resnet8", (SMALL,)),
    "resnet32": Backbone("bsce_keras.models.resnet_cifar:resnet32", (CIFAR,)),
    "resnet18": Backbone("bsce_keras.models.resnet:resnet18", (SUBIMAGENET, IMAGENET)),
}
# List for messages and help.
BACKBONES_TEXT = ", ".join(BACKBONES)


def default_backbone(kind):
    """Returns the name of the default backbone for a kind of data set."""
    return next(name for name, entry in BACKBONES.items() if kind in entry.default_for)
