"""Anchors: exemplars that updates see as they are, besides the batch they train on."""

import dataclasses

import numpy as np
import tensorflow as tf

from bsce_keras.data.crops import centre_crops, gather_crops
from bsce_keras.runtime.replicas import share_of


@dataclasses.dataclass(frozen=True)
class DrawnAnchors:
    """The anchors of one update.

    Args:
        images: uint8, those that this replica adds to its batch, uncropped.
        features: of all of them, by the network of the step before, shape `(n, d)`.
        edges: bool, shape `(n, n)`, true at `i < j` where the graph joins the two.
    """

    images: tf.Tensor
    features: tf.Tensor
    edges: tf.Tensor


class Anchors:
    """A graph of exemplars with the features that they had before the step.

    Args:
        images: uint8, shape `(num_vertices, stored_size, stored_size, channels)`.
        features: float, shape `(num_vertices, d)`, by the network before the step, in
            inference mode.
        edges: int, shape `(num_edges, 2)`, pairs of places among the images; at least
            one.
        num_drawn: edges drawn for an update.
        image: `ImageSpec`.
        seed: whole number below 2**31, key of all draws.
    """

    def __init__(self, images, features, edges, num_drawn, image, seed):
        self._image = image
        self._seed = seed
        self._num_drawn = num_drawn
        self._centre = tf.constant(centre_crops(1, image))
        # The network needs the memory of the devices that it computes on.
        with tf.device("CPU:0"):
            self._images = tf.constant(images)
            self._features = tf.constant(features)
            self._edges = tf.constant(np.asarray(edges, np.int32))

    def draw(self, update):
        """The anchors of an update: the ends of edges drawn with replacement.

        A function of seed and update alone, so that a step that is resumed repeats its
        draws, and every replica knows those of all. Replicas share the images out.

        Args:
            update: integer tensor, updates done before in this phase.

        Returns:
            `DrawnAnchors`, no image twice among them.
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
