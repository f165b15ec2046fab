"""Small pictures of a step: its exemplars, and images that it classifies worst."""

import base64
import io

import numpy as np

# Limits of the pictures of one step.
_MOST_CLASSES, _MOST_EXEMPLARS, _MOST_MISTAKES = 20, 5, 20
# Longest side of a picture in pixels.
_SIDE = 64


def step_pictures(step, exemplars, test, probabilities, names):
    """Returns the pictures of a finished step as a JSON-able dictionary.

    Args:
        step: the `Step`.
        exemplars: `Examples` of the memory after the step, best first in each class, or
            None.
        test: `Examples` that the step was scored on.
        probabilities: those of `test`, shape `(n, num_classes)`.
        names: class names by label.

    Returns:
        `exemplars`: up to 5 of each of the first 20 new classes, with `class` and
        `png`, a PNG file in Base64. `mistakes`: the 20 images with the largest
        probability of a wrong class, with `predicted` and `probability` too.
    """
    return {
        "exemplars": [
            {"class": names[label], "png": thumbnail(image)}
            for label, image in _chosen(exemplars, step)
        ],
        "mistakes": [
            {
                "class": names[test.labels[place]],
                "png": thumbnail(np.asarray(test.images[place : place + 1])[0]),
                "predicted": names[probabilities[place].argmax()],
                "probability": float(probabilities[place].max()),
            }
            for place in _worst(probabilities, test.labels)
        ],
    }


def thumbnail(image):
    """Returns an image as a small PNG file in Base64.

    Args:
        image: uint8, shape `(height, width, channels)` of 1 or 3 channels.
    """
    # Matplotlib takes a second to load, so it is not loaded before it is needed.
    import matplotlib.image

    pixels = _reduced(np.asarray(image))
    # Matplotlib draws images of one channel in false colours.
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    file = io.BytesIO()
    matplotlib.image.imsave(file, np.ascontiguousarray(pixels), format="png")
    return base64.b64encode(file.getvalue()).decode()


def _chosen(exemplars, step):
    """Yields label and image of the exemplars to show."""
    first = step.num_old_classes
    last = min(step.num_classes, first + _MOST_CLASSES)
    for label in range(first, last) if exemplars is not None else ():
        for place in np.flatnonzero(exemplars.labels == label)[:_MOST_EXEMPLARS]:
            yield label, exemplars.images[place]


def _worst(probabilities, labels):
    """Returns places of wrong predictions, the most certain ones first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    certainty = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-certainty, kind="stable")][:_MOST_MISTAKES].tolist()


def _reduced(image):
    """Returns an image of at most `_SIDE` pixels a side, by means over squares."""
    height, width = image.shape[:2]
    factor = -(-max(height, width) // _SIDE)
    if factor == 1:
        return image
    rows, columns = height // factor, width // factor
    cut = image[: rows * factor, : columns * factor]
    squares = cut.reshape(rows, factor, columns, factor, -1)
    return squares.mean(axis=(1, 3)).round().astype(np.uint8)
