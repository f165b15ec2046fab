"""Options that exclude each other."""

import math

from bsce_keras.config import SETTINGS
from bsce_keras.config.choices import (
    CROP_FLIP,
    FOUR_TO_ONE,
    KERAS_APPLICATIONS,
    KERAS_HUB,
)
from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.data.catalog import find_dataset
from bsce_keras.data.given_images import ARRAYS
from bsce_keras.options.initial_model import initial_model_contradictions
from bsce_keras.options.train_options import OPTIONS

# Larger values are almost certainly typos.
MOST_SCALE = 1000
_MOST_VIRTUAL_DEVICES = 64


def contradictions(asked):
    """Returns a sentence for every pair of options that exclude each other."""
    return [
        message
        for contradicts, message in [
            *_stream_contradictions(asked),
            *_schedule_contradictions(asked),
            *_alpha_contradictions(asked),
            *_loss_contradictions(asked),
            *_device_contradictions(asked),
            *initial_model_contradictions(asked),
            (
                asked.export_only_last and asked.export is False,
                "export_only_last=True contradicts export=False. Omit one of them.",
            ),
            (
                asked.export_formats is not None and asked.export is False,
                f"--export_formats={asked.export_formats} has no effect with "
                "--noexport. Use --export, or omit --export_formats.",
            ),
        ]
        if contradicts
    ]


def _stream_contradictions(asked):
    for name, problem in without_effect(asked.dataset or "", asked).items():
        yield not (name == "download" and _downloads_weights(asked.backbone)), problem
    for name in ("test_data", "class_names"):
        yield (
            getattr(asked, name) is not None and asked.dataset != ARRAYS,
            f"{name} is for a data set of arrays, make_config((images, labels), ...). "
            f"Received: --dataset={asked.dataset}. Omit it.",
        )
    yield (
        asked.increments is not None and asked.num_increments is not None,
        "Set either num_increments or increments, the list of their sizes. "
        f"Received: {asked.num_increments} and {asked.increments}",
    )
    yield (
        asked.augmentation not in (None, CROP_FLIP) and asked.freeze_backbone,
        f"--augmentation={asked.augmentation} has no effect with --freeze_backbone, "
        "which computes the features of an image once a step. Omit one of them.",
    )


def without_effect(dataset, values):
    """Returns a sentence for every given option that a data set has no use for.

    Args:
        dataset: value of `--dataset`.
        values: values of options, as attributes; missing ones were not given.

    Returns:
        Dictionary by name of the option.
    """
    entry, problems = find_dataset(dataset), {}
    for name, reason in entry.without.items() if entry else ():
        value, option = getattr(values, name, None), OPTIONS[name]
        is_valid = not option.choices or value in option.choices
        if is_valid and value not in (None, option.default_without_flag):
            flag = f"--{name}" if value is True else f"--{name}={value}"
            problems[name] = (
                f"{flag} has no effect with --dataset={dataset}, {reason}. Omit it, "
                "or use another --dataset."
            )
    return problems


def _downloads_weights(backbone):
    """Returns True for a backbone whose weights `--download` may fetch."""
    return (backbone or "").startswith((KERAS_APPLICATIONS, KERAS_HUB))


def _schedule_contradictions(asked):
    yield (
        asked.epochs is not None and asked.schedule_scale is not None,
        f"--epochs={asked.epochs} is not scaled, so --schedule_scale="
        f"{asked.schedule_scale} has no effect. Set only one of them.",
    )
    yield (
        asked.schedule_scale is not None
        and MOST_SCALE < asked.schedule_scale < math.inf,
        f"--schedule_scale must be at most {MOST_SCALE}. Received: "
        f"{asked.schedule_scale}",
    )


def _loss_contradictions(asked):
    loss, facts = asked.loss, loss_facts(asked.loss)
    yield (
        facts.only_with is not None and loss != asked.published.own_loss,
        f"--classification_loss={loss} works only with --method={facts.only_with}. "
        f"Received: --method={asked.method_name}. Use --method={facts.only_with}, or "
        "another loss.",
    )
    use = asked.published.memory
    yield (
        use.sets_aside and loss != asked.published.own_loss,
        f"--method={asked.method_name} corrects the bias of the plain softmax, so it "
        f"excludes --classification_loss={loss}. Use --method=il_baseline, which is "
        "the same without the correction, or omit the loss.",
    )
    yield (
        asked.published.corrects_head and asked.balanced_finetuning == "true",
        f"--balanced_finetuning=true changes the head after --method="
        f"{asked.method_name} has corrected it. Use --method=il_baseline with it, or "
        "omit it.",
    )
    yield (
        asked.replay_sampling == FOUR_TO_ONE
        and asked.published.own_sampling != FOUR_TO_ONE,
        f"--replay_sampling={FOUR_TO_ONE} works only with --method=ss_il. Received: "
        f"--method={asked.method_name}. Use --method=ss_il, or another sampling.",
    )
    yield from _joint_contradictions(asked) if use.replays_everything else ()
    yield from _solved_contradictions(asked)
    yield (
        use.policy and asked.exemplar_selection is not None,
        f"--exemplar_selection={asked.exemplar_selection} has no effect with --method="
        f"{asked.method_name}, which has its own selection of exemplars. Omit it.",
    )


