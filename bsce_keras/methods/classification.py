"""`LossTerm.values` of the classification losses."""

import pkgutil

from bsce_keras.config.classification_losses import loss_facts


def classification_values(context):
    """Returns the `LossTerm.values` of the loss that a `StepContext` names."""
    facts = loss_facts(context.classification_loss)
    loss = pkgutil.resolve_name(facts.values)
    arguments = [getattr(context, name) for name in facts.arguments]

    def values(labels, student, teacher):
        return loss(labels, student["logits"], *arguments)

    return values
