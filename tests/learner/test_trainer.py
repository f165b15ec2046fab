"""IncrementalTrainer: losses, logs, checks of finite values, and alpha."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.learner.epoch_loop import EpochLoop
from bsce_keras.learner.global_means import sums_over_replicas
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.phase_progress import EpochSums
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.losses import balanced_softmax_crossentropy, logit_distillation
from bsce_keras.methods.base import LossTerm, StepContext
from bsce_keras.methods.finetune import Finetune
from bsce_keras.methods.il_baseline import ILBaseline
from bsce_keras.methods.parameters import DistillationParameters, NoParameters
from bsce_keras.models.classifier import build_classifier, head_of
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.layers import FusedBatchNormalization
from bsce_keras.optimizers import CoupledSGD
from bsce_keras.runtime.errors import RunError
from tests.small_backbone import small_backbone

IMAGE = ImageSpec(
    size=8, stored_size=8, channels=1, flip=False, mean=(0.5,), std=(0.3,)
)
NUM_OLD, NUM_NEW = 2, 1
COUNTS = (3, 3, 20)
ANY_BATCH = (tf.TensorSpec((None, 8, 8, 1), "uint8"), tf.TensorSpec((None,), "int32"))
CLASSIFY = Finetune(NoParameters()).loss_terms(
    StepContext(NUM_OLD, NUM_NEW, COUNTS, "softmax")
)[0]


def make_trainer(terms=None, learned_alpha=None):
    """Makes a compiled trainer of three classes with a teacher of two."""
    keras.utils.set_random_seed(1)
    context = StepContext(NUM_OLD, NUM_NEW, COUNTS, "balanced_softmax")
    trainer = IncrementalTrainer(
        build_classifier(small_backbone(), LinearHead(NUM_OLD + NUM_NEW), IMAGE),
        build_classifier(small_backbone(), LinearHead(NUM_OLD), IMAGE),
        ILBaseline(DistillationParameters()).loss_terms(context)
        if terms is None
        else terms,
        context,
        learned_alpha,
    )
    trainer.compile(optimizer=CoupledSGD(0.05, weight_decay=1e-4))
    trainer.optimizer.build(trainer.student.trainable_variables)
    return trainer


def make_batch(size=6, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (size, 8, 8, 1)).astype(np.uint8)
    return images, np.arange(size, dtype=np.int32) % (NUM_OLD + NUM_NEW)


def state_of(trainer):
    return [variable.numpy() for variable in trainer.student.variables]


def assert_same(before, after):
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_loss_is_the_weighted_sum_of_unweighted_logs():
    logs = make_trainer().train_step(make_batch())
    logs = {name: float(value) for name, value in logs.items()}
    rho = NUM_OLD / (NUM_OLD + NUM_NEW)
    expected = rho * logs["distillation"] + (1 - rho) * logs["classification"]
    assert logs["loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        lambda labels, student, teacher: tf.reduce_mean(student["features"]),
        lambda labels, student, teacher: student["features"],
        lambda labels, student, teacher: tf.reduce_mean(student["features"], axis=0),
    ],
)
def test_term_that_is_not_one_value_per_image_is_refused(values):
    """A mean over the batch was divided by the size of the batch once more."""
    trainer = make_trainer([CLASSIFY, LossTerm("mine", 1.0, values)])
    with pytest.raises(RunError, match="'mine' must return one value per image"):
        tf.function(trainer.train_step, (ANY_BATCH,), autograph=False)(make_batch())


@pytest.mark.parametrize("name", ["classification", "loss"])
def test_terms_with_the_name_of_another_log_are_refused(name):
    terms = [CLASSIFY, LossTerm(name, 1.0, CLASSIFY.values)]
    with pytest.raises(RunError, match=f"Rename {name}"):
        make_trainer(terms)


def test_a_step_without_loss_terms_is_refused():
    with pytest.raises(RunError, match="no loss terms. Return at least one"):
        make_trainer(terms=[])


def test_learned_alpha_without_a_classification_term_is_refused():
    terms = [LossTerm("mine", 1.0, CLASSIFY.values)]
    with pytest.raises(RunError, match="needs a loss term 'classification'"):
        make_trainer(terms, LearnedAlpha(1.0))


def test_term_in_another_precision_counts_in_float32():
    def half(labels, student, teacher):
        return tf.cast(CLASSIFY.values(labels, student, teacher), tf.bfloat16)

    logs = make_trainer([CLASSIFY, LossTerm("half", 1.0, half)]).train_step(
        make_batch()
    )
    assert logs["half"].dtype == tf.float32
    assert float(logs["half"]) == pytest.approx(float(logs["classification"]), rel=1e-2)


def test_fit_equals_the_train_step():
    images, labels = make_batch()
    by_hand, fitted = make_trainer(), make_trainer()
    by_hand.train_step((images, labels))
    fitted.fit(tf.data.Dataset.from_tensors((images, labels)), verbose=0)
    for ours, theirs in zip(state_of(by_hand), state_of(fitted), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_teacher_is_not_trained_or_part_of_the_student():
    trainer = make_trainer()
    before = [weight.copy() for weight in trainer.teacher.get_weights()]
    trainer.train_step(make_batch())
    assert_same(before, trainer.teacher.get_weights())
    assert not trainer.teacher.trainable_variables
    assert len(trainer.trainable_variables) == len(trainer.student.trainable_variables)


@pytest.mark.parametrize(
    ("poison", "precision"), [(np.nan, "float32"), (np.inf, "mixed_bfloat16")]
)
def test_not_finite_loss_is_named_and_changes_nothing(poison, precision):
    """Weights and moving averages stay; the forward pass has moved the latter."""
    keras.config.set_dtype_policy(precision)
    bad = LossTerm("bad_term", 1.0, lambda y, s, t: s["logits"][:, 0] * poison)
    good = LossTerm("good_term", 1.0, lambda y, s, t: s["logits"][:, 0])
    trainer = make_trainer([good, bad])
    before = state_of(trainer)
    update = tf.function(trainer.train_step, autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad_term"):
        update(tuple(map(tf.constant, make_batch())))
    assert_same(before, state_of(trainer))


def test_not_finite_gradient_of_finite_loss_changes_nothing():
    root = LossTerm("root", 1.0, lambda y, s, t: tf.sqrt(0.0 * s["logits"][:, 0]))
    trainer = make_trainer([root])
    before = state_of(trainer)
    update = tf.function(trainer.train_step, autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="gradient"):
        update(tuple(map(tf.constant, make_batch())))
    assert_same(before, state_of(trainer))


def test_nan_on_one_replica_is_seen_by_all(two_devices):
    """If only one of two workers stopped, the other one would wait forever."""

    def of_replica():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        bad = tf.where(tf.equal(number, 1), np.nan, 1.0)
        return sums_over_replicas({"bad": bad, "good": tf.constant(2.0)})

    sums = tf.function(lambda: two_devices.run(of_replica), autograph=False)()
    bad = two_devices.experimental_local_results(sums["bad"])
    assert [bool(tf.math.is_nan(value)) for value in bad] == [True, True]
    good = two_devices.experimental_local_results(sums["good"])
    assert [float(value) for value in good] == [4.0, 4.0]


def test_nan_teacher_is_named_by_its_term_and_changes_nothing():
    trainer = make_trainer()
    for weight in trainer.teacher.weights:
        weight.assign(weight * np.nan)
    before = state_of(trainer)
    update = tf.function(trainer.train_step, autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="distillation"):
        update(tuple(map(tf.constant, make_batch())))
    assert_same(before, state_of(trainer))


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_not_finite_gradient_of_alpha_is_named_and_changes_nothing(precision):
    """The virtual update overflows; all terms of the real one are finite."""
    keras.config.set_dtype_policy(precision)
    trainer = make_trainer(learned_alpha=LearnedAlpha(1.0))
    trainer.optimizer.virtual_update = lambda gradients, start, variables: [
        value * np.float32(np.inf) for value in start
    ]
    before = state_of(trainer)
    update = tf.function(trainer.train_step, autograph=False)
    batches = (*make_batch(), *make_batch(seed=1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the gradient of alpha"):
        update(tuple(map(tf.constant, batches)))
    assert_same(before, state_of(trainer))
    assert trainer.learned_alpha.value.numpy() == 1.0


def test_masked_term_is_averaged_only_over_masked_images():
    def old_only(labels, student, teacher):
        return tf.fill(tf.shape(labels), 3.0), labels < NUM_OLD

    def nowhere(labels, student, teacher):
        return tf.fill(tf.shape(labels), 3.0), labels < 0

    anchor = LossTerm("anchor", 1.0, lambda y, s, t: s["logits"][:, 0])
    terms = [anchor, LossTerm("old", 1.0, old_only), LossTerm("none", 1.0, nowhere)]
    logs = make_trainer(terms).train_step(make_batch())
    assert (float(logs["old"]), float(logs["none"])) == (3.0, 0.0)


@pytest.mark.parametrize(
    ("gradient", "expected"), [(0.25, 0.75), (10.0, 0.01), (-10.0, 1.5)]
)
def test_alpha_descends_at_its_rate_and_stays_in_bounds(gradient, expected):
    alpha = LearnedAlpha(learning_rate=1.0)
    assert float(alpha.descend(tf.constant(gradient))) == pytest.approx(expected)
    assert float(alpha.num_clips.numpy()) == (abs(gradient) > 1)


def test_adam_moves_alpha_by_its_rate_for_any_gradient():
    alpha = LearnedAlpha(learning_rate=0.01, optimizer="adam")
    assert float(alpha.descend(tf.constant(3e-4))) == pytest.approx(0.99, abs=1e-5)


def test_adam_remembers_earlier_gradients_of_alpha():
    """Directions of the textbook's formula; that of each gradient alone is 1 or -1."""
    alpha = LearnedAlpha(learning_rate=0.01, optimizer="adam")
    seen = [float(alpha.descend(tf.constant(slope))) for slope in (1.0, -3.0)]
    mean = (0.9 * 0.1 * 1.0 - 0.1 * 3.0) / (1 - 0.9**2)
    square = (0.999 * 0.001 * 1.0 + 0.001 * 9.0) / (1 - 0.999**2)
    expected = [0.99, 0.99 - 0.01 * mean / np.sqrt(square)]
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_held_alpha_stays_and_its_gradient_is_logged():
    trainer = make_trainer(learned_alpha=LearnedAlpha(None, "held", start=2.5))
    logs = trainer.train_step((*make_batch(), *make_batch(seed=1)))
    assert float(logs["alpha"]) == float(trainer.learned_alpha.value.numpy()) == 2.5
    assert float(logs["alpha_gradient"]) != 0


