"""From a request to a checked `ExperimentConfig`: defaults, schedules, contradictions.

Only this module chooses defaults by data set or method. Imports no TensorFlow.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from bsce_keras import config as configs
from bsce_keras.config.choices import ALPHA_RATES, CIFAR
from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.config.step_requirements import stream_problems
from bsce_keras.data.catalog import NAMES_TEXT, describe_dataset, find_dataset
from bsce_keras.data.named_dataset import NamedDataset
from bsce_keras.data.tfds_copy import find_prepared, tfds_name
from bsce_keras.methods import METHODS, recipes
from bsce_keras.methods.own_methods import is_own, own_class
from bsce_keras.methods.parameters import changed, range_problems
from bsce_keras.options.backbone_options import model_config, pretrained_backbone
from bsce_keras.options.conflicts import MOST_SCALE, contradictions
from bsce_keras.options.folders import folder_problems
from bsce_keras.options.initial_model import initial_classes, refuse_unknown_classes
from bsce_keras.options.request import read_request
from bsce_keras.options.stream_options import begun_stream, stream_config
from bsce_keras.options.train_options import PARAMETER_FLAGS
from bsce_keras.runtime.cluster import cluster_problems
from bsce_keras.runtime.errors import Problems, RequestError, refuse
from bsce_keras.runtime.text import did_you_mean


def make_config(
    dataset: str | tuple[Any, Any] | Iterable[Any], **request: Any
) -> configs.ExperimentConfig:
    """Returns the complete, checked configuration of an experiment.

    Reads folders and label files of the data set, and decodes no image. Arrays are
    checked, sorted and held by the configuration. Writes only a `backbone` that is a
    `keras.Model`. Fetches a missing data set only with `download`.

    Args:
        dataset: value of `--dataset`, or training images: a pair `(images, labels)` of
            arrays, or a `tf.data.Dataset` of such pairs, see `data.given_images`.
        **request: keywords with the names and meanings of the flags of
            `bsce_keras.train`, except `recipe`, `flagfile` and those that print and
            exit. An omitted keyword, or None, takes the published default
            for this data set and method. Some keywords are not flags: `increments`, a
            list of uneven increment sizes in place of `num_increments`,
            `export_only_last`, `parameters`, a dictionary in place of
            `method_parameters`, and `test_data` and `class_names` of arrays. `method`
            may be a class or object, and `class_order` a list of names or ids.
            `initial_classes` may be a list of names. `backbone` may be a
            `keras.Model`, which is saved in the run folder.

    Returns:
        `bsce_keras.config.ExperimentConfig`.

    Raises:
        RequestError: with every problem found, not only the first.

    Example:

    >>> config = make_config("digits", classification_loss="balanced_softmax", epochs=2)
    >>> config.stream.num_base_classes, config.stream.increments
    (5, (1, 1, 1, 1, 1))
    """
    config, problems = _examine(dataset, request)
    if config is None and not problems:
        # The request is correct, but its data set has to be fetched first.
        config, problems = _examine(dataset, request, fetch=True)
    refuse(problems)
    return config


def request_problems(dataset, **request):
    """Returns every problem of a request to `make_config`, as sentences.

    Downloads nothing.
    """
    return _examine(dataset, request)[1]


def _examine(dataset, request, fetch=False):
    """Returns the configuration, or None, and the problems found.

    Both are empty if only the data set is missing and may be fetched.
    """
    problems = Problems()
    read = problems.attempt(read_request, {"dataset": dataset, **request})
    if read is None:
        return None, problems
    asked, found = read
    problems += found
    problems += contradictions(asked) + cluster_problems(asked)
    problems += folder_problems(asked)
    begun = problems.attempt(begun_stream, asked)
    backbone = problems.attempt(pretrained_backbone, asked)
    initial = problems.attempt(initial_classes, asked) or ()
    learned = begun.arriving if begun else initial
    facts = {"learned": learned, "begun_kind": begun.kind if begun else None}
    info = problems.attempt(_describe, asked, fetch, facts, backbone)
    if info is None and asked.image_size is not None:
        # If only the size was refused, check the options that depend on classes too.
        of_any_size = asked.without("image_size")
        info = Problems().attempt(_describe, of_any_size, fetch, facts, backbone)
    # With an unknown data set, the other options are checked as if it were CIFAR.
    kind = info.kind if info else CIFAR
    stream = None
    if info:
        problems.attempt(refuse_unknown_classes, asked, info, initial)
        stream = stream_config(asked, info, begun, initial, problems)
    memory = problems.attempt(_memory, asked, info)
    image = info and info.image
    model = problems.attempt(model_config, asked, backbone, kind, image)
    method = problems.attempt(_method, asked, kind)
    training = problems.attempt(_training, asked, kind, info)
    config = None
    if stream and memory and model and method and training:
        config = problems.attempt(
            configs.ExperimentConfig,
            stream=stream,
            memory=memory,
            model=model,
            method=method,
            training=training,
            **asked.fields("") | {"run_dir": asked.resolved_run_dir},
        )
    if config and asked.images and not begun:
        # Images of finished steps may be missing, which only the run folder tells.
        class_ids = stream.order[: stream.num_classes]
        counts = asked.images.images_per_class(class_ids)
        problems += stream_problems(config, counts)
    return config, problems


def _describe(asked, fetch, facts, backbone):
    if not asked.dataset:
        raise RequestError(f"--dataset is required: {NAMES_TEXT}")
    if asked.download and not fetch and _is_missing(asked):
        return None
    dataset = find_dataset(asked.dataset)
    size = asked.image_size
    if size is None and backbone and dataset and dataset.image is None:
        size = asked.backbone_input_size or backbone.size
    return describe_dataset(
        asked.dataset,
        **asked.given("data_dir", "download", "validation_share"),
        image_size=size,
        images=asked.images,
        **facts,
    )


def _is_missing(asked):
    """Returns True if TFDS would have to fetch the data set."""
    dataset = find_dataset(asked.dataset)
    if dataset is None or not dataset.can_be_fetched:
        return False
    return find_prepared(tfds_name(asked.dataset), asked.data_dir) is None


def _memory(asked, info):
    use = asked.published.memory
    default = (info or NamedDataset).exemplars_per_class if use.has_exemplars else 0
    settings = {"exemplars_per_class": default} | asked.fields("memory")
    if asked.memory_budget is not None and asked.exemplars_per_class is None:
        settings["exemplars_per_class"] = None
    memory = configs.MemoryConfig(**settings, use=use)
    keeps_some = memory.exemplars_per_class or memory.memory_budget
    # `contradictions` names methods with a selection of their own, and `joint`.
    selects = not (use.policy or use.replays_everything)
    if selects and not keeps_some and asked.exemplar_selection is not None:
        raise RequestError(
            f"--exemplar_selection={asked.exemplar_selection} has no effect without "
            "exemplars. Set --exemplars_per_class or --memory_budget, or omit it."
        )
    is_weighed = asked.published.uses_alpha and loss_facts(asked.loss).takes_alpha
    has_old_images = keeps_some or use.replays_everything or use.needs_every_class
    if asked.alpha is not None and is_weighed and not has_old_images:
        raise RequestError(
            f"--alpha={asked.alpha} has no effect without exemplars, because old "
            "classes without images leave the softmax. Set --exemplars_per_class or "
            "--memory_budget, or omit it."
        )
    return memory


def _method(asked, kind):
    name = asked.method_name
    problems = Problems()
    is_known = name in METHODS or is_own(name)
    if not is_known:
        problems.append(
            f"--method must be one of {', '.join(METHODS)} or MODULE:CLASS. "
            f"Received: {name!r}.{did_you_mean(name, METHODS)}"
        )
    # TrainingConfig reports an invalid scale; use 1.0 so that the other checks run.
    scale = _scale(asked, recipes.published(name).recipes[kind]) or 1.0
    parameters = recipes.parameters(name, kind, scale)
    problems += range_problems(parameters, name)
    values = {**(asked.method_parameters or {})}
    values |= asked.given(*(option.name for option in PARAMETER_FLAGS))
    if is_known and values:
        parameters = problems.attempt(changed, parameters, values, name, asked.loss)
    optimizer = asked.alpha_optimizer or configs.MethodConfig.alpha_optimizer
    # MethodConfig reports an unknown optimizer.
    settings = {"alpha_learning_rate": ALPHA_RATES.get(optimizer)}
    settings |= asked.fields("method")
    settings |= {"name": name, "classification_loss": asked.loss}
    settings |= {"own": own_class(name) if is_own(name) else None}
    method = problems.attempt(configs.MethodConfig, parameters=parameters, **settings)
    refuse(problems)
    return method


def _training(asked, kind, info):
    recipe = asked.published.recipes[kind]
    settings = dataclasses.asdict(recipe)
    if info and asked.epochs is None and asked.schedule_scale is None:
        settings["min_updates"] = info.min_updates
    settings |= asked.fields("training")
    if asked.freeze_backbone and settings.get("precision", "auto") == "auto":
        # Features are computed once, and should be those of the network as it came.
        settings["precision"] = "float32"
    scale = _scale(asked, recipe)
    settings["epochs"], settings["milestones"] = _schedule(asked, recipe, scale)
    settings["finetuning"] = _finetuning(asked, kind, scale)
    training = configs.TrainingConfig(**settings)
    if training.batch_size < training.virtual_devices:
        raise RequestError(
            f"--batch_size={training.batch_size} is the size over all devices. It must "
            "be at least "
            f"--virtual_devices={training.virtual_devices}. Raise the former or lower "
            "the latter."
        )
    return training


def _scale(asked, recipe):
    """Returns the factor of all schedules, or None if it is invalid."""
    if asked.epochs is not None:
        scale = asked.epochs / recipe.epochs
    else:
        scale = 1.0 if asked.schedule_scale is None else asked.schedule_scale
    # `contradictions` refuses larger scales, which would overflow here.
    largest = math.inf if asked.schedule_scale is None else MOST_SCALE
    return scale if 0 < scale <= largest and math.isfinite(scale) else None


def _schedule(asked, recipe, scale):
    """Returns epochs and learning-rate drops; drops follow explicit epochs."""
    if scale is None:
        # TrainingConfig names the flag with the invalid value.
        return recipe.epochs if asked.epochs is None else asked.epochs, ()
    return recipes.scaled_schedule(recipe.epochs, recipe.milestones, scale)


def _finetuning(asked, kind, scale):
    """Returns the `FinetuningConfig`, or None without a balanced fine-tuning."""
    wanted = asked.balanced_finetuning
    if wanted in (None, "default"):
        wanted = asked.published.is_finetuned(kind, asked.loss)
    else:
        wanted = wanted == "true"
    if not wanted or scale is None:
        return None
    return recipes.scaled(asked.published.finetuning[kind], scale)
