"""ModelConfig: section of a configuration about the backbone."""

import dataclasses

from bsce_keras.config.backbone_inputs import NORMALIZED
from bsce_keras.config.backbones import BACKBONES
from bsce_keras.config.checks import Checked, positive
from bsce_keras.config.choices import ADOPTED
from bsce_keras.config.fields import setting


@dataclasses.dataclass(frozen=True)
class ModelConfig(Checked):
    """Backbone of the network. The method decides the variant of a named backbone.

    Args:
        backbone: key of `BACKBONES`, `SAVED`, `ADOPTED`, `applications:NAME` or
            `keras_hub:PRESET`.
        backbone_path, backbone_sha256: path and digest of the file of a saved
            backbone or classifier, of the weights of `applications:NAME`, or of the
            folder of a preset; else None.
        input: values that the backbone expects, one of `backbone_inputs.INPUT_CHOICES`
            or `AS_PRESET`.
        input_size: side to which images are resized for the backbone; None keeps them.
        freeze_backbone: only heads are trained; the backbone stays as it came.
    """

    backbone: str
    synchronized_batch_norm: bool = False
    backbone_path: str | None = setting(None, flag="backbone", decides_outcome=False)
    backbone_sha256: str | None = setting(None, flag="backbone")
    input: str = setting(NORMALIZED, flag="backbone_input")
    input_size: int | None = setting(None, flag="backbone_input_size", check=positive)
    freeze_backbone: bool = False

    @property
    def is_pretrained(self):
        """True if the backbone comes with weights."""
        return self.backbone not in BACKBONES

    @property
    def is_adopted(self):
        """True if a saved classifier is the base step."""
        return self.backbone == ADOPTED

    def backbone_image(self, image):
        """Returns the `ImageSpec` of the images as the backbone sees them."""
        return dataclasses.replace(image, size=self.input_size or image.size)
