"""Measured work: networks, batches, and the update of every variant.

Imports no framework, so that the process of a variant holds only its own.
"""

import dataclasses
import importlib
import importlib.util

import numpy as np

from bsce_keras.config import ImageSpec
from bsce_keras.data.examples import Examples

# Class counts of the second step of the usual CIFAR-100 stream; without a teacher, of
# its first step.
NUM_OLD, NUM_NEW = 50, 10
OLD_COUNT, NEW_COUNT = 20, 500
# Images of the alpha split: 2 of 20 exemplars a class.
ALPHA_SPLIT_IMAGES = 2 * (NUM_OLD + NUM_NEW)
# The rate is small, because the same batch repeats. Speed does not depend on it.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 2e-4

PRECISIONS = ("float32", "mixed_bfloat16")

# Our variant in a process without oneDNN. It is compared only with our variant.
ONEDNN_OFF = "ours_onednn_off"

_MAKERS = {
    ONEDNN_OFF: "tools.benchmark.keras_updates:our_update",
    "ours": "tools.benchmark.keras_updates:our_update",
    "stock_keras": "tools.benchmark.keras_updates:stock_update",
    "torch_nchw": "tools.benchmark.torch_updates:nchw_update",
    "torch_channels_last": "tools.benchmark.torch_updates:channels_last_update",
}
_ENVIRONMENTS = {ONEDNN_OFF: {"TF_ENABLE_ONEDNN_OPTS": "0"}}
_KINDS = {
    "plain": {},
    "teacher": {"teacher": True},
    "closed_form": {"teacher": True, "meta_gradient": "closed_form"},
    "nested_tapes": {"teacher": True, "meta_gradient": "nested_tapes"},
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Network on images of one size, with one batch size."""

    backbone: str
    image: ImageSpec
    batch_size: int

    @property
    def name(self):
        return f"{self.backbone}@{self.image.size}"


CASES = {
    case.name: case
    for case in (
        Case("resnet32", ImageSpec(size=32, stored_size=32, pad=4), 128),
        Case("resnet18", ImageSpec(size=64, stored_size=73), 64),
        Case("resnet18", ImageSpec(size=224, stored_size=256), 16),
    )
}


def make_update(variant, kind, case, precision):
    """Returns a function that computes an update on a constant batch and its loss.

    All variants have the same architecture, loss and momentum. Ours also normalises
    the uint8 images. PyTorch gets normalised images.

    Args:
        variant: `ours`, `ours_onednn_off`, `stock_keras`, `torch_nchw` or
            `torch_channels_last`.
        kind: `plain` (a base step) or `teacher` (an increment with distillation). For
            our variant also `closed_form` or `nested_tapes` (with a teacher, moving
            alpha).
        case: `Case`.
        precision: one of `PRECISIONS`.
    """
    module, name = _MAKERS[variant].split(":")
    make = getattr(importlib.import_module(module), name)
    return make(case, precision, **_KINDS[kind])


def environment(variant):
    """Returns additional environment variables of the process of a variant."""
    return _ENVIRONMENTS.get(variant, {})


def installed_variants():
    """Returns the names of the variants whose framework is installed."""
    with_torch = importlib.util.find_spec("torch") is not None
    return [
        name
        for name in _MAKERS
        if name != ONEDNN_OFF and (with_torch or not name.startswith("torch"))
    ]


def random_batch(case, num_images=None):
    """Returns uint8 images as the network sees them and int32 labels, in NumPy."""
    num_images = num_images or case.batch_size
    return _random_images(case, num_images, case.image.size), _labels(num_images)


def random_pool(case, num_images):
    """Returns `Examples` as training and evaluation hold them."""
    images = _random_images(case, num_images, case.image.stored_size)
    return Examples(images, _labels(num_images).astype(np.int64), np.arange(num_images))


def _random_images(case, num_images, side):
    shape = (num_images, side, side, case.image.channels)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def _labels(num_images):
    return np.random.default_rng(2).integers(0, NUM_OLD, num_images, np.int32)
