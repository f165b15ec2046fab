"""Protocol of a run in words and numbers, and comparison of configurations.

Imports no TensorFlow.
"""

import json

from bsce_keras.config import SETTINGS
from bsce_keras.config.backbone_inputs import AS_PRESET, INPUTS, BackboneInput
from bsce_keras.config.choices import (
    AUGMENTATION_TEXTS,
    CROP_AREA,
    CROP_ASPECT,
    SAMPLING_TEXTS,
)
from bsce_keras.evaluation import metrics, scores
from bsce_keras.memory.selection_policies import selection_policy
from bsce_keras.methods import recipes

_OUTCOME_SECTIONS = tuple(
    dict.fromkeys(
        name.partition(".")[0]
        for name, setting in SETTINGS.items()
        if setting.decides_outcome
    )
)


def protocol(config, num_replicas=1):
    """Returns the protocol of a run in words and numbers.

    It answers the questions of readers who reproduce or compare a number.

    Args:
        config: `ExperimentConfig`.
        num_replicas: number of replicas that share a global batch.

    Returns:
        JSON-able dictionary.
    """
    stream = config.stream
    return {
        "class_order": {
            "name": stream.class_order,
            "class_names": list(stream.arriving_class_names),
            "classes_per_step": [stream.num_base_classes, *stream.increments],
        },
        "images_per_class": (
            "`class_counts` of each line of steps.jsonl: training images of every "
            "seen class at that step, exemplars included, in arrival order"
        ),
        "memory": _memory(config),
        "augmentation": _augmentation(stream.image),
        "base_step": "a saved classifier" if config.model.is_adopted else "trained",
        "network_input": _network_input(config.model, stream.image),
        "optimizer": _optimizer(config),
        "batch_normalization": _batch_normalization(config.model),
        "precision": _precision(config),
        "evaluation": _evaluation(stream, config.method),
        "replicas": num_replicas,
        "metrics": {**metrics.DEFINITIONS, **scores.DEFINITIONS},
    }


def outcome_fields(config):
    """Returns all fields of a config that decide the outcome, by dotted name.

    Args:
        config: dictionary of `ExperimentConfig.to_json()`, or of config.json.

    Returns:
        Dictionary such as `{"training.epochs": 250, ...}` of JSON values.
    """
    decisive = {name: config.get(name) for name in _OUTCOME_SECTIONS}
    decisive["stream"] = _arrivals(decisive["stream"])
    # The round trip turns tuples into lists, as config.json has them.
    fields = _flatten(json.loads(json.dumps(decisive)))
    loss = config["method"].get("classification_loss")
    indifferent = {
        name
        for name, setting in SETTINGS.items()
        if not setting.decides_outcome or setting.needs_loss not in ("", loss)
    }
    return {name: fields[name] for name in fields if name not in indifferent}


def outcome_differences(theirs, ours):
    """Returns the fields that decide the outcome and differ between two configs.

    Args:
        theirs: config.json of a run.
        ours: `ExperimentConfig.to_json()` of a request.

    Returns:
        List of texts. Each names a flag or field and both values.
    """
    theirs, ours = outcome_fields(theirs), outcome_fields(ours)
    texts = []
    for name in sorted(theirs | ours):
        before, now = theirs.get(name), ours.get(name)
        if before != now:
            texts.append(
                f"{flag_of(name)} was {_shown(before, now)}, now {_shown(now, before)}"
            )
    return texts


def shortened(config, num_increments):
    """Returns a config with only the first `num_increments` of its stream."""
    stream = config["stream"]
    increments = stream["increments"][:num_increments]
    return {**config, "stream": {**stream, "increments": increments}}


def resolved_as(config, found):
    """Returns a config whose training fields with `auto` have the values of another.

    Args:
        config: `ExperimentConfig.to_json()`.
        found: config.json of a run, which is resolved.
    """
    training = {
        name: found["training"].get(name) if value == "auto" else value
        for name, value in config["training"].items()
    }
    return {**config, "training": training}


def names_by_arrival(stream):
    """Returns the names of all classes of a stream of config.json by arrival.

    Raises:
        IndexError: the order names a class that does not exist.
    """
    return [stream["class_names"][class_id] for class_id in stream["order"]]


def _arrivals(stream):
    """Replaces class ids of a stream by the names of the classes that arrive.

    Ids, and classes that never arrive, do not decide the outcome.
    """
    try:
        num_classes = stream["num_base_classes"] + sum(stream["increments"])
        arriving = names_by_arrival(stream)[:num_classes]
    except (KeyError, IndexError, TypeError):
        return stream  # The stream is malformed; compare it as it is.
    rest = {k: v for k, v in stream.items() if k not in ("class_names", "order")}
    return {**rest, "arriving_class_names": arriving}


def flag_of(field):
    """Returns the flag that sets a field, and the field; only the field without a flag.

    >>> flag_of("training.epochs"), flag_of("training.momentum")
    ('--epochs (training.epochs)', 'training.momentum')
    """
    section, _, rest = field.partition(".")
    name, _, part = rest.partition(".")
    found = SETTINGS.get(f"{section}.{name}" if name else section)
    if found is None:
        return field
    flag = found.part_flags.get(part) if part else found.flag
    if flag:
        return f"--{flag} ({field})"
    return f"{field} (of --{found.flag})" if found.flag else field


