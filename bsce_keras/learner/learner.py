"""Learner: grows the classifier, keeps the teacher, trains a step or resumes it."""

import dataclasses
import logging
import os
import time

import keras
import numpy as np

from bsce_keras.data.pipeline import TrainingInput, split_validation
from bsce_keras.errors import RunError
from bsce_keras.examples import Examples
from bsce_keras.learner.alpha import LearnedAlpha
from bsce_keras.learner.checkpoints import pack, unpack
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.loop import EpochLoop, NotFiniteError
from bsce_keras.learner.progress import ProgressLine, ScalarLog
from bsce_keras.learner.step_progress import StepProgress
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods import load_method
from bsce_keras.methods.base import StepContext
from bsce_keras.models.classifier import (
    build_classifier,
    grow_classifier,
    make_backbone,
)
from bsce_keras.optimizers import CoupledSGD, learning_rate_at
from bsce_keras.randomness import Purpose, generator, integer

_log = logging.getLogger(__name__)

# Fewer updates in a whole step than this hardly move a network.
_FEW_UPDATES = 50


@dataclasses.dataclass(frozen=True)
class TrainingFacts:
    """What training a step took and used.

    `alphas` holds alpha after every update that moved it; `alpha` is None where none
    is in play: at the base step and under the plain softmax.
    """

    train_images: int
    class_counts: list[int]
    epochs: int
    train_seconds: float
    images_per_second: float
    alpha: float | None
    alphas: list[float]
    alpha_clips: int


class Learner:
    """A method on a model, trained step after step.

    Args:
        config: `ExperimentConfig`.
        strategy: `tf.distribute` strategy.
        checkpoints: `Checkpoints`, for progress within a step.

    Attributes:
        classifier: the model after the last finished step; None before the first. While
            a step trains it is the teacher.
    """

    def __init__(self, config, strategy, checkpoints):
        self._config = config
        self._strategy = strategy
        self._checkpoints = checkpoints
        self._method = load_method(config.method)
        self.classifier = None

    def restore(self, num_classes, arrays):
        """Takes over a finished step's weights out of a checkpoint's arrays."""
        classifier = self._build(num_classes)
        classifier.set_weights(unpack("classifier", arrays))
        self._adopt(classifier)

    def to_arrays(self):
        """The classifier's weights as named arrays, for checkpoints."""
        return pack("classifier", self.classifier.get_weights())

    def learn(self, step, replay):
        """Trains one step, from the last saved epoch if there is one.

        Args:
            step: the `Step`.
            replay: the memory's `Examples`, or None.

        Returns:
            `TrainingFacts`.

        Raises:
            RunError: a loss or gradient that is not finite; a class too small to be
                split for meta-learning.
        """
        keras.utils.set_random_seed(self._seed(Purpose.WEIGHTS, step.index))
        pool, validation = self._pools(step, replay)
        with self._strategy.scope():
            trainer = self._make_trainer(step, pool)
        scalars = ScalarLog(
            os.path.join(self._config.run_dir, "tensorboard"), step.index
        )
        num_steps = 1 + len(self._config.stream.increments)
        loop = EpochLoop(
            trainer,
            self._input(pool, step),
            validation and self._input(validation, step),
            self._config.method.alpha_every,
            self._strategy,
            [ProgressLine(step.index, num_steps, len(pool)), scalars],
            self._config.training.epochs,
        )
        self._warn_of_few_updates(loop, step)
        progress = StepProgress(self._checkpoints, step.index, trainer)
        try:
            self._train(loop, progress, scalars)
        except NotFiniteError as error:
            raise RunError(
                f"Training stopped in step {step.index}, {error}. Nothing of this "
                "update was applied; the checkpoint of the last finished epoch stays. "
                "Look at the images, or try a lower --learning_rate or "
                "--precision=float32."
            ) from error
        self._adopt(trainer.student)
        return self._facts(pool, trainer, progress)

    def features(self, images):
        """Features of uint8 images, shape `(n, d)`, in inference mode."""
        return self._inference.features(images)

    def logits(self, images):
        """Logits of uint8 images, shape `(n, num_classes)`, in inference mode."""
        return self._inference.logits(images)

    def _adopt(self, classifier):
        self.classifier = classifier
        self._inference = Inference(classifier, self._config.stream.image)

    def _warn_of_few_updates(self, loop, step):
        epochs = self._config.training.epochs
        if epochs * loop.updates_per_epoch < _FEW_UPDATES:
            _log.warning(
                "Step %d has %d epochs of %d updates, which is little to learn from. "
                "Lower --batch_size or raise --epochs.",
                step.index,
                epochs,
                loop.updates_per_epoch,
            )

    def _train(self, loop, progress, scalars):
        config = self._config.training
        first = progress.restore()
        if first:
            print(f"step {progress.step} goes on after its epoch {first}")
        with loop:
            for epoch in range(first, config.epochs):
                began = time.perf_counter()
                alphas = loop.run_epoch(epoch, learning_rate_at(config, epoch))
                scalars.log_alphas(alphas, len(progress.alphas))
                progress.save(epoch + 1, alphas, time.perf_counter() - began)

    def _pools(self, step, replay):
        """Training pool and, where alpha is learned, the balanced validation split."""
        pool = step.examples
        if replay is not None:
            pool = Examples.concatenate([pool, replay])
        if not (self._config.method.learns_alpha and step.num_old_classes):
            return pool, None
        quota = self._config.memory.quota(step.num_old_classes)
        num_per_class = max(1, quota // 10)
        counts = np.bincount(pool.labels, minlength=step.num_classes)
        if counts.min() <= num_per_class:
            raise RunError(
                f"Step {step.index}: meta_balanced_softmax sets {num_per_class} images "
                "of every class aside to validate alpha and needs at least one more to "
                f"train on, but class {int(counts.argmin())} (in arrival order) has "
                f"{int(counts.min())}. Add images of it, or use "
                "--classification_loss=balanced_softmax."
            )
        rng = self._generator(Purpose.VALIDATION_SPLIT, step.index)
        return split_validation(pool, num_per_class, rng)

    def _make_trainer(self, step, pool):
        config = self._config
        learned_alpha = None
        if config.method.learns_alpha and step.num_old_classes:
            learned_alpha = LearnedAlpha(
                config.method.alpha_learning_rate, config.method.alpha_optimizer
            )
        context = StepContext(
            step.num_old_classes,
            step.num_new_classes,
            tuple(np.bincount(pool.labels, minlength=step.num_classes).tolist()),
            config.method.classification_loss,
            learned_alpha.value if learned_alpha else config.method.alpha,
        )
        student = self._build(step.num_classes)
        if self.classifier is not None:
            grow_classifier(student, self.classifier)
        trainer = IncrementalTrainer(
            student,
            self.classifier if self._method.uses_teacher else None,
            self._method.loss_terms(context),
            context,
            learned_alpha,
            config.method.meta_gradient,
        )
        optimizer = CoupledSGD(
            config.training.learning_rate,
            config.training.momentum,
            config.training.weight_decay,
        )
        trainer.compile(optimizer=optimizer)
        trainer.optimizer.build(student.trainable_variables)
        return trainer

    def _build(self, num_classes):
        image = self._config.stream.image
        with self._strategy.scope():
            return build_classifier(
                make_backbone(self._config.model, image, self._method.variant),
                self._method.head(num_classes),
                image,
            )

    def _input(self, pool, step):
        training = self._config.training
        return TrainingInput(
            pool,
            self._config.stream.image,
            training.batch_size,
            training.seed,
            step.index,
            self._strategy.num_replicas_in_sync,
        )

    def _facts(self, pool, trainer, progress):
        counts = trainer.context.class_counts
        epochs = self._config.training.epochs
        fixed = trainer.context.classification_loss == "balanced_softmax"
        alpha, clips = self._config.method.alpha if fixed else None, 0
        if trainer.learned_alpha is not None:
            alpha = float(trainer.learned_alpha.value.numpy())
            clips = int(trainer.learned_alpha.num_clips.numpy())
        return TrainingFacts(
            train_images=len(pool),
            class_counts=list(counts),
            epochs=epochs,
            train_seconds=progress.seconds,
            images_per_second=epochs * len(pool) / progress.seconds,
            alpha=alpha if trainer.context.num_old_classes else None,
            alphas=progress.alphas,
            alpha_clips=clips,
        )

    def _generator(self, purpose, *position):
        return generator(self._config.training.seed, purpose, *position)

    def _seed(self, purpose, *position):
        return integer(self._config.training.seed, purpose, *position)
