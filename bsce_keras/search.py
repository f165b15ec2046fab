"""A search of hyper-parameters: trials on held-out training images, one after another.

keras-tuner chooses what is tried next; what a trial came to lies in its run folders.
Every search begins at the first trial, and those that are finished answer at once, so
that the same command goes on where it was stopped, with all that was chosen chosen
again: keras-tuner's own record of a grid (1.4.8) forgets its place.
"""

import dataclasses
import hashlib
import os
import shutil
import statistics
import sys

import keras
import keras_tuner

from bsce_keras.base_step import base_step_key
from bsce_keras.errors import RunError
from bsce_keras.experiment import run_experiment
from bsce_keras.learner.distribution import resolved
from bsce_keras.records.run_folder import check_same_run
from bsce_keras.records.store import read_run
from bsce_keras.request import make_config
from bsce_keras.search_space import Range, rounded

SCORE = "average_incremental_accuracy"


@dataclasses.dataclass(frozen=True)
class Search:
    """What is searched, how, and the experiment that it is searched for.

    Args:
        space: by keyword of `make_config`, `Values` or `Range`.
        strategy: `grid`, `random` or `bayesian`.
        max_trials: None for all of a grid.
        seeds: of every trial.
        runs_dir: folder of all run folders.
        request: keywords of `make_config` that all trials share, a `validation_share`
            above 0 among them.
    """

    space: dict
    strategy: str
    max_trials: int | None
    seeds: tuple[int, ...]
    runs_dir: str
    request: dict


@dataclasses.dataclass(frozen=True)
class Trial:
    """One combination of values and what it came to.

    Args:
        values: by keyword of `make_config`.
        summaries: one a seed, as in summary.json; empty if a run failed.
        error: why it failed, or None.
    """

    values: dict[str, float]
    summaries: tuple[dict, ...] = ()
    error: str | None = None

    def mean(self, name):
        """Mean over seeds of a score of the summaries; None where it is undefined."""
        scores = [summary[name] for summary in self.summaries]
        return None if not scores or None in scores else statistics.fmean(scores)


def run_search(search, after_trial):
    """Runs the trials of a search.

    Args:
        search: `Search`.
        after_trial: called with the list of `Trial`s after every one.

    Returns:
        List of `Trial`s in the order in which they were tried.

    Raises:
        RequestError: a run folder is that of another experiment.
        Stopped: on request, after a save.
    """
    tuner = _Tuner(search, after_trial)
    try:
        tuner.search(verbose=0)
    except keras_tuner.errors.FatalError as error:
        raise error.__cause__ from None
    return tuner.trials


class _Tuner(keras_tuner.Tuner):
    """keras-tuner's loop around our runs."""

    def __init__(self, search, after_trial):
        self._search = search
        self._after_trial = after_trial
        self.trials = []
        folder = os.path.join(search.runs_dir, "keras_tuner")
        shutil.rmtree(folder, ignore_errors=True)
        super().__init__(_oracle(search), directory=folder, project_name="oracle")

    def run_trial(self, trial, **_):
        values = {
            name: rounded(value) for name, value in trial.hyperparameters.values.items()
        }
        try:
            summaries = [self._run(values, seed) for seed in self._search.seeds]
            ours = Trial(values, tuple(summaries))
        except RunError as error:
            # A rate that makes the loss infinite is an answer, too.
            ours = Trial(values, error=str(error))
        except Exception as error:
            # keras-tuner would take any other for a bad trial and go on.
            raise keras_tuner.errors.FatalError(str(error)) from error
        # On a scale of four digits a process may choose the same again.
        if values not in [trial.values for trial in self.trials]:
            self.trials.append(ours)
            self._after_trial(self.trials)
        score = ours.mean(SCORE)
        if score is None:
            raise keras_tuner.errors.FailedTrialError(ours.error or "no score")
        return {SCORE: score}

    def _run(self, values, seed):
        name = "_".join(f"{key}_{value:g}" for key, value in values.items())
        config = make_config(
            **self._search.request,
            **values,
            seed=seed,
            run_dir=os.path.join(self._search.runs_dir, name, f"seed_{seed}"),
            export=False,
        )
        config = dataclasses.replace(config, training=resolved(config.training))
        base = _base_step_run(config, self._search.runs_dir)
        _summary(base)
        return _summary(dataclasses.replace(config, base_run_dir=base.run_dir))


def _base_step_run(config, runs_dir):
    """A run of the base step alone, for all trials that have it in common."""
    key = hashlib.sha256(base_step_key(config).encode()).hexdigest()[:12]
    return dataclasses.replace(
        config,
        stream=dataclasses.replace(config.stream, increments=()),
        method=dataclasses.replace(config.method, alpha=1.0),
        run_dir=os.path.join(runs_dir, "base_steps", key),
    )


def _summary(config):
    """The summary of a run, which is trained unless it is finished."""
    check_same_run(config.run_dir, config)
    if os.path.isfile(os.path.join(config.run_dir, "summary.json")):
        return read_run(config.run_dir).summary
    print(f"\n{config.run_dir}", flush=True)
    try:
        return run_experiment(config)
    finally:
        # Keras would keep every model of every run.
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
        max_consecutive_failed_trials=sys.maxsize,
    )
