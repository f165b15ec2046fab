"""Learner: grows the classifier, keeps the teacher, trains a step or resumes it."""

import dataclasses
import time

import keras
import numpy as np

from bsce_keras.config import num_set_aside
from bsce_keras.config.classification_losses import loss_facts, while_finetuning
from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import split_validation
from bsce_keras.data.replay_sampling import draw_probabilities
from bsce_keras.learner.anchors import Anchors
from bsce_keras.learner.exemplar_pixels import optimized_exemplars
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.phases import Phase, Run, compile_trainer, train_phase
from bsce_keras.learner.step_warnings import (
    warn_of_few_updates,
    warn_of_no_oversampling,
    warn_of_one_class,
)
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.learner.training_stats import training_facts
from bsce_keras.methods import load_method
from bsce_keras.methods.base import StepContext
from bsce_keras.models.classifier import (
    build_classifier,
    grow_classifier,
    head_of,
    make_backbone,
    train_only,
    with_head,
)
from bsce_keras.models.folding import folded
from bsce_keras.optimizers import training_of_step
from bsce_keras.runtime.array_files import pack, unpack
from bsce_keras.runtime.randomness import Purpose, generator, integer
from bsce_keras.runtime.signals import StopRequests
from bsce_keras.runtime.text import duration
from bsce_keras.runtime.workers import Workers


