"""forget_classes(): subtracts classes from the last step of an analytic run."""

import contextlib
import dataclasses
import os
import shutil

import numpy as np

from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.data.examples import Examples
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.exports.step_export import export_step
from bsce_keras.learner.growth import with_other_head
from bsce_keras.learner.learner import Learner
from bsce_keras.methods.acil import AnalyticState, AnalyticStep
from bsce_keras.models.classifier import head_of
from bsce_keras.options.unforgettable import unforgettable_problems
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.data_record import data_differences, image_digests
from bsce_keras.records.run_folder import run_lock
from bsce_keras.runtime import array_files
from bsce_keras.runtime.array_files import pack
from bsce_keras.runtime.devices import prepared_runtime, resolved
from bsce_keras.runtime.errors import RequestError, refuse
from bsce_keras.runtime.files import make_folder, write_json


def forget_classes(config, names, output):
    """Writes the last step of a run as if it had never seen some classes.

    The sums of these classes are subtracted from the state of the run, and the head is
    solved again. Their Gram matrices are not stored, so their features are computed
    from the images of the data set, which must be those of the training. The run
    itself does not change.

    Args:
        config: `ExperimentConfig` of the run.
        names: names of the classes to forget.
        output: folder to write: `step` and `state` as checkpoints, `export` as a
            SavedModel, and last `forgotten.json`.

    Returns:
        Dictionary as in forgotten.json.

    Raises:
        RequestError: the method cannot forget, a class is unknown or trained the
            backbone, images differ, or the folder is in use.
        RunError: the head cannot be solved.
    """
    training = dataclasses.replace(
        config.training, strategy="one_device", virtual_devices=0
    )
    config = dataclasses.replace(config, training=resolved(training))
    refuse(unforgettable_problems(config, names))
    if os.path.isdir(output) and os.listdir(output):
        raise RequestError(f"{output} is not empty. Name another --output.")
    with run_lock(config.run_dir), prepared_runtime(config.training) as runtime:
        run = _FinishedRun(config, runtime)
        run.refuse_unlearned(names)
        kept = ~np.isin(run.class_names, names)
        run.refuse_other_images(kept)
        state, head = run.without(kept)
        return _write(run, kept, state, head, output)


class _FinishedRun:
    """Last finished step of an analytic run, with its images.

    Args:
        config: `ExperimentConfig`.
        runtime: `Runtime`.
    """

    def __init__(self, config, runtime):
        checkpoints = Checkpoints(config.run_dir)
        checkpoints.refuse_strangers()
        index = len(checkpoints.finished_states()) - 1
        arrays = checkpoints.load_state(index) if index >= 0 else None
        if arrays is None:
            raise RequestError(
                f"{config.run_dir} has no finished step with its state. Repeat the "
                "training command, which goes on from the last undamaged step."
            )
        self.config = config
        self.index = index
        self.steps = ClassIncrementalStream(config.stream).steps[: index + 1]
        self._state = AnalyticState.from_arrays(arrays)
        self.learner = Learner(config, runtime, checkpoints)
        self.learner.restore(self.steps[-1], checkpoints.load_step(index)[0])

    @property
    def class_names(self):
        """Names of all seen classes by label."""
        return np.array([name for step in self.steps for name in step.class_names])

    def refuse_unlearned(self, names):
        """Refuses classes of steps that are not finished, and all classes at once."""
        problems = [
            f"--classes: {self.config.run_dir} has not learned class {name!r}, whose "
            "step is not finished."
            for name in dict.fromkeys(names)
            if name not in self.class_names
        ]
        if not set(self.class_names) - set(names):
            problems.append("--classes names every class. Keep at least one.")
        refuse(problems)

    def refuse_other_images(self, kept):
        """Refuses other images than those of the training, where they are needed."""
        needed = ~kept
        last = self._last_step(kept)
        needed[last.num_old_classes : last.num_classes] = True
        digests = [one for step in self.steps for one in image_digests(step)]
        compared = [
            one if is_needed else {"name": one["name"]}
            for one, is_needed in zip(digests, needed, strict=True)
        ]
        differences = data_differences(self.config.run_dir, compared)
        if differences:
            raise RequestError(
                [
                    "Forgetting needs the images that the run was trained on. Restore "
                    "them. Differences:",
                    *differences,
                ]
            )

    def without(self, kept):
        """Returns `AnalyticState` and head weights without the other classes."""
        removed = Examples.concatenate([step.examples for step in self.steps])
        removed = removed.select(~kept[removed.labels])
        last = self._last_step(kept).examples
        last = last.select(kept[last.labels])
        last = dataclasses.replace(last, labels=(np.cumsum(kept) - 1)[last.labels])
        return self.learner.method.forget(
            self._state,
            self._analytic_step(removed, np.arange(len(kept))),
            kept,
            self._analytic_step(last, np.flatnonzero(kept)),
        )

    def _last_step(self, kept):
        """Returns the last step with classes that stay."""
        return next(
            step
            for step in reversed(self.steps)
            if kept[step.num_old_classes : step.num_classes].any()
        )

    def _analytic_step(self, examples, classes):
        """Returns an `AnalyticStep` of images, whose labels are places in `classes`."""
        facts = loss_facts(self.config.method.classification_loss)
        is_base = classes < self.config.stream.num_base_classes
        return AnalyticStep(
            self.learner.own_features(examples.images),
            examples.labels,
            num_old_classes=0,
            num_classes=len(classes),
            expansion=np.asarray(head_of(self.learner.classifier).expansion),
            is_balanced=facts.counts_classes,
            num_base_classes=int(np.count_nonzero(is_base)),
            base_weight=self.config.method.parameters.base_weight,
        )


def _write(run, kept, state, weights, output):
    """Writes the step without the forgotten classes; returns its record."""
    config, learner, method = run.config, run.learner, run.learner.method
    old = learner.classifier.get_weights()
    head = method.restored_head(0, np.count_nonzero(kept), old)
    classifier = with_other_head(config, method, head, learner.classifier)
    head.expansion.assign(head_of(learner.classifier).expansion)
    for name, values in weights.items():
        getattr(head, name).assign(values)
    names = run.class_names[kept].tolist()
    record = {
        "run_dir": config.run_dir,
        "step": run.index,
        "forgotten": run.class_names[~kept].tolist(),
        "class_names": names,
        "class_counts": state.counts.tolist(),
    }
    arrays = pack("classifier", classifier.get_weights())
    with _removed_unless_complete(output):
        array_files.write(os.path.join(output, "step"), arrays, record)
        array_files.write(os.path.join(output, "state"), state.to_arrays(), record)
        export = os.path.join(output, "export")
        export_step(classifier, config.stream.image, names, export)
        write_json(os.path.join(output, "forgotten.json"), record)
    return record


@contextlib.contextmanager
def _removed_unless_complete(output):
    """Makes a folder, and removes it if an error or Ctrl-C ends the `with`.

    A part of an output would refuse the same command.
    """
    make_folder(output)
    try:
        yield
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise
