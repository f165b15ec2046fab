"""Probabilities of old and new images in the training of an increment."""

import numpy as np


def draw_probabilities(sampling, labels, num_old_classes):
    """Probability of every image at each draw with replacement.

    `memory_oversampling` draws exemplars and new images equally often, evenly within
    each group. It changes nothing if exemplars are the majority. `class_oversampling`
    draws all classes equally often. `four_to_one` draws four new images per exemplar.

    Source: Jodelet et al., Table 4. LUCIR's code has `memory_oversampling` as
    `--rs_ratio 0.5`, with an epoch of twice as many images as are new. Here an epoch
    has as many images as the pool, so all rows of the table train equally long. The
    paper does not state the length.

    Args:
        sampling: `uniform`, `memory_oversampling`, `class_oversampling` or
            `four_to_one`.
        labels: int, shape `(num_images,)`: labels of the new images and the exemplars.
        num_old_classes: classes `[0, num_old_classes)` are old.

    Returns:
        float64, shape `(num_images,)`, with sum 1; None if an epoch takes every image
        once: `uniform`, all images new, or enough exemplars for the wanted share.
    """
    is_new = labels >= num_old_classes
    if sampling == "uniform" or np.all(is_new):
        return None
    if sampling == "class_oversampling":
        weights = 1.0 / np.bincount(labels)[labels]
        return weights / weights.sum()
    new_share = 0.8 if sampling == "four_to_one" else 0.5
    if sampling == "memory_oversampling" and np.mean(is_new) <= new_share:
        return None
    return np.where(is_new, new_share / is_new.sum(), (1 - new_share) / (~is_new).sum())
