"""Scores heads that are computed on the features of a trained run.

    python -m tools.solved_heads RUN

RUN is a finished run with exemplars, such as one of PODNet + Balanced Softmax. The
network of every step stays as it was trained. Other heads replace its own, each from
what the step had at hand: its images and the exemplars of earlier classes. They are
scored on the images that RUN was scored on.

Solved heads have the features of `acil` with maps of all stages and mirror images.
Their ridge has the least leave-one-out error. No setting is chosen by the scores.
"""

import argparse
import sys

import numpy as np

from bsce_keras.classifiers import load_classifier
from bsce_keras.data.examples import Examples
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.methods.acil import (
    RIDGES,
    AnalyticState,
    AnalyticStep,
    RidgeStream,
    relu,
)
from bsce_keras.methods.ridge import RidgeSums
from bsce_keras.models.classifier import backbone_of
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.recorded_config import recorded_config
from tools.head_study import BATCH, Variant, draw_expansion, feature_network


def main(argv=None):
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", help="finished run with exemplars")
    parser.add_argument("--expansion_size", type=int, default=2048)
    given = parser.parse_args(argv)
    print("| head | average | final | base | old | new |\n|---|---|---|---|---|---|")
    for name, scores in run_scores(given.run_dir, given.expansion_size).items():
        cells = " | ".join(f"{100 * score:.2f}" for score in scores)
        print(f"| {name} | {cells} |")
    return 0


def run_scores(run_dir, expansion_size):
    """Returns average, final, base, old and new accuracy by name of the head.

    Args:
        run_dir: finished run with exemplars.
        expansion_size: columns of the expansion of solved heads.
    """
    config = recorded_config(run_dir)
    stream = ClassIncrementalStream(config.stream)
    held, correct = [], {}
    for step in stream.steps:
        now = _exemplars(run_dir, config, step.index)
        pool = Examples.concatenate([step.examples, *held])
        network = StepNetwork(run_dir, config, step.index, stream.seen_test(step))
        for name, predicted in network.predictions(pool, now, expansion_size).items():
            right = predicted == network.scored.labels
            correct.setdefault(name, []).append(right)
        held = [now]
        print(f"step {step.index} of {run_dir}", file=sys.stderr)
    return {
        name: _scores(rights, stream.steps, network.scored.labels)
        for name, rights in correct.items()
    }


class StepNetwork:
    """The trained network of a step and the images that it is scored on.

    Args:
        run_dir: finished run.
        config: its `ExperimentConfig`.
        step_index: number of the step.
        scored: `Examples` of all classes up to the step.
    """

    def __init__(self, run_dir, config, step_index, scored):
        self.scored = scored
        self._classifier = load_classifier(run_dir, step=step_index)
        outputs = backbone_of(self._classifier).output
        depths = sum(name.startswith("stage") for name in outputs)
        self._variant = Variant("", depths=depths)
        self._features = feature_network(
            config, self._classifier, depths, mirrored=True
        )

    def predictions(self, pool, exemplars, expansion_size):
        """Returns the predicted labels of the scored images by name of the head.

        Args:
            pool: `Examples` that the step trained on.
            exemplars: `Examples` of all classes that are kept after the step.
            expansion_size: columns of the expansion.
        """
        own = _predict(self._classifier, self.scored.images)
        kept = _predict(self._classifier, exemplars.images)["features"]
        nearness = _unit(own["features"]) @ _class_means(kept, exemplars.labels).T
        test, rows, few = (
            _predict(self._features, part.images)
            for part in (self.scored, pool, exemplars)
        )
        expansion, _ = draw_expansion(self._variant, rows, expansion_size)

        def solved(features, labels, is_balanced):
            num_classes = labels.max() + 1
            step = AnalyticStep(
                features, labels, 0, num_classes, expansion, is_balanced
            )
            return relu(test.astype(np.float64) @ expansion) @ _kernel(step)

        logits = {
            "its own": own["logits"],
            "nearest mean of the exemplars": nearness,
            "solved, images weigh the same": solved(rows, pool.labels, False),
            "solved, classes weigh the same": solved(rows, pool.labels, True),
            "solved from exemplars alone": solved(few, exemplars.labels, True),
        }
        return {name: values.argmax(axis=1) for name, values in logits.items()}


def _kernel(step):
    """Returns the kernel that solves an `AnalyticStep` of all classes."""
    nothing = {"main": RidgeSums.zeros(step.expansion.shape[1])}
    state = AnalyticState(nothing, np.zeros(0, np.int64))
    stream = RidgeStream.fitted(
        state, "main", step, relu, step.targets, RIDGES, tell=lambda what: None
    )
    return stream.solution.kernel


def _exemplars(run_dir, config, step_index):
    """Returns the `Examples` that a run keeps after a step."""
    arrays, _ = Checkpoints(run_dir).load_step(step_index)
    memory = ReplayMemory(config.memory, config.training.seed)
    memory.restore(arrays)
    exemplars = memory.examples()
    if exemplars is None:
        sys.exit(f"{run_dir} keeps no exemplars. Name a run that keeps some.")
    return exemplars


def _predict(network, images):
    return network.predict(np.asarray(images), batch_size=BATCH, verbose=0)


def _class_means(features, labels):
    """Returns the mean direction of every class, shape `(num_classes, d)`."""
    units = _unit(features)
    classes = np.eye(labels.max() + 1)[labels]
    return _unit(classes.T @ units)


def _unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _scores(rights, steps, labels):
    """Returns average, final, base, old and new accuracy.

    Args:
        rights: for every step, whether each scored image is right.
        steps: the `Step`s.
        labels: of the images scored after the last step.
    """
    last, final = steps[-1], rights[-1]
    parts = (
        labels < steps[0].num_classes,
        labels < last.num_old_classes,
        labels >= last.num_old_classes,
    )
    average = np.mean([right.mean() for right in rights])
    return average, final.mean(), *(final[part].mean() for part in parts)


if __name__ == "__main__":
    sys.exit(main())
