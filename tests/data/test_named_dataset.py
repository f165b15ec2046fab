"""A data set consists of its catalog entry and the functions that the entry names."""

import sys
import types

import numpy as np
import pytest

from bsce_keras import make_config
from bsce_keras.config import ImageSpec
from bsce_keras.config.choices import SMALL
from bsce_keras.data.catalog import DATASETS
from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.examples import numbered
from bsce_keras.data.named_dataset import NamedDataset
from bsce_keras.data.splits import ImageDataset
from bsce_keras.runtime.errors import RequestError


def describe(asked):
    return asked.info(["left", "right"])


def load(stream_config, training_images, test_images):
    images = np.zeros((4, 8, 8, 1), np.uint8)
    return ImageDataset(
        train=numbered(images, np.array([0, 1, 0, 1])),
        test=numbered(images[:2], np.array([0, 1])),
    )


@pytest.fixture(autouse=True)
def sides(monkeypatch):
    """A data set named `sides`, added by one entry and one file."""
    module = types.ModuleType("sides")
    module.describe, module.load = describe, load
    monkeypatch.setitem(sys.modules, "sides", module)
    image = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.5,), std=(0.5,))
    entry = NamedDataset(
        "sides:describe",
        "sides:load",
        image,
        SMALL,
        exemplars_per_class=3,
        without={"cache_dir": "which are made up"},
    )
    monkeypatch.setitem(DATASETS, "sides", entry)


def test_dataset_entry_sets_the_defaults_of_a_run():
    config = make_config("sides")
    assert config.stream.class_names == ("left", "right")
    assert config.memory.exemplars_per_class == 3
    assert config.model.backbone == "resnet8"


def test_dataset_entry_names_its_loader():
    data = load_dataset(make_config("sides").stream)
    assert data.train.labels.tolist() == [0, 1, 0, 1]


def test_option_that_does_not_apply_to_the_data_set_is_refused_with_the_reason():
    with pytest.raises(RequestError, match="--dataset=sides, which are made up"):
        make_config("sides", cache_dir="cache")
