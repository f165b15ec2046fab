"""Refusals of classes that a run cannot forget. Imports no TensorFlow."""

from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.methods.recipes import published
from bsce_keras.runtime.text import did_you_mean, listed


def unforgettable_problems(config, names):
    """Returns a sentence for every reason why a run cannot forget classes.

    Args:
        config: `ExperimentConfig` of the run.
        names: names of the classes to forget.
    """
    known, model = config.stream.arriving_class_names, config.model
    commas = [name for name in known if "," in name]
    way = f" Names such as {commas[0]!r} need a file, one a line." if commas else ""
    problems = [
        f"--classes: the run has no class {name!r}.{did_you_mean(name, known)}{way}"
        for name in names
        if name not in known
    ]
    reason = published(config.method.name).forgetting_problem
    if reason:
        name = config.method.name
        return [f"--method={name} cannot forget classes: {reason}.", *problems]
    base = [name for name in known[: config.stream.num_base_classes] if name in names]
    if base and (model.is_adopted or not model.freeze_backbone):
        problems.append(
            "Classes of the base step trained the backbone, which cannot forget them: "
            f"{listed(base)}. Train without them."
        )
    elif base and getattr(config.method.parameters, "depths", 0):
        problems.append(
            "Classes of the base step scaled the features of --method_parameters="
            f"depths={config.method.parameters.depths}, and their part cannot be "
            f"subtracted: {listed(base)}. Train without them, or with depths=0."
        )
    facts = loss_facts(config.method.classification_loss)
    if facts.takes_alpha and config.method.alpha != 1:
        problems.append(
            f"--alpha={config.method.alpha} weighs the classes before the last step "
            "differently, and the state does not tell them apart. Forgetting needs "
            "--alpha=1."
        )
    return problems