class Learner:
    """A method on a model, trained step after step.

    Args:
        config: `ExperimentConfig`.
        strategy: `tf.distribute` strategy.
        checkpoints: `Checkpoints`, for progress within a step.
        stop_requests: `StopRequests`; by default nobody asks training to stop.
        workers: `Workers` of the strategy; by default made of it.

    Attributes:
        classifier: the model after the last finished phase; None before the first.
    """

    def __init__(self, config, strategy, checkpoints, stop_requests=None, workers=None):
        self._config = config
        self._strategy = strategy
        self._workers = workers or Workers(strategy)
        self._run = Run(
            config,
            strategy,
            checkpoints,
            stop_requests or StopRequests(),
            self._workers,
        )
        self._method = load_method(config.method)
        self._teacher = None
        self._inference = None
        self.classifier = None

    def restore(self, step, arrays):
        """Takes over a finished step's weights out of a checkpoint's arrays."""
        classifier = self._build(step)
        classifier.set_weights(unpack("classifier", arrays))
        self._adopt(classifier)

    def to_arrays(self):
        """The classifier's weights as named arrays, for checkpoints."""
        return pack("classifier", self.classifier.get_weights())

    def learn(self, step, replay, held_out=None, edges=None):
        """Trains the main phase of a step, from where it was saved if it was.

        Args:
            step: the `Step`.
            replay: the memory's `Examples`, or None.
            held_out: `Examples` of all seen classes that no step trains on, for methods
                that correct their head; None where there are none.
            edges: of the memory's graph, pairs of places in `replay`; None without one.

        Returns:
            `TrainingFacts`.

        Raises:
            RunError: a loss or gradient that is not finite.
            Stopped: on request, after a save.
        """
        self._teacher = None
        _forget_former_models()
        if self.classifier is not None and self._method.uses_teacher:
            with self._strategy.scope():
                self._teacher = folded(self.classifier)
        # Only now: building the teacher draws numbers too.
        keras.utils.set_random_seed(self._seed(Purpose.WEIGHTS, step.index))
        training = training_of_step(self._config.training, step.index)
        pool, validation = self._pools(step, replay)
        anchors = self._anchors(step, replay, edges)
        context = dataclasses.replace(
            self._context(step, pool), has_anchors=anchors is not None
        )
        with self._strategy.scope():
            student = self._grown(step, pool)
            trainer = self._trainer(
                student, context, self._method.loss_terms, anchors=anchors
            )
            compile_trainer(trainer, training, training)
        warn_of_few_updates(step, len(pool), training)
        warn_of_one_class(step, context)
        phase = Phase(
            "main",
            step.index,
            training,
            self._num_steps,
            is_followed=self.finetunes(step) or self.optimizes_exemplars,
        )
        probabilities = draw_probabilities(
            training.replay_sampling, pool.labels, step.num_old_classes
        )
        warn_of_no_oversampling(step, training.replay_sampling, probabilities)
        progress = train_phase(
            self._run, phase, trainer, pool, validation, probabilities
        )
        self._adopt(student)
        self._method.after_training(
            head_of(student), context, self._logits_and_labels(held_out)
        )
        return training_facts(
            training, context, trainer.learned_alpha, len(pool), progress
        )

    def finetunes(self, step):
        """Whether a balanced fine-tuning follows the main phase of this step."""
        return self._config.training.finetuning is not None and step.num_old_classes > 0

    @property
    def optimizes_exemplars(self):
        """Whether the pixels of the memory's exemplars change after the main phase."""
        return self._config.memory.use.optimizes_pixels

    def optimize_exemplars(self, step, exemplars, facts):
        """Changes the pixels of exemplars as the method has it.

        The network computes in float32 here whatever it trains in, in inference mode.
        The chief alone does the work; other workers wait for what it finds.

        Args:
            step: the `Step` whose main phase is finished, as it was trained on.
            exemplars: the memory's `Examples`, the step's own classes included.
            facts: the main phase's `TrainingFacts`.

        Returns:
            uint8 images in the order of the exemplars, and `facts` with the time of
            both.

        Raises:
            RunError: a gradient that is not finite.
            Stopped: on request.
        """
        begin = time.perf_counter()
        arrays, _ = self._workers.arrays_from_chief(
            lambda: ({"images": self._optimized(step, exemplars)}, None)
        )
        seconds = time.perf_counter() - begin
        return arrays["images"], dataclasses.replace(
            facts, train_seconds=facts.train_seconds + seconds
        )

    def _optimized(self, step, exemplars):
        begin = time.perf_counter()
        title = f"step {step.index}/{self._num_steps - 1} exemplars"
        print(f"{title}  {len(exemplars)} are optimised, pixel by pixel")
        network = folded(self.classifier, "float32")
        images = optimized_exemplars(
            self._run,
            step,
            exemplars,
            lambda images: network(images, training=False)["features"],
            self._method.pixel_objective(head_of(network)),
        )
        change = np.abs(images.astype(np.int16) - exemplars.images).mean()
        print(
            f"{title}  changed by {change:.1f} grey levels on average in "
            f"{duration(time.perf_counter() - begin)}"
        )
        return images

    @property
    def selects_again(self):
        """Whether the step's exemplars are to be chosen anew after fine-tuning."""
        return self._method.selects_again_after_finetuning

    def finetune(self, step, exemplars, facts):
        """Trains the class weights alone on the exemplars of all seen classes.

        The loss is that of the step, against the same teacher, with the classification
        term at weight 1. Balanced and rescaled
        softmax take the counts of the exemplars as they are, which differ where a class
        has fewer images than its quota; alpha has no part in it. A separated softmax
        gives way to the plain one, for old and new are to be balanced.

        Args:
            step: the `Step` whose main phase is finished.
            exemplars: the memory's `Examples`, the step's own classes included.
            facts: the main phase's `TrainingFacts`.

        Returns:
            `facts` with the time of both phases.

        Raises:
            RunError: a loss or gradient that is not finite.
        """
        training = self._config.training
        context = dataclasses.replace(
            self._context(step, exemplars),
            classification_loss=while_finetuning(
                self._config.method.classification_loss
            ),
            alpha=1.0,
        )
        student = self.classifier
        with self._strategy.scope():
            train_only(student, head_of(student).class_weights)
            trainer = self._trainer(
                student,
                context,
                self._method.finetuning_terms,
                self._method.finetunes_with_batch_statistics,
            )
            compile_trainer(trainer, training, training.finetuning)
        phase = Phase(
            "finetuning",
            step.index,
            training.finetuning,
            self._num_steps,
            first_draw=training.epochs,
        )
        progress = train_phase(self._run, phase, trainer, exemplars)
        self._adopt(student)
        return dataclasses.replace(
            facts, train_seconds=facts.train_seconds + progress.seconds
        )

    def predictor(self, exemplars):
        """What is evaluated and exported: the classifier, under a head of its own if
        the method predicts by exemplars. For the chief alone.

        Args:
            exemplars: the memory's `Examples`, those of the last step included.

        Returns:
            A `keras.Model` from images to named outputs.
        """
        head = self._method.predictor_head(self._features_of_exemplars(exemplars))
        if head is None:
            return self.classifier
        return with_head(self.classifier, head)

    def features(self, images):
        """Features of uint8 images, shape `(n, d)`, in inference mode.

        All workers have to ask and get the chief's, for exemplars and new class weights
        that rest on them must not differ by rounding.
        """
        arrays, _ = self._workers.arrays_from_chief(
            lambda: ({"features": self._inference.features(images)}, None)
        )
        return arrays["features"]

    def logits(self, images):
        """Logits of uint8 images, shape `(n, num_classes)`, in inference mode."""
        return self._inference.logits(images)

    def _logits_and_labels(self, examples):
        """Logits, the chief's on every worker, and labels; None of no examples."""
        if examples is None:
            return None
        arrays, _ = self._workers.arrays_from_chief(
            lambda: ({"logits": self.logits(examples.images)}, None)
        )
        return arrays["logits"], examples.labels

    def _features_of_exemplars(self, exemplars):
        """An iterator over the classes: features of their exemplars' views."""
        mirrors = self._method.mirrors_exemplars
        for label in range(int(exemplars.labels.max()) + 1):
            images = exemplars.images[exemplars.labels == label]
            views = [images, images[:, :, ::-1]] if mirrors else [images]
            yield self._inference.features(np.concatenate(views))

    def _adopt(self, classifier):
        if self._inference is not None:
            self._inference.close()
        self.classifier = classifier
        self._inference = Inference(classifier, self._config.stream.image)

    @property
    def _num_steps(self):
        return 1 + len(self._config.stream.increments)

    def _pools(self, step, replay):
        """Training pool and, where alpha is learned, the balanced validation split."""
        pool = step.examples
        if replay is not None:
            pool = Examples.concatenate([pool, replay])
        if not (self._config.method.learns_alpha and step.num_old_classes):
            return pool, None
        quota = self._config.memory.quota(step.num_old_classes)
        rng = generator(
            self._config.training.seed, Purpose.VALIDATION_SPLIT, step.index
        )
        return split_validation(pool, num_set_aside(quota), rng)

    def _context(self, step, pool):
        return StepContext(
            step.num_old_classes,
            step.num_new_classes,
            _class_counts(step, pool),
            self._config.method.classification_loss,
            self._config.method.alpha,
            (self._config.stream.num_base_classes, *self._config.stream.increments)[
                : step.index + 1
            ],
        )

    def _anchors(self, step, replay, edges):
        """What the method wants its updates to see besides their batch, or None."""
        number = self._method.num_anchor_edges
        if not number or edges is None or not len(edges):
            return None
        return Anchors(
            replay.images,
            self.features(replay.images),
            edges,
            number,
            self._config.stream.image,
            self._seed(Purpose.ANCHORS, step.index),
        )

    def _trainer(
        self, student, context, make_terms, batch_statistics=True, anchors=None
    ):
        method = self._config.method
        learned_alpha = None
        facts = loss_facts(context.classification_loss)
        if facts.learns_alpha and context.num_old_classes:
            learned_alpha = LearnedAlpha(
                method.alpha_learning_rate,
                method.alpha_optimizer,
                method.alpha,
                method.alpha_statistics == "running",
            )
            context = dataclasses.replace(context, alpha=learned_alpha.value)
        return IncrementalTrainer(
            student,
            self._teacher,
            make_terms(context),
            context,
            learned_alpha,
            method.meta_gradient,
            batch_statistics,
            anchors,
        )

    def _grown(self, step, pool):
        """A student of all seen classes that knows what the teacher knows."""
        student = self._build(step)
        if self.classifier is None or self._method.starts_afresh:
            return student
        grow_classifier(student, self.classifier)
        features_of_classes = (
            self.features(pool.images[pool.labels == label])
            for label in range(step.num_old_classes, step.num_classes)
        )
        seed = self._seed(Purpose.IMPRINTING, step.index)
        self._method.imprint(head_of(student), features_of_classes, seed)
        return student

    def _build(self, step):
        image = self._config.stream.image
        with self._strategy.scope():
            return build_classifier(
                make_backbone(self._config.model, image, self._method.variant),
                self._method.make_head(step.num_old_classes, step.num_new_classes),
                image,
            )

    def _seed(self, purpose, *position):
        return integer(self._config.training.seed, purpose, *position)


def _forget_former_models():
    """Keras remembers every model it built; those in use do not depend on that.

    Collecting garbage, which that does as well, takes a fraction of a second. Left
    alone, Python would wait for many small objects and not see the megabytes of
    TensorFlow's that hang on each.
    """
    policy = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)


def _class_counts(step, pool):
    return tuple(np.bincount(pool.labels, minlength=step.num_classes).tolist())
