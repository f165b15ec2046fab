"""The flags of `train`, by group, most of which other commands have too."""

from bsce_keras.config import (
    ExperimentConfig,
    MemoryConfig,
    MethodConfig,
    StreamConfig,
    TrainingConfig,
)
from bsce_keras.config.backbones import BACKBONES_TEXT
from bsce_keras.config.choices import (
    ALPHA_OPTIMIZERS,
    ALPHA_RATES,
    ALPHA_STATISTICS,
    BAD_IMAGE_POLICIES,
    BALANCED_FINETUNING,
    META_GRADIENTS,
    NCA_VARIANTS,
    PRECISIONS,
    REPLAY_SAMPLINGS,
    SELECTIONS,
    STRATEGIES,
)
from bsce_keras.config.classification_losses import DEFAULT, LOSS_CHOICES
from bsce_keras.data.catalog import EXEMPLARS_TEXT, NAMES_TEXT
from bsce_keras.methods import METHODS
from bsce_keras.options.option import Command, Flag

DATA_SOURCE = (
    Flag("dataset", str, NAMES_TEXT),
    Flag(
        "data_dir",
        str,
        "TFDS directory, or for folder the one that holds train/CLASS/* and "
        "test/CLASS/* (val/ serves as test/)",
        default_text="$TFDS_DATA_DIR or ~/tensorflow_datasets",
    ),
    Flag(
        "download",
        bool,
        "permit TFDS to download a data set that is not prepared yet",
        StreamConfig.download,
    ),
)
_DATA = (
    *DATA_SOURCE,
    Flag(
        "image_size",
        int,
        "side of the images that the network sees, for folder and tfds:NAME",
        default_text="64",
    ),
    Flag(
        "cache_dir",
        str,
        "keep the decoded images in this folder and read them from there, for data "
        "sets larger than memory; what it holds is not decoded again",
        default_text="they are held in memory",
    ),
)
GENERAL = (
    Flag(
        "flagfile",
        str,
        "read flags from a file, one a line; # starts a comment, later flags win",
    ),
    Flag("help", bool, "print this list and exit"),
)

