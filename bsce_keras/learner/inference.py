"""Inference: a trained classifier on arrays of images, in inference mode."""

import numpy as np
import tensorflow as tf

from bsce_keras.data.crops import centre_crops, gather_crops
from bsce_keras.data.stored_images import blocks
from bsce_keras.models.classifier import largest_side, served_logits
from bsce_keras.runtime.traced_graphs import release

# Batches have about as many pixels as this number of CIFAR images.
_CIFAR_IMAGES = 500


class Inference:
    """Runs a classifier over uint8 images; its forward pass is traced once.

    Args:
        classifier: `keras.Model` from images to named outputs.
        image: `ImageSpec`.
    """

    def __init__(self, classifier, image):
        largest = largest_side(classifier, image)
        self._batch_size = max(1, int(_CIFAR_IMAGES * 32**2 / largest**2))
        side = image.stored_size
        stored = tf.TensorSpec((None, side, side, image.channels), tf.uint8)

        @tf.function(input_signature=[stored], autograph=False)
        def forward(images):
            num_images = tf.shape(images)[0]
            crops = tf.tile(centre_crops(1, image), (num_images, 1))
            batch = gather_crops(images, tf.range(num_images), crops, image)
            outputs = classifier(batch, training=False)
            chosen = {"features": outputs["features"], "logits": outputs["logits"]}
            chosen["served_logits"] = served_logits(outputs)
            return {
                name: tf.cast(output, tf.float32) for name, output in chosen.items()
            }

        self._forward = forward.get_concrete_function()

    def close(self):
        """Frees the traced graph; the object cannot be used afterwards."""
        release(self._forward)

    def features(self, images, mirrored=False):
        """Returns features of stored images or their mirror images, shape `(n, d)`."""
        return self._run(images, "features", mirrored)

    def logits(self, images):
        """Returns logits of stored images, shape `(n, num_classes)`."""
        return self._run(images, "logits")

    def served_logits(self, images):
        """Returns the logits whose softmax is exported, shape `(n, num_classes)`."""
        return self._run(images, "served_logits")

    def _run(self, images, name, mirrored=False):
        batches = blocks(images, self._batch_size)
        if mirrored:
            batches = (batch[:, :, ::-1] for batch in batches)
        return np.concatenate(
            [self._forward(tf.constant(batch))[name].numpy() for batch in batches]
        )
