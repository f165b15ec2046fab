"""Batches of examples. Two integers give the position in the data: epoch and update.

The order, crops and operations of an epoch are drawn at once as small tables, keyed by
(seed, step, epoch). A batch is one gather from the pool. Reading may therefore start
at any update of an epoch.
"""

import logging
import weakref

import numpy as np
import tensorflow as tf

from bsce_keras.data.augmentation import augmented, draw_operations, num_operations
from bsce_keras.data.crops import NUM_COLUMNS, draw_crops, gather_views, training_crops
from bsce_keras.data.no_autotuner import without_autotuner
from bsce_keras.data.stored_images import StoredImages
from bsce_keras.runtime.errors import RunError
from bsce_keras.runtime.randomness import Purpose, generator

# Purposes of the draws of a view: its crop and its operations.
_OF_TRAINING = (Purpose.AUGMENTATION, Purpose.OPERATIONS)
_OF_VALIDATION = (Purpose.VALIDATION_AUGMENTATION, Purpose.VALIDATION_OPERATIONS)
_log = logging.getLogger(__name__)


class TrainingInput:
    """Batches of a step's pool, epoch by epoch.

    An epoch has every image once. With `probabilities` it has as many images, drawn
    with replacement. The last batch may be smaller.

    An element of a data set is the share of one replica. Consecutive elements form a
    global batch, split as evenly as possible. A last batch with fewer images than
    replicas is left out and logged, because batch statistics need an image on every
    replica. Each worker makes only the elements of its own replicas, from the same
    tables.

    Args:
        pool: `Examples`; their images may be features `(n, views, d)` of all views.
        image: `ImageSpec`.
        batch_size: number of images of a global batch.
        seed, step: key of all draws.
        num_replicas: number of elements per global batch.
        first_draw: number of epoch 0 among the draws of the step.
        probabilities: probability of every image at each draw, shape `(len(pool),)`.
        local_replicas: range of the replicas that get elements; all by default.

    Raises:
        RunError: the pool has fewer images than there are replicas.
    """

    def __init__(
        self,
        pool,
        image,
        batch_size,
        seed,
        step,
        num_replicas=1,
        first_draw=0,
        probabilities=None,
        local_replicas=None,
    ):
        self._tables = _Tables(pool, image)
        self._size = len(pool)
        self._image = image
        self._batch_size = batch_size
        self._key = (seed, step)
        self._num_replicas = num_replicas
        self._local_replicas = local_replicas or range(num_replicas)
        self._first_draw = first_draw
        self._probabilities = probabilities
        rest = self._size % batch_size
        if self._size < num_replicas:
            raise RunError(
                f"Step {step} has a pool of {self._size} images for {num_replicas} "
                "replicas, and each needs one. Train on fewer devices, or add images."
            )
        if 0 < rest < num_replicas:
            _log.warning(
                "Step %d: the last batch of an epoch, %d images for %d replicas, is "
                "left out.",
                step,
                rest,
                num_replicas,
            )

    @property
    def updates_per_epoch(self):
        """Number of global batches of one epoch."""
        full, rest = divmod(self._size, self._batch_size)
        return full + (rest >= self._num_replicas)

    @property
    def failure(self):
        """The OSError that ended reading images from the disk, or None."""
        return self._tables.failure

    def epoch(self, epoch, first_update=0):
        """`tf.data.Dataset` of `(images, labels)`, an element per replica and batch.

        The data set is valid until the next call of `epoch` or `cycle`.
        """
        number = self._first_draw + epoch
        rng = self._draw(Purpose.EPOCH_ORDER, number)
        views = self._views(*_OF_TRAINING, number)
        if self._probabilities is None:
            order = rng.permutation(self._size)
            views = [table[order] for table in views]
        else:
            # An image that is drawn twice is cropped twice: views have a row per draw.
            order = rng.choice(self._size, self._size, p=self._probabilities)
        starts = np.arange(first_update, self.updates_per_epoch) * self._batch_size
        ends = np.minimum(starts + self._batch_size, self._size)
        return self._batches(order, views, starts, ends)

    def cycle(self, first_update, num_updates):
        """Returns batches from `first_update` on, of endless reshuffled passes.

        Serves the alpha split, which is small: batches are always full and continue
        from one pass into the next.
        """
        batch_size = min(self._batch_size, self._size)
        starts = np.arange(first_update, first_update + num_updates) * batch_size
        if not num_updates:
            none = [table[:0] for table in self._views(*_OF_VALIDATION, 0)]
            return self._batches(np.zeros(0, int), none, starts, starts)
        first_pass = starts[0] // self._size
        last_pass = (starts[-1] + batch_size - 1) // self._size
        orders, views = [], []
        for number in range(first_pass, last_pass + 1):
            rng = self._draw(Purpose.VALIDATION_ORDER, number)
            order = rng.permutation(self._size)
            orders.append(order)
            views.append(
                [table[order] for table in self._views(*_OF_VALIDATION, number)]
            )
        starts = starts - first_pass * self._size
        views = [np.concatenate(tables) for tables in zip(*views, strict=True)]
        return self._batches(np.concatenate(orders), views, starts, starts + batch_size)

    def _views(self, of_crops, of_operations, number):
        """Draws a view of every image: tables of crops and of operations."""
        return [
            draw_crops(self._draw(of_crops, number), self._size, self._image),
            draw_operations(self._draw(of_operations, number), self._size, self._image),
        ]

    def _draw(self, purpose, number):
        seed, step = self._key
        return generator(seed, purpose, step, number)

    def _batches(self, order, views, starts, ends):
        return self._tables.dataset(
            order,
            views,
            *_split_evenly(starts, ends, self._num_replicas, self._local_replicas),
            2 * len(self._local_replicas),
        )


