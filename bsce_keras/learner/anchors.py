"""Anchors: uncropped exemplars that updates see in addition to their batch."""

import dataclasses

import numpy as np
import tensorflow as tf

from bsce_keras.data.crops import centre_crops, gather_crops
from bsce_keras.runtime.replicas import share_of


@dataclasses.dataclass(frozen=True)
class DrawnAnchors:
    """Anchors of one update.

    Args:
        images: uint8, uncropped: the anchors that this replica adds to its batch.
        features: features of all anchors by the network of the previous step, shape
            `(n, d)`.
        edges: bool, shape `(n, n)`, true at `i < j` where the graph joins both.
    """

    images: tf.Tensor
    features: tf.Tensor
    edges: tf.Tensor


class Anchors:
    """Graph of exemplars with their features before the step.

    Args:
        images: uint8, shape `(num_vertices, stored_size, stored_size, channels)`.
        features: float, shape `(num_vertices, d)`, by the network of the previous step
            in inference mode.
        edges: int, shape `(num_edges, 2)`, pairs of indices into the images; at least
            one.
        num_drawn: number of edges drawn for an update.
        image: `ImageSpec`.
        seed: integer below 2**31, key of all draws.
    """

    def __init__(self, images, features, edges, num_drawn, image, seed):
        self._image = image
        self._seed = seed
        self._num_drawn = num_drawn
        self._centre = tf.constant(centre_crops(1, image))
        # The devices that run the network need their memory for it.
        with tf.device("CPU:0"):
            self._images = tf.constant(images)
            self._features = tf.constant(features)
            self._edges = tf.constant(np.asarray(edges, np.int32))

    def draw(self, update):
        """Draws edges with replacement; their ends are the anchors of an update.

        The draw depends only on seed and update. A resumed step repeats its draws, and
        every replica knows all of them. Each replica takes a share of the images.

        Args:
            update: integer tensor, number of earlier updates in this phase.

        Returns:
            `DrawnAnchors`; each image occurs once.
        """
        with tf.device("CPU:0"):
            drawn = tf.random.stateless_uniform(
                (self._num_drawn,),
                tf.stack([self._seed, tf.cast(update, tf.int32)]),
                maxval=len(self._edges),
                dtype=tf.int32,
            )
            ends = tf.reshape(tf.gather(self._edges, drawn), [-1])
            vertices, _ = tf.unique(ends)
            return DrawnAnchors(
                self._uncropped(vertices[slice(*share_of(tf.size(vertices)))]),
                tf.gather(self._features, vertices),
                self._edges_between(vertices),
            )

    def _uncropped(self, vertices):
        crops = tf.tile(self._centre, (tf.size(vertices), 1))
        return gather_crops(self._images, vertices, crops, self._image)

    def _edges_between(self, vertices):
        number = tf.size(vertices)
        place = tf.tensor_scatter_nd_update(
            tf.fill((len(self._images),), -1), vertices[:, None], tf.range(number)
        )
        places = tf.gather(place, self._edges)
        inside = tf.boolean_mask(places, tf.reduce_all(places >= 0, axis=1))
        pairs = tf.sort(inside, axis=1)
        ones = tf.ones(tf.shape(pairs)[:1], tf.int32)
        return tf.scatter_nd(pairs, ones, tf.stack([number, number])) > 0
