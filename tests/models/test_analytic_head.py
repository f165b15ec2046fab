"""AnalyticHead: features of several stages and of both mirror images."""

import keras
import numpy as np
import pytest

from bsce_keras.config import ImageSpec
from bsce_keras.models.analytic_head import AnalyticHead
from bsce_keras.models.classifier import backbone_of, build_classifier
from bsce_keras.models.folding import folded
from bsce_keras.models.plain import plain
from bsce_keras.models.resnet_cifar import resnet8
from bsce_keras.runtime.errors import RequestError

IMAGE = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.3,), std=(0.4,))


def classifier_of(backbone=None, **settings):
    keras.utils.set_random_seed(0)
    head = AnalyticHead(3, 20, **settings)
    classifier = build_classifier(backbone or resnet8(), head, IMAGE)
    rng = np.random.default_rng(0)
    head.expansion.assign(rng.normal(size=head.expansion.shape))
    head.kernel.assign(rng.normal(size=head.kernel.shape))
    return classifier


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (4, 8, 8, 1)).astype("float32")


def test_both_mirror_images_have_the_same_logits(images):
    mirrored = images[:, :, ::-1]
    for is_mirrored in (False, True):
        classifier = classifier_of(depths=2, mirrored=is_mirrored)
        logits = classifier.predict(images, verbose=0)["logits"]
        others = classifier.predict(mirrored, verbose=0)["logits"]
        assert np.allclose(logits, others, atol=1e-3) == is_mirrored


@pytest.mark.parametrize(
    ("side", "quarters"),
    [(4, [(0, 2), (2, 4)]), (5, [(0, 3), (2, 5)]), (1, [(0, 1)])],
)
def test_quarters_are_means_of_positive_parts(side, quarters):
    inputs = keras.Input((8, 8, 1))
    cut = 8 - side
    stage = keras.layers.Cropping2D(((0, cut), (0, cut)), name="stage1")(inputs)
    features = keras.layers.GlobalMaxPooling2D()(stage)
    classifier = classifier_of(keras.Model(inputs, features), depths=1)
    images = 4 * np.arange(64, dtype="float32").reshape(1, 8, 8, 1)
    joined = classifier.predict(images, verbose=0)["features"][0]
    normalized = (images[0, :, :, 0] / 255 - 0.3) / 0.4
    normalized = normalized[:side, :side]
    positive = np.maximum(normalized, 0)
    means = [positive[a:b, c:d].mean() for a, b in quarters for c, d in quarters]
    np.testing.assert_allclose(joined, [normalized.max(), *means], atol=1e-5)


def test_two_stages_of_the_network_join_the_features():
    # 64 features, and quarters of 64 maps of stage 3 and of 32 of stage 2.
    classifier = classifier_of(depths=2)
    assert classifier.output["features"].shape[-1] == 64 + 4 * (64 + 32)
    assert classifier.layers[-1].expansion.shape == (64 + 4 * (64 + 32), 20)


def test_the_last_of_ten_stages_is_the_tenth():
    """Each stage doubles the image; the feature is a pixel of the tenth."""
    inputs = maps = keras.Input((8, 8, 1))
    for number in range(1, 11):
        maps = keras.layers.Rescaling(2.0, name=f"stage{number}")(maps)
    features = keras.layers.GlobalMaxPooling2D()(maps)
    classifier = classifier_of(keras.Model(inputs, features), depths=1)
    white = np.full((1, 8, 8, 1), 255, np.uint8)
    joined = classifier(white)["features"][0].numpy()
    np.testing.assert_allclose(joined, joined[0], rtol=1e-5)


def test_more_depths_than_stages_are_refused():
    with pytest.raises(RequestError, match="must be at most 3.* Received: 4"):
        classifier_of(depths=4)


@pytest.mark.parametrize("copy", [plain, folded])
def test_copies_for_inference_agree_and_have_one_network(images, copy):
    classifier = classifier_of(depths=2, mirrored=True)
    copied = copy(classifier)
    for name in ("logits", "features"):
        expected = classifier.predict(images, verbose=0)[name]
        actual = copied.predict(images, verbose=0)[name]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    convolutions = backbone_of(classifier).count_params() + 20 * (64 + 384 + 3)
    assert copied.count_params() <= convolutions + 10
