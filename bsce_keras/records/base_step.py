"""Sharing of base steps: step 0 of one run serves as step 0 of others."""

import json

from bsce_keras.config import SETTINGS
from bsce_keras.config.classification_losses import (
    SOFTMAX_AT_EQUAL_COUNTS,
    at_base_step,
)
from bsce_keras.data.catalog import find_dataset
from bsce_keras.methods.own_methods import is_own
from bsce_keras.methods.recipes import SHARED_NETWORK, published, trained_steps
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.data_record import data_differences, image_digests
from bsce_keras.records.protocol import flag_of, names_by_arrival, resolved_as
from bsce_keras.records.run_records import read_run
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import listed

_METHOD, _MEMORY = "method.", "memory."
_STATISTICS = (
    "train_images",
    "class_counts",
    "epochs",
    "train_seconds",
    "images_per_second",
)

_DECISIVE = tuple(
    name for name, setting in SETTINGS.items() if setting.decides_base_step
)


def load_base_step(config, step):
    """Loads the finished base step of `config.base_run_dir`.

    The classification losses may differ if they are equal without old classes, such
    as softmax and separated softmax. If all base classes have equally many images,
    priors and class weights are constants. All losses but PODNet's own are equal then.

    Two kinds of runs serve by their network, and exemplars are chosen anew: a run of
    the same method with another memory, and a run of a method with the same
    `Published.base_network`, whose parameters may differ too.

    Args:
        config: `ExperimentConfig` that names the other run.
        step: step 0 of the new run's stream. Both runs need the same images.

    Returns:
        `(arrays, state)`, as `Checkpoints.load_step` returns them.

    Raises:
        RequestError: the other run has not finished step 0, or trained it otherwise.
            One line describes each difference.
    """
    theirs = read_run(config.base_run_dir).config
    checkpoints = Checkpoints(config.base_run_dir)
    checkpoints.refuse_strangers()
    loaded = checkpoints.load_step(0)
    if loaded is None:
        raise RequestError(
            f"--base_run_dir={config.base_run_dir} holds no finished, undamaged step "
            "0. Let that run finish its base step first, or omit the flag."
        )
    differences = _differences(theirs, config, loaded[1]["class_counts"])
    if _base_classes(theirs, config) == list(step.class_names):
        differences += data_differences(config.base_run_dir, image_digests(step))
    _refuse(config, differences)
    return loaded


def save_base_step(checkpoints, config, base_step):
    """Saves a loaded base step in the run that takes it.

    A run with another method or memory gives only the network. Step 0 then goes on
    from its checkpoint under the name of `SHARED_NETWORK`.

    Args:
        checkpoints: `Checkpoints` of the run.
        config: its `ExperimentConfig`.
        base_step: return value of `load_base_step`.
    """
    arrays, state = base_step
    unequal = _unequal(read_run(config.base_run_dir).config, config)
    if not any(name.startswith((_METHOD, _MEMORY)) for name in unequal):
        checkpoints.save_step(0, arrays, state)
        return
    network = {n: value for n, value in arrays.items() if n.startswith("classifier/")}
    statistics = {name: state[name] for name in _STATISTICS}
    statistics["class_counts"] = [int(count) for count in state["class_counts"]]
    checkpoints.save_progress(0, SHARED_NETWORK, state["epochs"], network, statistics)


def check_base_step(config):
    """Refuses a base step by the config.json of its run, before data is read.

    Args:
        config: `ExperimentConfig` that names the other run.

    Raises:
        RequestError: as `load_base_step`.
    """
    theirs = read_run(config.base_run_dir).config
    _refuse(config, _differences(theirs, config, counts=()))


def _refuse(config, differences):
    if differences:
        raise RequestError(
            [
                f"--base_run_dir={config.base_run_dir} trained another base step. Use "
                "the same flags, or omit --base_run_dir. Differences:",
                *differences,
            ]
        )


def base_step_key(config):
    """Returns a text that is equal for configurations with equal base steps.

    It is computed before data is read. Losses count as equal only if the data set is
    known to have equally many images of every class. `load_base_step` compares again
    once it has the images.

    Args:
        config: `ExperimentConfig`.
    """
    return _key(config, _MEMORY if _has_any_memory(config) else ())


