"""Update as `train` computes it, and the same network in stock Keras."""

import keras
import tensorflow as tf

from bsce_keras.config import MethodConfig, ModelConfig
from bsce_keras.config.choices import CIFAR
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.losses import logit_distillation
from bsce_keras.methods import load_method, recipes
from bsce_keras.methods.base import StepContext
from bsce_keras.models.classifier import build_classifier, make_backbone
from bsce_keras.models.folding import folded
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.layers import FusedBatchNormalization, NormalizeImages
from bsce_keras.optimizers import CoupledSGD
from bsce_keras.runtime.devices import limit_threads
from tools.benchmark.task import (
    ALPHA_SPLIT_IMAGES,
    LEARNING_RATE,
    MOMENTUM,
    NEW_COUNT,
    NUM_NEW,
    NUM_OLD,
    OLD_COUNT,
    WEIGHT_DECAY,
    random_batch,
)

METHOD = "il_baseline"


def our_update(case, precision, teacher=False, meta_gradient=None):
    """Returns a function that computes an update as `train` does.

    With `meta_gradient`, the update also moves alpha. The process gets the threads of
    `train`, so it must be used for this variant only.
    """
    limit_threads()
    batch = random_batch(case)
    if meta_gradient:
        batch += random_batch(case, min(case.batch_size, ALPHA_SPLIT_IMAGES))
    return bare_update(make_trainer(case, precision, teacher, meta_gradient), batch)


def bare_update(trainer, batch):
    """Returns a function that computes an update, traced as `EpochLoop` does."""
    strategy = tf.distribute.get_strategy()
    batches = _again_and_again(batch)

    @tf.function(autograph=False)
    def update(batches):
        return strategy.run(trainer.train_step, (next(batches),))

    return lambda: update(batches)["loss"]


def make_trainer(case, precision, teacher=False, meta_gradient=None):
    """Returns an `IncrementalTrainer` as the learner makes it.

    Args:
        case: `Case`.
        precision: Keras dtype policy.
        teacher: True for an increment of IL-Baseline, False for its base step.
        meta_gradient: `closed_form` or `nested_tapes` to learn alpha, None otherwise.
    """
    keras.config.set_dtype_policy(precision)
    num_old, num_new = (NUM_OLD, NUM_NEW) if teacher else (0, NUM_OLD)
    loss = "meta_balanced_softmax" if meta_gradient else "balanced_softmax"
    learned_alpha = LearnedAlpha(1.0) if meta_gradient else None
    method = load_method(MethodConfig(METHOD, loss, recipes.parameters(METHOD, CIFAR)))
    context = StepContext(
        num_old,
        num_new,
        (OLD_COUNT,) * num_old + (NEW_COUNT,) * num_new,
        loss,
        learned_alpha.value if learned_alpha else 1.0,
    )
    student = make_classifier(case, context.num_classes)
    trainer = IncrementalTrainer(
        student,
        folded(make_classifier(case, num_old)) if teacher else None,
        method.loss_terms(context),
        context,
        learned_alpha,
        meta_gradient,
    )
    trainer.compile(optimizer=CoupledSGD(LEARNING_RATE, MOMENTUM, WEIGHT_DECAY))
    trainer.optimizer.build(student.trainable_variables)
    return trainer


def make_classifier(case, num_classes=NUM_OLD):
    """Returns our classifier with random weights, in the precision set in Keras."""
    return build_classifier(make_network(case), LinearHead(num_classes), case.image)


def stock_update(case, precision, teacher=False):
    """Returns a function that computes an update as `fit` does, with stock parts."""
    keras.config.set_dtype_policy(precision)
    model = make_stock_model(case, NUM_OLD + NUM_NEW if teacher else NUM_OLD)
    if teacher:
        model.distil_from(make_stock_model(case), NUM_OLD / (NUM_OLD + NUM_NEW))
    model.compile(
        optimizer=keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.make_train_function()
    batches = _again_and_again(random_batch(case))
    return lambda: model.train_function(batches)["loss"]


class StockModel(keras.Model):
    """Functional model that may learn from a teacher, as Keras users write it."""

    _teach = None

    def distil_from(self, teacher, weight):
        """Weighs distillation from `teacher` against the loss of `compile`."""
        teacher.trainable = False
        # A function hides the model, whose weights Keras would count otherwise.
        self._teach = lambda images: teacher(images, training=False)
        self._weight = weight

    def compute_loss(self, x=None, y=None, y_pred=None, *args, **kwargs):
        loss = super().compute_loss(x, y, y_pred, *args, **kwargs)
        if self._teach is None:
            return loss
        distilled = keras.ops.mean(logit_distillation(self._teach(x), y_pred))
        return self._weight * distilled + (1 - self._weight) * loss


def make_stock_model(case, num_classes=NUM_OLD):
    """Returns our architecture with Keras's batch normalisation and dense head."""
    backbone = keras.models.clone_model(make_network(case), clone_function=_stock_layer)
    images = keras.Input((case.image.size, case.image.size, case.image.channels))
    features = backbone(NormalizeImages(case.image.mean, case.image.std)(images))
    logits = keras.layers.Dense(num_classes, dtype="float32")(features)
    return StockModel(images, logits)


def _stock_layer(layer):
    if isinstance(layer, FusedBatchNormalization):
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    return layer.__class__.from_config(layer.get_config())


def make_network(case):
    """Returns our backbone with random weights, in the precision set in Keras."""
    return make_backbone(ModelConfig(case.backbone), case.image, "il_baseline")


def _again_and_again(batch):
    return iter(tf.data.Dataset.from_tensors(batch).repeat())
