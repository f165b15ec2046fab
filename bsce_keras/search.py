"""Search of hyper-parameters: trials on held-out training images, one after another.

keras-tuner chooses the values of the next trial. Run folders hold the results. A
repeated command starts at the first trial and chooses the same values again. Finished
trials return at once, so the search continues where it was stopped. The state of
keras-tuner is not kept, because its record of a grid (1.4.8) loses its position.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import statistics
import sys
import tempfile

import keras
import keras_tuner

from bsce_keras.config import ExperimentConfig
from bsce_keras.experiment import run_experiment
from bsce_keras.methods.parameters import changed
from bsce_keras.options.folders import has_base_step
from bsce_keras.options.search_space import (
    Range,
    flag_lines,
    parameters_in,
    rounded,
    with_values,
)
from bsce_keras.options.train_options import OPTIONS
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.protocol import outcome_fields
from bsce_keras.records.run_identity import check_same_run
from bsce_keras.records.run_records import read_record, read_run
from bsce_keras.runtime.devices import resolved
from bsce_keras.runtime.errors import DivergedError, RequestError

SCORE = "average_incremental_accuracy"


@dataclasses.dataclass(frozen=True)
class Search:
    """Search space, strategy and experiment of a search.

    Args:
        space: `Values` or `Range` by name, see `search_space.with_values`.
        strategy: `grid`, `random` or `bayesian`.
        max_trials: largest number of trials, None for all of a grid.
        seeds: seeds of every trial.
        runs_dir: folder of all run folders.
        config: `ExperimentConfig` of all trials, apart from searched values, seed and
            folders. Its `validation_share` is above 0.
        request: keywords of `make_config` that the experiment was given.
    """

    space: dict
    strategy: str
    max_trials: int | None
    seeds: tuple[int, ...]
    runs_dir: str
    config: ExperimentConfig
    request: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Trial:
    """Combination of values and its results.

    Args:
        values: values by name, see `search_space.with_values`.
        summaries: summary.json of each seed; empty if a run failed.
        error: reason of the failure, or None.
    """

    values: dict[str, float]
    summaries: tuple[dict, ...] = ()
    error: str | None = None

    def mean(self, name):
        """Mean of a score over seeds, None if it is undefined."""
        scores = [summary[name] for summary in self.summaries]
        return None if not scores or None in scores else statistics.fmean(scores)


def run_search(search, after_trial):
    """Runs the trials of a search.

    Args:
        search: `Search`.
        after_trial: function that is called with the list of `Trial`s after each trial.

    Returns:
        List of `Trial`s in the order of training.

    Raises:
        RequestError: a run folder belongs to another experiment or other images.
        RunError: training failed for another reason than the values of the trial.
        Stopped: on request, after a save.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tuner = _Tuner(search, after_trial, scratch)
        try:
            tuner.search(verbose=0)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ from None
    return tuner.trials


class _Tuner(keras_tuner.Tuner):
    """Loop of keras-tuner over the runs of this package."""

    def __init__(self, search, after_trial, scratch):
        self._runs = _Runs(search)
        self._space = search.space
        self._after_trial = after_trial
        self.trials = []
        super().__init__(_oracle(search), directory=scratch, project_name="search")

    def run_trial(self, trial, **_):
        values = {
            # Drawn numbers are rounded to the digits in the name of the folder.
            name: rounded(value) if isinstance(self._space[name], Range) else value
            for name, value in trial.hyperparameters.values.items()
        }
        try:
            ours = self._runs.trial(values)
        except Exception as error:
            # keras-tuner would take another exception for a failed trial and continue.
            raise keras_tuner.errors.FatalError(str(error)) from error
        # Values rounded to four digits may repeat.
        if values not in [earlier.values for earlier in self.trials]:
            self.trials.append(ours)
            self._after_trial(self.trials)
        # Failures get the worst score, because keras-tuner would print tracebacks.
        return {SCORE: ours.mean(SCORE) or 0.0}


