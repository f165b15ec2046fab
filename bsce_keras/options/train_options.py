"""Table of all options of a run: the flags of `train`, and keywords of Python only.

This table defines the flags and their help, the keywords of `make_config` and the
field of each value. The options that `reproduce` and `tune` pass on follow from it.

The default of an option is `Option.default` if the table gives one, else that of its
field in `bsce_keras.config`. An option with a `default_text` depends on the
data set or the method: `make_config` fills it in, from `bsce_keras.methods.recipes` if
it was published.
"""

import os
import pathlib

from bsce_keras.config import choices
from bsce_keras.config.backbone_inputs import INPUT_CHOICES
from bsce_keras.config.backbones import BACKBONES_TEXT
from bsce_keras.config.classification_losses import DEFAULT, LOSS_CHOICES
from bsce_keras.config.export_formats import FORMATS
from bsce_keras.data.named_dataset import LEAST_TO_BE_LARGE, SMALL_UPDATES
from bsce_keras.methods import METHODS
from bsce_keras.options.data_options import DATA_SET, MEMORY, STREAM
from bsce_keras.options.option import Option

# Hyper-parameters that have a flag of their own, besides `method_parameters`.
PARAMETER_FLAGS = (
    Option(
        "expansion_size",
        int,
        "largest size of the random expansion of acil and ds_al, which has at most 4 "
        "columns for every image of the base step, but at least 2048",
        default_text="as published",
    ),
    Option(
        "ridge",
        float,
        "number added to the diagonal of the Gram matrix of acil and ds_al, published "
        "with 0.1",
        default_text="0, which chooses it at the base step",
    ),
)
_METHOD = (
    Option(
        "method",
        str,
        "class-incremental method",
        choices=tuple(METHODS),
        or_else="MODULE:CLASS of a method of your own",
        field="method.name",
        default="il_baseline",
    ),
    Option(
        "classification_loss",
        str,
        "classification loss; default is the method's own",
        choices=LOSS_CHOICES,
        field="method.classification_loss",
        default=DEFAULT,
    ),
    Option(
        "alpha",
        float,
        "weight of the old classes in balanced_softmax, or in meta_balanced_softmax "
        "with a held alpha",
        field="method.alpha",
        set_by=("tune",),
    ),
    Option(
        "alpha_learning_rate",
        float,
        "learning rate of alpha in meta_balanced_softmax",
        field="method.alpha_learning_rate",
        default_text=", ".join(
            f"{rate} for {name}" for name, rate in choices.ALPHA_RATES.items() if rate
        ),
    ),
    Option(
        "alpha_optimizer",
        str,
        "optimizer of alpha; held keeps alpha at --alpha and records its gradient",
        choices=choices.ALPHA_OPTIMIZERS,
        field="method.alpha_optimizer",
    ),
    Option(
        "alpha_every",
        int,
        "updates of the network between two updates of alpha",
        field="method.alpha_every",
    ),
    Option(
        "alpha_statistics",
        str,
        "statistics of batch normalisation on the alpha split: those of its batch, or "
        "the running ones as at test time",
        choices=choices.ALPHA_STATISTICS,
        field="method.alpha_statistics",
    ),
    Option(
        "meta_gradient",
        str,
        "computation of alpha's gradient; both give the same number at different cost",
        choices=choices.META_GRADIENTS,
        field="method.meta_gradient",
    ),
    Option(
        "method_parameters",
        dict,
        "hyper-parameters of the method, such as margin=0.5,top_k=2; "
        "--method=NAME --help lists them",
        default_text="as published",
    ),
    *PARAMETER_FLAGS,
    Option(
        "balanced_finetuning",
        str,
        "tune the class weights on the exemplars after each step; default is as "
        "published: podnet, mnemonics and, on imagenet2012, lucir, with their own "
        "losses",
        choices=choices.BALANCED_FINETUNING,
        default="default",
    ),
)
_TRAINING = (
    Option(
        "epochs",
        int,
        "number of epochs of each step",
        field="training.epochs",
        default_text="as published; more where --min_updates asks for more",
    ),
    Option(
        "min_updates",
        int,
        "number of updates of each step; a step that has fewer in its epochs gets more "
        "epochs",
        field="training.min_updates",
        default_text=f"{SMALL_UPDATES} for folder, tfds:NAME and arrays of fewer than "
        f"{LEAST_TO_BE_LARGE} training images, unless --epochs or --schedule_scale is "
        "given; else 0",
    ),
    Option(
        "batch_size",
        int,
        "number of images of one update over all devices",
        field="training.batch_size",
        default_text="as published",
    ),
    Option(
        "learning_rate",
        float,
        "learning rate at the start of each step",
        field="training.learning_rate",
        default_text="as published",
    ),
    Option(
        "weight_decay",
        float,
        "factor of the L2 penalty that is added to the gradient",
        field="training.weight_decay",
        default_text="as published",
    ),
    Option(
        "schedule_scale",
        float,
        "factor that scales every published schedule; explicit --epochs are not scaled",
        field="training.schedule_scale",
        every_cell=True,
    ),
    Option(
        "backbone",
        str,
        f"{BACKBONES_TEXT}; NAME.keras, a saved Keras model from images to features; "
        "applications:NAME of keras.applications; keras_hub:PRESET, a folder or name",
        field="model.backbone",
        default_text="depends on data set, its number of images and image size",
    ),
    Option(
        "backbone_weights",
        pathlib.Path,
        "weights file of --backbone=applications:NAME; --download fetches the weights "
        "of ImageNet instead",
    ),
    Option(
        "backbone_input",
        str,
        "pixel values that a saved backbone expects: normalized by mean and deviation "
        "of the data set, or as named",
        choices=INPUT_CHOICES,
        default_text="that of the network if it is known, else normalized",
    ),
    Option(
        "backbone_input_size",
        int,
        "side to which the network enlarges or reduces its images for the backbone",
        default_text="that of the images; the pretrained size for applications:NAME "
        "and keras_hub:PRESET where --image_size cannot be chosen",
    ),
    Option(
        "initial_model",
        pathlib.Path,
        "NAME.keras, a trained classifier that ends in a dense layer: it is the base "
        "step, which is not trained then",
    ),
    Option(
        "initial_classes",
        str | list,
        "classes of --initial_model in the order of its outputs: names separated by "
        "commas, or a file with one a line (default: those of the export it lies in)",
    ),
    Option(
        "freeze_backbone",
        bool,
        "train only the heads, on features of a pretrained backbone that are computed "
        "once a step from centre crops and their mirror images",
        field="model.freeze_backbone",
    ),
    Option(
        "precision",
        str,
        "precision of the arithmetic; auto is bfloat16 where the hardware is faster in "
        "it, and float32 with --freeze_backbone",
        choices=choices.PRECISIONS,
        field="training.precision",
        every_cell=True,
    ),
    Option(
        "seed",
        int,
        "seed of every random choice",
        field="training.seed",
        set_by=("reproduce", "tune"),
    ),
    Option(
        "deterministic",
        bool,
        "make the same command give the same bits on one machine",
        field="training.deterministic",
        every_cell=True,
    ),
)
_DEVICES = (
    Option(
        "strategy",
        str,
        "distribution over devices: auto uses all GPUs of this machine, multi_worker "
        "all devices of the workers that TF_CONFIG names",
        choices=choices.STRATEGIES,
        field="training.strategy",
        every_cell=True,
    ),
    Option(
        "virtual_devices",
        int,
        "number of devices that the CPU is split into, to try --strategy=mirrored "
        "without GPUs; 0 does not split it",
        field="training.virtual_devices",
        every_cell=True,
    ),
    Option(
        "intra_op_threads",
        int,
        "number of CPU threads of one operation; 0 for one per logical CPU that the "
        "process may use",
        field="training.intra_op_threads",
        every_cell=True,
    ),
    Option(
        "save_minutes",
        float,
        "minutes of training between two saves within a step",
        field="training.save_minutes",
        every_cell=True,
    ),
    Option(
        "synchronized_batch_norm",
        bool,
        "compute batch statistics over all devices, not on each device",
        field="model.synchronized_batch_norm",
        every_cell=True,
    ),
)
_RUN = (
    Option(
        "run_dir",
        pathlib.Path,
        "folder of the run",
        field="run_dir",
        default_text="runs/DATASET_METHOD_LOSS[_CORRECTIONS]_seedN",
        set_by=("reproduce", "tune"),
    ),
    Option(
        "base_run_dir",
        pathlib.Path,
        "another run, whose base step is used",
        field="base_run_dir",
        set_by=("reproduce", "tune"),
    ),
    Option(
        "resume",
        bool,
        "continue from the checkpoints of the run folder",
        field="resume",
        set_by=("reproduce", "tune"),
    ),
    Option(
        "export",
        bool,
        "write the trained model of every step",
        field="export",
        every_cell=True,
        set_by=("tune",),
    ),
    Option(
        "export_formats",
        str,
        f"formats of exported models, separated by commas: {', '.join(FORMATS)}",
        field="export_formats",
        every_cell=True,
        set_by=("tune",),
    ),
    Option(
        "calibrate",
        bool,
        "divide the logits behind exported probabilities by a temperature, fitted to "
        "the images of --validation_share if they are held out, else to training "
        "images, which give too low a temperature",
        field="calibrate",
        every_cell=True,
        set_by=("tune",),
    ),
)

