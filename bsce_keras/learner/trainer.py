"""IncrementalTrainer: the package's only `train_step`."""

import keras
import tensorflow as tf

from bsce_keras.meta import (
    BalancedTerm,
    VirtualStep,
    closed_form,
    nested_tapes,
    plain_crossentropy,
)
from bsce_keras.methods.base import CLASSIFICATION
from bsce_keras.runtime.replicas import (
    all_reduce_sum,
    gather_shares,
    mean_over_replicas,
    num_replicas,
)


class IncrementalTrainer(keras.Model):
    """Trains a student against the loss terms of one step.

    Student and teacher are parts of the trainer, so neither ships with the other.
    `train_step` takes `(images, labels)`, or `(images, labels, validation_images,
    validation_labels)` for an update that also moves alpha. It works under `fit` and
    under `strategy.run`; batches are per replica.

    Every term is a mean over the global batch: local sums divided by the number of
    images over all replicas. Terms are tracked under their own names, unweighted.
    `accuracy` is that of the batch in training, by plain logits.

    Before anything is assigned the loss terms and gradients are checked, summed over
    replicas, so that all find the same: one that is not finite raises
    `tf.errors.InvalidArgumentError` and leaves the student as it was.

    Args:
        student: classifier in training, images -> dictionary of outputs.
        teacher: frozen classifier of the previous step, or None.
        terms: list of `LossTerm`.
        context: the `StepContext`.
        learned_alpha: `LearnedAlpha`, or None where alpha is fixed.
        meta_gradient: `closed_form` or `nested_tapes`.
        batch_statistics: whether batch normalisation runs in training mode.
        anchors: `Anchors`, exemplars that pass the student together with every batch
            and enter no term but those that ask for them; None for none.
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
        self.terms = tuple(terms)
        self.context = context
        self.learned_alpha = learned_alpha
        self.meta_gradient = meta_gradient
        self.batch_statistics = batch_statistics
        self.anchors = anchors
        self.built = True

    def call(self, images, training=False):
        return self.student(images, training=training)["logits"]

    def train_step(self, data):
        images, labels, *validation_batch = data
        taught = self._teach(images)
        if self.anchors is not None:
            drawn = self.anchors.draw(self.optimizer.iterations)
            images = tf.concat([images, drawn.images], axis=0)
            known = {"anchor_features": drawn.features, "anchor_edges": drawn.edges}
            taught = {**(taught or {}), **known}
        if not validation_batch:
            return self._update(images, labels, taught)
        alpha, slope = self._move_alpha(images, labels, taught, *validation_batch)
        # Weights are read again after alpha has moved, so that this forward pass is
        # another one: sharing the first one's activations would keep them alive during
        # the validation batch, for all the time that saves.
        with tf.control_dependencies([alpha]):
            logs = self._update(images, labels, taught)
        return {**logs, "alpha": alpha, "alpha_gradient": slope}

    def _update(self, images, labels, taught):
        size = _global_size(labels)
        values = self._values()
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs, state = self._train_forward(values, images, labels, taught)
            means = self._term_means(labels, outputs, taught, size)
            loss = self.optimizer.scale_loss(self._total(means))
        hits = tf.equal(tf.argmax(outputs["logits"], 1), tf.cast(labels, tf.int64))
        accuracy = _share_of_mean(tf.cast(hits, tf.float32), size)
        return self._assign(tape.gradient(loss, values), state, means, accuracy)

    def _move_alpha(self, images, labels, taught, validation_images, validation_labels):
        """Moves alpha against its gradient; returns both."""
        size = _global_size(labels)
        values = self._values()
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(values)
            outputs, _ = self._train_forward(values, images, labels, taught)
            logits, other_loss = self._logits_and_other_loss(
                labels, outputs, taught, size
            )
        term = self._balanced_term(labels, size)
        variables = self.student.trainable_variables
        step = VirtualStep(
            apply=lambda gradients, start: self.optimizer.virtual_step(
                gradients, start, variables
            ),
            sensitivity=self.optimizer.virtual_step_sensitivity,
        )
        validation_size = _global_size(validation_labels)

        def validate(start):
            uses_batch = not self.learned_alpha.uses_running_statistics
            outputs, _ = self._forward(start, validation_images, uses_batch)
            validation_logits = outputs["logits"]
            losses = plain_crossentropy(validation_labels, validation_logits)
            return tf.reduce_sum(losses) / tf.cast(validation_size, losses.dtype)

        def forward(start):
            again = self._train_forward(start, images, labels, taught)[0]
            return self._logits_and_other_loss(labels, again, taught, size)

        alpha = tf.convert_to_tensor(self.learned_alpha.value)
        rest = (term, values, alpha, step, validate, all_reduce_sum)
        if self.meta_gradient == "nested_tapes":
            slope = nested_tapes(forward, *rest)
        else:
            slope = closed_form(tape, logits, other_loss, *rest)
        means = self._term_means(labels, outputs, taught, size)
        watched = {
            **_named(_over_replicas(means)),
            "the gradient of alpha": slope,
        }
        return self.learned_alpha.descend(slope * _one_if_finite(watched)), slope

    def _values(self):
        return [tf.convert_to_tensor(v.value) for v in self.student.trainable_variables]

    def _forward(self, values, images, uses_batch_statistics):
        """Outputs, and `(variable, value)` of new batch statistics; nothing changes."""
        variables = self.student.non_trainable_variables
        before = [tf.convert_to_tensor(variable.value) for variable in variables]
        outputs, after = self.student.stateless_call(
            values, before, images, training=uses_batch_statistics
        )
        # Frozen weights are among the variables and stay the tensors they were.
        moved = [
            (variable, new)
            for variable, old, new in zip(variables, before, after, strict=True)
            if new is not old
        ]
        return outputs, moved

    def _train_forward(self, values, images, labels, taught):
        """As `_forward`; of images beyond the labels, the anchors, features alone."""
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
        """This replica's share of each term's mean over the global batch."""
        return {
            term.name: _share_of_mean(term.values(labels, outputs, taught), size)
            for term in self.terms
        }

    def _total(self, means):
        return tf.add_n([term.weight * means[term.name] for term in self.terms])

    def _logits_and_other_loss(self, labels, outputs, taught, size):
        others = [
            term.weight * _share_of_mean(term.values(labels, outputs, taught), size)
            for term in self.terms
            if term.name != CLASSIFICATION
        ]
        return outputs["logits"], tf.add_n(others) if others else None

    def _balanced_term(self, labels, size):
        weight = next(t.weight for t in self.terms if t.name == CLASSIFICATION)
        return BalancedTerm(
            labels,
            self.context.class_counts,
            self.context.num_old_classes,
            weight,
            size,
        )

    def _assign(self, gradients, state, means, accuracy):
        """One guarded step: weights and batch statistics together, or neither.

        Returns the logs: the loss, its terms, and the training accuracy.
        """
        norm = {}
        if not hasattr(self.optimizer, "inner_optimizer"):
            # A loss-scaling optimizer meets infinities by design and skips them.
            norm["the gradient"] = tf.linalg.global_norm(gradients)
        sums = _over_replicas({**means, **norm, "accuracy": accuracy})
        logs = {name: sums[name] for name in means}
        one = _one_if_finite({**_named(logs), **{name: sums[name] for name in norm}})
        self.optimizer.apply(
            [gradient * tf.cast(one, gradient.dtype) for gradient in gradients],
            self.student.trainable_variables,
        )
        means_of_state = mean_over_replicas([value for _, value in state])
        for (variable, _), value in zip(state, means_of_state, strict=True):
            variable.assign(value * tf.cast(one, value.dtype))
        return {"loss": self._total(logs), **logs, "accuracy": sums["accuracy"]}


def _global_size(labels):
    """Images of the batch over all replicas."""
    local = tf.shape(labels)[0]
    if num_replicas() == 1:
        return local
    return all_reduce_sum([local])[0]


def _over_replicas(values):
    """Named scalars, summed over replicas in one reduction."""
    dtype = next(iter(values.values())).dtype
    packed = tf.stack([tf.cast(value, dtype) for value in values.values()])
    totals = tf.unstack(all_reduce_sum([packed])[0])
    return dict(zip(values, totals, strict=True))


def _named(means):
    return {f"the loss term '{name}'": mean for name, mean in means.items()}


def _one_if_finite(watched):
    """1.0, which is not computed before every named value was found to be finite.

    What is multiplied by it waits for the checks. A control dependency would not do:
    TensorFlow's graph optimizer drops it (2.21, dependency optimization), and the
    weights were NaN by the time the error was raised.
    """
    checked = [
        tf.debugging.check_numerics(tf.cast(value, tf.float32), name)
        for name, value in watched.items()
    ]
    return tf.reduce_max(tf.cast(tf.math.is_finite(tf.stack(checked)), tf.float32))


def _share_of_mean(values, size):
    if not isinstance(values, tuple):
        return tf.reduce_sum(values) / tf.cast(size, values.dtype)
    values, mask = values
    mask = tf.cast(mask, values.dtype)
    total = all_reduce_sum([tf.reduce_sum(mask)])[0]
    return tf.math.divide_no_nan(tf.reduce_sum(values * mask), total)
