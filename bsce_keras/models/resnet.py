"""ResNet-18 for larger images."""

import keras

from bsce_keras.models.blocks import ResidualStages
from bsce_keras.models.layers import convolution
from bsce_keras.models.variants import IMAGENET_VARIANTS, find_variant


def resnet18(variant="il_baseline", image_size=224, channels=3, synchronized=False):
    """Builds the ResNet-18 of the reference code bases, without head.

    Args:
        variant: `il_baseline` (torchvision's), `lucir` (without ReLU after the last
            block) or `podnet`. `podnet` has a 3x3 stem without stride, which doubles
            height and width of maps. Its stages end without ReLU, and the second gammas
            start at 0.
        image_size: height and width of the images.
        channels: channels of the images.
        synchronized: batch statistics are taken over all replicas.

    Returns:
        `keras.Model` from normalised images `(batch, image_size, image_size,
        channels)` to features `(batch, 512)`; attention maps are the outputs of the
        layers `stage1` to `stage4`.

    Raises:
        ValueError: unknown variant.

    Source: torchvision; LUCIR `modified_resnet.py`; PODNet `resnet.py`.
    """
    details = find_variant(IMAGENET_VARIANTS, variant)
    blocks = ResidualStages(details, num_stages=4, synchronized=synchronized)
    images = keras.Input((image_size, image_size, channels), name="images")
    if details.wide_stem:
        outputs = convolution(images, 64, 3)
    else:
        outputs = convolution(images, 64, 7, strides=2)
    outputs = keras.layers.ReLU()(blocks.normalize(outputs))
    # After a ReLU, padding with zeros equals the references' minus infinity.
    outputs = keras.layers.ZeroPadding2D(1)(outputs)
    outputs = keras.layers.MaxPooling2D(3, strides=2)(outputs)
    for filters, strides in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        outputs = blocks.add(outputs, filters, num_blocks=2, strides=strides)
    features = keras.layers.GlobalAveragePooling2D(name="features")(outputs)
    return keras.Model(images, features, name="resnet18")