class _Runs:
    """Runs of a search, and the base steps that they share."""

    def __init__(self, search):
        self._search = search
        self._diverged = {}
        self._first = None

    def trial(self, values):
        """Returns the `Trial` of some values, after training its unfinished runs."""
        try:
            runs = [self._run(values, seed) for seed in self._search.seeds]
            return Trial(values, tuple(runs))
        except DivergedError as error:
            # Divergence is a valid result of a trial, such as one with too high a rate.
            name = _name(values)
            print(f"bsce_keras.tune: {name} failed: {error}", file=sys.stderr)
            return Trial(values, error=str(error))

    def _run(self, values, seed):
        config = self._config(values, seed)
        base = _base_config(config, self._search.runs_dir)
        record = read_record(pathlib.Path(config.run_dir, "config.json"))
        base_run_dir = record.get("base_run_dir") if record else base.run_dir
        config = dataclasses.replace(config, base_run_dir=base_run_dir)
        check_same_run(config.run_dir, config)
        summary = None
        if os.path.isfile(os.path.join(config.run_dir, "summary.json")):
            # None if steps of the run were lost.
            summary = read_run(config.run_dir).summary
        if summary is None:
            if not has_base_step(config.run_dir):
                self._train_base_step(base)
            summary = _train(config, self._flags(config, values, seed))
        self._check_images(config.run_dir)
        return summary

    def _config(self, values, seed):
        config = self._search.config
        method, parameters = config.method, parameters_in(values)
        sections = {"training": {"seed": seed}}
        if parameters:
            args = (parameters, method.name, method.classification_loss)
            sections["method"] = {"parameters": changed(method.parameters, *args)}
        for name, value in with_values({}, values).items():
            section, _, field = OPTIONS[name].field.partition(".")
            if field:
                sections.setdefault(section, {})[field] = value
        parts = {
            section: dataclasses.replace(getattr(config, section), **fields)
            for section, fields in sections.items()
        }
        parts["training"] = resolved(parts["training"])
        folder = os.path.join(self._search.runs_dir, _name(values), f"seed_{seed}")
        return dataclasses.replace(config, **parts, run_dir=folder)

    def _train_base_step(self, base):
        if base.run_dir in self._diverged:
            raise self._diverged[base.run_dir]
        if Checkpoints(base.run_dir).load_step(0) is not None:
            return
        try:
            _train(base)
        except DivergedError as error:
            self._diverged[base.run_dir] = error
            raise

    def _flags(self, config, values, seed):
        own = {
            "seed": seed,
            "validation_share": config.stream.validation_share,
            "run_dir": config.run_dir,
            "base_run_dir": config.base_run_dir,
            "export": False,
        }
        request = with_values(self._search.request, values)
        return "".join(f"{line}\n" for line in flag_lines({**request, **own}))

    def _check_images(self, run_dir):
        """Refuses to compare trials that were trained on different images."""
        data = pathlib.Path(run_dir, "data.json")
        if not data.is_file():
            return
        self._first = self._first or data
        if read_record(data) != read_record(self._first):
            raise RequestError(
                f"{run_dir} and {self._first.parent} were trained on different images, "
                "so their scores cannot be compared. Restore the images, or use "
                "another --runs_dir."
            )


def _name(values):
    return "_".join(f"{name}_{value!r}" for name, value in values.items())


def _base_config(config, runs_dir):
    """Returns the config of a run with only the base step, which trials share."""
    base = dataclasses.replace(
        config,
        stream=dataclasses.replace(config.stream, increments=()),
        method=dataclasses.replace(config.method, alpha=1.0),
    )
    key = json.dumps(outcome_fields(base.to_json()), sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return dataclasses.replace(
        base, run_dir=os.path.join(runs_dir, "base_steps", digest)
    )


def _train(config, flags=""):
    print(f"\n{config.run_dir}", flush=True)
    try:
        return run_experiment(config, flags)
    finally:
        # Without this, Keras keeps every model of every run.
        keras.backend.clear_session()


def _oracle(search):
    hyperparameters = keras_tuner.HyperParameters()
    for name, space in search.space.items():
        if isinstance(space, Range):
            hyperparameters.Float(name, space.low, space.high, sampling="log")
        else:
            hyperparameters.Choice(name, list(space.values))
    oracles = {
        "grid": keras_tuner.oracles.GridSearchOracle,
        "random": keras_tuner.oracles.RandomSearchOracle,
        "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    }
    return oracles[search.strategy](
        objective=keras_tuner.Objective(SCORE, "max"),
        max_trials=search.max_trials,
        hyperparameters=hyperparameters,
        seed=1,
    )
