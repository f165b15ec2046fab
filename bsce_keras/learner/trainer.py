"""IncrementalTrainer: the package's only `train_step`."""

import logging

import keras
import numpy as np
import tensorflow as tf

from bsce_keras.learner.global_means import (
    global_size,
    mean_of_term,
    named_terms,
    one_if_finite,
    share_of_mean,
    sums_over_replicas,
)
from bsce_keras.meta import (
    BalancedTerm,
    VirtualUpdate,
    closed_form,
    nested_tapes,
    plain_crossentropy,
)
from bsce_keras.methods.base import CLASSIFICATION, LossTerm
from bsce_keras.models.classifier import head_of
from bsce_keras.runtime.errors import RunError
from bsce_keras.runtime.replicas import (
    all_reduce_sum,
    gather_shares,
    mean_over_replicas,
    num_replicas,
)

_log = logging.getLogger(__name__)

# Name of the accuracy on training batches in logs.
TRAIN_ACCURACY = "train_accuracy"
# Name of the sum of the losses that layers add themselves: regularizers, `add_loss`.
REGULARIZATION = "regularization"
_ADDED = LossTerm(
    REGULARIZATION, 1.0, lambda labels, student, teacher: student[REGULARIZATION]
)
# Names of logs that a term must not have.
_TAKEN = {"loss", TRAIN_ACCURACY, REGULARIZATION, "alpha", "alpha_gradient"}
# Name of the norm of the gradient in errors.
_GRADIENT = "the gradient"


