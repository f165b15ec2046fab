"""Estimate of the time that a matrix still takes, from its finished steps."""

import collections
import os

import numpy as np

from bsce_keras.methods.recipes import trained_steps
from bsce_keras.records.run_records import read_run


def seconds_left(configs):
    """Returns the training time of the steps that are not finished.

    It takes the images per second of the finished steps on the same data set. This is
    an estimate: methods differ in speed, and solved heads, scoring, herding and reading
    of the data are left out.

    Args:
        configs: `ExperimentConfig`s of all cells.

    Returns:
        Seconds, or None if a data set has unfinished steps but not a finished one.
    """
    finished = {config.run_dir: _finished_steps(config) for config in configs}
    images, seconds = collections.Counter(), collections.Counter()
    images_per_class, left = {}, collections.Counter()
    for config in configs:
        dataset = config.stream.dataset
        for step in finished[config.run_dir]:
            images[dataset] += step["epochs"] * step["train_images"]
            seconds[dataset] += step["train_seconds"]
        for base_step in finished[config.run_dir][:1]:
            images_per_class[dataset] = (
                base_step["train_images"] / base_step["num_classes"]
            )
    for config in configs:
        dataset = config.stream.dataset
        num_done = len(finished[config.run_dir]) or bool(config.base_run_dir)
        is_trained = trained_steps(config)
        plans = [plan for plan in config.plans[num_done:] if is_trained[plan.index > 0]]
        if not plans:
            continue
        if not seconds[dataset]:
            return None
        images_of = np.full(config.stream.num_classes, images_per_class[dataset])
        for plan in plans:
            pool = plan.pool_sizes(images_of)["main"]
            left[dataset] += config.training.epochs_at(plan.index, pool) * pool
    return sum(left[name] * seconds[name] / images[name] for name in left)


def _finished_steps(config):
    if not os.path.isfile(os.path.join(config.run_dir, "steps.jsonl")):
        return []
    return read_run(config.run_dir).steps
