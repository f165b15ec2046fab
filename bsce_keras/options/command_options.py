"""Every command and its options. Imports no TensorFlow."""

import dataclasses
import itertools
import pathlib

from bsce_keras.config.choices import SEARCHES
from bsce_keras.config.export_formats import FORMATS, SAVED_MODEL
from bsce_keras.options.data_options import DATA_SOURCE
from bsce_keras.options.option import Command, Option
from bsce_keras.options.train_options import OPTIONS, TRAIN_GROUPS

_GENERAL = (
    Option(
        "flagfile",
        pathlib.Path,
        "read flags from a file, one a line; # starts a comment, later flags win",
    ),
    Option("help", bool, "print this list and exit"),
    Option("version", bool, "print the version of the package and exit"),
)
_LIST_RECIPES = Option("list_recipes", bool, "print the names of all recipes and exit")
_RECIPES = (
    Option(
        "recipe",
        str,
        "read the flags of a published result, such as "
        "cifar100_5steps/il_baseline_bsce, as --flagfile does",
    ),
    _LIST_RECIPES,
)
# Options that are acted on while the command line is read.
READ_AT_ONCE = frozenset(option.name for option in (*_GENERAL, *_RECIPES))

_TRAIN = Command(
    purpose="Trains one class-incremental experiment: a base step and increments.",
    example="--dataset=digits --seed=2",
    groups={**TRAIN_GROUPS, "General": (*_RECIPES, *_GENERAL)},
    resumes=True,
)

# Training uses the same batch size; sums in bfloat16 depend on it.
_SCORED_BATCH = Option("batch_size", int, "images scored at a time", default=500)
_IMAGES_OF_A_RUN = (
    dataclasses.replace(
        OPTIONS["cache_dir"],
        default_text="images are held in memory; for a run, as it was trained",
    ),
    dataclasses.replace(
        OPTIONS["on_bad_image"], default_text="error; for a run, as it was trained"
    ),
)

_ANSWER_FORMAT = Option(
    "format",
    str,
    "format of the answer",
    choices=("text", "json"),
    default="text",
)

_METHOD_OF_RUN = Option(
    "method",
    str,
    "MODULE:CLASS of a method outside this package that trained the run",
)
_EVALUATE = Command(
    purpose="Scores the exported models of a run, or one export on a data set.",
    example="--run_dir=runs/NAME",
    groups={
        "What to score": (
            Option(
                "run_dir",
                pathlib.Path,
                "run whose exported steps are scored, on the images it was scored on",
            ),
            Option(
                "model",
                pathlib.Path,
                "exported step to score, on the data set named below",
            ),
            Option(
                "alpha",
                str,
                "weights of the old classes of a finished run, separated by commas: "
                "scores every increment with its old logits moved by log(alpha)",
                default_text="1, the model as it was trained",
            ),
            _SCORED_BATCH,
        ),
        "Data set": (*DATA_SOURCE, *_IMAGES_OF_A_RUN),
        "General": _GENERAL,
    },
)

_COMPARE = Command(
    purpose="Compares two models, OLD and NEW, on the same images, class by class.",
    example="exports/step_04 exports/step_05 --max_drop=2",
    groups={
        "Gate (exit code 3 if the new model fails it)": (
            Option(
                "max_drop",
                float,
                "largest loss of accuracy of any old class, in points",
                default_text="any",
            ),
            Option(
                "min_gain",
                float,
                "smallest gain of the accuracy over all images, in points",
                default_text="any",
            ),
            Option(
                "min_images",
                int,
                "classes with fewer images are left out of --max_drop",
                default=20,
            ),
        ),
        "Answer": (
            _ANSWER_FORMAT,
            Option(
                "output",
                pathlib.Path,
                "folder of comparison.json and comparison.html",
                default_text="the answer is only printed",
            ),
        ),
        "Images (those of the run of NEW, unless --dataset is given)": (
            *DATA_SOURCE,
            *_IMAGES_OF_A_RUN,
            _SCORED_BATCH,
        ),
        "General": _GENERAL,
    },
    positional="MODEL",
)