class IncrementalTrainer(keras.Model):
    """Trains a student on the loss terms of one step.

    Student and teacher are separate parts of the trainer, so neither is exported with
    the other. `train_step` takes `(images, labels)`. An update that also moves alpha
    takes `(images, labels, split_images, split_labels)`, with a batch of the alpha
    split. It works under `fit` and under `strategy.run`; batches are per replica.

    Every term is a mean over the global batch: local sums divided by the number of
    images over all replicas. Terms are tracked under their own names, unweighted.
    `train_accuracy` is that of the batch, by plain logits.

    Losses that layers of the student add, such as kernel regularizers of a backbone of
    the user's own, join the terms as `regularization`, with weight 1.

    Loss terms and gradients are checked before variables change. The checks use sums
    over replicas, so all replicas agree. A value that is not finite raises
    `tf.errors.InvalidArgumentError` and leaves the student unchanged.

    Args:
        student: classifier to train, images -> dictionary of outputs.
        teacher: frozen classifier of the previous step, or None.
        terms: list of `LossTerm`.
        context: the `StepContext`.
        learned_alpha: `LearnedAlpha`, or None where alpha is fixed.
        meta_gradient: `closed_form` or `nested_tapes`.
        batch_statistics: batch normalisation runs in training mode.
        anchors: `Anchors`, or None. These exemplars pass through the student together
            with every batch. Only terms that ask for them use them.
    """

    def __init__(
        self,
        student,
        teacher,
        terms,
        context,
        learned_alpha=None,
        meta_gradient="closed_form",
        batch_statistics=True,
        anchors=None,
    ):
        super().__init__(name="incremental_trainer")
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False
        self.terms = _checked(terms, learned_alpha)
        self._weights = {term.name: term.weight for term in (*self.terms, _ADDED)}
        self.context = context
        self.learned_alpha = learned_alpha
        self.meta_gradient = meta_gradient
        self.batch_statistics = batch_statistics
        self.anchors = anchors
        self._told = False
        self.built = True

    def train_step(self, data):
        images, labels, *split_batch = data
        taught = self._teach(images)
        if self.anchors is not None:
            drawn = self.anchors.draw(self.optimizer.iterations)
            images = tf.concat([images, drawn.images], axis=0)
            known = {"anchor_features": drawn.features, "anchor_edges": drawn.edges}
            taught = {**(taught or {}), **known}
        if not split_batch:
            return self._update(images, labels, taught)
        alpha, slope = self._move_alpha(images, labels, taught, *split_batch)
        # Weights are read again after alpha has moved, which repeats the forward pass.
        # A shared forward pass would be faster, but its activations would stay in
        # memory during the batch of the alpha split.
        with tf.control_dependencies([alpha]):
            logs = self._update(images, labels, taught)
        return {**logs, "alpha": alpha, "alpha_gradient": slope}

    def _update(self, images, labels, taught):
        size = global_size(labels)
        values = self._values()
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs, state = self._train_forward(values, images, labels, taught)
            means = self._term_means(labels, outputs, taught, size)
            loss = self.optimizer.scale_loss(self._total(means))
        accuracy = self._accuracy(labels, outputs["features"], size)
        return self._assign(tape.gradient(loss, values), state, means, accuracy)

    def _move_alpha(self, images, labels, taught, split_images, split_labels):
        """Moves alpha against its gradient; returns both."""
        size = global_size(labels)
        values = self._values()
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(values)
            outputs, _ = self._train_forward(values, images, labels, taught)
            logits, other_loss = self._logits_and_other_loss(
                labels, outputs, taught, size
            )
        term = self._balanced_term(labels, size)
        variables = self.student.trainable_variables
        update = VirtualUpdate(
            apply=lambda gradients, start: self.optimizer.virtual_update(
                gradients, start, variables
            ),
            sensitivity=self.optimizer.virtual_update_sensitivity,
        )
        split_size = global_size(split_labels)

        def validate(start):
            uses_batch = not self.learned_alpha.uses_running_statistics
            outputs, _ = self._forward(start, split_images, uses_batch)
            losses = plain_crossentropy(split_labels, outputs["logits"])
            return tf.reduce_sum(losses) / tf.cast(split_size, losses.dtype)

        def forward(start):
            again = self._train_forward(start, images, labels, taught)[0]
            return self._logits_and_other_loss(labels, again, taught, size)

        alpha = tf.convert_to_tensor(self.learned_alpha.value)
        rest = (term, values, alpha, update, validate, all_reduce_sum)
        if self.meta_gradient == "nested_tapes":
            slope = nested_tapes(forward, *rest)
        else:
            slope = closed_form(tape, logits, other_loss, *rest)
        means = self._term_means(labels, outputs, taught, size)
        watched = {
            **named_terms(sums_over_replicas(means)),
            "the gradient of alpha": slope,
        }
        return self.learned_alpha.descend(slope * one_if_finite(watched)), slope

    def _values(self):
        return [tf.convert_to_tensor(v.value) for v in self.student.trainable_variables]

    def _forward(self, values, images, uses_batch_statistics):
        """Returns outputs and new batch statistics as `(variable, value)`."""
        variables = self.student.non_trainable_variables
        before = [self._state_of(variable) for variable in variables]
        outputs, after, losses = self.student.stateless_call(
            values, before, images, return_losses=True, training=uses_batch_statistics
        )
        if losses:
            added = tf.add_n([tf.reduce_sum(tf.cast(x, tf.float32)) for x in losses])
            # One value per image, as other outputs have.
            added = tf.fill([tf.shape(images)[0]], added)
            outputs = {**outputs, REGULARIZATION: added}
        # The variables include frozen weights, whose tensors stay the same objects.
        moved = [
            (variable, new)
            for variable, old, new in zip(variables, before, after, strict=True)
            if new is not old and "float" in variable.dtype
        ]
        return outputs, moved

    def _state_of(self, variable):
        """Returns the value of a variable that is not trained.

        Random layers, such as dropout, hold a seed and a count of draws. The number of
        the update replaces the count: every update draws anew, and a resumed phase
        draws as one that was not interrupted.
        """
        value = tf.convert_to_tensor(variable.value)
        if not variable.path.endswith("seed_generator_state"):
            return value
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        number = self.optimizer.iterations * num_replicas()
        number = number + tf.cast(replica, number.dtype)
        # A layer may draw up to 256 times in an update.
        return tf.stack([value[0], tf.cast(number * 256, value.dtype)])

    def _train_forward(self, values, images, labels, taught):
        """Runs `_forward` and returns the features of the anchors as an output.

        Images beyond the labels are anchors; other outputs leave them out.
        """
        outputs, moved = self._forward(values, images, self.batch_statistics)
        if self.anchors is not None:
            size = tf.shape(labels)[0]
            number = tf.shape(taught["anchor_features"])[0]
            anchored = gather_shares(outputs["features"][size:], number)
            outputs = {name: rows[:size] for name, rows in outputs.items()}
            outputs["anchor_features"] = anchored
        return outputs, moved

    def _teach(self, images):
        if self.teacher is None:
            return None
        return self.teacher(images, training=False)

    def _term_means(self, labels, outputs, taught, size):
        """Returns this replica's share of each term's mean over the global batch."""
        return {
            term.name: mean_of_term(term, labels, outputs, taught, size)
            for term in self._terms_of(outputs)
        }

    def _terms_of(self, outputs):
        """Returns the terms, and the losses that layers added, if any."""
        if REGULARIZATION not in outputs:
            return self.terms
        return (*self.terms, _ADDED)

    def _accuracy(self, labels, features, size):
        """Returns this replica's share of the batch's accuracy, by plain logits.

        It must not read the logits of the loss. TensorFlow's graph optimizer sums bias
        and prior first if nothing else reads the logits, which rounds differently. The
        head therefore runs once more, in reverse order, because equal operations are
        merged. The gradient reads the features anyway.
        """
        logits = head_of(self.student)(features[::-1])["logits"]
        predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
        hits = tf.equal(predicted, tf.cast(labels[::-1], tf.int32))
        return share_of_mean(tf.cast(hits, tf.float32), size)

    def _total(self, means):
        return tf.add_n([self._weights[name] * mean for name, mean in means.items()])

    def _logits_and_other_loss(self, labels, outputs, taught, size):
        others = [
            term.weight * mean_of_term(term, labels, outputs, taught, size)
            for term in self._terms_of(outputs)
            if term.name != CLASSIFICATION
        ]
        return outputs["logits"], tf.add_n(others) if others else None

    def _balanced_term(self, labels, size):
        return BalancedTerm(
            labels,
            self.context.class_counts,
            self.context.num_old_classes,
            self._weights[CLASSIFICATION],
            size,
        )

    def _reached(self, gradients):
        """Returns gradients and variables, without weights that no loss depends on.

        These stay as they are, without decay. They are named once.
        """
        pairs = list(zip(gradients, self.student.trainable_variables, strict=True))
        reached = [pair for pair in pairs if pair[0] is not None]
        if not reached:
            raise RunError(
                "No loss term depends on a trained weight. Compute at least one term "
                "from the outputs of the student, with TensorFlow or keras.ops."
            )
        others = [variable.path for gradient, variable in pairs if gradient is None]
        if others and not self._told:
            self._told = True
            _log.warning(
                "No loss depends on %s. Training does not change %s.",
                ", ".join(others),
                "this weight" if len(others) == 1 else "these weights",
            )
        return zip(*reached, strict=True)

    def _assign(self, gradients, state, means, accuracy):
        """Applies one checked update to weights and batch statistics, or to neither.

        Returns the logs: loss, terms, and accuracy on the training batch.
        """
        gradients, variables = self._reached(gradients)
        local = {_GRADIENT: tf.linalg.global_norm(gradients)}
        sums = sums_over_replicas({**means, **local, TRAIN_ACCURACY: accuracy})
        logs = {name: sums[name] for name in means}
        norm = checked = sums[_GRADIENT]
        is_scaled = hasattr(self.optimizer, "inner_optimizer")
        if is_scaled:
            # A loss-scaling optimizer skips updates with infinities and lowers its
            # scale. At a scale of 1 the infinities are those of the loss itself.
            checked = tf.where(self.optimizer.dynamic_scale > 1, 0.0, norm)
        factor = one = one_if_finite({**named_terms(logs), _GRADIENT: checked})
        if is_scaled:
            # It looks at the gradients of one replica only, so all of them get NaN.
            factor = tf.where(tf.math.is_finite(norm), one, np.nan)
        self.optimizer.apply(
            [gradient * tf.cast(factor, gradient.dtype) for gradient in gradients],
            variables,
        )
        means_of_state = mean_over_replicas([value for _, value in state])
        for (variable, _), value in zip(state, means_of_state, strict=True):
            variable.assign(value * tf.cast(one, value.dtype))
        accuracy = sums[TRAIN_ACCURACY]
        return {"loss": self._total(logs), **logs, TRAIN_ACCURACY: accuracy}


def _checked(terms, learned_alpha):
    """Returns the terms as a tuple; refuses what would not train as it reads."""
    names = [term.name for term in terms]
    if not names:
        raise RunError("There are no loss terms. Return at least one from loss_terms.")
    taken = {name for name in names if names.count(name) > 1}
    taken.update(_TAKEN.intersection(names))
    if taken:
        raise RunError(
            f"Loss terms need names of their own. Received: {', '.join(names)}. "
            f"Rename {', '.join(sorted(taken))}."
        )
    if learned_alpha is not None and CLASSIFICATION not in names:
        raise RunError(
            f"A learned alpha needs a loss term {CLASSIFICATION!r}. Received: "
            f"{', '.join(names)}. Give the method one, or use a fixed --alpha."
        )
    return tuple(terms)
