"""Images to choose hyper-parameters by: a part of the training images, set aside."""

import numpy as np

from bsce_keras.errors import RequestError, listed
from bsce_keras.randomness import Purpose, generator


def hold_out(examples, share, class_names):
    """Parts training images into those to train on and those to score on.

    Of a class of n images, `max(1, round(share * n))` are set aside. Which ones depends
    on n alone, so that runs of whatever seed, and a run that grows, agree on it.

    Args:
        examples: `Examples` of training images; labels are class ids.
        share: above 0 and below 1.
        class_names: by class id, for messages.

    Returns:
        `(training, held_out)`, both `Examples`.

    Raises:
        RequestError: a class with no image left to train on.
    """
    is_held_out = np.zeros(len(examples), bool)
    small = []
    for label in np.unique(examples.labels):
        places = np.flatnonzero(examples.labels == label)
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
    return examples.select(~is_held_out), examples.select(is_held_out)
