"""Variants of the benchmark build the same network."""

import dataclasses

import numpy as np
import pytest

from tools.benchmark.task import CASES

CASE = "resnet32@32"


@pytest.fixture(scope="module")
def sizes():
    """Numbers of parameters of ResNet-32 with a head of 50 classes, by variant."""
    import keras

    from tools.benchmark.keras_updates import make_classifier, make_stock_model

    models = {
        "ours": make_classifier(CASES[CASE]),
        "stock_keras": make_stock_model(CASES[CASE]),
    }
    kinds = {
        name: [type(layer) for layer in model._flatten_layers()]
        for name, model in models.items()
    }
    assert keras.layers.BatchNormalization in kinds["stock_keras"]
    assert keras.layers.BatchNormalization not in kinds["ours"]
    return {
        name: sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        for name, model in models.items()
    }


def test_stock_keras_has_the_same_network_but_its_own_normalisation(sizes):
    assert sizes["stock_keras"] == sizes["ours"]


def test_pytorch_has_the_same_network(sizes):
    pytest.importorskip("torch")
    from tools.benchmark.torch_updates import resnet32

    assert sum(p.numel() for p in resnet32(50).parameters()) == sizes["ours"]


def test_the_convolutions_measured_are_those_of_the_network():
    from tools.benchmark.bounds import _operations, _shapes

    # ResNet-32 has a stem and 10 convolutions of 3 x 3 a stage. All have equally many
    # multiplications, apart from the two that halve the image and their shortcuts.
    stem = 32 * 32 * 9 * 3 * 16
    one = 32 * 32 * 9 * 16 * 16
    shortcut = 16 * 16 * 16 * 32
    multiplications = stem + 28 * one + 2 * (one // 2 + shortcut)
    case = dataclasses.replace(CASES[CASE], batch_size=3)
    shapes = list(_shapes(case))
    assert shapes[0].inputs[0] == 3
    assert sum(map(_operations, shapes)) == 3 * 2 * multiplications
