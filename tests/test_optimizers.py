"""CoupledSGD equals PyTorch's recursion, on one replica and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import TrainingConfig
from bsce_keras.optimizers import CoupledSGD, adam_update, learning_rate_at


def start(values, **kwargs):
    """Returns an optimizer and the variable that it updates."""
    optimizer = CoupledSGD(**kwargs)
    variable = keras.Variable(np.array(values, np.float32))
    optimizer.build([variable])
    return optimizer, variable


def expected_update(
    value, buffer, gradient, rate, momentum=0.9, decay=0.0, clamp=np.inf
):
    gradient = np.clip(gradient, -clamp, clamp) + decay * value
    buffer = momentum * buffer + gradient
    return value - rate * buffer, buffer


def test_weight_decay_without_gradient_equals_pytorchs():
    optimizer, variable = start(1.0, learning_rate=0.1, weight_decay=5e-4)
    update = tf.function(lambda: optimizer.apply([tf.constant(0.0)], [variable]))
    for _ in range(200):
        update()
    # Keras's decoupled decay gives .9900.
    assert round(float(variable), 4) == 0.9085


def test_drop_of_the_rate_scales_the_momentum_at_once():
    options = {"momentum": 0.9, "weight_decay": 5e-4}
    optimizer, variable = start([1.0, -2.0, 3.0], learning_rate=0.1, **options)
    value, buffer = variable.numpy().astype(np.float64), np.zeros(3)
    gradients = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    for update, gradient in enumerate(gradients):
        rate = 0.1 if update < 10 else 0.01
        optimizer.learning_rate = rate
        optimizer.apply([tf.constant(gradient)], [variable])
        value, buffer = expected_update(value, buffer, gradient, rate, decay=5e-4)
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5)


def test_gradients_are_clamped_before_weight_decay():
    optimizer, variable = start(
        2.0, learning_rate=1.0, momentum=0.0, weight_decay=0.5, gradient_clamp=1.0
    )
    optimizer.apply([tf.constant(3.0)], [variable])
    assert float(variable) == 2.0 - (1.0 + 0.5 * 2.0)


def warmed_up(**kwargs):
    """Returns an optimizer with a momentum buffer that is not 0, and its variable."""
    optimizer, variable = start([1.0, -1.0], weight_decay=0.1, **kwargs)
    optimizer.apply([tf.constant([0.5, -2.0])], [variable])
    return optimizer, variable


RATES = {
    "number": lambda: 0.1,
    "schedule": lambda: keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0),
}


@pytest.mark.parametrize("rate", RATES.values(), ids=RATES)
def test_virtual_update_equals_the_next_update_and_changes_nothing(rate):
    optimizer, variable = warmed_up(learning_rate=rate(), gradient_clamp=1.0)
    gradient = tf.constant([0.25, 8.0])
    before = [weight.numpy() for weight in [variable, *optimizer.variables]]
    (virtual,) = optimizer.virtual_update([gradient], [variable.value], [variable])
    for weight, value in zip([variable, *optimizer.variables], before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    optimizer.apply([gradient], [variable])
    np.testing.assert_allclose(virtual, variable.numpy(), rtol=1e-6)


def test_virtual_update_has_the_momentum_of_each_variable():
    """Buffers are 1 and -2, so that without gradients 0 becomes -.9 and 1.8."""
    variables = [keras.Variable(0.0), keras.Variable(0.0)]
    optimizer = CoupledSGD(1.0)
    optimizer.build(variables)
    optimizer.apply([tf.constant(1.0), tf.constant(-2.0)], variables)
    zeros = [tf.constant(0.0)] * 2
    for order in (slice(None), slice(None, None, -1)):
        found = optimizer.virtual_update(zeros, zeros, variables[order])
        np.testing.assert_allclose(found, [-0.9, 1.8][order], rtol=1e-6)


@pytest.mark.parametrize("rate", RATES.values(), ids=RATES)
@pytest.mark.parametrize("clamp", [None, 1.0])
def test_sensitivity_is_the_derivative_of_the_virtual_update(rate, clamp):
    optimizer, variable = warmed_up(learning_rate=rate(), gradient_clamp=clamp)
    gradient, tangent = tf.constant([0.25, 8.0]), tf.constant([2.0, -3.0])
    with tf.autodiff.ForwardAccumulator(gradient, tangent) as accumulator:
        update = optimizer.virtual_update([gradient], [variable.value], [variable])
    (sensitivity,) = optimizer.virtual_update_sensitivity([gradient], [tangent])
    np.testing.assert_allclose(sensitivity, accumulator.jvp(update[0]), rtol=1e-6)
    assert (sensitivity[1] == 0) == (clamp == 1.0)


def test_optimizer_is_restored_from_its_config():
    optimizer = CoupledSGD(0.2, 0.8, weight_decay=1e-4, gradient_clamp=5.0)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(optimizer)
    )
    assert isinstance(copy, CoupledSGD)
    assert copy.get_config() == optimizer.get_config()
    assert float(copy.learning_rate) == pytest.approx(0.2)
    assert (copy.momentum, copy.coupled_weight_decay) == (0.8, 1e-4)
    assert copy.gradient_clamp == 5.0


def test_training_continues_exactly_from_a_saved_model(tmp_path):
    rng = np.random.default_rng(0)
    data = tf.data.Dataset.from_tensors((rng.normal(size=(8, 3)), rng.normal(size=8)))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=CoupledSGD(0.05, weight_decay=1e-3), loss="mse")
    history = model.fit(data, epochs=3, verbose=0)
    assert history.history["loss"][2] < history.history["loss"][0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for continued in (model, loaded):
        continued.fit(data, verbose=0)
    for ours, copy in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(copy, ours, rtol=1e-6)


def test_replicas_clamp_the_sum_of_their_gradients(two_devices):
    with two_devices.scope():
        optimizer, variable = start(
            0.0, learning_rate=1.0, momentum=0.0, gradient_clamp=5.0
        )
    # Clamping each gradient would give 3. Their sum is 6, which is clamped to 5.
    gradients = two_devices.experimental_distribute_values_from_function(
        lambda context: tf.constant([8.0, -2.0][context.replica_id_in_sync_group])
    )

    @tf.function
    def update():
        two_devices.run(lambda g: optimizer.apply([g], [variable]), args=(gradients,))

    update()
    assert [float(replica) for replica in variable.value.values] == [-5.0, -5.0]


def test_update_is_one_operation_per_variable():
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([[3.0]])]
    optimizer = CoupledSGD(0.1, weight_decay=0.1)
    optimizer.build(variables)

    @tf.function
    def update():
        optimizer.apply([tf.ones_like(v.value) for v in variables], variables)

    operations = [
        op.type for op in update.get_concrete_function().graph.get_operations()
    ]
    assert operations.count("ResourceApplyMomentum") == len(variables)


# Schedules.


def test_adam_moves_as_kerass_adam_does_over_several_gradients():
    ours, theirs = tf.zeros(3), keras.Variable(np.zeros(3, np.float32))
    optimizer = keras.optimizers.Adam(0.1, epsilon=1e-3)
    mean = square = tf.zeros(3)
    for number, gradient in enumerate([(1.0, -4, 0), (1.0, 0.5, 0), (-2, 3, 1e-3)], 1):
        gradient = tf.constant(gradient)
        optimizer.apply([gradient], [theirs])
        # Keras adds epsilon before it corrects the second moment.
        epsilon = 1e-3 / np.sqrt(1 - 0.999**number)
        move, mean, square = adam_update(gradient, mean, square, float(number), epsilon)
        ours -= 0.1 * move
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def schedule(**kwargs):
    return TrainingConfig(
        batch_size=32, learning_rate=0.1, weight_decay=0.0, **{"epochs": 10, **kwargs}
    )


def test_rate_falls_to_a_tenth_at_each_milestone():
    config = schedule(milestones=(4, 6, 8))
    rates = [learning_rate_at(config, epoch) for epoch in (0, 3, 4, 5, 6, 7, 8, 9)]
    expected = [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    np.testing.assert_allclose(rates, expected)


def test_cosine_starts_one_epoch_late_as_in_podnets_code():
    config = schedule(schedule="cosine", epochs=6)
    rates = [learning_rate_at(config, epoch) for epoch in range(6)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.0933, 0.075, 0.05, 0.025], atol=5e-5)


def test_exclusion_from_weight_decay_is_refused_instead_of_ignored():
    with pytest.raises(NotImplementedError, match="decays every variable"):
        CoupledSGD(weight_decay=0.1).exclude_from_weight_decay(var_names=["bias"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": -0.1}, "`momentum` must be a number from 0 to 1. Received: -0.1"),
        ({"momentum": 2.0}, "Received: 2.0"),
        ({"weight_decay": -1e-4}, "`weight_decay` must be a number of 0 or more"),
        ({"weight_decay": float("inf")}, "`weight_decay` must be a number of 0 or"),
        ({"weight_decay": "5e-4"}, "Received: '5e-4'"),
        (
            {"gradient_clamp": -5.0},
            "`gradient_clamp` must be a number above 0, or None",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CoupledSGD(0.1, **options)
