"""Validation images: training images held out to choose hyper-parameters."""

import numpy as np

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.randomness import Purpose, generator
from bsce_keras.runtime.text import listed


def held_out(labels, share, class_names):
    """Marks the training images that are scored instead of trained on.

    A class of n images has `max(1, round(share * n))` images held out. The choice
    depends only on n, so it is equal for all seeds and when a run gets more classes.

    Args:
        labels: class ids of the training images, shape `(num_images,)`.
        share: share of each class to hold out, above 0 and below 1.
        class_names: names indexed by class id, for messages.

    Returns:
        Bool, shape `(num_images,)`: True for a held-out image.

    Raises:
        RequestError: a class does not keep an image to train on.
    """
    is_held_out = np.zeros(len(labels), bool)
    small = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        number = max(1, round(share * len(places)))
        if number >= len(places):
            small.append(class_names[label])
            continue
        order = generator(0, Purpose.HELD_OUT, len(places)).permutation(len(places))
        is_held_out[places[order[:number]]] = True
    if small:
        raise RequestError(
            f"--validation_share={share} would hold out every image of: "
            f"{listed(small)}. Lower it, add images, or leave these classes out."
        )
    return is_held_out
