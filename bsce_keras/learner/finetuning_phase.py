"""FinetuningPhase: tunes class weights on the exemplars of all seen classes."""

import dataclasses

from bsce_keras.config.classification_losses import while_finetuning
from bsce_keras.learner.phases import compile_trainer, train_phase
from bsce_keras.learner.step_phase import StepPhase
from bsce_keras.models.classifier import head_of, train_only


class FinetuningPhase(StepPhase):
    """Balanced fine-tuning: trains only the class weights, on exemplars.

    Loss and teacher are those of the step, with the classification term at weight 1 and
    alpha at 1. Losses that use class counts take the counts of the exemplars. These
    differ where a class has fewer images than its quota. The plain softmax replaces a
    separated one, because fine-tuning balances old and new classes.
    """

    name = "finetuning"

    def applies(self, step):
        training = self.learner.config.training
        return training.finetuning is not None and step.num_old_classes > 0

    def run(self, step, memory, stats):
        learner, method = self.learner, self.learner.method
        training = learner.config.training
        exemplars = memory.examples()
        context = dataclasses.replace(
            self.context(step, exemplars),
            classification_loss=while_finetuning(
                learner.config.method.classification_loss
            ),
            alpha=1.0,
        )
        student = learner.classifier
        with learner.runtime.strategy.scope():
            train_only(student, head_of(student).class_weights)
            trainer = self.trainer(
                learner.trained_part.network(student),
                context,
                method.finetuning_terms(context),
                batch_statistics=method.finetunes_with_batch_statistics,
            )
            compile_trainer(trainer, training, training.finetuning)
        plan = self.plan(step, training.finetuning, first_draw=stats.epochs)
        inputs = learner.trained_part.inputs(student, exemplars, plan.title)
        progress = train_phase(learner.run, plan, trainer, inputs)
        learner.adopt(student)
        if method.selects_again_after_finetuning:
            memory.update(step, learner.features)
        seconds = stats.train_seconds + progress.seconds
        return dataclasses.replace(stats, train_seconds=seconds)
