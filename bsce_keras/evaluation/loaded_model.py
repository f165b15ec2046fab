"""Base of exported models in use, of all formats."""

import abc
import re

import numpy as np

from bsce_keras.data.stored_images import blocks
from bsce_keras.runtime.errors import RequestError


class LoadedModel(abc.ABC):
    """Loaded export that maps images or files to probabilities and embeddings.

    Attributes:
        class_names: tuple of str, in the order of the probabilities.
        channels: number of channels of its images; None if it does not declare it.
        stored_size: side of the squares that it makes of every image; None if it does
            not declare it.
        max_pixels: files of more pixels are refused, over all frames of a GIF.
    """

    class_names: tuple[str, ...]
    channels: int | None
    stored_size: int | None
    max_pixels: int

    @abc.abstractmethod
    def outputs_of_images(self, images):
        """Returns arrays by name of the output, for one batch of uint8 images."""

    @abc.abstractmethod
    def outputs_of_encoded(self, encoded):
        """Returns arrays by name of the output, for one batch of image files."""

    def refuse_channels(self, channels, dataset):
        """Raises `RequestError` if images of a data set have other channels."""
        if self.channels not in (None, channels):
            raise RequestError(
                f"The model takes images of {self.channels} channels, but those of "
                f"{dataset} have {channels}. Use another --dataset."
            )

    def probabilities(self, images, batch_size):
        """Returns the class probabilities of images.

        Args:
            images: uint8, shape `(n, height, width, channels)`.
            batch_size: number of images computed at a time.

        Returns:
            float32, shape `(n, num_classes)`.
        """
        none = np.empty((0, len(self.class_names)), np.float32)
        answers = map(self.outputs_of_images, blocks(images, batch_size))
        return np.concatenate([none, *(one["probabilities"] for one in answers)])

    def outputs_of_files(self, encoded):
        """Returns the outputs of the model for image files.

        One file that cannot be decoded fails the whole batch in the SavedModel. The
        files of a failed batch are therefore tried one by one.

        Args:
            encoded: list of the contents of the files, as bytes.

        Returns:
            List of `(outputs, reason)` in the order of the files. For a file that
            cannot be classified, outputs are None. For any other they are a dictionary
            with `probabilities (num_classes,)` and, if the model has it, `embedding
            (d,)`, both float32, and the reason is None.
        """
        if not encoded:
            return []
        try:
            batch = self.outputs_of_encoded(encoded)
            return [
                ({name: rows[i] for name, rows in batch.items()}, None)
                for i in range(len(encoded))
            ]
        except _failures() as error:
            if len(encoded) == 1:
                return [(None, _reason(error))]
        # TensorFlow does not say which file failed.
        return [self.outputs_of_files([data])[0] for data in encoded]


def _failures():
    """Returns the exceptions of files that cannot be decoded."""
    import tensorflow as tf

    return tf.errors.InvalidArgumentError, *_lack_of_memory()


def _lack_of_memory():
    import tensorflow as tf

    return MemoryError, tf.errors.ResourceExhaustedError


def _reason(error):
    """Returns a short reason why a file cannot be decoded."""
    if isinstance(error, _lack_of_memory()):
        return "too large for the memory"
    from bsce_keras.data.decode import UNSUPPORTED

    known = "|".join((r"more than [\d,]+ pixels", *map(re.escape, UNSUPPORTED)))
    found = re.search(known, error.message)
    return found[0] if found else "cut off, altered or not supported"
