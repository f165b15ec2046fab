"""Step 0 of one run as step 0 of another: trained once, used by many."""

import json

from bsce_keras.errors import RequestError
from bsce_keras.learner.checkpoints import Checkpoints
from bsce_keras.records.store import read_run

# What decides the outcome of step 0. alpha and distillation act from step 1 on.
_DECISIVE = (
    ("stream", "dataset"),
    ("stream", "order"),
    ("stream", "num_base_classes"),
    ("stream", "image"),
    ("stream", "on_bad_image"),
    ("memory", None),
    ("model", None),
    ("method", "name"),
    ("method", "parameters"),
    ("training", None),
)
# Where and how it ran; the first step is the same up to rounding.
_INDIFFERENT = {"strategy", "virtual_devices", "deterministic"}


def load_base_step(config):
    """Arrays and state of the base step that `config.base_run_dir` finished.

    The classification losses may differ where the base classes have equally many
    images: the prior is then a constant and softmax and balanced softmax are one loss.

    Raises:
        RequestError: no finished step 0 there, or it was trained otherwise, with a line
            per difference.
    """
    theirs = read_run(config.base_run_dir).config
    ours = json.loads(json.dumps(config.to_json()))
    loaded = Checkpoints(config.base_run_dir).load_step(0)
    if loaded is None:
        raise RequestError(
            f"--base_run_dir={config.base_run_dir} holds no finished step 0. Let that "
            "run finish its base step first, or leave the flag out."
        )
    differences = [
        line
        for section, field in _DECISIVE
        for line in _differences(theirs, ours, section, field)
    ]
    counts = loaded[1]["class_counts"]
    their_loss = theirs["method"]["classification_loss"]
    our_loss = ours["method"]["classification_loss"]
    if their_loss != our_loss and len(set(counts)) > 1:
        differences.append(
            f"--classification_loss: {their_loss} there, {our_loss} here, and base "
            "classes of unequal size make these different losses"
        )
    if differences:
        raise RequestError(
            [
                f"--base_run_dir={config.base_run_dir} trained another base step. Give "
                "the same flags, or leave --base_run_dir out. What differs:",
                *differences,
            ]
        )
    return loaded


def _differences(theirs, ours, section, field):
    ours, theirs = ours[section], theirs[section]
    for name in [field] if field else sorted(ours):
        if name not in _INDIFFERENT and theirs.get(name) != ours[name]:
            yield f"{section}.{name}: {theirs.get(name)} there, {ours[name]} here"
