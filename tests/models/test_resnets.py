"""ResNets have the sizes, maps and ReLUs of the reference code bases."""

import functools

import keras
import numpy as np
import pytest

from bsce_keras.models import resnet8, resnet18, resnet32
from bsce_keras.models.layers import FusedBatchNormalization

BUILDERS = {"resnet8": resnet8, "resnet18": resnet18, "resnet32": resnet32}
VARIANTS = ("il_baseline", "lucir", "podnet")
# Blocks per stage; in il_baseline, all of them end with a ReLU.
STAGES = {"resnet8": (1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet32": (5, 5, 4, 1)}


@functools.cache
def backbone(name, variant):
    return BUILDERS[name](variant)


def num_trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


def layers_of(model, layer_class):
    return [layer for layer in model.layers if isinstance(layer, layer_class)]


def blocks_with_relu(model):
    """Returns for each block in order if a ReLU follows the addition."""
    rectified = {id(relu.input) for relu in layers_of(model, keras.layers.ReLU)}
    additions = layers_of(model, keras.layers.Add)
    return [id(addition.output) in rectified for addition in additions]


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("resnet32", "il_baseline", 466_256),
        ("resnet32", "lucir", 466_256),
        ("resnet32", "podnet", 463_504),
        ("resnet18", "il_baseline", 11_176_512),
        ("resnet18", "lucir", 11_176_512),
        ("resnet18", "podnet", 11_168_832),
    ],
)
def test_number_of_trainable_weights(name, variant, expected):
    assert num_trainable(backbone(name, variant)) == expected


@pytest.mark.parametrize(
    ("name", "variant", "sides", "channels"),
    [
        ("resnet8", "il_baseline", (8, 4, 2), (16, 32, 64)),
        ("resnet32", "il_baseline", (32, 16, 8, 8), (16, 32, 64, 64)),
        ("resnet32", "podnet", (32, 16, 8, 8), (16, 32, 64, 64)),
        ("resnet18", "lucir", (56, 28, 14, 7), (64, 128, 256, 512)),
        # Without stride in the stem, maps have four times the pixels.
        ("resnet18", "podnet", (112, 56, 28, 14), (64, 128, 256, 512)),
    ],
)
def test_shapes_of_maps_and_features(name, variant, sides, channels):
    model = backbone(name, variant)
    maps = [model.get_layer(f"stage{i + 1}").output.shape for i in range(len(sides))]
    assert maps == [(None, s, s, c) for s, c in zip(sides, channels, strict=True)]
    assert model.output.shape == (None, channels[-1])


@pytest.mark.parametrize("name", BUILDERS)
def test_variants_have_relus_after_their_blocks(name):
    stages = STAGES[name]
    last_of_stage = np.cumsum(stages) - 1
    every = np.ones(sum(stages), bool)
    all_but_last = every.copy()
    all_but_last[-1] = False
    if name == "resnet18":
        podnet = every.copy()
        podnet[last_of_stage] = False
    else:
        podnet = ~every
    for variant, expected in zip(VARIANTS, [every, all_but_last, podnet], strict=True):
        assert blocks_with_relu(backbone(name, variant)) == expected.tolist()


@pytest.mark.parametrize("name", BUILDERS)
def test_stem_and_first_half_of_every_block_have_a_relu(name):
    model = backbone(name, "podnet")
    rectified = {id(relu.input) for relu in layers_of(model, keras.layers.ReLU)}
    normalizations = layers_of(model, FusedBatchNormalization)
    inner = [layer for layer in normalizations if id(layer.output) in rectified]
    assert len(inner) == 1 + sum(STAGES[name])


@pytest.mark.parametrize(
    ("variant", "signed"), [("il_baseline", False), ("lucir", True), ("podnet", True)]
)
def test_only_il_baseline_has_nonnegative_features(variant, signed):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 8, 8, 1)).astype(np.float32)
    # With gamma and beta 0, PODNet's blocks would only forward the rectified stem.
    model = resnet8(variant)
    for layer in layers_of(model, FusedBatchNormalization):
        layer.beta.assign(rng.normal(size=layer.beta.shape))
    features = model(images).numpy()
    assert (features.min() < 0) == signed


@pytest.mark.parametrize(
    ("name", "variant"),
    [("resnet8", "il_baseline"), ("resnet8", "lucir"), ("resnet18", "lucir")],
)
def test_features_are_means_of_the_last_map(name, variant):
    """Maps are taken before the ReLU, which only il_baseline has at the end."""
    model = BUILDERS[name](variant, image_size=64, channels=1)
    last = model.get_layer(f"stage{len(STAGES[name])}").output
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 1)).astype(np.float32)
    maps, features = keras.Model(model.input, [last, model.output])(images)
    assert np.min(maps) < 0
    if variant == "il_baseline":
        maps = np.maximum(maps, 0)
    np.testing.assert_allclose(features, np.mean(maps, axis=(1, 2)), atol=1e-5)


def test_stem_of_resnet18_takes_maxima_of_3_by_3_pixels():
    [pool] = layers_of(backbone("resnet18", "il_baseline"), keras.layers.MaxPooling2D)
    assert (pool.pool_size, pool.strides) == ((3, 3), (2, 2))


def test_stem_of_resnet18_pads_all_sides_of_its_maps_before_the_maxima():
    """Keras's `same` would pad right and bottom only, in maps of the same shape."""
    model = resnet18(image_size=16, channels=1)
    [pool] = layers_of(model, keras.layers.MaxPooling2D)
    stem = layers_of(model, keras.layers.ReLU)[0]
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype(np.float32)
    maps, pooled = keras.Model(model.input, [stem.output, pool.output])(images)
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [padded[:, i : i + 7 : 2, j : j + 7 : 2] for i, j in np.ndindex(3, 3)]
    np.testing.assert_array_equal(pooled, np.max(windows, axis=0))


@pytest.mark.parametrize("name", BUILDERS)
def test_first_convolution_of_a_block_has_the_stride(name):
    """It is the one that doubles the channels."""
    strided = [
        layer
        for layer in layers_of(backbone(name, "podnet"), keras.layers.Conv2D)
        if layer.strides == (2, 2) and layer.kernel_size == (3, 3)
    ]
    assert len(strided) == {"resnet8": 2, "resnet32": 2, "resnet18": 3}[name]
    assert all(layer.filters == 2 * layer.input.shape[-1] for layer in strided)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_podnet_starts_second_gammas_at_zero(name, variant):
    model = backbone(name, variant)
    # The first summand of a block is its second normalisation.
    second = {id(layer.input[0]) for layer in layers_of(model, keras.layers.Add)}
    assert len(second) == sum(STAGES[name])
    for layer in layers_of(model, FusedBatchNormalization):
        is_zero = not np.any(layer.gamma.numpy())
        assert is_zero == (variant == "podnet" and id(layer.output) in second)


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_unknown_variants_are_refused(builder):
    with pytest.raises(ValueError, match="il_baseline, lucir, podnet.*'torch'"):
        builder("torch")


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_all_layers_share_batch_statistics_on_request(builder):
    model = builder(image_size=32, synchronized=True)
    normalizations = layers_of(model, FusedBatchNormalization)
    assert normalizations and all(layer.synchronized for layer in normalizations)


@pytest.mark.parametrize("variant", VARIANTS)
def test_saved_backbone_is_restored(variant, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    model = resnet8(variant, synchronized=True)
    keras.saving.save_model(model, tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    np.testing.assert_array_equal(loaded(images), model(images))
    normalizations = layers_of(loaded, FusedBatchNormalization)
    assert normalizations and all(layer.synchronized for layer in normalizations)
