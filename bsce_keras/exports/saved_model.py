"""SavedModel of a finished step, from images to class probabilities."""

import tensorflow as tf

from bsce_keras.data.decode import fit_to_square
from bsce_keras.data.splits import squares
from bsce_keras.models.classifier import served_logits


class ExportedClassifier(tf.Module):
    """Exported module: resizing, normalisation, network and class names.

    Args:
        classifier: `keras.Model` from images to named outputs.
        image: `ImageSpec`.
        class_names: names in the order of the probabilities.
    """

    def __init__(self, classifier, image, class_names):
        super().__init__(name="exported_classifier")
        self._image = image
        # The saver does not see variables that Keras tracks, so hold them here. The
        # model itself stays out, because its layers would be saved as objects too.
        self._variables = [variable.value for variable in classifier.variables]
        # A constant tensor would be lost on loading; a variable is kept.
        self.class_names = tf.Variable(list(class_names), trainable=False)
        self.stored_size = tf.Variable(image.stored_size, trainable=False)
        # Both signatures call this function. The network, which is most of the graph,
        # is therefore traced and stored once.
        self._outputs = _outputs(classifier, image)
        self._serve = tf.function(
            self.serve,
            input_signature=[_images_spec(None, image.channels, name="images")],
            autograph=False,
        )
        self._serve_encoded = tf.function(
            self.serve_encoded,
            input_signature=[tf.TensorSpec((None,), tf.string, "encoded")],
            autograph=False,
        )

    def serve(self, images):
        """Maps uint8 images of any height and width to the outputs."""
        return self._outputs(self._fit(images))

    def serve_encoded(self, encoded):
        """Maps bytes of JPEG, PNG, BMP, WebP or GIF files to probabilities.

        Files may differ in size. A file that cannot be decoded, or that has more than
        `ImageSpec.max_pixels` pixels, fails the whole batch.
        """
        return self._outputs(squares(encoded, self._image))

    @property
    def serving_signatures(self):
        """Functions by the names of their signatures."""
        return {"serving_default": self._serve, "serve_encoded": self._serve_encoded}

    def _fit(self, images):
        return fit_to_square(images, self._image.stored_size)


def write_saved_model(classifier, image, class_names, folder):
    """Writes the SavedModel of a step; see `export_step` for its parts."""
    module = ExportedClassifier(classifier, image, class_names)
    tf.saved_model.save(module, folder, signatures=module.serving_signatures)


def _outputs(classifier, image):
    """Returns the network as a function from squares to float32 outputs by name."""

    spec = _images_spec(image.stored_size, image.channels)

    @tf.function(input_signature=[spec], autograph=False)
    def serve(squares):
        outputs = classifier(squares[:, image.centre, image.centre], training=False)
        logits = tf.cast(served_logits(outputs), tf.float32)
        served = {"probabilities": tf.nn.softmax(logits)}
        if "features" in outputs:
            served["embedding"] = tf.cast(outputs["features"], tf.float32)
        return served

    return serve


def _images_spec(side, channels, name=None):
    return tf.TensorSpec((None, side, side, channels), tf.uint8, name)
