"""RunFolder: the folder of a run, which one process at a time writes."""

import contextlib
import errno
import logging
import os
import pathlib
import shutil

from bsce_keras.config.step_requirements import (
    count_images,
    refuse_impossible_steps,
    small_class_warnings,
)
from bsce_keras.records.base_step import check_base_step, load_base_step, save_base_step
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.data_record import (
    image_differences,
    keep_data_record,
    stream_digests,
)
from bsce_keras.records.protocol import outcome_differences
from bsce_keras.records.run_identity import begin_run, check_same_run, end_run
from bsce_keras.records.run_records import RunRecords, picture_path
from bsce_keras.records.shared_checkpoints import SharedCheckpoints
from bsce_keras.records.step_record import StepRecord
from bsce_keras.records.versions import DECISIVE_PACKAGES, versions
from bsce_keras.runtime.errors import RequestError, RunError
from bsce_keras.runtime.file_lock import try_lock
from bsce_keras.runtime.files import make_folder, refuse_link, write_json
from bsce_keras.runtime.text import listed

_log = logging.getLogger(__name__)

_LOCK = ".lock"
# Codes of a place where folders cannot be made, such as /proc. A full disk is another
# matter: there the same command goes on later.
_IMPOSSIBLE = {errno.ENOENT, errno.EACCES, errno.EPERM}


