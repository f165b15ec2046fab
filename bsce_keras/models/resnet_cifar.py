"""ResNets for small images: ResNet-32, and ResNet-8 for digits."""

import keras

from bsce_keras.models.blocks import ResidualStages
from bsce_keras.models.layers import convolution
from bsce_keras.models.variants import CIFAR_VARIANTS, find_variant


def resnet32(
    variant: str = "il_baseline",
    image_size: int = 32,
    channels: int = 3,
    synchronized: bool = False,
) -> keras.Model:
    """Builds the ResNet-32 of the reference code bases, without head.

    It has five blocks each of 16, 32 and 64 filters. The last block is a separate stage
    (`stage4`), because PODNet takes its maps there.

    Args:
        variant: `il_baseline`, `lucir` (without ReLU after the last block) or `podnet`
            (without ReLU after any block, parameter-free shortcuts, second gamma at 0).
        image_size: height and width of the images.
        channels: channels of the images.
        synchronized: batch statistics are taken over all replicas.

    Returns:
        `keras.Model` from normalised images `(batch, image_size, image_size,
        channels)` to features `(batch, 64)`; attention maps are the outputs of the
        layers `stage1` to `stage4`.

    Raises:
        ValueError: unknown variant.

    Source: LUCIR `resnet_cifar.py`, `modified_resnet_cifar.py`; PODNet
    `my_resnet.py`. The paper only says "32-layer ResNet".
    """
    return _small_resnet(
        "resnet32",
        (image_size, image_size, channels),
        [(16, 5, 1), (32, 5, 2), (64, 4, 2), (64, 1, 1)],
        variant,
        synchronized,
    )


def resnet8(variant="il_baseline", image_size=8, channels=1, synchronized=False):
    """Builds ResNet-8 for digits: one block each of 16, 32 and 64 filters.

    Arguments are those of `resnet32`. Maps are `stage1` to `stage3`, features have
    shape `(batch, 64)`.
    """
    return _small_resnet(
        "resnet8",
        (image_size, image_size, channels),
        [(16, 1, 1), (32, 1, 2), (64, 1, 2)],
        variant,
        synchronized,
    )


def _small_resnet(name, input_shape, stages, variant, synchronized):
    details = find_variant(CIFAR_VARIANTS, variant)
    blocks = ResidualStages(details, len(stages), synchronized)
    images = keras.Input(input_shape, name="images")
    outputs = blocks.normalize(convolution(images, 16, 3))
    outputs = keras.layers.ReLU()(outputs)
    for filters, num_blocks, strides in stages:
        outputs = blocks.add(outputs, filters, num_blocks, strides)
    features = keras.layers.GlobalAveragePooling2D(name="features")(outputs)
    return keras.Model(images, features, name=name)
