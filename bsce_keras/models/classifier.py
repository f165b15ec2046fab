"""Classifier: one model of backbone and head, from uint8 images to named outputs."""

import keras

from bsce_keras.config.backbones import BACKBONES
from bsce_keras.config.choices import SAVED
from bsce_keras.models.layers import NormalizeImages
from bsce_keras.models.saved_backbone import load_backbone
from bsce_keras.runtime.named_objects import named_object


def make_backbone(config, image, variant):
    """Builds the backbone of a `ModelConfig` for images of an `ImageSpec`.

    Raises:
        RequestError: a saved backbone cannot be loaded or does not fit the images.
    """
    if config.backbone == SAVED:
        return load_backbone(config.backbone_path, image)
    return named_object(BACKBONES[config.backbone].build)(
        variant=variant,
        image_size=image.size,
        channels=image.channels,
        synchronized=config.synchronized_batch_norm,
    )


def build_classifier(backbone, head, image):
    """Joins normalisation, backbone and head.

    Args:
        backbone: `keras.Model` from normalised images to features, with layers named
            `stage1`, `stage2`, ... whose outputs are attention maps.
        head: layer from features to a dictionary that holds `logits`.
        image: `ImageSpec`; its mean and std normalise images.

    Returns:
        `keras.Model` from images `(batch, size, size, channels)` with values in
        [0, 255] to a dictionary: outputs of the head, `features`, and maps by layer
        name. Unused outputs cost nothing.
    """
    maps = {
        layer.name: layer.output
        for layer in backbone.layers
        if layer.name.startswith("stage")
    }
    inner = keras.Model(
        backbone.input, {**maps, "features": backbone.output}, name="backbone"
    )
    images = keras.Input((image.size, image.size, image.channels), name="images")
    outputs = inner(NormalizeImages(image.mean, image.std)(images))
    return keras.Model(
        images, {**head(outputs["features"]), **outputs}, name="classifier"
    )


def with_head(classifier, head):
    """Returns the network with another head; its logits replace the trained ones."""
    features = classifier.output["features"]
    outputs = {**classifier.output, **head(features)}
    return keras.Model(classifier.input, outputs, name="predictor")


def head_of(classifier):
    """Returns the classifier's head, its last layer."""
    return classifier.layers[-1]


def backbone_of(classifier):
    """Returns the part of a classifier from normalised images to features and maps."""
    return classifier.get_layer("backbone")


def grow_classifier(classifier, old):
    """Copies backbone and old columns of a classifier with fewer classes."""
    backbone_of(classifier).set_weights(backbone_of(old).get_weights())
    head_of(classifier).grow_from(head_of(old))


def train_only(classifier, weights):
    """Makes only these weights trainable; gradients still pass through the others."""
    chosen = {id(weight) for weight in weights}
    for weight in classifier.weights:
        weight.trainable = id(weight) in chosen
