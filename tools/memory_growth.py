"""Resident memory of a process after every step of a stream of 20 increments.

    python -m tools.memory_growth --network=tiny
    python -m tools.memory_growth --network=cifar --precision=mixed_bfloat16

Each step has two new classes of random images and one epoch. Memory should grow only by
the head and the exemplars. Further growth is a leak of the package or of TensorFlow.
Linux only.
"""

import argparse
import contextlib
import dataclasses
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from bsce_keras.runtime.machine import resident_memory_mb
from bsce_keras.runtime.tensorflow_import import import_tensorflow

import_tensorflow()

import numpy as np

from bsce_keras.config import ImageSpec
from bsce_keras.data.examples import Examples
from bsce_keras.data.stream import Step
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.options.make_config import make_config
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import prepared_runtime, resolved

NUM_INCREMENTS, NUM_NEW = 20, 2


@dataclasses.dataclass(frozen=True)
class Stream:
    """Sizes of a stream and its network.

    Args:
        image: `ImageSpec`.
        backbone: name of the backbone.
        num_base_classes: number of classes of step 0.
        step_images: number of new training images of a step.
        batch_size: number of images of an update.
        exemplars_per_class: number of exemplars of each class.
    """

    image: ImageSpec
    backbone: str
    num_base_classes: int
    step_images: int
    batch_size: int
    exemplars_per_class: int


STREAMS = {
    "tiny": Stream(
        ImageSpec(size=8, stored_size=8, channels=1, mean=(0.5,), std=(0.3,)),
        *("resnet8", 2, 64, 16, 2),
    ),
    "cifar": Stream(
        ImageSpec(size=32, stored_size=32, pad=4),
        *("resnet32", 50, 128, 128, 20),
    ),
}


def main(argv=None):
    """Prints a line with step and megabytes after every step.

    Args:
        argv: arguments without the name of the program; those of the process by
            default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.memory_growth", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--network", choices=STREAMS, default="tiny")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--classification_loss", default="meta_balanced_softmax")
    asked = parser.parse_args(argv)
    answers = sys.stdout
    # Progress goes to stderr, results to stdout.
    with contextlib.redirect_stdout(sys.stderr):
        for step, resident in _measure(STREAMS[asked.network], asked):
            print(f"step {step} {resident:.0f} MB", file=answers, flush=True)


def _measure(stream, asked):
    with tempfile.TemporaryDirectory() as run_dir:
        config = _config(stream, asked, run_dir)
        with prepared_runtime(config.training) as runtime:
            learner = Learner(config, runtime, Checkpoints(run_dir))
            memory = ReplayMemory(config.memory, config.training.seed)
            for step in _steps(stream, config.stream.class_names):
                learner.learn(step, memory)
                yield step.index, resident_memory_mb()


def _config(stream, asked, run_dir):
    """Returns the config of digits with classes, images and network of the stream."""
    config = make_config(
        "digits",
        epochs=1,
        batch_size=stream.batch_size,
        backbone=stream.backbone,
        exemplars_per_class=stream.exemplars_per_class,
        precision=asked.precision,
        classification_loss=asked.classification_loss,
        strategy="one_device",
        run_dir=run_dir,
    )
    num_classes = stream.num_base_classes + NUM_INCREMENTS * NUM_NEW
    classes = dataclasses.replace(
        config.stream,
        image=stream.image,
        class_names=tuple(f"class {label}" for label in range(num_classes)),
        order=tuple(range(num_classes)),
        num_base_classes=stream.num_base_classes,
        increments=(NUM_NEW,) * NUM_INCREMENTS,
    )
    return dataclasses.replace(
        config, stream=classes, training=resolved(config.training)
    )


def _steps(stream, class_names):
    rng = np.random.default_rng(0)
    image, num_old = stream.image, 0
    for index in range(1 + NUM_INCREMENTS):
        num_new = NUM_NEW if index else stream.num_base_classes
        labels = np.arange(stream.step_images) % num_new + num_old
        shape = (len(labels), image.stored_size, image.stored_size, image.channels)
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        examples = Examples(images, np.sort(labels), np.arange(len(labels)))
        names = class_names[num_old : num_old + num_new]
        yield Step(index, num_old, num_new, names, examples)
        num_old += num_new


if __name__ == "__main__":
    main()
