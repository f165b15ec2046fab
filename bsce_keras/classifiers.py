"""load_classifier(): the trained network of a finished step, as a `keras.Model`."""

import numbers
import os

import keras

from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.models.classifier import with_temperature
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.recorded_config import recorded_config
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.precision import dtype_policy


def load_classifier(
    run_dir: str | os.PathLike[str],
    step: int = -1,
    method: type | str | None = None,
) -> keras.Model:
    """Loads the classifier of a finished step of a run.

    It is the network that the step was scored with, from config.json and the
    checksummed arrays of its checkpoint.

    Args:
        run_dir: the run folder.
        step: number of the step, 0 for the base step; negative numbers count from the
            last finished step.
        method: method outside this package that trained the run: its class, or
            `"MODULE:CLASS"`.

    Returns:
        `keras.Model` from images `(batch, size, size, channels)` with values in
        [0, 255] to a dictionary with `logits (batch, num_classes)` and
        `features (batch, d)`, and `calibrated_logits` if the step has a temperature.
        Its attribute `class_names` has the names of the classes in the order of the
        logits. docs/serve.md says how photos become such squares.

    Raises:
        RequestError: the folder is not that of a run, the step is not finished, or its
            checkpoint is damaged or of another run.

    Example:

        classifier = load_classifier("runs/NAME")
        logits = classifier.predict(images)["logits"]
    """
    config = recorded_config(run_dir, method)
    checkpoints = Checkpoints(run_dir)
    checkpoints.refuse_strangers()
    num_finished = len(checkpoints.finished_states())
    loaded = None
    if isinstance(step, numbers.Integral) and -num_finished <= step < num_finished:
        index = step + num_finished if step < 0 else step
        loaded = checkpoints.load_step(index)
    if loaded is None:
        raise RequestError(
            f"step={step!r}: {run_dir} has {num_finished} finished, undamaged steps, "
            "numbered from 0. Use one of them, or repeat the training command."
        )
    arrays, state = loaded
    plan = config.plans[index]
    with dtype_policy(config.training.precision):
        learner = Learner(config, Runtime(), checkpoints)
        learner.restore(plan, arrays)
        memory = ReplayMemory(config.memory, config.training.seed)
        memory.restore(arrays)
        predictor = learner.predictor(memory)
        classifier = with_temperature(predictor, state.get("temperature"))
    classifier.class_names = config.stream.arriving_class_names[: plan.num_classes]
    return classifier