def split_loss(trainer, alpha, batch, split_batch, uses_batch_statistics):
    """Computes the loss on the alpha split after one update, without the trainer.

    Two of three classes are old, so distillation has weight 2 / 3.
    """
    student = trainer.student
    values = [tf.convert_to_tensor(v.value) for v in student.trainable_variables]
    state = [tf.convert_to_tensor(v.value) for v in student.non_trainable_variables]

    def logits_of(start, images, training):
        return student.stateless_call(start, state, images, training)[0]["logits"]

    images, labels = batch
    taught = trainer.teacher(images, training=False)["logits"]
    with tf.GradientTape() as tape:
        tape.watch(values)
        logits = logits_of(values, images, True)
        balanced = balanced_softmax_crossentropy(labels, logits, COUNTS, alpha, NUM_OLD)
        distillation = logit_distillation(taught, logits)
        loss = tf.reduce_mean(balanced / 3 + 2 * distillation / 3)
    # The momentum buffer is empty before the first update. The rate is 0.05.
    gradients = tape.gradient(loss, values)
    virtual = [
        value - 0.05 * (gradient + 1e-4 * value)
        for value, gradient in zip(values, gradients, strict=True)
    ]
    images, labels = split_batch
    logits = logits_of(virtual, images, uses_batch_statistics)
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, True)
    return float(tf.reduce_mean(losses))


