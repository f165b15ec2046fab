"""What is particular to ImageNet (ILSVRC 2012) and to its first hundred classes.

Both are read from a copy of `imagenet2012` that TFDS prepared out of the archives of
image-net.org. `subimagenet` is the subset of Jodelet et al. as their text reads, and of
PODNet and BiC: the 100 WordNet ids that come first in the alphabet, n01440764 to
n01855672, in that order. (LUCIR's code draws another hundred.) Imports no TensorFlow.
"""

from bsce_keras.runtime.errors import RequestError

WHOLE, SUBSET = "imagenet2012", "subimagenet"
NUM_CLASSES = {WHOLE: 1000, SUBSET: 100}

# The most that a hundred classes can have: no class has more than 1300 training images,
# and each has 50 for validation. (BiC's code counts 129,359 of the first hundred.) A
# prepared copy only tells the number over all classes; to count would be to read it.
MOST_SUBSET_IMAGES = {"train": 130_000, "validation": 5_000}


def class_names(dataset, all_names, prepared):
    """WordNet ids of a data set's classes, by class id.

    Labels of a prepared copy are ranks in the alphabet, so those of the subset are its
    first hundred and stay as they are.

    Args:
        dataset: `imagenet2012` or `subimagenet`.
        all_names: lines of the copy's label.labels.txt.
        prepared: folder of the copy, for messages.

    Raises:
        RequestError: other than 1000 names, or not in alphabetical order.
    """
    expected = NUM_CLASSES[WHOLE]
    if len(all_names) != expected or list(all_names) != sorted(set(all_names)):
        raise RequestError(
            f"{prepared}/label.labels.txt must hold the {expected} WordNet ids of "
            "ImageNet in alphabetical order, one a line, as TFDS writes them. "
            f"Received: {len(all_names)} names, {', '.join(all_names[:3])}, ... "
            "Prepare the copy again, or pass --data_dir=DIR of another."
        )
    return tuple(all_names[: NUM_CLASSES[dataset]])


def missing_copy(dataset, root):
    """What to do about a copy that is not there, which nobody may download for a user.

    Args:
        dataset: `imagenet2012` or `subimagenet`.
        root: the TFDS directory.
    """
    return (
        f"--dataset={dataset} needs a prepared copy of {WHOLE}, and there is none in "
        f"{root} (looked for {root / WHOLE}/VERSION/dataset_info.json). Pass "
        "--data_dir=DIR, a TFDS directory that holds one. --download cannot fetch "
        "ImageNet: get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from "
        f"image-net.org into {root}/downloads/manual and run `tfds build {WHOLE} "
        f"--data_dir={root}`."
    )