class _Tables:
    """Pool and tables of one epoch; the next epoch overwrites the tables.

    TensorFlow never frees the function of a mapped data set. One data set therefore
    serves all epochs of the same length, and reads their tables from variables.
    """

    def __init__(self, pool, image):
        self._image = image
        self.failure = None
        # The data set runs on the CPU, whichever device the network uses.
        with tf.device("CPU:0"):
            self._images = pool.images
            if not isinstance(self._images, StoredImages):
                self._images = tf.constant(self._images)
            self._labels = tf.constant(pool.labels.astype(np.int32))
            self._order = _table(tf.int64, ())
            self._crops = _table(tf.int32, (NUM_COLUMNS,))
            self._operations = _table(tf.float32, (num_operations(image), 2))
            self._starts = _table(tf.int64, ())
            self._ends = _table(tf.int64, ())
        self._datasets = {}

    def dataset(self, order, views, starts, ends, num_ahead):
        """Returns batches `order[start:end]`, seen by the same rows of `views`."""
        crops, operations = views
        for table, values in (
            (self._order, order),
            (self._crops, crops),
            (self._operations, operations),
            (self._starts, starts),
            (self._ends, ends),
        ):
            table.assign(values)
        if len(starts) not in self._datasets:
            numbers = tf.data.Dataset.range(len(starts))
            batches = numbers.map(self._load).prefetch(num_ahead)
            self._datasets[len(starts)] = without_autotuner(batches)
        return self._datasets[len(starts)]

    @tf.autograph.experimental.do_not_convert
    def _load(self, number):
        start, end = self._starts[number], self._ends[number]
        indices = self._order[start:end]
        crops = self._crops[start:end]
        images, rows = self._images, indices
        if isinstance(images, StoredImages):
            images, rows = self._read(indices), tf.range(end - start)
        if len(images.shape) == 3:
            images = gather_views(images, rows, crops)
        else:
            images = training_crops(images, rows, crops, self._image)
            images = augmented(images, self._operations[start:end])
        return images, tf.gather(self._labels, indices)

    def _read(self, indices):
        """Reads the images at `indices` from the disk into a tensor."""
        # TensorFlow never frees a Python function of a graph. A weak reference lets
        # the exemplars go.
        reference = weakref.ref(self)

        def read(indices):
            tables = reference()
            try:
                return np.asarray(tables._images[indices])
            except OSError as error:
                # TensorFlow only passes on the text of the error.
                tables.failure = error
                raise

        images = tf.numpy_function(read, [indices], tf.uint8, stateful=False)
        return tf.ensure_shape(images, (None, *self._images.shape[1:]))


def _table(dtype, row_shape):
    return tf.Variable(
        tf.zeros((0, *row_shape), dtype), shape=(None, *row_shape), trainable=False
    )


def split_validation(pool, num_per_class, rng):
    """Sets the same number of images of every class aside.

    Args:
        pool: `Examples`.
        num_per_class: number of images of each class to set aside.
        rng: `np.random.Generator`.

    Returns:
        `(training, validation)`, both `Examples`.
    """
    shuffled = rng.permutation(len(pool))
    by_class = shuffled[np.argsort(pool.labels[shuffled], kind="stable")]
    labels = pool.labels[by_class]
    rank = np.arange(len(pool)) - np.searchsorted(labels, labels)
    aside = np.sort(by_class[rank < num_per_class])
    rest = np.setdiff1d(np.arange(len(pool)), aside)
    return pool.select(rest), pool.select(aside)


def _split_evenly(starts, ends, num_parts, wanted):
    """Cuts every range [start, end) into `num_parts` of nearly equal length.

    Returns:
        Starts and ends of the parts in the range `wanted`.
    """
    fractions = np.arange(wanted.start, wanted.stop + 1)
    cuts = starts[:, None] + (ends - starts)[:, None] * fractions // num_parts
    return cuts[:, :-1].reshape(-1), cuts[:, 1:].reshape(-1)
