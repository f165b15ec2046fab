"""Examples: images with labels, passed between stream, memory and training."""

import dataclasses

import numpy as np

from bsce_keras.data.stored_images import StoredImages, concatenated


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images with their labels.

    Args:
        images: uint8, shape `(num_examples, side, side, channels)`: an array, or
            `StoredImages` on the disk.
        labels: int64, shape `(num_examples,)`.
        ids: int64, shape `(num_examples,)`, unique within a class and equal in every
            process: positions in the data set's list of training (or test) images. For
            image folders they are positions in the list of the class.
    """

    images: np.ndarray | StoredImages
    labels: np.ndarray
    ids: np.ndarray

    def __len__(self):
        return len(self.labels)

    def select(self, indices):
        """Returns the examples at `indices`, an array or a slice.

        A slice makes a view. Images on the disk are not read.
        """
        return Examples(self.images[indices], self.labels[indices], self.ids[indices])

    def in_memory(self):
        """Returns the same examples with their pixels in memory."""
        return dataclasses.replace(self, images=np.asarray(self.images))

    @staticmethod
    def concatenate(parts):
        """Joins a non-empty list of `Examples`."""
        return Examples(
            concatenated([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.ids for part in parts]),
        )


def numbered(images, labels):
    """Returns `Examples` whose ids are their positions."""
    return Examples(images, labels, np.arange(len(labels), dtype=np.int64))
