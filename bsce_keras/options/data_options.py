"""Options of data, stream and memory of a run; see `train_options`."""

import pathlib

from bsce_keras.config import choices
from bsce_keras.config.choices import MAX_IMAGE_PIXELS
from bsce_keras.data.catalog import EXEMPLARS_TEXT, NAMES_TEXT
from bsce_keras.options.option import Option

DATA_SOURCE = (
    Option("dataset", str, NAMES_TEXT, field="stream.dataset"),
    Option(
        "data_dir",
        pathlib.Path,
        "TFDS directory; for folder, the directory with train/CLASS/* and test/CLASS/* "
        "(val/ serves as test/); CLASS/* is enough with --validation_share",
        field="stream.data_dir",
        default_text="$TFDS_DATA_DIR or ~/tensorflow_datasets",
        every_cell=True,
    ),
    Option(
        "download",
        bool,
        "allow downloads: by TFDS of a data set that is not prepared yet, by Keras of "
        "pretrained weights",
        field="stream.download",
        every_cell=True,
    ),
)
DATA_SET = (
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
        "folder that keeps decoded images, for data sets larger than memory; images "
        "that it holds are not decoded again",
        field="stream.cache_dir",
        default_text="images are held in memory",
        every_cell=True,
    ),
    Option(
        "on_bad_image",
        str,
        "action on image files of a folder that cannot be decoded: refuse them all, or "
        "skip them",
        choices=choices.BAD_IMAGE_POLICIES,
        field="stream.on_bad_image",
        every_cell=True,
    ),
    Option(
        "max_image_pixels",
        int,
        "largest number of pixels in an image file; files with more are bad images, "
        "which are refused before decoding, in training and in exports",
        default_text=str(MAX_IMAGE_PIXELS),
    ),
    Option(
        "augmentation",
        str,
        "augmentation of training images: random crops and flips as in the paper; "
        "then TrivialAugmentWide; or then AutoAugment's CIFAR-10 policy and Cutout",
        choices=choices.AUGMENTATIONS,
        default_text=choices.CROP_FLIP,
    ),
    Option(
        "validation_share",
        float,
        "share of the training images of every class that is held out and scored in "
        "place of the test images, to choose hyper-parameters",
        field="stream.validation_share",
        set_by=("tune",),
    ),
)
STREAM = (
    Option(
        "num_base_classes",
        int,
        "number of classes of the base step",
        field="stream.num_base_classes",
        default_text="half of the classes, rounded up",
    ),
    Option(
        "num_increments",
        int,
        "number of steps after the base step, each with an equal share of the other "
        "classes; a larger number than before makes a run grow",
        default_text="5, or the next smaller number that divides",
    ),
    Option(
        "class_order",
        str | list,
        "lucir, icarl, seed:N, sorted, arrival, or a file with one class name "
        "or id a line",
        field="stream.class_order",
        default_text="lucir; arrival for folder",
    ),
)
MEMORY = (
    Option(
        "exemplars_per_class",
        int,
        "number of exemplars of each class, in a memory that grows",
        field="memory.exemplars_per_class",
        default_text=EXEMPLARS_TEXT,
    ),
    Option(
        "memory_budget",
        int,
        "number of exemplars in total, shared equally by the seen classes; replaces "
        "--exemplars_per_class",
        field="memory.memory_budget",
    ),
    Option(
        "exemplar_selection",
        str,
        "selection of exemplars",
        choices=choices.SELECTIONS,
        field="memory.selection",
    ),
    Option(
        "replay_sampling",
        str,
        "frequency of images in increments: each once an epoch, exemplars as often as "
        "new images, or all classes equally often",
        choices=choices.REPLAY_SAMPLINGS,
        field="training.replay_sampling",
    ),
)
