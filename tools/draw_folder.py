"""Random classes of a TFDS data set as a folder data set: train/CLASS/*, test/CLASS/*.

    python -m tools.draw_folder FOLDER --copy=TFDS_DIR/NAME/VERSION --seed=1 \\
        --num_classes=6 --train_images=60 --test_images=50

The seed draws the classes and their order, which their names keep by a number in front.
Images are the first ones of each class in the splits `train` and `validation`, as PNG
files.
"""

import argparse
import collections
import pathlib
import random

import keras

NAME = "{:04d}_{}"


def main(argv=None):
    """Writes the folder.

    Args:
        argv: arguments without the name of the program; those of the process by
            default.
    """
    import tensorflow_datasets as tfds

    parser = argparse.ArgumentParser(
        prog="python -m tools.draw_folder", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--copy", required=True)
    for name in ("seed", "num_classes", "train_images", "test_images"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args(argv)
    copy = tfds.builder_from_directory(asked.copy)
    names = copy.info.features["label"].names
    drawn = drawn_classes(asked.seed, len(names), asked.num_classes)
    folders = {
        label: NAME.format(place, names[label]) for place, label in enumerate(drawn)
    }
    for split, part, most in (
        ("train", "train", asked.train_images),
        ("validation", "test", asked.test_images),
    ):
        examples = tfds.as_numpy(copy.as_dataset(split=split))
        for label, number, image in first_images(examples, drawn, most):
            path = asked.folder / part / folders[label] / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            keras.utils.save_img(path, image, scale=False)


def drawn_classes(seed, num_classes, num_drawn):
    """Returns the ids of drawn classes in random order.

    >>> drawn_classes(1, 100, 6)
    [8, 15, 17, 72, 97, 32]
    """
    rng = random.Random(seed)
    drawn = sorted(rng.sample(range(num_classes), num_drawn))
    rng.shuffle(drawn)
    return drawn


def first_images(examples, labels, most):
    """Yields `(label, number, image)` of the first images of some classes.

    Args:
        examples: iterable of dictionaries with `label` and `image`.
        labels: ids of the classes.
        most: number of images of each.
    """
    counts = collections.Counter(dict.fromkeys(labels, 0))
    for example in examples:
        label = int(example["label"])
        if counts.get(label, most) < most:
            yield label, counts[label], example["image"]
            counts[label] += 1
            if min(counts.values()) == most:
                return


if __name__ == "__main__":
    main()
