"""IL-Baseline, the paper's baseline: replay and logit distillation."""

from typing import ClassVar

from bsce_keras.losses import logit_distillation
from bsce_keras.methods.base import LossTerm, Method


class ILBaseline(Method):
    """Classification and distillation, weighted by the fraction of old classes.

        L = rho L_d + (1 - rho) L_c,   rho = N_{t-1} / N_t

    Source: Jodelet et al., Eqs. 1 and 2, after BiC.

    Attributes:
        distillation_has_factor: True if L_d has the factor tau^2 of the paper's Eq. 2.
    """

    distillation_has_factor: ClassVar[bool] = True

    def classification_weight(self, context):
        return 1.0 - _old_share(context)

    def loss_terms(self, context):
        terms = super().loss_terms(context)
        if context.num_old_classes:
            terms.append(
                LossTerm("distillation", _old_share(context), self.distillation)
            )
        return terms

    def distillation(self, labels, student, teacher):
        """Returns the `LossTerm.values` of the distillation."""
        temperature = self.parameters.temperature
        values = logit_distillation(teacher["logits"], student["logits"], temperature)
        return values if self.distillation_has_factor else values / temperature**2


def _old_share(context):
    return context.num_old_classes / context.num_classes
