"""MethodConfig: section of a configuration about method, loss and alpha."""

import dataclasses
import functools

from bsce_keras.config.checks import Checked, one_of, positive
from bsce_keras.config.choices import (
    ALPHA_OPTIMIZERS,
    ALPHA_RATES,
    ALPHA_STATISTICS,
    META_GRADIENTS,
)
from bsce_keras.config.classification_losses import CLASSIFICATION_LOSSES, loss_facts
from bsce_keras.config.fields import setting

_of_learned_alpha = functools.partial(
    setting, needs_loss="meta_balanced_softmax", decides_base_step=False
)


@dataclasses.dataclass(frozen=True)
class MethodConfig(Checked):
    """The method and its classification loss: two independent choices.

    Args:
        name: key of `bsce_keras.methods.METHODS`.
        classification_loss: name of the loss, with `default` resolved.
        parameters: the method's own hyper-parameters, a frozen dataclass such as those
            of `bsce_keras.methods.parameters`.
        alpha: weight of the old classes in the balanced softmax. A learned alpha
            starts at this value in every increment.
        alpha_learning_rate: learning rate of alpha, None if alpha is held.
        alpha_optimizer: key of `ALPHA_RATES`. `held` keeps alpha constant and records
            its gradient.
        alpha_statistics: statistics that batch normalisation uses on the alpha split:
            those of the `batch`, or the `running` ones as at test time.
        alpha_visits: `(epoch, value)` pairs of a held alpha, which takes `value` after
            this number of epochs of an increment. Empty keeps `alpha` throughout.
        own: class of a method outside the package, else None; not in config.json.
    """

    name: str = setting(flag="method")
    # `records.base_step` compares losses, because some are equal without old classes.
    classification_loss: str = setting(
        decides_base_step=False, check=one_of(CLASSIFICATION_LOSSES)
    )
    parameters: object = setting(flag="method_parameters")
    alpha: float = setting(1.0, decides_base_step=False, check=positive)
    alpha_learning_rate: float | None = _of_learned_alpha(
        ALPHA_RATES["adam"], check=positive
    )
    alpha_optimizer: str = _of_learned_alpha("adam", check=one_of(ALPHA_OPTIMIZERS))
    alpha_every: int = _of_learned_alpha(10, check=positive)
    alpha_statistics: str = _of_learned_alpha("batch", check=one_of(ALPHA_STATISTICS))
    alpha_visits: tuple[tuple[int, float], ...] = _of_learned_alpha((), flag=None)
    meta_gradient: str = _of_learned_alpha("closed_form", check=one_of(META_GRADIENTS))
    own: type | None = setting(None, flag=None, decides_outcome=False)

    @property
    def learns_alpha(self):
        return loss_facts(self.classification_loss).learns_alpha

    def held_alpha(self, epoch):
        """Value of a held alpha in a 0-based epoch; None if alpha is learned."""
        if not (self.learns_alpha and self.alpha_optimizer == "held"):
            return None
        visited = [value for first, value in self.alpha_visits if first <= epoch]
        return visited[-1] if visited else self.alpha

    def problems(self):
        epochs = [epoch for epoch, _ in self.alpha_visits]
        found = []
        if epochs and self.alpha_optimizer != "held":
            found.append("alpha_visits needs --alpha_optimizer=held.")
        if epochs != sorted(set(epochs)) or any(epoch < 0 for epoch in epochs):
            found.append(
                "alpha_visits needs distinct epochs from 0 on in rising order. "
                f"Received: {epochs}"
            )
        for _, value in self.alpha_visits:
            found += positive("alpha_visits", value)
        return found
