"""Checks of the heads of a method outside the package, before anything is trained."""

import keras
import numpy as np

from bsce_keras.methods.recipes import trained_steps
from bsce_keras.models.classifier import make_backbone
from bsce_keras.runtime.errors import RequestError


def check_heads(config, method):
    """Refuses heads of the first two steps that cannot be trained, copied or grown.

    Args:
        config: `ExperimentConfig`.
        method: the `Method`.

    Raises:
        RequestError: a head is not a layer, gives other outputs than the logits of all
            seen classes, computes otherwise when it is copied, or lacks a method.
    """
    _, trains_increments = trained_steps(config)
    backbone = make_backbone(config.model, config.stream.image, method.variant)
    shape = (2, *backbone.output.shape[1:])
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    former = None
    for plan in config.plans[: 2 if trains_increments else 1]:
        head = method.training_head(plan.num_old_classes, plan.num_new_classes)
        if hasattr(head, "gather"):
            return  # It takes other features than those of the backbone.
        problem = _problem_of_outputs(head, plan.num_classes, features)
        if not problem and plan.finetunes and not hasattr(head, "class_weights"):
            problem = "needs class_weights, a list, which balanced fine-tuning trains"
        grows = former is not None and not method.starts_afresh
        if not problem and grows and not hasattr(head, "grow_from"):
            problem = "needs a method grow_from(old) that copies the former classes"
        if problem:
            raise RequestError(
                f"The head of {config.method.name} for {plan.num_old_classes} old and "
                f"{plan.num_new_classes} new classes {problem}. "
                "bsce_keras.models.heads.LinearHead is an example, and may be extended."
            )
        if grows:
            head.grow_from(former)
        former = head


def _problem_of_outputs(head, num_classes, features):
    if not isinstance(head, keras.layers.Layer):
        return f"must be a Keras layer. Received: {head!r}"
    outputs = head(features)
    if not (isinstance(outputs, dict) and "logits" in outputs):
        kind = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        return f"must return a dictionary that has `logits`. Received: {kind}"
    columns = outputs["logits"].shape[1:]
    if tuple(columns) != (num_classes,):
        return (
            f"must return {num_classes} columns of logits, one for each seen class, "
            f"old classes first. Received: {', '.join(map(str, columns))}"
        )
    return _problem_of_copies(head, features, outputs["logits"])


def _problem_of_copies(head, features, logits):
    """Evaluation, teacher and exports copy a head by its `get_config`."""
    try:
        copy = type(head).from_config(head.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        last_line = (str(error).splitlines() or [repr(error)])[-1]
        return f"cannot be copied by its get_config(): {last_line.rstrip('.')}"
    copy(features)
    copy.set_weights(head.get_weights())
    pair = (logits, copy(features)["logits"])
    given, copied = (keras.ops.convert_to_numpy(x).astype(float) for x in pair)
    if np.allclose(given, copied, rtol=0.01, atol=0.01):
        return None
    return (
        "gives other logits when it is copied, because its get_config() lacks a value"
    )
