"""Images to choose hyper-parameters by: a part of the training images, set aside."""

import numpy as np

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.randomness import Purpose, generator
from bsce_keras.runtime.text import listed


def held_out(labels, share, class_names):
    """Which training images are not to be trained on but to be scored.

    Of a class of n images, `max(1, round(share * n))` are set aside. Which ones depends
    on n alone, so that runs of whatever seed, and a run that grows, agree on it.

    Args:
        labels: class ids of the training images, shape `(num_images,)`.
        share: above 0 and below 1.
        class_names: by class id, for messages.

    Returns:
        Truth values, shape `(num_images,)`.

    Raises:
        RequestError: a class with no image left to train on.
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
            f"--validation_share={share} leaves no image to train on of: "
            f"{listed(small)}. Lower it, add images, or leave these classes out."
        )
    return is_held_out