def _alpha_contradictions(asked):
    loss, facts = asked.loss, loss_facts(asked.loss)
    meta = facts.learns_alpha
    held = meta and asked.alpha_optimizer == "held"
    yield (
        asked.alpha is not None and not (facts.takes_alpha or held),
        f"--alpha={asked.alpha} has no effect with --classification_loss={loss}"
        f"{', which learns alpha, starting at 1' if meta else ''}. Omit --alpha, or "
        "use --classification_loss=balanced_softmax"
        f"{', or hold alpha there by --alpha_optimizer=held' if meta else ''}.",
    )
    yield (
        held and asked.alpha_learning_rate is not None,
        f"--alpha_learning_rate={asked.alpha_learning_rate} has no effect with "
        "--alpha_optimizer=held, which does not change alpha. Omit it.",
    )
    for option in OPTIONS.values():
        value = getattr(asked, option.name)
        needed = SETTINGS[option.field].needs_loss if option.field else ""
        yield (
            needed not in ("", loss) and value is not None,
            f"--{option.name}={value} has no effect with --classification_loss={loss}. "
            f"Omit it, or use --classification_loss={needed}.",
        )
    yield (
        meta and asked.precision == "mixed_float16",
        "--precision=mixed_float16 scales the loss. That would also scale the gradient "
        "by which meta_balanced_softmax learns alpha. Use --precision=mixed_bfloat16, "
        "which needs no scaling.",
    )


def _joint_contradictions(asked):
    """Yields options that need exemplars, or an imbalance of old and new classes."""
    values = asked.given(
        *("exemplars_per_class", "memory_budget", "exemplar_selection", "alpha")
    )
    if asked.balanced_finetuning == "true":
        values["balanced_finetuning"] = "true"
    if loss_facts(asked.loss).at_base_step is not None:
        values["classification_loss"] = asked.loss
    for name, value in values.items():
        yield (
            True,
            f"--{name}={value} has no effect with --method={asked.method_name}, which "
            "trains on all images of all seen classes. Omit it.",
        )


def _solved_contradictions(asked):
    """Yields options that train increments, if the method solves its head instead."""
    if not asked.published.solves_head:
        return
    reason = f"with --method={asked.method_name}, whose increments train nothing"
    yield (
        asked.loss not in ("softmax", "balanced_softmax"),
        f"--classification_loss={asked.loss} has no effect {reason}. Use softmax to "
        "give every image the same weight, or balanced_softmax to give every class "
        "the same weight.",
    )
    for name, default in {
        "balanced_finetuning": ("default", "false"),
        "replay_sampling": ("uniform",),
        "exemplars_per_class": (0,),
        "memory_budget": (0,),
    }.items():
        value = getattr(asked, name)
        yield (
            value not in (None, *default),
            f"--{name}={value} has no effect {reason}. Omit it.",
        )
    yield (
        asked.alpha is not None and not asked.published.uses_alpha,
        f"--alpha={asked.alpha} has no effect {reason}. Omit it.",
    )
    yield (
        asked.calibrate and asked.published.memory.needs_every_class,
        f"--calibrate has no effect with --method={asked.method_name}, which fits the "
        "temperature of its head at every step. Omit it.",
    )


def _device_contradictions(asked):
    yield (
        (asked.virtual_devices or 0) > _MOST_VIRTUAL_DEVICES,
        f"--virtual_devices splits one CPU into at most {_MOST_VIRTUAL_DEVICES} parts. "
        f"Received: {asked.virtual_devices}",
    )
    yield (
        (asked.virtual_devices or 0) > 1 and asked.strategy == "one_device",
        f"--virtual_devices={asked.virtual_devices} contradicts "
        "--strategy=one_device. Use --strategy=mirrored, or omit one of them.",
    )
    yield (
        (asked.virtual_devices or 0) > 1 and asked.strategy == "multi_worker",
        f"--virtual_devices={asked.virtual_devices} contradicts "
        "--strategy=multi_worker, where a CPU is one device. Start more workers "
        "instead, or use --strategy=mirrored.",
    )
    yield (
        asked.strategy == "multi_worker" and asked.precision == "mixed_float16",
        "--precision=mixed_float16 is not supported with --strategy=multi_worker, "
        "because each worker would scale its own loss. Use --precision=mixed_bfloat16, "
        "which needs no scaling.",
    )
