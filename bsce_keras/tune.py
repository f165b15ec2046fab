"""`python -m bsce_keras.tune`: which fixed alpha does best on held-out images."""

import os
import sys

from bsce_keras.contradictions import writable_problems
from bsce_keras.errors import RequestError, RunError
from bsce_keras.files import write_json
from bsce_keras.flags import run_command, set_values
from bsce_keras.quiet import import_tensorflow
from bsce_keras.records.tables import aligned, percent
from bsce_keras.request import make_config, request_problems
from bsce_keras.request_values import seeds_of
from bsce_keras.search_space import PAPER_ALPHAS, SEARCHED, Range, read_space

_OWN_FLAGS = (*SEARCHED, "search", "max_trials", "seeds", "runs_dir", "flagfile")
_DEFAULT_TRIALS = 10
_SCORES = {
    "average": "average_incremental_accuracy",
    "final": "final_accuracy",
    "base": "final_base_accuracy",
    "new": "final_new_accuracy",
}
_NOTE = (
    "Percent, on training images held out of every class, mean over seeds; no test "
    "image was looked at. * is the best average."
)


def main(argv=None):
    """Runs the command.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0, 1 (failed while running) or 2 (wrong request).
    """
    return run_command("tune", _tune, argv, check=lambda values, _: _read(values)[1])


def _tune(values, _):
    asked, problems = _read(values)
    if problems:
        raise RequestError(problems)
    if asked["request"].get("download"):
        make_config(**asked["request"])  # Fetches what the trials will read.
    import_tensorflow()
    from bsce_keras.search import Search, run_search

    search = Search(**asked)
    os.makedirs(search.runs_dir, exist_ok=True)
    trials = run_search(search, lambda trials: _write(search.runs_dir, trials))
    best = _best(trials)
    print(f"\n{_table(trials)}\n\n{_NOTE}\n\nwrote {search.runs_dir}/search.json")
    if best is None:
        raise RunError(
            "no trial has a score: "
            + "; ".join(dict.fromkeys(str(trial.error) for trial in trials))
        )
    chosen = " ".join(f"--{name}={value:g}" for name, value in best.values.items())
    print(f"\nbest: {chosen}. Give it to bsce_keras.train, to learn from all images.")


def _read(values):
    """The fields of a `Search`, and everything that is wrong with them."""
    seeds, problems = seeds_of(values.seeds)
    space = {}
    for flag, text in _searched(values).items():
        space[SEARCHED[flag]], found = read_space(flag, text)
        problems += found
    given = set_values(values)
    request = {
        "dataset": None,
        "classification_loss": values.classification_loss,
        "validation_share": values.validation_share,
        **{name: value for name, value in given.items() if name not in _OWN_FLAGS},
    }
    problems += [
        f"Give either --{name}, the same for all trials, or --{flag}, those to try."
        for flag, name in SEARCHED.items()
        if name in request and name in space
    ]
    problems += _own_problems(values, space)
    if None not in space.values():
        problems += _trial_problems(request, space, values.runs_dir)
    is_grid = values.search == "grid"
    return {
        "space": space,
        "strategy": values.search,
        "max_trials": values.max_trials or (None if is_grid else _DEFAULT_TRIALS),
        "seeds": seeds,
        "runs_dir": os.path.expanduser(values.runs_dir),
        "request": request,
    }, problems


def _searched(values):
    """By flag, the text that says what is to be tried."""
    asked = {flag: values[flag].value for flag in SEARCHED}
    if asked["alphas"] is None and values.classification_loss == "balanced_softmax":
        asked["alphas"] = PAPER_ALPHAS
    return {flag: text for flag, text in asked.items() if text is not None}


def _own_problems(values, space):
    if not space:
        yield "Nothing to search. Give --alphas, --learning_rates or --weight_decays."
    if values.search == "grid" and any(isinstance(s, Range) for s in space.values()):
        yield (
            "--search=grid tries lists of numbers, and a range has no end of them. "
            "Give a list, or --search=random or --search=bayesian."
        )
    if values.max_trials is not None and values.max_trials < 1:
        yield f"--max_trials must be at least 1. Received: {values.max_trials}"
    if values.validation_share == 0:
        yield (
            "--validation_share=0 holds no image out to choose by, and test images "
            "are not for choosing. Give a number above 0."
        )
    yield from writable_problems("--runs_dir", os.path.expanduser(values.runs_dir))


def _trial_problems(request, space, runs_dir):
    """What is wrong with the trials at every value there is, or at both ends."""
    first = {name: values.examples[0] for name, values in space.items()}
    found = {}
    for name, values in space.items():
        for value in values.examples:
            trial = {**request, **first, name: value}
            run_dir = os.path.join(os.path.expanduser(runs_dir), "trial")
            found |= dict.fromkeys(request_problems(**trial, run_dir=run_dir))
    return [problem for problem in found if not problem.startswith("--run_dir=")]


def _write(runs_dir, trials):
    best = _best(trials)
    write_json(
        os.path.join(runs_dir, "search.json"),
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
            *(f"{value:g}" for value in trial.values.values()),
            *(percent(trial.mean(name)) for name in _SCORES.values()),
            "*" if trial is best else "failed" if trial.error else "",
        ]
        for trial in trials
    ]
    return aligned([*trials[0].values, *_SCORES, ""], rows)


if __name__ == "__main__":
    sys.exit(main())