_EXPORT = Command(
    purpose="Exports a finished step of a run in one or several formats.",
    example="--run_dir=runs/NAME --formats=litert,onnx",
    groups={
        "Export": (
            Option("run_dir", pathlib.Path, "run whose step is exported"),
            Option(
                "step",
                int,
                "number of the step, 0 for the base step; -1 for the last finished one",
                default=-1,
            ),
            Option(
                "formats",
                str,
                f"formats, separated by commas: {', '.join(FORMATS)}",
                default=SAVED_MODEL,
            ),
            Option(
                "output",
                pathlib.Path,
                "folder to write",
                default_text="RUN/exports/step_NN, which keeps its other formats",
            ),
            _METHOD_OF_RUN,
            Option(
                "alpha",
                float,
                "moves the logits of old classes by log(alpha); needs --output",
                default=1.0,
            ),
        ),
        "General": _GENERAL,
    },
)

_FORGET = Command(
    purpose="Writes the last step of an analytic run without some of its classes.",
    example="--run_dir=runs/NAME --classes=cat,dog",
    groups={
        "Classes": (
            Option("run_dir", pathlib.Path, "run of --method=acil"),
            Option(
                "classes",
                str,
                "classes to forget: names separated by commas, or a file with one a "
                "line",
            ),
            _METHOD_OF_RUN,
            Option(
                "data_dir",
                pathlib.Path,
                "directory of the images that the run was trained on",
                default_text="as it was trained",
            ),
            Option(
                "output",
                pathlib.Path,
                "folder to write",
                default_text="RUN/forgotten/NN, the next free number",
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
            Option(
                "model",
                pathlib.Path,
                "folder of an exported step, or a file model.tflite, "
                "model_int8.tflite, model.onnx or model.keras in it",
            ),
            Option(
                "embedding",
                pathlib.Path,
                "file NAME.npy for the features of every file, one row each; NaN for "
                "files that cannot be classified",
                default_text="not written",
            ),
            Option(
                "top_k",
                int,
                "number of most probable classes listed for each file",
                default=1,
            ),
            _ANSWER_FORMAT,
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
                pathlib.Path,
                "folder of the report files",
                default_text="the tables are only printed",
            ),
            Option(
                "scores",
                bool,
                "print top-5 accuracy, calibration error and recency bias of every "
                "step too",
                default=False,
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
    purpose="Trains flagfiles or recipes with seeds and compares them with the paper.",
    example="'cifar100_5steps/*' --seeds=1,2",
    groups={
        "Matrix": (
            Option(
                "seeds",
                str,
                "seeds of every flagfile, separated by commas",
                default="1",
            ),
            Option(
                "runs_dir",
                pathlib.Path,
                "folder of all run folders",
                default="runs/reproduce",
            ),
            Option(
                "share_base_steps",
                bool,
                "train a base step once if several cells have it in common",
                default=True,
            ),
        ),
        "Every cell (overrides its flagfile)": _OF_EVERY_CELL,
        "General": (_LIST_RECIPES, *_GENERAL),
    },
    positional="FLAGFILE",
    passed_on=_OF_EVERY_CELL,
    resumes=True,
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
                "parameter_values",
                str,
                "parameters of the method to try, such as 'margin=0.3,0.5;top_k=1,2'; "
                "train --method=NAME --help lists them",
            ),
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
            Option(
                "runs_dir",
                pathlib.Path,
                "folder of all run folders",
                default="runs/tune",
            ),
        ),
        **{group: options for group, options in _OF_TRIALS.items() if options},
        "General": (*_RECIPES, *_GENERAL),
    },
    passed_on=tuple(itertools.chain(*_OF_TRIALS.values())),
    resumes=True,
)

COMMANDS = {
    "train": _TRAIN,
    "evaluate": _EVALUATE,
    "compare": _COMPARE,
    "export": _EXPORT,
    "forget": _FORGET,
    "predict": _PREDICT,
    "report": _REPORT,
    "reproduce": _REPRODUCE,
    "tune": _TUNE,
}
