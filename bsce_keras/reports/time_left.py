"""How long the rest of a matrix takes, by what its finished steps took."""

import collections
import os

from bsce_keras.records.run_records import read_run


def seconds_left(configs):
    """Training time of the steps that are not finished.

    Images still to be trained on, by the images per second of the finished steps on the
    same data set. An estimate: methods differ in speed, and scoring, herding and
    reading the data are not in it.

    Args:
        configs: `ExperimentConfig`s of all cells.

    Returns:
        Seconds, or None while a data set has no finished step to go by.
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
        num_steps = 1 + len(config.stream.increments)
        if num_done == num_steps:
            continue
        if not seconds[dataset]:
            return None
        for step in range(num_done, num_steps):
            left[dataset] += config.training.epochs * _pool_size(
                config, step, images_per_class[dataset]
            )
    return sum(left[name] * seconds[name] / images[name] for name in left)


def _finished_steps(config):
    if not os.path.isfile(os.path.join(config.run_dir, "steps.jsonl")):
        return []
    return read_run(config.run_dir).steps


def _pool_size(config, step, images_per_class):
    """About how many images a step trains on: those of new classes and exemplars."""
    sizes = (config.stream.num_base_classes, *config.stream.increments)
    num_old = sum(sizes[:step])
    exemplars = config.memory.quota(num_old) if num_old else 0
    return sizes[step] * images_per_class + num_old * min(exemplars, images_per_class)
