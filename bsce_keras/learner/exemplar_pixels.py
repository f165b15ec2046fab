"""Optimisation of the pixels of exemplars, so that a head learns more from them."""

import contextlib
import dataclasses
import itertools
import math

import numpy as np
import tensorflow as tf

from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.optimizers import adam_update
from bsce_keras.runtime.errors import DivergedError
from bsce_keras.runtime.randomness import Purpose, generator, integer
from bsce_keras.runtime.signals import Stopped
from bsce_keras.runtime.traced_graphs import release

# Epsilon of Adam. Gradients are about as small as the usual 1e-8 before training
# (ResNet-32, 200 exemplars, scale 1) and shrink with the losses. 1e-8 would therefore
# limit the moves. The first release of Mnemonics has a mean of 0.5 instead of 0.9.
_EPSILON = 1e-12


def optimized_exemplars(run, step, exemplars, features_of, objective):
    """Optimises the images of the memory's exemplars, so that a head learns more.

    Exemplars of the step's classes come first, with the step's images as queries. Old
    images are not available, so the exemplars of every old class are split into two
    random halves. The first halves are optimised with the second ones as queries, then
    the second halves with the first ones. A class with one exemplar keeps it unchanged.

    Classes are assigned to groups at random. Each group is optimised separately with
    its share of the updates, against queries of all classes. Queries are drawn and
    cropped as in training. All draws are keyed by (seed, step). An interrupted
    optimisation starts again from the end of the main phase. One device does the work,
    with the first replica's weights. It holds the activations of a group's exemplars.

    Args:
        run: the `Run`.
        step: the `Step` whose main phase is finished.
        exemplars: `Examples` of the memory, including those of the step.
        features_of, objective: see `PixelOptimizer`.

    Returns:
        uint8 images in the order of the exemplars.

    Raises:
        DivergedError: see `PixelOptimizer.optimized`.
        Stopped: on request.
    """
    training = run.config.training
    labels, images = exemplars.labels, exemplars.images.copy()
    is_new = labels >= step.num_old_classes
    first, second = _halves(labels, ~is_new, training.seed, step.index)
    num_updates = objective.passes * -(-len(step.examples) // training.batch_size)
    num_old_updates = math.ceil(objective.old_share * num_updates)
    with contextlib.closing(
        PixelOptimizer(features_of, objective, run.config.stream.image)
    ) as optimizer:
        for part, (chosen, asked, updates) in enumerate(
            [
                (np.flatnonzero(is_new), None, num_updates),
                (first, second, num_old_updates),
                (second, first, num_old_updates),
            ]
        ):
            pool = step.examples
            if asked is not None:
                # The first halves have their optimised pixels by now.
                pool = dataclasses.replace(exemplars, images=images).select(asked)
            rng = generator(training.seed, Purpose.EXEMPLAR_GROUPS, step.index, part)
            groups = _groups(labels[chosen], objective.classes_at_once, rng)
            queries = _queries(run, step, part, pool) if groups else None
            for group in groups:
                rows = chosen[np.isin(labels[chosen], group)]
                images[rows] = optimizer.optimized(
                    images[rows],
                    labels[rows],
                    itertools.islice(queries, math.ceil(updates / len(groups))),
                )
    return images


def _halves(labels, is_old, seed, step):
    """Returns indices of the two halves of every old class's exemplars."""
    halves = [[], []]
    for label in np.unique(labels[is_old]):
        rng = generator(seed, Purpose.EXEMPLAR_HALVES, step, int(label))
        places = rng.permutation(np.flatnonzero(labels == label))
        if len(places) > 1:
            for half, part in zip(halves, np.array_split(places, 2), strict=True):
                half.extend(part)
    return [np.array(half, np.int64) for half in halves]


def _groups(labels, most, rng):
    """Returns the classes in random order, in as few nearly equal parts as suffice."""
    classes = rng.permutation(np.unique(labels))
    num_groups = -(-len(classes) // most)
    return np.array_split(classes, num_groups) if num_groups else []


def _queries(run, step, part, pool):
    """Yields batches of a pool endlessly, until a stop is requested."""
    training = run.config.training
    batches = TrainingInput(
        pool,
        run.config.stream.image,
        training.batch_size,
        integer(training.seed, Purpose.EXEMPLAR_QUERIES, step.index, part),
        step.index,
    )
    for epoch in itertools.count():
        for batch in batches.epoch(epoch):
            signum = run.runtime.stop_requests.signum
            if signum is not None:
                raise Stopped(
                    f"stopped in step {step.index}, while exemplars were optimised. "
                    "The main phase is saved: give the same command to go on.",
                    signum,
                )
            yield batch


class PixelOptimizer:
    """Minimises a `PixelObjective` over the pixels of images, by Adam.

        u = (x / 255 - mean) / std,   u <- u - rate * Adam(d loss / d u)

    The optimizer stores grey values x in float32. The same update of x is 255 std times
    as large. Every update clips x to [0, 255]. The network sees the centre crop of a
    stored image, and only this crop changes.

    Args:
        features_of: differentiable function from images `(n, size, size, channels)` of
            [0, 255], uint8 or float32, to features `(n, d)`. It changes no state.
        objective: the `PixelObjective`.
        image: `ImageSpec`.
    """

    def __init__(self, features_of, objective, image):
        self._seen = image.centre
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
            """Returns pixels and both moments after update `number`, counted from 1."""
            pixels, mean, square = state
            slope = span * pixel_gradient(
                features_of, objective.loss, pixels, labels, *queries
            )
            move, mean, square = adam_update(slope, mean, square, number, _EPSILON)
            pixels -= objective.learning_rate * span * move
            return tf.clip_by_value(pixels, 0.0, 255.0), mean, square

        self._update = update.get_concrete_function()

    def close(self):
        """Frees the traced graph; `optimized` cannot be called afterwards."""
        release(self._update)

    def optimized(self, images, labels, queries):
        """Returns the images after one update for every batch of queries.

        Args:
            images: uint8, shape `(n, stored_size, stored_size, channels)`.
            labels: int, shape `(n,)`.
            queries: iterator of batches `(images, labels)`, cropped.

        Returns:
            uint8, same shape; grey values are rounded to the nearest ones.

        Raises:
            DivergedError: pixels became infinite or NaN.
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
                "--balanced_finetuning=true, which does not change exemplars."
            )
        changed = images.copy()
        # Truncation instead of rounding, as in a release of Mnemonics, darkens images.
        changed[:, self._seen, self._seen] = np.rint(pixels).astype(np.uint8)
        return changed


def pixel_gradient(features_of, loss, pixels, labels, query_images, query_labels):
    """Returns the gradient of a `PixelObjective.loss` by pixels, shape of `pixels`.

    The features of the queries are constants.
    """
    query_features = features_of(query_images)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        value = loss(features_of(pixels), labels, query_features, query_labels)
    return tape.gradient(value, pixels)
