"""`python -m bsce_keras.tune`: searches hyper-parameters by held-out images."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
import sys

from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.methods.recipes import published
from bsce_keras.options.command_line import passed_on
from bsce_keras.options.folders import writable_problems
from bsce_keras.options.make_config import make_config, request_problems
from bsce_keras.options.run_command import program, run_command
from bsce_keras.options.search_space import (
    PAPER_ALPHAS,
    SEARCHED,
    Range,
    flag_lines,
    parameters_in,
    read_parameter_spaces,
    read_space,
    with_values,
)
from bsce_keras.options.values import below_one, named_values, seeds_of
from bsce_keras.records import schema
from bsce_keras.records.protocol import outcome_differences
from bsce_keras.records.run_folder import run_lock
from bsce_keras.records.run_records import read_record
from bsce_keras.reports.tables import SCORES, aligned
from bsce_keras.runtime.cluster import one_process_only
from bsce_keras.runtime.errors import RequestError, RunError, refuse
from bsce_keras.runtime.files import write_json
from bsce_keras.runtime.tensorflow_import import import_keras
from bsce_keras.runtime.text import percent

_RESULTS = "search.json"
_DEFAULT_TRIALS = 10
_SCORES = {name: SCORES[name] for name in ("average", "final", "base", "new")}
_NOTE = (
    "Percent, on training images held out of every class, mean over seeds. Test images "
    "were not used. * marks the best average."
)


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command("tune", _tune, argv, check=lambda values, _: _read(values)[1])


def _tune(values, _):
    asked, problems = _read(values)
    refuse(problems)
    # May fetch a data set, because the request is correct.
    config = make_config(**asked.request)
    with run_lock(asked.runs_dir, "--runs_dir"):
        _keep_experiment(asked.runs_dir, config)
        import_keras()
        from bsce_keras.search import Search, run_search

        search = Search(
            space=asked.space,
            strategy=values.search,
            max_trials=_max_trials(values),
            seeds=asked.seeds,
            runs_dir=asked.runs_dir,
            config=config,
            request=asked.common,
        )
        trials = run_search(search, _writer(asked.runs_dir))
        _write(asked.runs_dir, trials)
    best = _best(trials)
    print(f"\n{_table(trials)}\n\n{_NOTE}\n\nwrote {asked.runs_dir}/{_RESULTS}")
    if best is None:
        reasons = dict.fromkeys(str(trial.error) for trial in trials)
        raise RunError(f"all trials failed: {'; '.join(reasons)}")
    flags = shlex.join(flag_lines(with_values(asked.common, best.values)))
    print(
        f"\nTo train on all images with the best values:\n\n{program('train')} {flags}"
    )


@dataclasses.dataclass(frozen=True)
class _Asked:
    """Requested search.

    Args:
        space: `Values` or `Range` to try, by name, see `with_values`.
        seeds: seeds of every trial.
        runs_dir: folder of all run folders.
        common: keywords of `make_config` that the command was given for all trials.
        request: all keywords of `make_config` that the trials have in common.
    """

    space: dict
    seeds: tuple[int, ...]
    runs_dir: str
    common: dict
    request: dict


def _read(values):
    """Returns `(asked, problems)`: an `_Asked` and a sentence for each problem."""
    seeds, problems = seeds_of(values.seeds)
    space = {}
    for flag, text in _searched(values).items():
        space[SEARCHED[flag]], found = read_space(flag, text)
        problems += found
    if values.parameter_values is not None:
        parameters, found = read_parameter_spaces(values.parameter_values)
        space |= parameters
        problems += found
    given = passed_on("tune", values)
    runs_dir = values.runs_dir
    request = {
        "dataset": None,
        **given,
        "validation_share": values.validation_share,
        # This folder does not exist, so folders of trials do not affect the request.
        "run_dir": os.path.join(runs_dir, "none"),
        "export": False,
    }
    problems += [
        f"Set either --{name}, for all trials, or --{flag}, the values to try."
        for flag, name in SEARCHED.items()
        if name in request and name in space
    ]
    twice = parameters_in(space).keys() & (
        named_values(given.get("method_parameters", "")) or {}
    )
    problems += [
        f"Set {name} either in --method_parameters, for all trials, or in "
        "--parameter_values, the values to try."
        for name in sorted(twice)
    ]
    problems += _own_problems(values, space)
    refused, alone = one_process_only("tune", request)
    problems += refused + _trial_problems(alone, space, seeds)
    return _Asked(space, seeds, runs_dir, given, request), problems


def _max_trials(values):
    if values.max_trials is None and values.search != "grid":
        return _DEFAULT_TRIALS
    return values.max_trials


def _searched(values):
    """Returns the text of every flag that defines values to try."""
    asked = {flag: values[flag].value for flag in SEARCHED}
    if asked["alphas"] is None and _uses_alpha(values):
        asked["alphas"] = PAPER_ALPHAS
    return {flag: text for flag, text in asked.items() if text is not None}


def _uses_alpha(values):
    """Returns True if alpha weighs images of old classes in the trials."""
    facts = published(values.method)
    takes_alpha = loss_facts(values.classification_loss).takes_alpha
    number = values.exemplars_per_class
    if number is None:
        number = values.memory_budget
    has_exemplars = facts.memory.has_exemplars if number is None else number > 0
    has_old_images = has_exemplars or facts.memory.needs_every_class
    return takes_alpha and facts.uses_alpha and has_old_images


def _own_problems(values, space):
    if not space:
        yield (
            "Nothing to search. Give --alphas, --learning_rates, --weight_decays or "
            "--parameter_values."
        )
    if values.search == "grid" and any(isinstance(s, Range) for s in space.values()):
        yield (
            "--search=grid needs lists of numbers, not a range. Use a list, or "
            "--search=random or --search=bayesian."
        )
    yield from below_one(values, "max_trials")
    if values.validation_share == 0:
        yield (
            "--validation_share=0 holds out no images, but a search must not use test "
            "images. Use a number above 0."
        )
    if "alpha" in space and values.num_increments == 0:
        yield (
            "--num_increments=0 has no old classes that alpha could weigh. Use more "
            "increments, or search other values."
        )
    yield from writable_problems("--runs_dir", values.runs_dir)


def _trial_problems(request, space, seeds):
    """Returns the problems of trials with every value, or both ends of a range."""
    trials = [request]
    if space and None not in space.values():
        first = {name: values.examples[0] for name, values in space.items()}
        trials = [
            with_values(request, {**first, name: value})
            for name, values in space.items()
            for value in values.examples
        ]
    trials += [{**trials[0], "seed": seed} for seed in seeds]
    found = {}
    for trial in trials:
        found |= dict.fromkeys(request_problems(**trial))
    return [
        _with_own_flags(problem, request, space)
        for problem in found
        if not problem.startswith("--run_dir=")
    ]


def _with_own_flags(problem, request, space):
    """Names the flags of this command that hold the searched values of a trial."""
    flags = {name: flag for flag, name in SEARCHED.items() if name in space}
    if parameters_in(space) and "method_parameters" not in request:
        flags["method_parameters"] = "parameter_values"
    for name, flag in flags.items():
        problem = re.sub(rf"--{name}\b", f"--{flag}", problem)
    return problem


def _keep_experiment(runs_dir, config):
    """Writes the settings that all trials share, or refuses different ones."""
    path = pathlib.Path(runs_dir, "experiment.json")
    ours = config.to_json()
    theirs = read_record(path, schema.CONFIG)
    if theirs is None:
        write_json(path, ours)
        return
    differences = outcome_differences(theirs, ours)
    if differences:
        raise RequestError(
            [
                f"{runs_dir} holds a search for another experiment. Use its flags to "
                "continue it, or another --runs_dir. Differences:",
                *differences,
            ]
        )


def _writer(runs_dir):
    """Returns a function that writes trials, once they include those of the file."""
    earlier = []
    with contextlib.suppress(RequestError, KeyError, TypeError):
        record = read_record(pathlib.Path(runs_dir, _RESULTS)) or {"trials": []}
        earlier = [trial["values"] for trial in record["trials"]]

    def write(trials):
        values = [trial.values for trial in trials]
        if all(one in values for one in earlier):
            _write(runs_dir, trials)

    return write


def _write(runs_dir, trials):
    best = _best(trials)
    write_json(
        os.path.join(runs_dir, _RESULTS),
        {
            "best": None if best is None else best.values,
            "trials": [
                {
                    "values": trial.values,
                    **{name: trial.mean(name) for name in _SCORES.values()},
                    "num_seeds": len(trial.summaries),
                    "error": trial.error,
                }
                for trial in trials
            ],
        },
    )


def _best(trials):
    score = _SCORES["average"]
    scored = [trial for trial in trials if trial.mean(score) is not None]
    return max(scored, key=lambda trial: trial.mean(score), default=None)


def _table(trials):
    best = _best(trials)
    rows = [
        [
            *(repr(value) for value in trial.values.values()),
            *(percent(trial.mean(name)) for name in _SCORES.values()),
            "*" if trial is best else "failed" if trial.error else "",
        ]
        for trial in trials
    ]
    return aligned([*trials[0].values, *_SCORES, ""], rows)


if __name__ == "__main__":
    sys.exit(main())