def network_key(config):
    """Returns a text that is equal for configurations with equal networks of step 0.

    Only a method's `Published.base_network` counts. None if the method has none, or if
    updates do not train its base step.

    Args:
        config: `ExperimentConfig`.
    """
    network, (trains, _) = _base_network(config.method.name), trained_steps(config)
    return _key(config, (_METHOD, _MEMORY)) + network if network and trains else None


def serves(there, here):
    """Returns True if a method can go on from another one's network of step 0.

    A solved head has replaced the trained one there if the method solves the head of
    step 0. Only methods that replace it too need no more than the backbone.

    Args:
        there, here: methods with the same `Published.base_network`.
    """
    return published(here).solves_base_head or not published(there).solves_base_head


def _key(config, left_out):
    """Text of all that decides a base step, without some sections."""
    fields = config.to_json()
    decisive = [name for name in _DECISIVE if not name.startswith(left_out)]
    key = {name: _value(fields, name) for name in decisive}
    stream, loss = config.stream, config.method.classification_loss
    has_equal_classes = find_dataset(stream.dataset).has_equal_classes
    equal = loss in SOFTMAX_AT_EQUAL_COUNTS and has_equal_classes
    key["loss"] = sorted(SOFTMAX_AT_EQUAL_COUNTS) if equal else at_base_step(loss)
    key["base classes"] = stream.arriving_class_names[: stream.num_base_classes]
    # Different folders of images may have classes of the same names.
    key["data_dir"] = stream.data_dir
    return json.dumps(key, sort_keys=True)


def _loss_differences(theirs, ours, counts):
    if at_base_step(theirs) == at_base_step(ours):
        return []
    line = f"--classification_loss: {theirs} there, {ours} here"
    if not {theirs, ours} <= SOFTMAX_AT_EQUAL_COUNTS:
        return [line]
    if len(set(counts)) > 1:
        return [f"{line}, and these losses differ if base classes have unequal sizes"]
    return []


def _differences(theirs, config, counts):
    """Lines that say what two configurations have different about their base steps."""
    differences = [
        f"{flag_of(name)}: {there} there, {here} here"
        for name, (there, here) in _unequal(theirs, config).items()
        if not name.startswith(_free_sections(theirs, config))
    ]
    stream = config.stream
    there = _base_classes(theirs, config)
    here = list(stream.arriving_class_names[: stream.num_base_classes])
    if there != here:
        # Orders have no line of their own, and a folder that has grown has another one.
        differences.append(
            f"base classes: {listed(there)} there, {listed(here)} here. "
            "--class_order=FILE takes the order of a file"
        )
    their_loss = theirs["method"]["classification_loss"]
    our_loss = config.method.classification_loss
    return differences + _loss_differences(their_loss, our_loss, counts)


def _unequal(theirs, config):
    """Decisive fields with unequal values: `{name: (there, here)}`."""
    ours = resolved_as(json.loads(json.dumps(config.to_json())), theirs)
    values = {name: (_value(theirs, name), _value(ours, name)) for name in _DECISIVE}
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def _free_sections(theirs, config):
    """Sections that may differ, because the run takes only the network."""
    there, here = theirs["method"]["name"], config.method.name
    network = _base_network(here)
    if network and network == _base_network(there) and serves(there, here):
        return (_METHOD, _MEMORY)
    return (_MEMORY,) if there == here and _has_any_memory(config) else ()


def _base_network(method):
    """Returns `Published.base_network`; a method of the user's own has none."""
    return "" if is_own(method) else published(method).base_network


def _has_any_memory(config):
    """Returns True if any memory has the same network at the base step.

    Images set aside do not train it. A method of the user's own may depend on the
    memory too.
    """
    return not (config.memory.use.sets_aside or is_own(config.method.name))


def _base_classes(theirs, config):
    return names_by_arrival(theirs["stream"])[: config.stream.num_base_classes]


def _value(config, name):
    """Value of a field of `ExperimentConfig.to_json()`, None if it is missing."""
    section, _, field = name.partition(".")
    return config[section].get(field)