TRAIN = Command(
    purpose="Trains one class-incremental experiment: a base step and its increments.",
    example="--dataset=digits --seed=2",
    groups={
        "Data set": (
            *_DATA,
            Flag(
                "on_bad_image",
                BAD_IMAGE_POLICIES,
                "what an image that cannot be decoded does",
                StreamConfig.on_bad_image,
            ),
            Flag(
                "validation_share",
                float,
                "part of the training images of every class that is held out and "
                "scored in place of the test images, to choose hyper-parameters by",
                StreamConfig.validation_share,
            ),
        ),
        "Stream of classes": (
            Flag(
                "num_base_classes",
                int,
                "classes of the base step",
                default_text="half of them, rounded up",
            ),
            Flag(
                "num_increments",
                int,
                "steps after the base step, each with an equal share of the other "
                "classes; more than a run has make it grow by these",
                default_text="5, or the next smaller number that divides",
            ),
            Flag(
                "class_order",
                str,
                "lucir, icarl, seed:N, sorted, arrival, or a file with one class name "
                "or id a line",
                default_text="lucir; arrival for folder",
            ),
        ),
        "Method and loss": (
            Flag(
                "method",
                tuple(METHODS),
                "the class-incremental system",
                "il_baseline",
            ),
            Flag(
                "classification_loss",
                LOSS_CHOICES,
                "its classification loss, where default is the method's own",
                DEFAULT,
            ),
            Flag(
                "alpha",
                float,
                "weight of the old classes in balanced_softmax, or of a held alpha in "
                "meta_balanced_softmax",
                default_text=str(MethodConfig.alpha),
            ),
            Flag(
                "alpha_learning_rate",
                float,
                "rate at which meta_balanced_softmax learns alpha",
                default_text=", ".join(
                    f"{rate} for {name}" for name, rate in ALPHA_RATES.items() if rate
                ),
            ),
            Flag(
                "alpha_optimizer",
                ALPHA_OPTIMIZERS,
                "optimizer of alpha; held keeps alpha at --alpha and records its "
                "gradient",
                default_text=MethodConfig.alpha_optimizer,
            ),
            Flag(
                "alpha_every",
                int,
                "updates of the network for one of alpha",
                default_text=str(MethodConfig.alpha_every),
            ),
            Flag(
                "alpha_statistics",
                ALPHA_STATISTICS,
                "batch normalisation of the images that alpha is validated on: "
                "statistics of their batch, or the running ones that tests use",
                default_text=MethodConfig.alpha_statistics,
            ),
            Flag(
                "meta_gradient",
                META_GRADIENTS,
                "how the gradient of alpha is computed: same number, different cost",
                default_text=MethodConfig.meta_gradient,
            ),
            Flag(
                "nca_variant",
                NCA_VARIANTS,
                "the loss of podnet's own as its code has it, or as its paper prints",
                default_text="code",
            ),
            Flag(
                "balanced_finetuning",
                BALANCED_FINETUNING,
                "tune the class weights on the exemplars after each step, where "
                "default is as published: podnet and mnemonics with their own losses",
                "default",
            ),
        ),
        "Memory": (
            Flag(
                "exemplars_per_class",
                int,
                "exemplars kept of each class, in a memory that grows",
                default_text=EXEMPLARS_TEXT,
            ),
            Flag(
                "memory_budget",
                int,
                "exemplars kept in total, shared equally by the seen classes; instead "
                "of --exemplars_per_class",
            ),
            Flag(
                "exemplar_selection",
                SELECTIONS,
                "how exemplars are chosen",
                MemoryConfig.selection,
            ),
            Flag(
                "replay_sampling",
                REPLAY_SAMPLINGS,
                "how often increments draw images: every one once an epoch, exemplars "
                "as often as new images, or all classes equally often",
                TrainingConfig.replay_sampling,
            ),
        ),
        "Training": (
            Flag(
                "epochs",
                int,
                "epochs of each step",
                default_text="as published",
            ),
            Flag(
                "batch_size",
                int,
                "images of one update over all devices",
                default_text="as published",
            ),
            Flag(
                "learning_rate",
                float,
                "rate at the start of each step",
                default_text="as published",
            ),
            Flag(
                "weight_decay",
                float,
                "L2 inside the gradient",
                default_text="as published",
            ),
            Flag(
                "schedule_scale",
                float,
                "shrinks or stretches every published schedule in proportion; explicit "
                "--epochs are taken as given",
                TrainingConfig.schedule_scale,
            ),
            Flag(
                "backbone",
                str,
                f"{BACKBONES_TEXT}, or NAME.keras, a saved Keras model from normalised "
                "images to features",
                default_text="by data set and image size",
            ),
            Flag(
                "precision", PRECISIONS, "of the arithmetic", TrainingConfig.precision
            ),
            Flag("seed", int, "of every random choice", TrainingConfig.seed),
            Flag(
                "deterministic",
                bool,
                "the same command gives the same bits on one machine",
                TrainingConfig.deterministic,
            ),
        ),
        "Devices": (
            Flag(
                "strategy",
                STRATEGIES,
                "how devices share the work: auto takes all GPUs of this machine, "
                "multi_worker all devices of the workers that TF_CONFIG names",
                TrainingConfig.strategy,
            ),
            Flag(
                "virtual_devices",
                int,
                "split the CPU into this many devices, to try --strategy=mirrored "
                "without GPUs; 0 does not",
                TrainingConfig.virtual_devices,
            ),
            Flag(
                "intra_op_threads",
                int,
                "CPU threads of one operation; 0 for one per logical CPU that the "
                "process may use",
                TrainingConfig.intra_op_threads,
            ),
            Flag(
                "save_minutes",
                float,
                "training time between two saves within a step",
                TrainingConfig.save_minutes,
            ),
            Flag(
                "synchronized_batch_norm",
                bool,
                "batch statistics over all devices in place of one for each",
                False,
            ),
        ),
        "Run": (
            Flag(
                "run_dir",
                str,
                "folder of the run",
                default_text="runs/DATASET_METHOD_LOSS[_CORRECTIONS]_seedN",
            ),
            Flag("base_run_dir", str, "take the base step from this other run"),
            Flag(
                "resume",
                bool,
                "go on from what the run folder holds",
                ExperimentConfig.resume,
            ),
            Flag(
                "export",
                bool,
                "write a SavedModel of every step",
                ExperimentConfig.export,
            ),
        ),
        "General": GENERAL,
    },
)
