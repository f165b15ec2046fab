"""Every option of a run: the flags of `train`, by group, and two of Python only.

Flags, help, keywords of `make_config`, the `Request`, the fields that a value goes to
and the options that `reproduce` and `tune` pass on follow from this table. Defaults and
effects on the outcome stand beside the fields, see `bsce_keras.config.fields`.
"""

import pathlib

from bsce_keras.config import choices
from bsce_keras.config.backbones import BACKBONES_TEXT
from bsce_keras.config.classification_losses import DEFAULT, LOSS_CHOICES
from bsce_keras.config.sections import MAX_IMAGE_PIXELS
from bsce_keras.data.catalog import EXEMPLARS_TEXT, NAMES_TEXT
from bsce_keras.methods import METHODS
from bsce_keras.options.option import Option

DATA_SOURCE = (
    Option("dataset", str, NAMES_TEXT, field="stream.dataset"),
    Option(
        "data_dir",
        pathlib.Path,
        "TFDS directory, or for folder the one that holds train/CLASS/* and "
        "test/CLASS/* (val/ serves as test/); CLASS/* is enough with "
        "--validation_share",
        field="stream.data_dir",
        default_text="$TFDS_DATA_DIR or ~/tensorflow_datasets",
        every_cell=True,
    ),
    Option(
        "download",
        bool,
        "permit TFDS to download a data set that is not prepared yet",
        field="stream.download",
        every_cell=True,
    ),
)
_DATA_SET = (
    *DATA_SOURCE,
    Option(
        "image_size",
        int,
        "side of the images that the network sees, for folder and tfds:NAME",
        default_text="64",
    ),
    Option(
        "cache_dir",
        pathlib.Path,
        "keep the decoded images in this folder and read them from there, for data "
        "sets larger than memory; what it holds is not decoded again",
        field="stream.cache_dir",
        default_text="they are held in memory",
        every_cell=True,
    ),
    Option(
        "on_bad_image",
        str,
        "what an image that cannot be decoded does",
        choices=choices.BAD_IMAGE_POLICIES,
        field="stream.on_bad_image",
        every_cell=True,
    ),
    Option(
        "max_image_pixels",
        int,
        "images with more pixels in the file are bad ones; they are refused before "
        "they are decoded, in training and in exports",
        default_text=str(MAX_IMAGE_PIXELS),
    ),
    Option(
        "validation_share",
        float,
        "part of the training images of every class that is held out and "
        "scored in place of the test images, to choose hyper-parameters by",
        field="stream.validation_share",
        set_by=("tune",),
    ),
)
_STREAM = (
    Option(
        "num_base_classes",
        int,
        "classes of the base step",
        field="stream.num_base_classes",
        default_text="half of them, rounded up",
    ),
    Option(
        "num_increments",
        int,
        "steps after the base step, each with an equal share of the other "
        "classes; more than a run has make it grow by these",
        default_text="5, or the next smaller number that divides",
    ),
    Option(
        "class_order",
        str,
        "lucir, icarl, seed:N, sorted, arrival, or a file with one class name "
        "or id a line",
        field="stream.class_order",
        default_text="lucir; arrival for folder",
    ),
)
_METHOD = (
    Option(
        "method",
        str,
        "the class-incremental system",
        choices=tuple(METHODS),
        field="method.name",
        default="il_baseline",
    ),
    Option(
        "classification_loss",
        str,
        "its classification loss, where default is the method's own",
        choices=LOSS_CHOICES,
        field="method.classification_loss",
        default=DEFAULT,
    ),
    Option(
        "alpha",
        float,
        "weight of the old classes in balanced_softmax, or of a held alpha in "
        "meta_balanced_softmax",
        field="method.alpha",
        set_by=("tune",),
    ),
    Option(
        "alpha_learning_rate",
        float,
        "rate at which meta_balanced_softmax learns alpha",
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
        "updates of the network for one of alpha",
        field="method.alpha_every",
    ),
    Option(
        "alpha_statistics",
        str,
        "batch normalisation of the images that alpha is validated on: "
        "statistics of their batch, or the running ones that tests use",
        choices=choices.ALPHA_STATISTICS,
        field="method.alpha_statistics",
    ),
    Option(
        "meta_gradient",
        str,
        "how the gradient of alpha is computed: same number, different cost",
        choices=choices.META_GRADIENTS,
        field="method.meta_gradient",
    ),
    Option(
        "nca_variant",
        str,
        "the loss of podnet's own as its code has it, or as its paper prints",
        choices=choices.NCA_VARIANTS,
        default_text="code",
    ),
    Option(
        "balanced_finetuning",
        str,
        "tune the class weights on the exemplars after each step, where "
        "default is as published: podnet and mnemonics with their own losses",
        choices=choices.BALANCED_FINETUNING,
        default="default",
    ),
)
_MEMORY = (
    Option(
        "exemplars_per_class",
        int,
        "exemplars kept of each class, in a memory that grows",
        field="memory.exemplars_per_class",
        default_text=EXEMPLARS_TEXT,
    ),
    Option(
        "memory_budget",
        int,
        "exemplars kept in total, shared equally by the seen classes; instead "
        "of --exemplars_per_class",
        field="memory.memory_budget",
    ),
    Option(
        "exemplar_selection",
        str,
        "how exemplars are chosen",
        choices=choices.SELECTIONS,
        field="memory.selection",
    ),
    Option(
        "replay_sampling",
        str,
        "how often increments draw images: every one once an epoch, exemplars "
        "as often as new images, or all classes equally often",
        choices=choices.REPLAY_SAMPLINGS,
        field="training.replay_sampling",
    ),
)
_TRAINING = (
    Option(
        "epochs",
        int,
        "epochs of each step",
        field="training.epochs",
        default_text="as published",
    ),
    Option(
        "batch_size",
        int,
        "images of one update over all devices",
        field="training.batch_size",
        default_text="as published",
    ),
    Option(
        "learning_rate",
        float,
        "rate at the start of each step",
        field="training.learning_rate",
        default_text="as published",
    ),
    Option(
        "weight_decay",
        float,
        "L2 inside the gradient",
        field="training.weight_decay",
        default_text="as published",
    ),
    Option(
        "schedule_scale",
        float,
        "shrinks or stretches every published schedule in proportion; explicit "
        "--epochs are taken as given",
        field="training.schedule_scale",
        every_cell=True,
    ),
    Option(
        "backbone",
        str,
        f"{BACKBONES_TEXT}, or NAME.keras, a saved Keras model from normalised images "
        "to features",
        field="model.backbone",
        default_text="by data set and image size",
    ),
    Option(
        "precision",
        str,
        "of the arithmetic",
        choices=choices.PRECISIONS,
        field="training.precision",
        every_cell=True,
    ),
    Option(
        "seed",
        int,
        "of every random choice",
        field="training.seed",
        set_by=("reproduce", "tune"),
    ),
    Option(
        "deterministic",
        bool,
        "the same command gives the same bits on one machine",
        field="training.deterministic",
        every_cell=True,
    ),
)
_DEVICES = (
    Option(
        "strategy",
        str,
        "how devices share the work: auto takes all GPUs of this machine, "
        "multi_worker all devices of the workers that TF_CONFIG names",
        choices=choices.STRATEGIES,
        field="training.strategy",
        every_cell=True,
    ),
    Option(
        "virtual_devices",
        int,
        "split the CPU into this many devices, to try --strategy=mirrored "
        "without GPUs; 0 does not",
        field="training.virtual_devices",
        every_cell=True,
    ),
    Option(
        "intra_op_threads",
        int,
        "CPU threads of one operation; 0 for one per logical CPU that the "
        "process may use",
        field="training.intra_op_threads",
        every_cell=True,
    ),
    Option(
        "save_minutes",
        float,
        "training time between two saves within a step",
        field="training.save_minutes",
        every_cell=True,
    ),
    Option(
        "synchronized_batch_norm",
        bool,
        "batch statistics over all devices in place of one for each",
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
        "take the base step from this other run",
        field="base_run_dir",
        set_by=("reproduce", "tune"),
    ),
    Option(
        "resume",
        bool,
        "go on from what the run folder holds",
        field="resume",
        set_by=("reproduce", "tune"),
    ),
    Option(
        "export",
        bool,
        "write a SavedModel of every step",
        field="export",
        every_cell=True,
        set_by=("tune",),
    ),
)

# Options that a command line may set, by heading in the help of `train`.
TRAIN_GROUPS = {
    "Data set": _DATA_SET,
    "Stream of classes": _STREAM,
    "Method and loss": _METHOD,
    "Memory": _MEMORY,
    "Training": _TRAINING,
    "Devices": _DEVICES,
    "Run": _RUN,
}

# Keywords of `make_config` that a command line cannot give.
_PYTHON_ONLY = (
    Option(
        "increments",
        list[int],
        "uneven sizes of the increments, in place of num_increments",
        python_only=True,
    ),
    Option(
        "export_only_last",
        bool,
        "write a SavedModel of the last step only",
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
