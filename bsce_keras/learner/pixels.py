"""PixelOptimizer: images made for what a head learns from them."""

import numpy as np
import tensorflow as tf

from bsce_keras.data.crops import centre_crops
from bsce_keras.runtime.errors import DivergedError
from bsce_keras.runtime.traced_graphs import release

# The defaults of Adam. The first release of Mnemonics has 0.5 in place of 0.9.
_MEAN_STAYS, _SQUARE_STAYS = 0.9, 0.999
# Not the usual 1e-8, which would decide how far pixels go: slopes are no larger before
# anything is trained (ResNet-32, 200 exemplars, scale 1), and shrink with the losses.
_EPSILON = 1e-12


class PixelOptimizer:
    """Moves the pixels of images down a `PixelObjective`, by Adam.

        u = (x / 255 - mean) / std,   u <- u - rate * Adam(d loss / d u)

    What is kept are grey values x in float32, in which the same update is 255 std times
    as large; after every one they are clipped to [0, 255]. The network sees the centre
    crop, and that is what changes of a stored image.

    Args:
        features_of: images `(n, size, size, channels)` of [0, 255], uint8 or float32,
            to features `(n, d)`; differentiable, and nothing in it changes.
        objective: the `PixelObjective`.
        image: `ImageSpec`.
    """

    def __init__(self, features_of, objective, image):
        corner = centre_crops(1, image)[0, 0] - image.pad
        self._seen = slice(corner, corner + image.size)
        shape = (None, image.size, image.size, image.channels)
        pixels = tf.TensorSpec(shape, tf.float32)
        labels = tf.TensorSpec((None,), tf.int32)
        queries = (tf.TensorSpec(shape, tf.uint8), labels)
        number = tf.TensorSpec((), tf.float32)
        span = 255.0 * np.array(image.std, np.float32)

        @tf.function(
            input_signature=[(pixels,) * 3, number, labels, queries], autograph=False
        )
        def update(state, number, labels, queries):
            """Pixels and both moments after the update of this number, from 1 on."""
            pixels, mean, square = state
            slope = span * pixel_gradient(
                features_of, objective.loss, pixels, labels, *queries
            )
            mean += (1.0 - _MEAN_STAYS) * (slope - mean)
            square += (1.0 - _SQUARE_STAYS) * (tf.square(slope) - square)
            size = tf.sqrt(square / (1.0 - _SQUARE_STAYS**number)) + _EPSILON
            move = mean / (1.0 - _MEAN_STAYS**number) / size
            pixels -= objective.learning_rate * span * move
            return tf.clip_by_value(pixels, 0.0, 255.0), mean, square

        self._update = update.get_concrete_function()

    def close(self):
        """Frees the traced graph; nothing can be optimised afterwards."""
        release(self._update)

    def optimized(self, images, labels, queries):
        """The images after one update for every batch of queries.

        Args:
            images: uint8, shape `(n, stored_size, stored_size, channels)`.
            labels: int, shape `(n,)`.
            queries: iterator of batches `(images, labels)`, cropped.

        Returns:
            uint8, of the same shape; grey values are the nearest ones.

        Raises:
            DivergedError: pixels became infinite or no number.
        """
        pixels = tf.constant(images[:, self._seen, self._seen], tf.float32)
        state = (pixels, tf.zeros_like(pixels), tf.zeros_like(pixels))
        labels = tf.constant(labels, tf.int32)
        for number, batch in enumerate(queries, start=1):
            state = self._update(state, tf.constant(number, tf.float32), labels, batch)
        pixels = state[0].numpy()
        if not np.isfinite(pixels).all():
            raise DivergedError(
                "The gradient by the pixels of exemplars is not finite. Look at the "
                "images, or start another --run_dir with --method=lucir and "
                "--balanced_finetuning=true, which leaves them as they are."
            )
        changed = images.copy()
        # Cut off instead of rounded, as in a release of the paper's, images darken.
        changed[:, self._seen, self._seen] = np.rint(pixels).astype(np.uint8)
        return changed


def pixel_gradient(features_of, loss, pixels, labels, query_images, query_labels):
    """Slope of a `PixelObjective.loss` by the pixels of exemplars, of their shape.

    The features of the queries are constants.
    """
    query_features = features_of(query_images)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        value = loss(features_of(pixels), labels, query_features, query_labels)
    return tape.gradient(value, pixels)
