"""How often old and new images are drawn while an increment trains."""

import numpy as np


def draw_probabilities(sampling, labels, num_old_classes):
    """Probability of every image to be the next one drawn, with replacement.

    `memory_oversampling` draws exemplars and new images equally often, each evenly
    among themselves, unless exemplars are the majority already. `class_oversampling`
    draws all classes equally often, `four_to_one` four new images for each exemplar.

    Source: Jodelet et al., Table 4. LUCIR's code has the former as `--rs_ratio 0.5`,
    with twice as many images an epoch as are new. Here an epoch has as many as the
    pool, so that all rows of the table train equally long; the paper does not say.

    Args:
        sampling: `uniform`, `memory_oversampling`, `class_oversampling` or
            `four_to_one`.
        labels: int, shape `(num_images,)`, of the new images and the exemplars.
        num_old_classes: classes `[0, num_old_classes)` are old.

    Returns:
        float64, shape `(num_images,)`, of sum 1; None where every image is to be taken
        once an epoch: `uniform`, no exemplars, or enough of them already.
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