@pytest.mark.parametrize("form", ["closed_form", "nested_tapes"])
@pytest.mark.parametrize("uses_running", [False, True])
def test_gradient_of_alpha_uses_the_configured_statistics(form, uses_running):
    alpha = LearnedAlpha(None, "held", uses_running_statistics=uses_running)
    trainer = make_trainer(learned_alpha=alpha)
    trainer.meta_gradient = form
    batches = make_batch(), make_batch(size=4, seed=1)
    higher, lower = (
        split_loss(trainer, 1 + move, *batches, not uses_running)
        for move in (0.1, -0.1)
    )
    logs = trainer.train_step((*batches[0], *batches[1]))
    assert float(logs["alpha_gradient"]) == pytest.approx(
        (higher - lower) / 0.2, rel=0.03
    )


def test_updates_are_traced_once_for_all_sizes_of_batches():
    images, labels = make_batch(10)
    pool = Examples(images, labels.astype(np.int64), np.arange(10))
    trainer = make_trainer(learned_alpha=LearnedAlpha(1.0))
    inputs = [TrainingInput(pool, IMAGE, 4, seed=1, step=1) for _ in range(2)]
    loop = EpochLoop(trainer, *inputs, 2, tf.distribute.get_strategy(), [], 2)
    for epoch in range(2):
        loop.run_epoch(epoch, 0.01, EpochSums())
    assert loop.num_traces == (1, 1)