class RunFolder:
    """The folder of one run: lock, identity, data record, checkpoints and records.

    Use it as a context, which holds the lock. If several workers train, only the chief
    reads and writes, and sends the others what they need. All workers must call the
    same methods in the same order.

    Args:
        config: resolved `ExperimentConfig`.
        runtime: `Runtime`.

    Attributes:
        checkpoints: `SharedCheckpoints`, for the `Learner`'s progress within a step.
        records: `RunRecords` of the finished steps; on the chief only, after `begin`.

    Raises:
        RequestError: on entering, if the folder is in use, belongs to another
            configuration, or workers were started with different flags.
    """

    def __init__(self, config, runtime):
        self._config = config
        self._dir = pathlib.Path(config.run_dir)
        self._workers = runtime.workers
        self._num_replicas = runtime.strategy.num_replicas_in_sync
        self._own_checkpoints = Checkpoints(config.run_dir, self._refuse_moved)
        self.checkpoints = SharedCheckpoints(self._own_checkpoints, self._workers)
        self._num_finished = 0
        self.records = None
        self._held_lock = None
        self._lock = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._workers.from_chief(lambda: self._take_lock(stack))
            ours = [versions(), self._config.to_json()]
            self._workers.refuse_unlike(ours, _request_differences, "flags")
            self._workers.from_chief(self._refuse_unless_resumable)
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._lock.__exit__(*exception)

    def begin(self, stream, flagfile=""):
        """Writes the first files of a run, after checking that it can be trained.

        Args:
            stream: the `ClassIncrementalStream`.
            flagfile: text of a flagfile that repeats the run.

        Raises:
            RequestError: a step has too few images, images differ from those the run
                began with, or the base step does not fit. Nothing is written then.
        """
        if self._workers.number > 1:
            digests = [one for step in stream_digests(stream) for one in step]
            self._workers.refuse_unlike(digests, image_differences, "images")
        self._num_finished = self._workers.from_chief(
            lambda: self._begin(stream, flagfile)
        )

    def unfinished(self, steps):
        """Returns the steps of a stream that are not finished."""
        return steps[self._num_finished :]

    def last_finished(self, steps):
        """Returns the last finished step and its arrays, or `(None, None)`.

        Args:
            steps: all steps of the stream.
        """
        if not self._num_finished:
            return None, None
        step = steps[self._num_finished - 1]
        arrays = self.checkpoints.load_arrays(step.index)
        self.checkpoints.drop_leftovers()
        return step, arrays

    def finish_step(self, record, arrays):
        """Saves a step, which marks it as finished.

        Args:
            record: its `StepRecord`.
            arrays: named arrays that restore later steps and exports.
        """
        arrays = {**arrays, **record.to_arrays()}
        self._own_checkpoints.save_step(record.step, arrays, record.to_state())
        self.records.append(record)

    def finish(self, write_report):
        """Completes the run and returns its summary, as in summary.json.

        Args:
            write_report: called with the summary, before summary.json is written.
        """
        return self._workers.from_chief(lambda: self._finish(write_report))

    def on_chief(self, action, *args):
        """Calls `action(*args)` on the chief only.

        Raises:
            RunError: the folder was moved since it was entered.
        """
        if self._workers.is_chief:
            self._refuse_moved()
            action(*args)

    def write_pictures(self, step, pictures):
        """Writes the small pictures of a `Step`, as `read_pictures` returns them."""
        make_folder(self._dir / "pictures")
        write_json(picture_path(self._dir, step.index), pictures)

    def tensorboard_path(self, name):
        """Returns the folder of TensorBoard events of this name."""
        return str(self._dir / "tensorboard" / name)

    def _take_lock(self, stack):
        self._held_lock = stack.enter_context(run_lock(self._config.run_dir))

    def _refuse_moved(self):
        if self._held_lock is not None:
            refuse_moved(self._config.run_dir, self._held_lock)

    def _refuse_unless_resumable(self):
        check_same_run(self._config.run_dir, self._config)
        self._own_checkpoints.refuse_strangers()
        if not self._config.resume and self._own_checkpoints.exist():
            raise RequestError(
                f"--noresume was given, but {self._dir} holds checkpoints. To start "
                "anew, use another --run_dir. To continue the run, omit --noresume."
            )

    def _begin(self, stream, flagfile):
        """Writes the first files; returns the number of finished steps."""
        config, checkpoints = self._config, self._own_checkpoints
        states = checkpoints.finished_states()
        refuse_impossible_steps(config, stream, states, self._num_replicas)
        images = count_images(stream)
        for warning in small_class_warnings(config, images, len(states)):
            _log.warning(warning)
        _warn_of_unscored_classes(stream)
        base_step = None
        # `finished_states` skips damaged checkpoints, so a damaged base step is
        # replaced too.
        if config.base_run_dir and not states:
            base_step = load_base_step(config, stream.steps[0])
        num_begun = checkpoints.num_begun_steps()
        keep_data_record(config.run_dir, stream, num_begun, len(states))
        begin_run(config.run_dir, config, self._num_replicas, flagfile, len(states))
        if base_step:
            save_base_step(checkpoints, config, base_step)
        return self._open_records(stream, flagfile)

    def _open_records(self, stream, flagfile):
        """Opens the records and returns the number of finished steps."""
        states = self._own_checkpoints.finished_states()
        finished = [StepRecord.from_state(state) for state in states[:-1]]
        if states:
            arrays, state = self._own_checkpoints.load_step(len(states) - 1)
            finished.append(StepRecord.from_state(state, arrays))
        skipped = stream.dataset.skipped_images
        self.records = RunRecords(self._dir, self._config, finished, skipped)
        if len(states) == len(stream.steps):
            print(f"{self._dir} is complete; to train anew, use another --run_dir")
        elif states:
            print(f"{self._dir} continues with step {len(states)}")
        stream_config = self._config.stream
        arriving = stream_config.arriving_class_names
        waiting = sorted({*stream_config.class_names} - {*arriving})
        # A base step that `tune` trains for its trials has no flags to raise.
        is_of_trials = not (flagfile or stream_config.increments)
        if waiting and stream_config.dataset == "folder" and not is_of_trials:
            print(
                f"Classes without a step: {listed(waiting)}. To learn them too, raise "
                f"--num_increments (now {len(stream_config.increments)})"
            )
        return len(states)

    def _finish(self, write_report):
        self._refuse_moved()
        summary = self.records.summary()
        write_report(self._dir, summary)
        end_run(self._dir)
        self.records.finish(summary)
        return summary


