"""MainPhase: trains on new images and the memory; first phase of every step."""

import dataclasses

from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import split_validation
from bsce_keras.data.replay_sampling import draw_probabilities
from bsce_keras.learner.anchors import Anchors
from bsce_keras.learner.growth import grown_student
from bsce_keras.learner.phases import compile_trainer, train_phase
from bsce_keras.learner.step_phase import StepPhase
from bsce_keras.learner.step_warnings import (
    warn_of_few_updates,
    warn_of_no_oversampling,
    warn_of_one_class,
)
from bsce_keras.learner.training_stats import TrainingStats, training_stats
from bsce_keras.methods.recipes import SHARED_NETWORK
from bsce_keras.models.classifier import head_of
from bsce_keras.runtime.randomness import Purpose, generator, integer


class MainPhase(StepPhase):
    """Trains a grown student on new images and the memory, then chooses exemplars.

    The pool is one shuffled set of the new images and the memory. Where alpha is
    learned, the balanced alpha split is taken out of the pool (Jodelet et al., section
    3.3).

    A base step whose network comes from another run trains nothing. It only chooses its
    exemplars.
    """

    name = "main"

    def applies(self, step):
        """Returns False where a classifier was adopted instead."""
        return step.index > 0 or not self.learner.config.model.is_adopted

    def run(self, step, memory, stats):
        learner = self.learner
        if step.index == 0:
            shared = learner.run.checkpoints.load_progress(0, SHARED_NETWORK)
            if shared is not None:
                return self._taken_over(step, memory, *shared)
        training_step, set_aside = memory.split(step)
        replay = memory.replay(step.earlier)
        pool, alpha_split = self._pools(training_step, replay)
        training = learner.config.training.at_step(step.index, len(pool))
        anchors = self._anchors(step, replay, memory.edges)
        context = dataclasses.replace(
            self.context(step, pool), has_anchors=anchors is not None
        )
        with learner.runtime.strategy.scope():
            student = grown_student(learner, step, pool)
            alpha = self.learned_alpha(step)
            if alpha is not None:
                context = dataclasses.replace(context, alpha=alpha.value)
            terms = learner.method.loss_terms(context)
            network = learner.trained_part.network(student)
            trainer = self.trainer(network, context, terms, alpha, anchors=anchors)
            compile_trainer(trainer, training, training)
        probabilities = draw_probabilities(
            training.replay_sampling, pool.labels, step.num_old_classes
        )
        warn_of_few_updates(step, len(pool), training)
        warn_of_one_class(step, context)
        warn_of_no_oversampling(step, training.replay_sampling, probabilities)
        plan = self.plan(step, training)
        inputs, split_inputs = (
            learner.trained_part.inputs(student, examples, plan.title)
            for examples in (pool, alpha_split)
        )
        progress = train_phase(
            learner.run, plan, trainer, inputs, split_inputs, probabilities
        )
        learner.adopt(student)
        learner.method.after_training(
            head_of(student), context, learner.logits_and_labels(set_aside)
        )
        memory.update(step, learner.features)
        return training_stats(training, context, alpha, len(pool), progress)

    def _taken_over(self, step, memory, arrays, statistics):
        """Takes the network of another run's base step, then chooses exemplars."""
        learner = self.learner
        if learner.runtime.workers.is_chief:
            base = learner.config.base_run_dir
            print(f"step 0/{len(learner.plans) - 1}: network of {base}")
        self.take_network(step, arrays)
        memory.update(step, learner.features)
        return TrainingStats(**statistics)

    def take_network(self, step, arrays):
        """Loads backbone and head of another run's base step."""
        head_of_step = self.learner.method.training_head
        self.learner.load(
            step, arrays, lambda old, new, weights: head_of_step(old, new)
        )

    def _pools(self, step, replay):
        """Returns the training pool, and the alpha split or None."""
        pool = step.examples
        if replay is not None:
            pool = Examples.concatenate([pool, replay])
        number = self.learner.plans[step.index].num_alpha_split
        if not number:
            return pool, None
        seed = self.learner.config.training.seed
        rng = generator(seed, Purpose.VALIDATION_SPLIT, step.index)
        return split_validation(pool, number, rng)

    def _anchors(self, step, replay, edges):
        """Returns the `Anchors` of the step, or None."""
        number = self.learner.method.num_anchor_edges
        if not number or edges is None or not len(edges):
            return None
        config = self.learner.config
        return Anchors(
            replay.images,
            self.learner.features(replay.images),
            edges,
            number,
            config.stream.image,
            integer(config.training.seed, Purpose.ANCHORS, step.index),
        )
