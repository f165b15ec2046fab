"""Classifier: one model of backbone and head, from uint8 images to named outputs."""

import math
import pkgutil

import keras

from bsce_keras.config.backbone_inputs import INPUTS, NORMALIZED
from bsce_keras.config.backbones import BACKBONES
from bsce_keras.config.choices import KERAS_APPLICATIONS, SAVED
from bsce_keras.models.layers import NormalizeImages
from bsce_keras.models.pretrained import load_application, load_preset, preset_input
from bsce_keras.models.saved_backbone import load_backbone
from bsce_keras.models.saved_classifier import check_classifier, cut_classifier


def make_backbone(config, image, variant):
    """Builds the backbone of a `ModelConfig` for images of an `ImageSpec`.

    Raises:
        RequestError: a pretrained backbone cannot be loaded or does not fit the images.
    """
    if not config.is_pretrained:
        return pkgutil.resolve_name(BACKBONES[config.backbone].build)(
            variant=variant,
            image_size=image.size,
            channels=image.channels,
            synchronized=config.synchronized_batch_norm,
        )
    resized = config.backbone_image(image)
    if config.is_adopted:
        return cut_classifier(config.backbone_path, resized).backbone
    if config.backbone == SAVED:
        return load_backbone(config.backbone_path, resized)
    is_application = config.backbone.startswith(KERAS_APPLICATIONS)
    return (load_application if is_application else load_preset)(config, resized)


def check_pretrained(config):
    """Refuses the pretrained backbone or classifier of a run that cannot be used.

    Args:
        config: `ExperimentConfig`.

    Raises:
        RequestError: it cannot be loaded, or does not fit images or classes.
    """
    model, image = config.model, config.stream.image
    if model.is_adopted:
        seen = model.backbone_image(image)
        check_classifier(model.backbone_path, seen, config.stream.num_base_classes)
    else:
        make_backbone(model, image, variant=None)


def preprocessing(config, image):
    """Returns the layers from uint8 images to the values that a backbone expects.

    Args:
        config: `ModelConfig`.
        image: `ImageSpec`; its mean and std are those of the data set.
    """
    values = image
    if config.input != NORMALIZED:
        is_known = config.input in INPUTS
        values = INPUTS[config.input] if is_known else preset_input(config)
    reverses = getattr(values, "reverses_channels", False)
    layers = [NormalizeImages(values.mean, values.std, reverses)]
    if config.input_size:
        side = config.input_size
        layers.append(
            keras.layers.Resizing(side, side, antialias=True, dtype="float32")
        )
    return layers


def build_classifier(backbone, head, image, layers=None):
    """Joins preprocessing, backbone and head.

    Args:
        backbone: `keras.Model` from preprocessed images to features. Its layers named
            `stage1`, `stage2`, ... give attention maps.
        head: layer from features to a dictionary that holds `logits`. Its method
            `gather(backbone, images)`, if any, returns the outputs of the backbone
            with other `features`.
        image: `ImageSpec`.
        layers: layers of `preprocessing`; by default, images are normalised by the mean
            and std of `image`.

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
    values = images
    for layer in layers or [NormalizeImages(image.mean, image.std)]:
        values = layer(values)
    gather = getattr(head, "gather", lambda backbone, images: backbone(images))
    outputs = gather(inner, values)
    return keras.Model(
        images, {**head(outputs["features"]), **outputs}, name="classifier"
    )


def with_head(classifier, head):
    """Returns the network with another head; its logits replace the trained ones."""
    features = classifier.output["features"]
    outputs = {**classifier.output, **head(features)}
    return keras.Model(classifier.input, outputs, name="predictor")


def with_alpha(classifier, num_old_classes, alpha):
    """Returns a trained network whose old logits are moved by log(alpha).

        z_c + log(alpha) for old classes,   z_c for new classes

    alpha below 1 makes old classes rarer among the predictions. This is the logit
    adjustment of Menon et al. (ICLR 2021, https://arxiv.org/abs/2007.07314) with one
    prior for all old classes. The alpha of Jodelet et al. is part of the loss while
    the network is trained, and is left out of predictions. Calibrated logits are moved
    in place of the others if there are any.

    Args:
        classifier: `keras.Model` from images to named outputs.
        num_old_classes: number of classes before the last step.
        alpha: positive number; 1 changes nothing.
    """
    outputs = classifier.output
    logits = served_logits(outputs)
    num_new = logits.shape[-1] - num_old_classes
    offset = [math.log(alpha)] * num_old_classes + [0.0] * num_new
    moved = keras.layers.Rescaling(1.0, offset, dtype="float32", name="alpha")(logits)
    name = "calibrated_logits" if "calibrated_logits" in outputs else "logits"
    return keras.Model(classifier.input, {**outputs, name: moved})


def with_temperature(classifier, temperature):
    """Returns a trained network whose probabilities are those of divided logits.

        calibrated_logits = logits / temperature

    `logits` and the prediction stay as they are. See `evaluation.calibration`.

    Args:
        classifier: `keras.Model` from images to named outputs.
        temperature: positive number, or None, which returns the classifier itself.
    """
    if temperature is None:
        return classifier
    outputs = classifier.output
    layer = keras.layers.Rescaling(1 / temperature, dtype="float32", name="temperature")
    calibrated = layer(served_logits(outputs))
    return keras.Model(classifier.input, {**outputs, "calibrated_logits": calibrated})


def served_logits(outputs):
    """Returns the logits whose softmax is served: calibrated ones if there are any."""
    return outputs.get("calibrated_logits", outputs["logits"])


def head_network(classifier):
    """Returns the head as a network from float32 features, with the same weights."""
    features = classifier.output["features"]
    inputs = keras.Input(features.shape[1:], name="head_inputs", dtype="float32")
    return keras.Model(
        inputs, {**head_of(classifier)(inputs), "features": inputs}, name="head"
    )


def head_of(classifier):
    """Returns the classifier's head, its last layer."""
    return classifier.layers[-1]


def backbone_of(classifier):
    """Returns the part of a classifier from preprocessed images to features."""
    return classifier.get_layer("backbone")


def largest_side(classifier, image):
    """Returns the largest side of images in a classifier, in pixels.

    Args:
        classifier: what `build_classifier` returns.
        image: `ImageSpec` of its images.
    """
    layers = classifier.layers
    resized = [x.height for x in layers if isinstance(x, keras.layers.Resizing)]
    return max([image.stored_size, *resized])


def grow_classifier(classifier, old):
    """Copies backbone and old columns of a classifier with fewer classes."""
    backbone_of(classifier).set_weights(backbone_of(old).get_weights())
    head_of(classifier).grow_from(head_of(old))


def train_only(classifier, weights):
    """Makes only these weights trainable; gradients still pass through the others."""
    chosen = {id(weight) for weight in weights}
    for weight in classifier.weights:
        weight.trainable = id(weight) in chosen