def test_weights_are_read_again_after_alpha_has_moved():
    """Earlier activations need not stay in memory during the alpha split."""
    trainer = make_trainer(learned_alpha=LearnedAlpha(1.0))
    update = tf.function(trainer.train_step, autograph=False)
    graph = update.get_concrete_function((*make_batch(), *make_batch(seed=1))).graph
    # The output is a copy of alpha.
    alpha = graph.structured_outputs["alpha"].op.inputs[0].op
    inner = {id(outer): inner for outer, inner in graph.captures}
    for variable in trainer.student.trainable_variables:
        handle = inner[id(variable.value.handle)]
        reads = [op for op in handle.consumers() if op.type == "ReadVariableOp"]
        assert any(alpha in read.control_inputs for read in reads)
        assert any(alpha not in read.control_inputs for read in reads)


def test_accuracy_on_the_training_batch_is_logged():
    """Classes with mean logits of 0 are all predicted; two of six labels are wrong."""
    images, _ = make_batch()
    trainer = make_trainer()
    logits = trainer.student(images, training=True)["logits"].numpy()
    bias = head_of(trainer.student).bias
    bias.assign(bias - logits.mean(axis=0))
    predicted = (logits - logits.mean(axis=0)).argmax(axis=1).astype(np.int32)
    labels = np.concatenate([(predicted[:2] + 1) % 3, predicted[2:]])
    assert np.mean(predicted[::-1] == labels) != 4 / 6
    logged = trainer.train_step((images, labels))["train_accuracy"]
    assert float(logged) == pytest.approx(4 / 6)


def test_replicas_keep_the_mean_of_their_batch_statistics(two_devices):
    """Normalised pixels are -5/3 on one replica and -1 on the other; 10 % of -4/3."""
    context = StepContext(0, 2, (1, 1), "softmax")
    with two_devices.scope():
        images = keras.Input((8, 8, 1))
        maps = FusedBatchNormalization()(images)
        backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
        trainer = IncrementalTrainer(
            build_classifier(backbone, LinearHead(2), IMAGE),
            None,
            Finetune(NoParameters()).loss_terms(context),
            context,
        )
        trainer.compile(optimizer=CoupledSGD(0.1))
        trainer.optimizer.build(trainer.student.trainable_variables)
    pixels = [np.full((2, 8, 8, 1), value, np.uint8) for value in (0, 51)]
    batch = two_devices.experimental_distribute_values_from_function(
        lambda replica: tf.constant(pixels[replica.replica_id_in_sync_group])
    )
    labels = tf.constant([0, 1])

    def update(images):
        return trainer.train_step((images, labels))

    tf.function(lambda: two_devices.run(update, (batch,)), autograph=False)()
    averages = trainer.student.non_trainable_variables
    for average, expected in zip(averages, (-0.4 / 3, 0.9), strict=True):
        for value in two_devices.experimental_local_results(average.value):
            np.testing.assert_allclose(value, [expected], rtol=1e-5)


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_accuracy_leaves_every_bit_of_the_update(precision):
    """Only the sum with the prior reads the logits, so it is open to rewriting."""
    keras.config.set_dtype_policy(precision)
    context = StepContext(NUM_OLD, NUM_NEW, COUNTS, "balanced_softmax")
    terms = Finetune(NoParameters()).loss_terms(context)

    def trained(measured):
        trainer = make_trainer(terms)
        if not measured:
            trainer._accuracy = lambda *_: tf.constant(0.0)
        step = tf.function(trainer.train_step)
        for seed in range(3):
            logs = step(make_batch(seed=seed))
        return [*state_of(trainer), logs["loss"].numpy()]

    assert_same(trained(measured=False), trained(measured=True))