def _shown(value, other):
    """Text of a value; for long lists only the entries from the first difference on."""
    both_lists = isinstance(value, list) and isinstance(other, list)
    if not both_lists or max(len(value), len(other)) <= 8:
        return json.dumps(value)
    same = next(
        (i for i, (a, b) in enumerate(zip(value, other, strict=False)) if a != b),
        min(len(value), len(other)),
    )
    return f"{len(value)} entries, from {same} on {json.dumps(value[same : same + 3])}"


def _flatten(value, prefix=""):
    if not isinstance(value, dict):
        return {prefix: value}
    fields = {}
    for name, inner in value.items():
        fields |= _flatten(inner, f"{prefix}.{name}" if prefix else name)
    return fields


def _precision(config):
    if config.model.is_pretrained:
        return f"{config.training.precision}, the backbone as it was saved"
    return config.training.precision


def _evaluation(stream, method):
    mirrors = getattr(method.parameters, "mirrors_exemplars", False)
    views = ", their mirror images included" if mirrors else ""
    scored = "test images"
    if stream.validation_share:
        scored = (
            f"training images held out (a share of {stream.validation_share:g} of "
            "every class), no test images,"
        )
    return (
        f"{scored} of all classes seen so far, centre crop, one view; "
        f"{recipes.published(method.name).predicts_by}{views}"
    )


def _augmentation(image):
    size = f"{image.size}x{image.size}"
    if image.training_crop == "centre":
        crop = f"the centre square of side {image.size}"
    elif image.training_crop == "resized":
        stored = f"{image.stored_size}x{image.stored_size}"
        smallest, largest = (f"{100 * share:g} %" for share in CROP_AREA)
        narrow, wide = CROP_ASPECT
        crop = (
            f"random boxes of {smallest} to {largest} of the stored {stored} centre "
            f"square, width over height {narrow:.3g} to {wide:.3g} (log-uniform), "
            f"resized to {size} (bilinear, antialiased)"
        )
    else:
        crop = f"random {size} crops of the image padded by {image.pad} black pixels"
    mirroring = "half of them mirrored left to right" if image.flip else "not mirrored"
    return f"{crop}; {mirroring}; {AUGMENTATION_TEXTS[image.augmentation]}"


def _network_input(model, image):
    values = BackboneInput(image.mean, image.std)
    if model.input == AS_PRESET:
        text = "values of the preset's image converter"
    else:
        values = INPUTS.get(model.input, values)
        mean, std = ([round(v, 4) for v in vs] for vs in (values.mean, values.std))
        text = f"(x / 255 - mean) / std, mean {mean}, std {std}"
        text += ", channels reversed" if values.reverses_channels else ""
    side = model.input_size
    return f"{text}; resized to {side}x{side} (bilinear)" if side else text


def _memory(config):
    memory = config.memory
    if memory.memory_budget is None:
        policy = f"growing: up to {memory.exemplars_per_class} exemplars of every class"
    else:
        policy = (
            f"fixed: at most {memory.memory_budget} exemplars in total, shared "
            "equally by the seen classes"
        )
    if memory.use.sets_aside:
        policy += ", a tenth of them (at least 1) set aside and never trained on"
    if memory.use.replays_everything:
        policy += "; every step trains on all images of all seen classes"
    if memory.use.optimizes_pixels:
        policy += "; their pixels are optimised after every step"
    plans = config.plans
    return {
        "policy": policy,
        "selection": selection_policy(memory).description,
        "replay": SAMPLING_TEXTS[config.training.replay_sampling],
        "quota_per_class_after_step": [plan.quota for plan in plans],
        "limit_in_total_after_step": [plan.quota * plan.num_classes for plan in plans],
    }


def _optimizer(config):
    trains_base, trains_increments = recipes.trained_steps(config)
    if trains_increments:
        return _sgd(config.training)
    if trains_base:
        return f"at step 0 only: {_sgd(config.training)}"
    return "none, the head is computed"


def _sgd(training):
    if training.schedule == "cosine":
        decay = (
            "cosine decay over the epochs of a step, one epoch late as in PODNet's code"
        )
    elif training.milestones:
        epochs = ", ".join(str(epoch) for epoch in training.milestones)
        decay = f"divided by 10 after {epochs} epochs"
        if training.min_updates:
            decay += f" of {training.epochs}, in proportion where a step has more"
    else:
        decay = "constant"
    if training.rate_falls_with_steps:
        decay += ", and divided by t + 1 at step t"
    batch = f"{training.batch_size}"
    if training.batch_size_at(1) != training.batch_size:
        batch += f" at step 0 and {training.batch_size_at(1)} later"
    return (
        f"SGD, momentum {training.momentum}, a new optimizer at every step; "
        f"{training.schedule_text} a step, global batch {batch}; "
        f"learning rate {training.learning_rate}, {decay}; L2 penalty "
        f"{training.weight_decay} added to the gradient of every trainable variable "
        "(coupled, before momentum); the learning rate is kept out of the momentum "
        "buffer, so that a drop acts at once"
    )


def _batch_normalization(model):
    if model.freeze_backbone:
        return "in inference mode, in a backbone that is not trained"
    if model.is_pretrained:
        return "as the saved backbone has it"
    if model.synchronized_batch_norm:
        return "statistics over the global batch, synchronised between replicas"
    return "statistics per replica, over its share of the global batch"
