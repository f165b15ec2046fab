"""Scores other features for the head of `acil` on held-out training images.

    python -m tools.head_study RUN --expansion_size=2048

RUN has a finished base step of `--method=il_baseline` with `--validation_share`. Its
backbone stays as it is. Every row of the printed table solves one head step by step, as
`acil` does, and scores it on the held-out images of all classes seen. Test images are
not read.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable

import keras
import numpy as np

from bsce_keras.classifiers import load_classifier
from bsce_keras.data.crops import draw_crops, training_crops
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.methods.acil import AnalyticStep, relu
from bsce_keras.methods.ridge import RidgeSolution, RidgeSums
from bsce_keras.models.analytic_head import AnalyticHead
from bsce_keras.models.classifier import backbone_of, preprocessing
from bsce_keras.records.recorded_config import recorded_config

BATCH = 500
# Features and principal components that do not vary would be divided by 0.
_LEAST_DEVIATION, _LEAST_VARIANCE = 1e-6, 1e-3
# Largest offset of a column of the expansion, for centred features.
_OFFSET = 0.3


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of the table.

    Args:
        name: its first cell.
        depths, mirrored: as for `AnalyticHead`.
        change: function of the features before the expansion.
        activation: function of the expanded features.
        is_centred: the mean over base images is subtracted, and every column of the
            expansion has a random offset.
        is_whitened: base images have uncorrelated features of deviation 1.
        num_crops: random crops of every training image that join the centre crop.
        base_weight: factor of the weights of base images.
    """

    name: str
    depths: int = 4
    mirrored: bool = True
    change: Callable = np.asarray
    activation: Callable = relu
    is_centred: bool = False
    is_whitened: bool = False
    num_crops: int = 0
    base_weight: float = 1.0


VARIANTS = (
    Variant("as published", depths=0, mirrored=False),
    Variant("mirrored", depths=0),
    *(Variant(f"mirrored, depths {number}", depths=number) for number in (1, 2, 3)),
    Variant("depths 4", mirrored=False),
    Variant("mirrored, depths 4: the following rows change this one"),
    Variant("square roots of the features", change=np.sqrt),
    Variant("logarithms of 1 + the features", change=np.log1p),
    Variant("whitened features", is_whitened=True),
    Variant("centred features with offsets", is_centred=True),
    Variant("tanh in place of ReLU", activation=np.tanh),
    Variant("two random crops of every training image too", num_crops=2),
    Variant("base images weigh 0.8", base_weight=0.8),
    Variant("base images weigh 0.3", base_weight=0.3),
)


def main(argv=None):
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", help="run with --validation_share")
    parser.add_argument("--expansion_size", type=int, default=2048)
    parser.add_argument("--ridge", type=float, default=1.0)
    parser.add_argument("--increment", type=int, default=10, help="classes of a step")
    parser.add_argument("--rows", type=_numbers, help="such as 7,11; all by default")
    given = parser.parse_args(argv)
    study = Study(given.run_dir, given.increment)
    print("| features | average | final | base | new |\n|---|---|---|---|---|")
    for number, variant in enumerate(VARIANTS, start=1):
        if given.rows and number not in given.rows:
            continue
        scores = study.scores(variant, given.expansion_size, given.ridge)
        cells = " | ".join(f"{100 * score:.2f}" for score in scores)
        print(f"| {variant.name} | {cells} |", flush=True)
    return 0


