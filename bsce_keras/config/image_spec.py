"""ImageSpec: how images are stored, cropped and normalised."""

import dataclasses

from bsce_keras.config.checks import Checked, one_of, positive
from bsce_keras.config.choices import (
    AUGMENTATIONS,
    CROP_FLIP,
    MAX_IMAGE_PIXELS,
    TRAINING_CROPS,
)
from bsce_keras.config.fields import setting


@dataclasses.dataclass(frozen=True)
class ImageSpec(Checked):
    """Form of the images that the network sees in training, evaluation and export.

    Images are held as uint8 squares of side `stored_size`. Evaluation takes the centre
    square of side `size`. Pixels become `(x / 255 - mean) / std`.

    Args:
        pad: width of the black border that the crop `pad` may reach into.
        flip: True if training mirrors half of its crops left to right.
        training_crop: `pad` for a random square of side `size` from the padded image.
            `resized` for a random box of `CROP_AREA` and `CROP_ASPECT` from the stored
            square, resized to side `size`. `centre` for the square of evaluation.
        augmentation: one of `AUGMENTATION_TEXTS`, applied to the training crops.
        max_pixels: images with more pixels in the file are refused before they are
            decoded, in training and in exports.
    """

    size: int
    stored_size: int
    channels: int = 3
    pad: int = 0
    flip: bool = True
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    training_crop: str = setting("pad", flag=None, check=one_of(TRAINING_CROPS))
    augmentation: str = setting(CROP_FLIP, check=one_of(AUGMENTATIONS))
    max_pixels: int = setting(MAX_IMAGE_PIXELS, flag="max_image_pixels", check=positive)

    @property
    def centre(self):
        """Rows, and columns, of the centre square in a stored image."""
        corner = (self.stored_size - self.size) // 2
        return slice(corner, corner + self.size)

    def problems(self):
        found = []
        if self.augmentation != CROP_FLIP and self.channels not in (1, 3):
            found.append(
                f"--augmentation={self.augmentation} needs images of 1 or 3 channels. "
                f"Received: {self.channels}. Use --augmentation={CROP_FLIP}."
            )
        if self.training_crop == "resized" and self.pad:
            found.append(
                "Resized crops are taken from images without padding. "
                f"Received: pad={self.pad}"
            )
        return found
