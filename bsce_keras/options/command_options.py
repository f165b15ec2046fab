"""Every command and its options. Imports no TensorFlow."""

import dataclasses
import itertools

from bsce_keras.config.choices import SEARCHES
from bsce_keras.options.option import Command, Option
from bsce_keras.options.train_options import DATA_SOURCE, OPTIONS, TRAIN_GROUPS

_GENERAL = (
    Option(
        "flagfile",
        str,
        "read flags from a file, one a line; # starts a comment, later flags win",
    ),
    Option("help", bool, "print this list and exit"),
)

_TRAIN = Command(
    purpose="Trains one class-incremental experiment: a base step and increments.",
    example="--dataset=digits --seed=2",
    groups={**TRAIN_GROUPS, "General": _GENERAL},
)

_EVALUATE = Command(
    purpose="Scores the exported models of a run, or one SavedModel on a data set.",
    example="--run_dir=runs/NAME",
    groups={
        "What to score": (
            Option(
                "run_dir",
                str,
                "run whose exported steps are scored, on the images it was scored on",
            ),
            Option("model", str, "exported step to score, on the data set named below"),
            # Training uses the same batch size; sums in bfloat16 depend on it.
            Option("batch_size", int, "images scored at a time", default=500),
        ),
        "Data set": (
            *DATA_SOURCE,
            dataclasses.replace(
                OPTIONS["cache_dir"],
                default_text="images are held in memory; for a run, as it was trained",
            ),
            dataclasses.replace(
                OPTIONS["on_bad_image"],
                default_text="error; for a run, as it was trained",
            ),
        ),
        "General": _GENERAL,
    },
)

_PREDICT = Command(
    purpose="Classifies image files with an exported step, one line a file.",
    example="--model=runs/NAME/exports/step_05 photo.jpg",
    groups={
        "Prediction": (
            Option("model", str, "folder of an exported step"),
            Option(
                "top_k",
                int,
                "number of most probable classes listed for each file",
                default=1,
            ),
            Option(
                "format",
                str,
                "format of the answer",
                choices=("text", "json"),
                default="text",
            ),
        ),
        "General": _GENERAL,
    },
    positional="FILE",
)

_REPORT = Command(
    purpose="Prints tables and draws figures of one or many runs.",
    example="runs/*",
    groups={
        "Report": (
            Option(
                "format",
                str,
                "format of the printed tables",
                choices=("text", "markdown", "csv", "latex"),
                default="text",
            ),
            Option(
                "output",
                str,
                "folder of the report files",
                default_text="the tables are only printed",
            ),
        ),
        "General": _GENERAL,
    },
    positional="RUN_DIR",
)

# `reproduce` does not export by default: models of every step would fill the disk.
_OF_EVERY_CELL = tuple(
    dataclasses.replace(option, default=False) if option.name == "export" else option
    for option in OPTIONS.values()
    if option.every_cell
)
_REPRODUCE = Command(
    purpose="Trains a matrix of flagfiles and seeds and compares it with the paper.",
    example="flags/cifar100_5steps/*.flags --seeds=1,2",
    groups={
        "Matrix": (
            Option(
                "seeds",
                str,
                "seeds of every flagfile, separated by commas",
                default="1",
            ),
            Option(
                "runs_dir", str, "folder of all run folders", default="runs/reproduce"
            ),
            Option(
                "share_base_steps",
                bool,
                "train a base step once if several cells have it in common",
                default=True,
            ),
        ),
        "Every cell (overrides its flagfile)": _OF_EVERY_CELL,
        "General": _GENERAL,
    },
    positional="FLAGFILE",
    passed_on=_OF_EVERY_CELL,
)

# By default `tune` searches alpha, so it needs a loss with a fixed alpha.
_OF_TRIALS = {
    group: tuple(
        dataclasses.replace(option, default="balanced_softmax")
        if option.name == "classification_loss"
        else option
        for option in options
        if "tune" not in option.set_by
    )
    for group, options in TRAIN_GROUPS.items()
}
_TUNE = Command(
    purpose="Searches the fixed alpha that scores best on held-out training images.",
    example="--dataset=digits --alphas=0.5,1 --seeds=1,2",
    groups={
        "Search": (
            Option(
                "alphas",
                str,
                "weights of the old classes to try: numbers separated by commas, or "
                "LOW:HIGH for a range, which is searched on a log scale",
                default_text="0.1,0.25,0.5,1 for balanced_softmax",
            ),
            Option("learning_rates", str, "learning rates to try, in the same form"),
            Option("weight_decays", str, "weight decays to try, in the same form"),
            Option(
                "search",
                str,
                "grid tries all combinations of listed values; random draws and "
                "bayesian chooses --max_trials combinations",
                choices=SEARCHES,
                default="grid",
            ),
            Option(
                "max_trials",
                int,
                "largest number of combinations to try",
                default_text="all for grid, else 10",
            ),
            Option(
                "seeds",
                str,
                "seeds of every trial, whose scores are averaged",
                default="1",
            ),
            dataclasses.replace(
                OPTIONS["validation_share"],
                help="share of the training images of every class that is held out "
                "and scored",
                default=0.1,
            ),
            Option("runs_dir", str, "folder of all run folders", default="runs/tune"),
        ),
        **{group: options for group, options in _OF_TRIALS.items() if options},
        "General": _GENERAL,
    },
    passed_on=tuple(itertools.chain(*_OF_TRIALS.values())),
)

COMMANDS = {
    "train": _TRAIN,
    "evaluate": _EVALUATE,
    "predict": _PREDICT,
    "report": _REPORT,
    "reproduce": _REPRODUCE,
    "tune": _TUNE,
}
