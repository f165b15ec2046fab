"""Values that options may take, by name. Imports no TensorFlow."""

# Kinds of data sets; the catalog gives each data set one of them.
SMALL, CIFAR, SUBIMAGENET, IMAGENET = "small", "cifar", "subimagenet", "imagenet"
KINDS = (SMALL, CIFAR, SUBIMAGENET, IMAGENET)

REPLAY_SAMPLINGS = ("uniform", "memory_oversampling", "class_oversampling")
# SS-IL's own, four new images for each exemplar.
FOUR_TO_ONE = "four_to_one"
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
SCHEDULES = ("multistep", "cosine")
SELECTIONS = ("herding", "random")
BALANCED_FINETUNING = ("default", "true", "false")
NCA_VARIANTS = ("code", "paper")
BAD_IMAGE_POLICIES = ("error", "skip")
# Default learning rate of each optimizer of alpha; a held alpha has none.
ALPHA_RATES = {"adam": 0.01, "sgd": 1.0, "held": None}
ALPHA_OPTIMIZERS = tuple(ALPHA_RATES)
ALPHA_STATISTICS = ("batch", "running")
# A backbone that comes from a file.
SAVED = "saved"
SEARCHES = ("grid", "random", "bayesian")
META_GRADIENTS = ("closed_form", "nested_tapes")
TRAINING_CROPS = ("pad", "resized")
# Of a resized crop: share of the stored square, and width over height.
CROP_AREA = (0.08, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)
