"""A trained classifier on arrays of images, in inference mode."""

import numpy as np
import tensorflow as tf

from bsce_keras.data.pipeline import evaluation_batches


class Inference:
    """Runs a classifier over uint8 images; its forward pass is traced once.

    Args:
        classifier: `keras.Model` from images to named outputs.
        image: `ImageSpec`.
    """

    def __init__(self, classifier, image):
        self._image = image
        side = (None, image.size, image.size, image.channels)

        @tf.function(input_signature=[tf.TensorSpec(side, tf.uint8)], autograph=False)
        def forward(batch):
            outputs = classifier(batch, training=False)
            return {
                name: tf.cast(outputs[name], tf.float32)
                for name in ("features", "logits")
            }

        self._forward = forward.get_concrete_function()

    def features(self, images):
        """Features of stored images, shape `(n, d)`."""
        return self._run(images, "features")

    def logits(self, images):
        """Logits of stored images, shape `(n, num_classes)`."""
        return self._run(images, "logits")

    def _run(self, images, name):
        batches = evaluation_batches(images, self._image)
        return np.concatenate([self._forward(batch)[name].numpy() for batch in batches])
