"""A finished step -> a SavedModel from images to class probabilities."""

import os
import shutil

import tensorflow as tf

from bsce_keras.data.decode import decode_image, fit_to_square
from bsce_keras.evaluation.served_model import CHECKSUMS, file_checksums
from bsce_keras.runtime.files import sync_folder, write_json
from bsce_keras.runtime.tensorflow_errors import as_os_errors


class ExportedClassifier(tf.Module):
    """What is shipped: resizing, normalisation, network and class names in one module.

    Args:
        classifier: `keras.Model` from images to named outputs.
        image: `ImageSpec`.
        class_names: in the order of the probabilities.
    """

    def __init__(self, classifier, image, class_names):
        super().__init__(name="exported_classifier")
        self._image = image
        # Keras tracks variables its own way: hold them where the saver looks. The
        # model itself stays out, for its layers would be saved as objects as well.
        self._variables = [variable.value for variable in classifier.variables]
        # A constant tensor would be lost on loading; a variable is kept.
        self.class_names = tf.Variable(list(class_names), trainable=False)
        self.stored_size = tf.Variable(image.stored_size, trainable=False)
        # Both signatures call this one function, so that the network, which is most of
        # the graph, is traced and stored once.
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
        """uint8 images of any height and width to probabilities."""
        return {"probabilities": self._probabilities(self._fit(images))}

    def serve_encoded(self, encoded):
        """Bytes of JPEG, PNG, BMP or GIF files, of any sizes, to probabilities."""
        squares = tf.map_fn(
            lambda data: self._fit(decode_image(data, self._image.channels)),
            encoded,
            fn_output_signature=_square_spec(self._image),
        )
        return {"probabilities": self._probabilities(squares)}

    @property
    def serving_signatures(self):
        """Functions by the name they are served under."""
        return {"serving_default": self._serve, "serve_encoded": self._serve_encoded}

    def _fit(self, images):
        return fit_to_square(images, self._image.stored_size)


def export_step(classifier, image, class_names, path):
    """Writes a step's SavedModel, whole or not at all, with checksums of its files.

    It maps uint8 images `(batch, height, width, channels)` by `serving_default` and
    JPEG or PNG bytes `(batch,)` by `serve_encoded` to `probabilities (batch,
    num_classes)`, holds the string variable `class_names` and the integer
    `stored_size`, the side of the squares that it makes of every image, and loads with
    `tf.saved_model.load` where this package is not installed.

    Args:
        classifier: `keras.Model` from images to named outputs.
        image: `ImageSpec`.
        class_names: in the order of the probabilities.
        path: folder to write; one that is there is replaced.

    Raises:
        OSError: a disk that is full or cannot be written; nothing half written stays.
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
        # A full disk needs the room.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(os.path.dirname(path) or ".")


def _probabilities(classifier, image):
    """The network as a function from stored squares to float32 probabilities."""
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
    """Brings every file below a folder to the disk."""
    for folder, _, files in os.walk(path):
        for file in files:
            with open(os.path.join(folder, file), "rb") as opened:
                os.fsync(opened.fileno())
        sync_folder(folder)
