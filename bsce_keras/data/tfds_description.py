"""Description of data sets prepared by TFDS. Imports TensorFlow only to download."""

import re

from bsce_keras.data import imagenet, tfds_copy
from bsce_keras.data.tfds_copy import (
    evaluation_names,
    evaluation_splits,
    find_prepared,
    tfds_dir,
    tfds_name,
)
from bsce_keras.runtime.errors import Problems, RequestError, refuse


def describe_cifar(asked):
    """Returns the `DatasetInfo` of CIFAR, whose images all have one size."""

    def facts(may_fetch):
        return (tfds_copy.class_names(_prepared_copy(asked, may_fetch)),)

    return _described(asked, facts)


def describe_imagenet(asked):
    """Returns the `DatasetInfo` of ImageNet or of its first hundred classes."""

    def facts(may_fetch):
        prepared = _prepared_copy(asked, may_fetch)
        refuse(_tfds_problems(asked.name, prepared))
        all_names = tfds_copy.class_names(prepared)
        return (imagenet.class_names(asked.name, all_names, prepared),)

    return _described(asked, facts)


def describe_tfds(asked):
    """Returns the `DatasetInfo` of any TFDS data set of labelled images."""

    def facts(may_fetch):
        if not re.fullmatch(r"\w+(/[\w.+-]+)?", tfds_name(asked.name)):
            raise RequestError(
                "--dataset=tfds:NAME needs the name of a TFDS data set, such as "
                f"tfds:mnist or tfds:NAME/CONFIG. Received: {asked.name!r}"
            )
        prepared = _prepared_copy(asked, may_fetch)
        refuse(_tfds_problems(asked.name, prepared))
        return tfds_copy.class_names(prepared), tfds_copy.split_sizes(prepared)["train"]

    return _described(asked, facts)


def _described(asked, find_facts):
    """Returns the `DatasetInfo` of a copy, or raises all problems found.

    Args:
        asked: the `DatasetRequest`.
        find_facts: function of `may_fetch` that returns the arguments of its `info`.
    """
    problems = Problems(asked.size_problems())
    facts = problems.attempt(find_facts, may_fetch=not problems)
    refuse(problems)
    return asked.info(*facts)


def _tfds_problems(dataset, prepared):
    problems = []
    found = tfds_copy.features(prepared)
    if not {"image", "label"} <= set(found):
        problems.append(
            "Only TFDS data sets with the features `image` and `label` can be learned. "
            f"{prepared} has: {', '.join(found) or 'none'}. Write its images into "
            "folders and use --dataset=folder."
        )
    splits = tfds_copy.split_sizes(prepared)
    if "train" not in splits or not evaluation_splits(dataset, prepared):
        needed = " or ".join(f"`{name}`" for name in evaluation_names(dataset))
        problems.append(
            f"A TFDS data set needs the split `train`, and {needed} to be evaluated "
            f"on. {prepared} has: {', '.join(splits)}. Write its images into folders "
            "and use --dataset=folder."
        )
    return problems


def _prepared_copy(asked, may_fetch):
    name, root = tfds_name(asked.name), tfds_dir(asked.data_dir)
    is_imagenet = name == imagenet.WHOLE
    prepared = find_prepared(name, asked.data_dir)
    can_prepare = not is_imagenet or imagenet.has_archives(root)
    if prepared is None and asked.download and may_fetch and can_prepare:
        # Only a requested download may load TensorFlow here.
        from bsce_keras.data.tfds_download import prepare_dataset

        prepare_dataset(name, asked.data_dir)
        prepared = find_prepared(name, asked.data_dir)
    if prepared is None and is_imagenet:
        raise RequestError(imagenet.missing_copy(asked.name, root))
    if prepared is None:
        raise RequestError(
            f"{root} does not hold a prepared copy of {name} (looked for "
            f"{root / name}/VERSION/dataset_info.json). Pass --data_dir=DIR, a TFDS "
            "directory that holds one, or --download to fetch it."
        )
    tfds_copy.refuse_foreign_classes(prepared)
    return prepared
