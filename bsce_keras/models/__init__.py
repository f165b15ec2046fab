"""Backbones, heads and the classifier that joins them."""

from bsce_keras.models.resnet import resnet18
from bsce_keras.models.resnet_cifar import resnet8, resnet32

__all__ = ["resnet8", "resnet18", "resnet32"]
