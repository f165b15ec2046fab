"""`LossTerm.values` of the classification losses."""

from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.runtime.named_objects import named_object


def classification_values(context):
    """Returns the `LossTerm.values` of the loss that a `StepContext` names."""
    facts = loss_facts(context.classification_loss)
    loss = named_object(facts.values)
    arguments = [getattr(context, name) for name in facts.arguments]

    def values(labels, student, teacher):
        return loss(labels, student["logits"], *arguments)

    return values