# Options that a command line may set, by heading in the help of `train`.
TRAIN_GROUPS = {
    "Data set": DATA_SET,
    "Stream of classes": STREAM,
    "Method and loss": _METHOD,
    "Memory": MEMORY,
    "Training": _TRAINING,
    "Devices": _DEVICES,
    "Run": _RUN,
}

# Keywords of `make_config` that a command line cannot give.
_PYTHON_ONLY = (
    Option(
        "increments",
        list[int],
        "sizes of uneven increments, in place of num_increments",
        python_only=True,
    ),
    Option("test_data", object, "test images of arrays", python_only=True),
    Option("class_names", list[str], "class names by label", python_only=True),
    Option(
        "export_only_last",
        bool,
        "export the last step only",
        field="export_only_last",
        python_only=True,
    ),
)

# Options of a run by name, which are the keywords of `make_config`.
OPTIONS = {
    option.name: option
    for group in (*TRAIN_GROUPS.values(), _PYTHON_ONLY)
    for option in group
}


def repeatable(name, value):
    """Returns the value of an option for a flagfile that repeats a run from any folder.

    Paths become absolute, except `base_run_dir`: a begun run needs only the text that
    its config.json has, from every folder.
    """
    is_moved = OPTIONS[name].type is pathlib.Path and name != "base_run_dir"
    return os.path.abspath(value) if is_moved else value
