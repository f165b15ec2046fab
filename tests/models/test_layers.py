"""Layers compute as in the references: normalisation, convolutions, pixels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config.backbone_inputs import INPUTS
from bsce_keras.models.layers import (
    ChannelShift,
    FusedBatchNormalization,
    NormalizeImages,
    SubsampleAndPadChannels,
    convolution,
)


def random_maps(num_images=4, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    maps = rng.normal(loc=2.0, scale=3.0, size=(num_images, 3, 3, channels))
    return maps.astype(np.float32)


def make_layer(channels=3, dtype="float32", **kwargs):
    """Returns a layer with scale, shift and averages changed from their start."""
    layer = FusedBatchNormalization(dtype=dtype, **kwargs)
    layer.build((None, 3, 3, channels))
    ramp = np.arange(1.0, channels + 1)
    for variable, values in [
        (layer.gamma, ramp),
        (layer.beta, -ramp),
        (layer.moving_mean, ramp / 10),
        (layer.moving_variance, ramp + 1),
    ]:
        variable.assign(values)
    return layer


def averages(layer):
    return np.array([layer.moving_mean.numpy(), layer.moving_variance.numpy()])


def derivatives(layer, maps):
    """Returns output, its gradients by all inputs, and a second derivative."""
    maps = tf.constant(maps)
    weights = tf.sin(tf.cast(tf.range(tf.size(maps)), "float32"))
    with tf.GradientTape() as outer:
        outer.watch(maps)
        with tf.GradientTape() as inner:
            inner.watch(maps)
            outputs = layer(maps, training=True)
            loss = tf.reduce_sum(tf.reshape(weights, maps.shape) * outputs**2)
        sources = [maps, layer.gamma.value, layer.beta.value]
        gradients = inner.gradient(loss, sources)
        squared_norm = tf.reduce_sum(gradients[0] ** 2)
    return [outputs, *gradients, outer.gradient(squared_norm, maps)]


def test_fused_op_equals_single_operations():
    maps = random_maps()
    fused, written_out = make_layer(), make_layer(synchronized=True)
    for ours, reference in zip(
        derivatives(fused, maps), derivatives(written_out, maps), strict=True
    ):
        scale = np.abs(reference).max()
        assert scale > 0.1
        np.testing.assert_allclose(ours / scale, reference / scale, atol=1e-4)
    np.testing.assert_allclose(averages(fused), averages(written_out), rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"synchronized": True}, {"dtype": "float64"}])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_batch_normalisation_equals_pytorchs(options, momentum):
    maps, layer = random_maps(), make_layer(momentum=momentum, **options)
    before = averages(layer)
    outputs = layer(maps, training=True)
    mean, variance = maps.mean((0, 1, 2)), maps.var((0, 1, 2))
    expected = (maps - mean) / np.sqrt(variance + 1e-5) * layer.gamma + layer.beta
    np.testing.assert_allclose(outputs, expected, atol=1e-4)
    unbiased = variance * 36 / 35  # 4 images of 3 x 3
    expected = momentum * before + (1 - momentum) * np.array([mean, unbiased])
    np.testing.assert_allclose(averages(layer), expected, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"synchronized": True}, {"dtype": "float64"}])
def test_one_value_per_channel_is_its_mean(options):
    """The batch has one image with maps of one pixel; PyTorch raises an error here."""
    maps, layer = random_maps(1)[:, :1, :1], make_layer(**options)
    before = averages(layer)
    np.testing.assert_allclose(layer(maps, training=True)[0, 0, 0], layer.beta)
    expected = 0.9 * before + 0.1 * np.array([maps[0, 0, 0], np.zeros(3)])
    np.testing.assert_allclose(averages(layer), expected, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"synchronized": True}, {"dtype": "float64"}])
def test_inference_uses_moving_averages_and_does_not_change_them(options):
    maps, layer = random_maps(), make_layer(**options)
    mean, variance = before = averages(layer)
    expected = (maps - mean) / np.sqrt(variance + 1e-5) * layer.gamma + layer.beta
    np.testing.assert_allclose(layer(maps), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(averages(layer), before)


@pytest.mark.parametrize("synchronized", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_bfloat16_maps_keep_float32_statistics(training, synchronized):
    maps = tf.constant(random_maps())
    narrow = make_layer(dtype="mixed_bfloat16", synchronized=synchronized)
    wide = make_layer()
    outputs = narrow(maps, training=training)
    assert outputs.dtype == "bfloat16"
    assert {variable.dtype for variable in narrow.variables} == {"float32"}
    rounded = tf.cast(tf.cast(maps, "bfloat16"), "float32")
    expected = wide(rounded, training=training)
    np.testing.assert_allclose(
        tf.cast(outputs, "float32"), expected, rtol=2**-7, atol=0.02
    )
    np.testing.assert_allclose(averages(narrow), averages(wide), rtol=1e-5)


@pytest.mark.parametrize(("synchronized", "fused"), [(False, True), (True, False)])
def test_training_runs_the_fused_op_unless_synchronized(synchronized, fused):
    layer = make_layer(synchronized=synchronized)
    traced = tf.function(lambda maps: layer(maps, training=True))
    graph = traced.get_concrete_function(tf.constant(random_maps())).graph
    operations = {operation.type for operation in graph.get_operations()}
    assert ("FusedBatchNormV3" in operations) == fused


def test_synchronized_replicas_equal_one_device(two_devices):
    maps = random_maps(num_images=8)
    parts = [maps[:3], maps[3:]]  # deliberately uneven

    def run(layer, maps):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            outputs = layer(maps, training=True)
            loss = tf.reduce_sum(outputs**3)
        return outputs, tape.gradient(loss, maps)

    alone = make_layer()
    outputs, gradient = run(alone, tf.constant(maps))
    with two_devices.scope():
        mirrored = make_layer(synchronized=True)
    distributed = two_devices.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    per_replica = tf.function(
        lambda: two_devices.run(run, args=(mirrored, distributed))
    )()
    together = [np.concatenate(part.values) for part in per_replica]
    np.testing.assert_allclose(together[0], outputs, atol=1e-4)
    np.testing.assert_allclose(together[1], gradient, atol=2e-3)
    for ours, reference in [
        (mirrored.moving_mean, alone.moving_mean),
        (mirrored.moving_variance, alone.moving_variance),
    ]:
        for replica in ours.value.values:
            np.testing.assert_allclose(replica, reference, rtol=1e-5)


def test_gamma_starts_at_zero_on_request():
    layer = FusedBatchNormalization(zero_gamma=True)
    assert np.all(layer(random_maps(), training=True) == 0)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (
            FusedBatchNormalization,
            {
                "momentum": 0.8,
                "epsilon": 1e-3,
                "zero_gamma": True,
                "synchronized": True,
            },
        ),
        (ChannelShift, {}),
        (SubsampleAndPadChannels, {}),
        (
            NormalizeImages,
            {"mean": (0.5, 0.4), "std": (0.25, 0.2), "reverses_channels": True},
        ),
    ],
)
def test_layers_are_restored_from_their_config(kind, settings):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(kind(**settings, name="layer"))
    )
    assert type(copy) is kind and copy.name == "layer"
    assert {name: getattr(copy, name) for name in settings} == settings


# Convolutions and shortcuts.


@pytest.mark.parametrize("kernel_size", [3, 7])
def test_strided_convolutions_pad_all_sides_alike(kernel_size):
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, convolution(inputs, 1, kernel_size, strides=2))
    model.set_weights([np.ones((kernel_size, kernel_size, 1, 1))])
    outputs = model(np.ones((1, 8, 8, 1), np.float32))[0, :, :, 0].numpy()
    assert outputs.shape == (4, 4)
    # The first window exceeds the edge by the padding, the last one by one less.
    inside = kernel_size - kernel_size // 2
    assert outputs[0, 0] == inside**2
    assert outputs[-1, -1] == (inside + 1) ** 2


def test_corner_sums_of_a_ramp_have_pytorchs_padding():
    ramp = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, convolution(inputs, 1, 3, strides=2))
    model.set_weights([np.ones((3, 3, 1, 1))])
    # Top left: 0 + 1 + 4 + 5. Keras's `same` would sum the 3 x 3 corner, 45.
    assert model(ramp)[0, 0, 0, 0] == 10


def test_convolutions_start_he_normal_by_fan_out():
    inputs = keras.Input((4, 4, 16))
    model = keras.Model(inputs, convolution(inputs, 128, 3))
    (kernel,) = model.get_weights()
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 128)), rtol=0.03)
    # A truncated normal would end at two standard deviations.
    assert np.abs(kernel).max() > 3 * kernel.std()


def test_shortcut_takes_every_second_pixel_and_appends_zero_channels():
    maps = random_maps(channels=2)
    outputs = SubsampleAndPadChannels()(maps)
    np.testing.assert_array_equal(outputs[..., :2], maps[:, ::2, ::2])
    assert outputs.shape == (4, 2, 2, 4) and np.all(outputs[..., 2:] == 0)


def test_a_network_of_whole_numbers_sees_every_pixel_value():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    values = INPUTS["0_255"]
    shown = NormalizeImages(values.mean, values.std)(pixels)
    np.testing.assert_array_equal(np.asarray(shown).astype(np.uint8), pixels)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_pixels_are_normalised_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    images = np.array([[[[0, 51], [255, 102]]]], np.uint8)
    outputs = NormalizeImages((0.5, 0.4), (0.25, 0.2))(images)
    assert outputs.dtype == "float32"
    np.testing.assert_allclose(outputs, [[[[-2, -1], [2, 0]]]], atol=1e-6)
