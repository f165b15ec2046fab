"""FeaturePass: features of images in blocks, as one call returns them."""

import numpy as np

from bsce_keras.learner import feature_pass
from bsce_keras.learner.feature_pass import FeaturePass
from bsce_keras.runtime.signals import StopRequests


def test_features_in_blocks_are_those_of_all_images(monkeypatch, capsys):
    monkeypatch.setattr(feature_pass, "_IMAGES_AT_ONCE", 4)
    monkeypatch.setattr(feature_pass, "_PRINT_SECONDS", -1)
    seen = []

    def mean(images):
        seen.append(len(images))
        return images.mean(axis=1, keepdims=True)

    images = np.arange(20.0).reshape(10, 2)
    told = FeaturePass(StopRequests(), "step 1/5", "while its head was solved")
    np.testing.assert_array_equal(told.features(images, mean), images[:, :1] + 0.5)
    assert seen == [4, 4, 2]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("step 1/5  features, 8 of 10 images  ")
