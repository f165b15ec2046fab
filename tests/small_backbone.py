"""Backbone of one block, for tests: most of their time goes into tracing layers."""

from bsce_keras.models.resnet_cifar import _small_resnet


def small_backbone(variant="il_baseline", image_size=8, channels=1, synchronized=False):
    """Builds a network with one map, `stage1`, and features of shape `(batch, 32)`."""
    shape = (image_size, image_size, channels)
    return _small_resnet("small", shape, [(32, 1, 2)], variant, synchronized)
