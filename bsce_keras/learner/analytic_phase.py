"""Phases of analytic methods: training at the base step, then a solved head."""

import dataclasses
import time

import numpy as np

from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.learner.feature_pass import FeaturePass
from bsce_keras.learner.first_phase import FirstPhase
from bsce_keras.learner.growth import with_other_head
from bsce_keras.learner.step_phase import StepPhase
from bsce_keras.learner.training_stats import one_pass
from bsce_keras.methods.acil import AnalyticState, AnalyticStep
from bsce_keras.models.classifier import head_of
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.randomness import Purpose, generator

# Features that do not vary would be divided by 0.
_LEAST_DEVIATION = 1e-6


class BasePhase(FirstPhase):
    """Main phase of the base step only; with a frozen backbone, not even there."""

    def applies(self, step):
        is_frozen = self.learner.config.model.freeze_backbone
        return not is_frozen and super().applies(step)

    def take_network(self, step, arrays):
        """Loads the backbone only; the head that follows is solved."""
        self.learner.load_backbone(step, arrays)


class AnalyticPhase(StepPhase):
    """Computes features of the step's images and solves the head.

    The backbone runs in inference mode on centre crops. The method's state is read
    from the checkpoint of the previous step and saved with that of this step. The
    chief does the work; other workers wait for the weights. An interrupted phase
    starts again from the end of the phase before it.

    A run that took its base step from another run has no state of it. Step 1 then
    computes that state from the images of the base step.
    """

    name = "analytic"

    def run(self, step, memory, stats):
        learner = self.learner
        begin = time.perf_counter()
        runtime = learner.runtime
        title = f"step {step.index}/{len(learner.plans) - 1}"
        told = FeaturePass(runtime.stop_requests, title, "while its head was solved")
        told.refuse_stop(runtime.stop_signal())
        classifier = self._grown(step)
        learner.adopt(classifier)
        weights, ridge = runtime.workers.arrays_from_chief(
            lambda: self._solved(step, told)
        )
        head = head_of(classifier)
        for name, values in weights.items():
            getattr(head, name).assign(values)
        if stats is None:
            memory.update(step, learner.features)
            seconds = time.perf_counter() - begin
            stats = one_pass(step, learner.config.method, seconds)
        else:
            seconds = stats.train_seconds + time.perf_counter() - begin
        return dataclasses.replace(stats, train_seconds=seconds, ridge=ridge)

    def _grown(self, step):
        """Returns a classifier of all seen classes with the frozen backbone."""
        learner, method = self.learner, self.learner.method
        config, old = learner.config, learner.classifier
        if step.index == 0:
            head = method.head_of_images(step.num_classes, len(step.examples))
        else:
            head = method.restored_head(
                step.num_old_classes, step.num_new_classes, old.get_weights()
            )
        with learner.runtime.strategy.scope():
            classifier = with_other_head(config, method, head, old)
            if step.index:
                head.expansion.assign(head_of(old).expansion)
            else:
                rng = generator(config.training.seed, Purpose.EXPANSION)
                bound = head.expansion.shape[0] ** -0.5
                head.expansion.assign(rng.uniform(-bound, bound, head.expansion.shape))
        return classifier

    def _solved(self, step, told):
        """Returns the head's weights by name, and its ridge, after saving the state."""
        learner = self.learner
        state = self._state_before(step, told)
        images = self._analytic_step(step, step.examples, told)
        state, weights = learner.method.solve(state, images, told.finished)
        weights["expansion"] = images.expansion
        arrays = state.to_arrays()
        learner.run.checkpoints.save_state(step.index, arrays)
        learner.state_bytes = sum(values.nbytes for values in arrays.values())
        weights = {name: np.asarray(values) for name, values in weights.items()}
        return weights, state.ridge

    def _state_before(self, step, told):
        method, head = self.learner.method, head_of(self.learner.classifier)
        first = method.first_state(head.expansion_size)
        if step.index == 0:
            return first
        arrays = self.learner.run.checkpoints.load_state(step.index - 1)
        if arrays is not None:
            return AnalyticState.from_arrays(arrays)
        if step.index > 1:
            raise RequestError(
                f"The state after step {step.index - 1} is missing or damaged, and "
                f"--method={self.learner.config.method.name} cannot go on without it. "
                f"Restore checkpoints/step_{step.index - 1:02d}_state from a copy, or "
                f"move checkpoints/step_{step.index - 1:02d} away, to train that step "
                "again."
            )
        base = dataclasses.replace(step, num_old_classes=0, examples=step.earlier)
        base = dataclasses.replace(base, num_new_classes=step.num_old_classes)
        state, _ = method.solve(first, self._analytic_step(base, step.earlier, told))
        return state

    def _analytic_step(self, step, examples, told):
        config, head = self.learner.config, head_of(self.learner.classifier)
        method = config.method
        features = told.features(examples.images, self.learner.own_features)
        told.finished(f"features of {len(features)} images")
        expansion = np.asarray(head.expansion)
        if step.index == 0 and head.depths:
            # Maps of different stages differ in size.
            expansion = expansion / (features.std(axis=0) + _LEAST_DEVIATION)[:, None]
        return AnalyticStep(
            features,
            examples.labels,
            step.num_old_classes,
            step.num_classes,
            expansion,
            loss_facts(method.classification_loss).counts_classes,
            method.alpha,
            config.stream.num_base_classes,
            method.parameters.base_weight,
        )