def check_folders(config):
    """Refuses folders that the config.json of a run, or the system, rules out.

    Needs no TensorFlow and reads no data. `RunFolder` checks again.

    Args:
        config: `ExperimentConfig`; `auto` may be left in it.

    Raises:
        RequestError: another run's folder, one in use or that cannot be made, or a
            base step of another configuration.
    """
    check_same_run(config.run_dir, config)
    if config.base_run_dir and not Checkpoints(config.run_dir).exist():
        check_base_step(config)
    with run_lock(config.run_dir):
        pass


def _warn_of_unscored_classes(stream):
    unscored = stream.classes_without_test_images()
    if unscored:
        _log.warning(
            "Classes without images to score, left out of every accuracy: %s.",
            listed(unscored),
        )


def _request_differences(theirs, ours):
    """Differences between two workers' versions and configurations."""
    return [
        *(
            f"{name} {theirs[0][name]} there, {ours[0][name]} here"
            for name in DECISIVE_PACKAGES
            if theirs[0][name] != ours[0][name]
        ),
        *outcome_differences(theirs[1], ours[1]),
    ]


@contextlib.contextmanager
def run_lock(run_dir, flag="--run_dir"):
    """Locks a folder for one process; the kernel releases the lock of a dead process.

    The folder is removed at the end if it is new and holds only the lock.

    Yields:
        The open lock file, see `refuse_moved`.

    Raises:
        RequestError: another process, which the message names, holds the lock.
        OSError: the folder cannot be made, or its file system has no locks.
    """
    is_new = not os.path.isdir(run_dir)
    with _locked_file(run_dir, flag) as file:
        # The process id is needed only for the message to a refused process.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        try:
            yield file
        finally:
            # The folder may have been moved meanwhile.
            is_there = os.path.isdir(run_dir)
            if is_new and is_there and os.listdir(run_dir) == [_LOCK]:
                shutil.rmtree(run_dir)


def refuse_moved(run_dir, lock):
    """Ends a run whose folder is not at its path any more.

    Args:
        run_dir: the path.
        lock: the open file that `run_lock` yields.

    Raises:
        RunError: another file, or none, has the path of the lock. The message names
            the new place where the system tells it.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = os.stat(os.path.join(run_dir, _LOCK), follow_symlinks=False)
        if os.path.samestat(os.fstat(lock.fileno()), status):
            return
    place = _place(lock)
    if place is None:
        raise RunError(
            f"{run_dir} was moved or removed while it was trained. If it was moved, "
            "the same command with its new --run_dir goes on there."
        )
    raise RunError(
        f"{run_dir} was moved to {place} while it was trained. The same command with "
        f"--run_dir={place} goes on there, after the last save."
    )


def _place(lock):
    """Returns the folder of an open lock file; None if the system does not tell."""
    with contextlib.suppress(OSError):
        path = os.readlink(f"/proc/self/fd/{lock.fileno()}")
        if os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
            return os.path.dirname(path)
    return None


def _locked_file(run_dir, flag):
    """Opens and locks the lock file of a folder."""
    path = os.path.join(run_dir, _LOCK)
    while True:
        try:
            make_folder(run_dir)
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                raise
            raise RequestError(
                f"{flag}={run_dir} cannot be made: {error.strerror}. Name another "
                "folder."
            ) from error
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(
                    open(path, "a+", encoding="utf-8", opener=refuse_link)
                )
                if not try_lock(file):
                    file.seek(0)
                    raise RequestError(
                        f"{run_dir} is in use by process {file.read().strip()}. Wait "
                        f"for it, stop it, or use another {flag}."
                    )
                # The last holder may have removed the file; its lock is void then.
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    stack.pop_all()
                    return file
            except FileNotFoundError:
                continue
