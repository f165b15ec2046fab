"""Every flag of every command: name, kind, meaning and default. Imports no TensorFlow.

`bsce_keras.options.command_line` reads a command line by these tables.
"""

import dataclasses

from bsce_keras.config.choices import BAD_IMAGE_POLICIES, SEARCHES
from bsce_keras.options.option import Command, Flag
from bsce_keras.options.train_options import DATA_SOURCE, GENERAL, TRAIN


def _train_flag(name):
    return next(flag for flag in TRAIN.flags if flag.name == name)


_EVALUATE = Command(
    purpose="Scores the exported models of a run, or one SavedModel on a data set.",
    example="--run_dir=runs/NAME",
    groups={
        "What to score": (
            Flag(
                "run_dir",
                str,
                "every exported step of this run, on the images it is scored on",
            ),
            Flag("model", str, "one exported step, on the data set named below"),
            # As many as training evaluates at a time: sums in bfloat16 depend on it.
            Flag("batch_size", int, "images scored at a time", 500),
        ),
        "Data set": (
            *DATA_SOURCE,
            dataclasses.replace(
                _train_flag("cache_dir"),
                default_text="they are held in memory; for a run, as it was trained",
            ),
            Flag(
                "on_bad_image",
                BAD_IMAGE_POLICIES,
                "what an image that cannot be decoded does",
                default_text="error; for a run, as it was trained",
            ),
        ),
        "General": GENERAL,
    },
)

_PREDICT = Command(
    purpose="Classifies image files with an exported step, one line each.",
    example="--model=runs/NAME/exports/step_05 photo.jpg",
    groups={
        "Prediction": (
            Flag("model", str, "folder of an exported step"),
            Flag("top_k", int, "most probable classes listed for each file", 1),
            Flag("format", ("text", "json"), "of the answer", "text"),
        ),
        "General": GENERAL,
    },
    positional="FILE",
)

_REPORT = Command(
    purpose="Tables and figures of one or many runs.",
    example="runs/*",
    groups={
        "Report": (
            Flag(
                "format",
                ("text", "markdown", "csv"),
                "of the printed tables",
                "text",
            ),
            Flag(
                "output",
                str,
                "where the report files go",
                default_text="the tables are only printed",
            ),
        ),
        "General": GENERAL,
    },
    positional="RUN_DIR",
)

# What one may ask of all cells of a matrix alike. The rest makes a cell what it is and
# belongs into its flagfile, or is the matrix's own: seeds and folders.
EVERY_CELL = (
    "data_dir",
    "download",
    "cache_dir",
    "on_bad_image",
    "schedule_scale",
    "precision",
    "deterministic",
    "strategy",
    "virtual_devices",
    "intra_op_threads",
    "save_minutes",
    "synchronized_batch_norm",
    "export",
)
_REPRODUCE = Command(
    purpose="Trains a matrix of flagfiles and seeds and tells it beside the paper's "
    "numbers.",
    example="flags/cifar100_5steps/*.flags --seeds=1,2",
    groups={
        "Matrix": (
            Flag("seeds", str, "of every flagfile, separated by commas", "1"),
            Flag("runs_dir", str, "folder of all run folders", "runs/reproduce"),
            Flag(
                "share_base_steps",
                bool,
                "train a base step that several cells have in common once",
                True,
            ),
        ),
        "Every cell (over what its flagfile says)": tuple(
            # A matrix is about numbers: models of every step would fill the disk.
            dataclasses.replace(flag, default=False) if flag.name == "export" else flag
            for flag in TRAIN.flags
            if flag.name in EVERY_CELL
        ),
        "General": GENERAL,
    },
    positional="FLAGFILE",
)

# Of a search: chosen by it, or tried by it one value after the other.
_OF_A_TRIAL = (
    *("alpha", "seed", "validation_share"),
    *("run_dir", "base_run_dir", "resume", "export"),
)
_FLAGS_OF_A_TRIAL = {
    group: tuple(
        # Of losses without alpha there is less to search.
        dataclasses.replace(flag, default="balanced_softmax")
        if flag.name == "classification_loss"
        else flag
        for flag in flags
        if flag.name not in _OF_A_TRIAL
    )
    for group, flags in TRAIN.groups.items()
}
_TUNE = Command(
    purpose="Searches the fixed alpha that does best on held-out training images.",
    example="--dataset=digits --alphas=0.5,1 --seeds=1,2",
    groups={
        "Search": (
            Flag(
                "alphas",
                str,
                "weights of the old classes to try: numbers with commas between them, "
                "or LOW:HIGH for a range, searched on a log scale",
                default_text="0.1,0.25,0.5,1 for balanced_softmax",
            ),
            Flag("learning_rates", str, "learning rates to try, written alike"),
            Flag("weight_decays", str, "weight decays to try, written alike"),
            Flag(
                "search",
                SEARCHES,
                "all combinations of lists of values, or as many as --max_trials, "
                "drawn or chosen by a Gaussian process",
                "grid",
            ),
            Flag(
                "max_trials",
                int,
                "combinations to try at most",
                default_text="all for grid, else 10",
            ),
            Flag("seeds", str, "of every trial, whose scores are averaged", "1"),
            dataclasses.replace(
                _train_flag("validation_share"),
                help="part of the training images of every class to hold out for the "
                "scores",
                default=0.1,
            ),
            Flag("runs_dir", str, "folder of all run folders", "runs/tune"),
        ),
        **{group: flags for group, flags in _FLAGS_OF_A_TRIAL.items() if flags},
    },
)

COMMANDS = {
    "train": TRAIN,
    "evaluate": _EVALUATE,
    "predict": _PREDICT,
    "report": _REPORT,
    "reproduce": _REPRODUCE,
    "tune": _TUNE,
}
