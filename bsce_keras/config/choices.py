"""Values that options may take, by name. Imports no TensorFlow."""

# Kinds of data sets; the catalog assigns one to each data set.
SMALL, CIFAR, SUBIMAGENET, IMAGENET = "small", "cifar", "subimagenet", "imagenet"
KINDS = (SMALL, CIFAR, SUBIMAGENET, IMAGENET)

_DRAWN = (
    "in the main phase of increments drawn with replacement, as many an epoch as the "
    "pool has"
)
FOUR_TO_ONE = "four_to_one"
# Description of every replay sampling, for the protocol in config.json.
SAMPLING_TEXTS = {
    "uniform": "every image of the pool once an epoch",
    "memory_oversampling": (
        f"{_DRAWN}: exemplars as often as new images, unless they are the majority"
    ),
    "class_oversampling": f"{_DRAWN}: all classes equally often",
    FOUR_TO_ONE: f"{_DRAWN}: four new images for each exemplar",
}
# Methods that were not published with `FOUR_TO_ONE` may not use it.
REPLAY_SAMPLINGS = tuple(name for name in SAMPLING_TEXTS if name != FOUR_TO_ONE)
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
SCHEDULES = ("multistep", "cosine")
SELECTIONS = ("herding", "random")
BALANCED_FINETUNING = ("default", "true", "false")
BAD_IMAGE_POLICIES = ("error", "skip")
# Default learning rate of each optimizer of alpha; a held alpha has none.
ALPHA_RATES = {"adam": 0.01, "sgd": 1.0, "held": None}
ALPHA_OPTIMIZERS = tuple(ALPHA_RATES)
ALPHA_STATISTICS = ("batch", "running")
# Name of a backbone that is loaded from a file.
SAVED = "saved"
# Name of a backbone that is cut from a saved classifier, which becomes the base step.
ADOPTED = "adopted"
# Prefixes of backbones of other packages.
KERAS_APPLICATIONS, KERAS_HUB = "applications:", "keras_hub:"
SEARCHES = ("grid", "random", "bayesian")
META_GRADIENTS = ("closed_form", "nested_tapes")
TRAINING_CROPS = ("pad", "resized", "centre")
CROP_FLIP = "crop_flip"
# Description of every augmentation beyond crops and flips, for the protocol.
AUGMENTATION_TEXTS = {
    CROP_FLIP: "nothing else",
    "trivial": (
        "then TrivialAugmentWide: one of 14 operations, drawn uniformly, at one of 31 "
        "strengths, drawn uniformly; bilinear, filled with black"
    ),
    "autoaugment_cutout": (
        "then one of the 25 pairs of operations of AutoAugment's policy for CIFAR-10 "
        "(bilinear, filled with black), then Cutout: a black square of half the side, "
        "centred on a random pixel"
    ),
}
AUGMENTATIONS = tuple(AUGMENTATION_TEXTS)
# Limits of a resized crop: share of the stored square, and width over height.
CROP_AREA = (0.08, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)
# Pixels that Pillow decodes without a warning: 256 MiB as RGB.
MAX_IMAGE_PIXELS = 89_478_485