class Study:
    """Images and backbone of a run, split into steps.

    Args:
        run_dir: run folder with a finished base step and held-out images.
        increment: number of classes of every later step.
    """

    def __init__(self, run_dir, increment):
        config = recorded_config(run_dir)
        if not config.stream.validation_share:
            sys.exit(
                f"{run_dir} holds no images out. Train it with --validation_share."
            )
        num_later = len(config.stream.class_names) - config.stream.num_base_classes
        increments = (increment,) * (num_later // increment)
        stream = dataclasses.replace(config.stream, increments=increments)
        self._config, self._stream = config, ClassIncrementalStream(stream)
        self._classifier = load_classifier(run_dir, step=0)
        self.features = functools.cache(self._features)

    def scores(self, variant, expansion_size, ridge):
        """Returns average, final, base and new accuracy of a `Variant`."""
        steps = self._stream.steps
        views = variant.depths, variant.mirrored
        test = self._stream.seen_test(steps[-1])
        base = variant.change(self.features(0, *views))
        expansion, offsets = draw_expansion(variant, base, expansion_size)

        def activation(expanded):
            return variant.activation(expanded + offsets)

        sums = RidgeSums.zeros(expansion_size)
        accuracies = []
        for step in steps:
            rows = [self.features(step.index, *views)]
            rows += [
                self.features(step.index, *views, crop)
                for crop in range(1, variant.num_crops + 1)
            ]
            images = AnalyticStep(
                variant.change(np.concatenate(rows)),
                np.tile(step.examples.labels, len(rows)),
                step.num_old_classes,
                step.num_classes,
                expansion,
                num_base_classes=steps[0].num_classes,
                base_weight=variant.base_weight,
            )
            sums = sums.plus(images.sums(activation, images.targets))
            kernel = RidgeSolution(sums, ridge).kernel
            seen = test.labels < step.num_classes
            held_out = dataclasses.replace(
                images, features=variant.change(self.features(None, *views))[seen]
            )
            logits = held_out.expanded(slice(None), activation) @ kernel
            labels = test.labels[seen]
            right = logits.argmax(axis=1) == labels
            accuracies.append(right.mean())
        is_base = labels < steps[0].num_classes
        is_new = labels >= steps[-1].num_old_classes
        return (
            np.mean(accuracies),
            accuracies[-1],
            right[is_base].mean(),
            right[is_new].mean(),
        )

    def _features(self, step_index, depths, mirrored, crop=0):
        """Returns features of the images of a step, or of all held-out ones for None.

        Args:
            step_index: number of the step.
            depths, mirrored: as for `AnalyticHead`.
            crop: 0 for the centre, other numbers for different random crops.
        """
        steps, image = self._stream.steps, self._config.stream.image
        examples = self._stream.seen_test(steps[-1])
        if step_index is not None:
            examples = steps[step_index].examples
        images = examples.images
        if crop:
            crops = draw_crops(np.random.default_rng(crop), len(images), image)
            images = training_crops(images, np.arange(len(images)), crops, image)
        network = feature_network(self._config, self._classifier, depths, mirrored)
        return network.predict(np.asarray(images), batch_size=BATCH, verbose=0)


def feature_network(config, classifier, depths, mirrored):
    """Returns a network from images to the features that a head of `acil` takes.

    Args:
        config: `ExperimentConfig` of the run.
        classifier: its trained network.
        depths, mirrored: as for `AnalyticHead`.
    """
    image = config.stream.image
    head = AnalyticHead(1, 1, depths=depths, mirrored=mirrored)
    images = keras.Input((image.size, image.size, image.channels))
    values = images
    for layer in preprocessing(config.model, image):
        values = layer(values)
    outputs = head.gather(backbone_of(classifier), values)
    return keras.Model(images, outputs["features"])


def _numbers(text):
    return [int(number) for number in text.split(",")]


def draw_expansion(variant, base, size):
    """Returns E and the offsets of its columns.

    Args:
        variant: the `Variant`.
        base: features that scale the rows of E, shape `(n, d)`.
        size: number of columns.
    """
    rng = np.random.default_rng(0)
    length = base.shape[1]
    expansion = rng.uniform(-1, 1, (length, size)) / np.sqrt(length)
    offsets = 0.0
    if variant.depths:
        deviations = base.std(axis=0) + _LEAST_DEVIATION
        if variant.is_whitened:
            variances, axes = np.linalg.eigh(np.cov((base / deviations).T))
            scaled = axes / np.sqrt(variances + _LEAST_VARIANCE)
            expansion = scaled @ axes.T @ expansion
        expansion = expansion / deviations[:, None]
    if variant.is_centred:
        offsets = rng.uniform(-_OFFSET, _OFFSET, size) - base.mean(axis=0) @ expansion
    return expansion, offsets


if __name__ == "__main__":
    sys.exit(main())
