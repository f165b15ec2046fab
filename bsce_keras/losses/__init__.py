"""Losses: pure functions of tensors, one value per image unless they say otherwise."""

from bsce_keras.losses.balanced_softmax import (
    BalancedSoftmaxLoss,
    balanced_softmax_crossentropy,
)
from bsce_keras.losses.distillation import logit_distillation
from bsce_keras.losses.features import less_forget, pod_flat, pod_spatial
from bsce_keras.losses.margin import margin_ranking, nca
from bsce_keras.losses.rescaled_softmax import rescaled_softmax_crossentropy
from bsce_keras.losses.separated_softmax import separated_softmax_crossentropy
from bsce_keras.losses.softmax import softmax_crossentropy
from bsce_keras.losses.topology import topology_preserving

__all__ = [
    "BalancedSoftmaxLoss",
    "balanced_softmax_crossentropy",
    "less_forget",
    "logit_distillation",
    "margin_ranking",
    "nca",
    "pod_flat",
    "pod_spatial",
    "rescaled_softmax_crossentropy",
    "separated_softmax_crossentropy",
    "softmax_crossentropy",
    "topology_preserving",
]
