"""Export of a finished step: a SavedModel from images to class probabilities."""

import os
import shutil

import tensorflow as tf

from bsce_keras.data.decode import fit_to_square
from bsce_keras.data.splits import square
from bsce_keras.evaluation.served_model import CHECKSUMS, file_checksums
from bsce_keras.runtime.files import sync_folder, write_json
from bsce_keras.runtime.tensorflow_errors import as_os_errors


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
        self._probabilities = _probabilities(classifier, image)
        self._serve = tf.function(
            self.serve,
            input_signature=[_images_spec(None, image.channels, name="images")],
        )
        self._serve_encoded = tf.function(
            self.serve_encoded,
            input_signature=[tf.TensorSpec((None,), tf.string, "encoded")],
        )

    def serve(self, images):
        """Maps uint8 images of any height and width to probabilities."""
        return {"probabilities": self._probabilities(self._fit(images))}

    def serve_encoded(self, encoded):
        """Maps bytes of JPEG, PNG, BMP, WebP or GIF files to probabilities.

        Files may differ in size. A file that cannot be decoded, or that has more than
        `ImageSpec.max_pixels` pixels, fails the whole batch.
        """
        squares = tf.map_fn(
            lambda data: square(data, self._image),
            encoded,
            fn_output_signature=_square_spec(self._image),
        )
        return {"probabilities": self._probabilities(squares)}

    @property
    def serving_signatures(self):
        """Functions by the names of their signatures."""
        return {"serving_default": self._serve, "serve_encoded": self._serve_encoded}

    def _fit(self, images):
        return fit_to_square(images, self._image.stored_size)


def export_step(classifier, image, class_names, path):
    """Writes the SavedModel of a step as a whole, with checksums of its files.

    - `serving_default` maps uint8 images `(batch, height, width, channels)` to
      `probabilities (batch, num_classes)`.
    - `serve_encoded` maps bytes of image files `(batch,)` to the same probabilities.
      A file that cannot be decoded fails the whole batch.
    - `class_names` is a string variable.
    - `stored_size` is an integer variable: the side of the squares that the model
      makes of every image.

    `tf.saved_model.load` loads it without this package.

    Args:
        classifier: `keras.Model` from images to named outputs.
        image: `ImageSpec`.
        class_names: names in the order of the probabilities.
        path: folder to write; an existing one is replaced.

    Raises:
        OSError: the disk is full or cannot be written. Partial files are removed.
    """
    temporary = f"{path}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    if os.path.islink(temporary):
        os.unlink(temporary)
    module = ExportedClassifier(classifier, image, class_names)
    try:
        with as_os_errors(temporary):
            tf.saved_model.save(module, temporary, signatures=module.serving_signatures)
        write_json(os.path.join(temporary, CHECKSUMS), file_checksums(temporary))
        _sync(temporary)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except BaseException:
        # Free the space of a full disk.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(os.path.dirname(path) or ".")


def _probabilities(classifier, image):
    """Returns the network as a function from squares to float32 probabilities."""
    corner = (image.stored_size - image.size) // 2
    centre = slice(corner, corner + image.size)

    @tf.function(input_signature=[_images_spec(image.stored_size, image.channels)])
    def probabilities(squares):
        outputs = classifier(squares[:, centre, centre], training=False)
        return tf.nn.softmax(tf.cast(outputs["logits"], tf.float32))

    return probabilities


def _images_spec(side, channels, name=None):
    return tf.TensorSpec((None, side, side, channels), tf.uint8, name)


def _square_spec(image):
    return tf.TensorSpec(
        (image.stored_size, image.stored_size, image.channels), tf.uint8
    )


def _sync(path):
    """Flushes every file below a folder to the disk."""
    for folder, _, files in os.walk(path):
        for file in files:
            with open(os.path.join(folder, file), "rb") as opened:
                os.fsync(opened.fileno())
        sync_folder(folder)
