"""Learner: a method with its model; trains the phases of each step."""

import contextlib
import math
import pkgutil

import keras
import numpy as np

from bsce_keras.learner.growth import new_classifier
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.phases import Run
from bsce_keras.learner.trained_part import trained_part
from bsce_keras.methods import load_method
from bsce_keras.methods.base import ADOPTION
from bsce_keras.models.classifier import backbone_of, with_head
from bsce_keras.runtime.array_files import pack, unpack
from bsce_keras.runtime.errors import RunError
from bsce_keras.runtime.randomness import Purpose, integer


class Learner:
    """Method with its model, trained step by step.

    Args:
        config: `ExperimentConfig`.
        runtime: `Runtime`.
        checkpoints: `Checkpoints`, which keep progress within a step.

    Attributes:
        config, runtime: as given.
        method: the `Method`.
        run: `Run`, shared by all phases.
        trained_part: part of the network that updates train, see `WholeNetwork`.
        plans: `StepPlan` of every step.
        classifier: model after the last finished phase; None before the first one.
        teacher: frozen classifier of the previous step, or None.
        state_bytes: bytes of the method's state after the last step.
    """

    def __init__(self, config, runtime, checkpoints):
        self.config = config
        self.runtime = runtime
        self.run = Run(config, runtime, checkpoints)
        self.method = load_method(config.method)
        self.trained_part = trained_part(config, runtime)
        self.plans = config.plans
        self.classifier = None
        self.teacher = None
        self.state_bytes = 0
        self._inference = None
        paths = self.method.phases
        if config.model.is_adopted:
            paths = (ADOPTION, *paths)
        self._phases = [pkgutil.resolve_name(path)(self) for path in paths]

    def learn(self, step, memory):
        """Trains the phases of a step; goes on from the last save if there is one.

        Args:
            step: the `Step`.
            memory: the `ReplayMemory`. It holds the step's exemplars afterwards.

        Returns:
            `TrainingStats`.

        Raises:
            RunError: a loss or gradient is not finite.
            Stopped: on request, after a save.
        """
        self.teacher = None
        _forget_former_models()
        if self.classifier is not None and self.method.uses_teacher:
            with self.runtime.strategy.scope():
                self.teacher = self.trained_part.teacher(self.classifier)
        # Set the seed after building the teacher, which draws random numbers too.
        seed = integer(self.config.training.seed, Purpose.WEIGHTS, step.index)
        keras.utils.set_random_seed(seed)
        stats = None
        for phase in self.phases_of(step):
            stats = phase.run(step, memory, stats)
        return stats

    def phases_of(self, step):
        """Returns the `StepPhase`s of a step, in their order."""
        return [phase for phase in self._phases if phase.applies(step)]

    def restore(self, step, arrays):
        """Restores a finished step from a checkpoint's arrays.

        Args:
            step, arrays: as of `load`.
        """
        self.load(step, arrays, self.method.restored_head)

    def load(self, step, arrays, make_head):
        """Builds a classifier with saved weights, and adopts it.

        Args:
            step: the `Step` or its `StepPlan`.
            arrays: named arrays of `to_arrays`.
            make_head: `restored_head` of the method, or a function of its arguments.
        """
        weights = unpack("classifier", arrays)
        with self.runtime.strategy.scope():
            head = make_head(step.num_old_classes, step.num_new_classes, weights)
            classifier = new_classifier(self.config, self.method.variant, head)
        classifier.set_weights(weights)
        self.adopt(classifier)

    def load_backbone(self, step, arrays):
        """Builds a classifier with a saved backbone and a new head, and adopts it.

        Args:
            step: the `Step`.
            arrays: named arrays of `to_arrays`. Their head may be of another kind.
        """
        head = self.method.training_head(step.num_old_classes, step.num_new_classes)
        with self.runtime.strategy.scope():
            classifier = new_classifier(self.config, self.method.variant, head)
        backbone = backbone_of(classifier)
        weights = unpack("classifier", arrays)
        backbone.set_weights(weights[: len(backbone.weights)])
        self.adopt(classifier)

    def to_arrays(self):
        """Returns the classifier's weights as named arrays for checkpoints."""
        return pack("classifier", self.classifier.get_weights())

    def adopt(self, classifier):
        """Takes a trained classifier to evaluate, export and grow."""
        if self._inference is not None:
            self._inference.close()
        self.classifier = classifier
        self._inference = Inference(classifier, self.config.stream.image)

    def memory_bytes(self, step, memory):
        """Returns the bytes that the next step is given of earlier classes.

        Args:
            step: the last finished `Step`.
            memory: the `ReplayMemory` after the step.

        Returns:
            Dictionary: `exemplars`, pixels of the replayed images and of those set
            aside; `state`, arrays of the method and of its selection of exemplars;
            `teacher`, weights of the copy that terms compare with.
        """
        exemplars = memory.num_bytes
        if self.config.memory.use.replays_everything:
            pools = [step.examples, *([step.earlier] if step.earlier else [])]
            exemplars = sum(math.prod(pool.images.shape) for pool in pools)
        teacher = 0
        if self.method.uses_teacher:
            copied = self.trained_part.network(self.classifier)
            teacher = sum(weight.nbytes for weight in copied.get_weights())
        return {
            "exemplars": int(exemplars),
            "state": int(self.state_bytes + memory.state_bytes),
            "teacher": int(teacher),
        }

    def images_after(self, step):
        """Returns the number of images that later steps train on, over all epochs.

        This is an estimate, with classes as large as those of this step.
        """
        images = np.full(
            self.config.stream.num_classes, len(step.examples) // step.num_new_classes
        )
        phases = [phase for phase in self._phases if phase.name == "main"]
        later = [
            plan
            for plan in self.plans[step.index + 1 :]
            if any(phase.applies(plan) for phase in phases)
        ]
        pools = {plan.index: plan.pool_sizes(images)["main"] for plan in later}
        epochs_at = self.config.training.epochs_at
        return sum(epochs_at(index, pool) * pool for index, pool in pools.items())

    def predictor(self, memory):
        """Returns the model to evaluate and export. Call it on the chief only.

        It is the classifier, with another head if the method predicts by exemplars.

        Args:
            memory: the `ReplayMemory` after the last step.

        Returns:
            A `keras.Model` from images to named outputs.
        """
        exemplars = memory.examples()
        head = self.method.predictor_head(self._features_of_exemplars(exemplars))
        if head is None:
            return self.classifier
        return with_head(self.classifier, head)

    def features(self, images):
        """Returns features of uint8 images, shape `(n, d)`, in inference mode.

        The chief computes them for all workers: exemplars and new class weights must
        not differ by rounding. All workers must call this method.

        Raises:
            RunError: features are not finite.
        """
        workers = self.runtime.workers
        features = workers.array_from_chief(lambda: self.own_features(images))
        if not np.isfinite(features).all():
            raise RunError(
                "The network gives features of training images that are not finite. "
                "Start another --run_dir with a lower --learning_rate or "
                "--precision=float32."
            )
        return features

    def own_features(self, images):
        """Returns features as `features` does, computed by this worker only."""
        return self._inference.features(images)

    def logits(self, images):
        """Returns logits `(n, num_classes)` of uint8 images, in inference mode."""
        return self._inference.logits(images)

    @contextlib.contextmanager
    def serving(self, predictor):
        """Yields a function from images to the logits whose softmax is exported.

        Args:
            predictor: the model that `predictor` returned.
        """
        if predictor is self.classifier:
            yield self._inference.served_logits
            return
        inference = Inference(predictor, self.config.stream.image)
        with contextlib.closing(inference):
            yield inference.served_logits

    def logits_and_labels(self, examples):
        """Returns the chief's logits of `Examples`, and labels; None if given None."""
        if examples is None:
            return None
        workers = self.runtime.workers
        logits = workers.array_from_chief(lambda: self.logits(examples.images))
        return logits, examples.labels

    def _features_of_exemplars(self, exemplars):
        """Yields the features of each class's exemplars, including mirrored ones."""
        mirrors = self.method.mirrors_exemplars
        for label in range(int(exemplars.labels.max()) + 1):
            images = exemplars.images[exemplars.labels == label]
            views = [images, images[:, :, ::-1]] if mirrors else [images]
            yield self._inference.features(np.concatenate(views))


def _forget_former_models():
    """Frees the models of earlier steps, which Keras would keep.

    Clearing the session also collects garbage, in a fraction of a second. Python's own
    collection starts only after many new objects. It does not see that each object
    holds megabytes of TensorFlow's memory. Settings of the caller, which Keras would
    clear too, stay.
    """
    policy = keras.config.dtype_policy()
    is_interactive = keras.config.is_interactive_logging_enabled()
    filters_tracebacks = keras.config.is_traceback_filtering_enabled()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    if not is_interactive:
        keras.config.disable_interactive_logging()
    if not filters_tracebacks:
        keras.config.disable_traceback_filtering()
