"""Test images for a model that knows some classes of a data set, matched by name."""

import numpy as np

from bsce_keras import make_config
from bsce_keras.data.datasets import load_dataset
from bsce_keras.evaluation.named_images import named_test_images, unknown_classes


def test_labels_are_places_in_the_list_of_the_model():
    """Its classes are in another order, and it knows one that the data set lacks."""
    config = make_config("digits", class_order="seed:5").stream
    names = ("7", "ant", "0", "3")
    found = named_test_images(config, names, None)
    test = load_dataset(config).test
    for place, name in enumerate(names):
        of_class = test.images[test.labels == (int(name) if name != "ant" else -1)]
        np.testing.assert_array_equal(found.images[found.labels == place], of_class)
    assert len(found) == np.isin(test.labels, [7, 0, 3]).sum()
    assert sorted(unknown_classes(config, names)) == list("1245689")


def test_images_are_stored_in_the_size_that_the_model_takes():
    """Digests of images in another size are not those of the records."""
    images = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 1), np.uint8)
    given = images, np.arange(6) % 2
    config = make_config(given, test_data=given).stream
    checked = []
    for size in (None, 12, 9):
        found = named_test_images(config, ("0", "1"), size, checked.append)
        assert found.images.shape == (6, *(size or 12,) * 2, 1)
    assert len(checked) == 2
