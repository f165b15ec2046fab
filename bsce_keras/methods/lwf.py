"""LwF, learning without forgetting: classification and distillation only."""

from bsce_keras.losses import logit_distillation
from bsce_keras.methods.base import LossTerm, Method


class LwF(Method):
    """Both terms at weight 1 on a linear head; by default without exemplars.

        L = L_c + L_d / tau^2

    Source: Li and Hoiem, ECCV 2016, in the form of LUCIR's code, which has one head for
    all classes (`class_incremental_cifar100.py`). There, beta tau^2 is 1 and multiplies
    the divergence itself, a quarter of the paper's distillation. The original has one
    softmax per step. `separated_softmax` gives this for increments of two or more
    classes.
    """

    def loss_terms(self, context):
        terms = super().loss_terms(context)
        if context.num_old_classes:
            terms.append(LossTerm("distillation", 1.0, self._distillation))
        return terms

    def _distillation(self, labels, student, teacher):
        temperature = self.parameters.temperature
        values = logit_distillation(teacher["logits"], student["logits"], temperature)
        return values / temperature**2
