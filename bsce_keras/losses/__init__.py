"""Losses: pure functions of tensors, one value per image, in nats."""

from bsce_keras.losses.balanced_softmax import (
    BalancedSoftmaxLoss,
    balanced_softmax_crossentropy,
)
from bsce_keras.losses.distillation import logit_distillation

__all__ = [
    "BalancedSoftmaxLoss",
    "balanced_softmax_crossentropy",
    "logit_distillation",
]
