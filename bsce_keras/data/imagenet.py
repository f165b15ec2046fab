"""Facts about ImageNet (ILSVRC 2012) and its first hundred classes.

Both are read from a copy of `imagenet2012` that TFDS prepared from the archives of
image-net.org. `subimagenet` has the 100 WordNet ids that come first in the alphabet,
n01440764 to n01855672, in that order. PODNet and BiC use this subset, and so do Jodelet
et al. according to their text. LUCIR's code draws another hundred. Does not import
TensorFlow.
"""

from bsce_keras.runtime.errors import RequestError

WHOLE, SUBSET = "imagenet2012", "subimagenet"
# Only the user may fetch them from image-net.org.
ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
NUM_CLASSES = {WHOLE: 1000, SUBSET: 100}

# Largest numbers of images of a hundred classes. A class has at most 1300 training
# images, and 50 for validation. BiC's code counts 129,359 training images in the first
# hundred. A prepared copy only states the total over all classes.
MOST_SUBSET_IMAGES = {"train": 130_000, "validation": 5_000}


def class_names(dataset, all_names, prepared):
    """WordNet ids of the classes of a data set, indexed by class id.

    Labels of a prepared copy are alphabetical ranks. The labels of the subset are
    therefore the first hundred, unchanged.

    Args:
        dataset: `imagenet2012` or `subimagenet`.
        all_names: lines of the copy's label.labels.txt.
        prepared: folder of the copy, for messages.

    Raises:
        RequestError: there are not 1000 names, or they are not in alphabetical order.
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
    """Returns the message about a copy that is missing and cannot be prepared yet.

    Args:
        dataset: `imagenet2012` or `subimagenet`.
        root: the TFDS directory.
    """
    return (
        f"--dataset={dataset} needs a prepared copy of {WHOLE}. {root} does not hold "
        f"one (looked for {root / WHOLE}/VERSION/dataset_info.json). Pass "
        "--data_dir=DIR, a TFDS directory that holds one. Otherwise put "
        f"{' and '.join(ARCHIVES)} of image-net.org into {_archive_dir(root)}, and add "
        "--download, which prepares the copy from them."
    )


def has_archives(root):
    """Returns True if the archives lie where TFDS looks for them."""
    return all((_archive_dir(root) / name).is_file() for name in ARCHIVES)


def _archive_dir(root):
    return root / "downloads" / "manual"
