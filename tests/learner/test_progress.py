"""Lines on the screen, and TensorBoard events read back."""

import pathlib

import pytest
import tensorflow as tf

from bsce_keras.learner import progress
from bsce_keras.learner.progress import ProgressLine, ScalarLog, write_step_scalars

LOGS = {
    "loss": 0.91823,
    "classification": 0.5,
    "train_accuracy": 0.643,
    "alpha_updates": 3,
}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that have passed, to be set by the test."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def started(callback, epochs=160, steps=10, epoch=0):
    callback.set_params({"epochs": epochs, "steps": steps})
    callback.on_epoch_begin(epoch)
    return callback


def scalars(folder):
    """Values by tag and step, in every event file of a folder."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                number = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_line_has_accuracy_speed_and_the_time_left_of_the_run(clock, capsys):
    line = started(ProgressLine("step 1/5", 1000, images_after=300_000), epochs=2)
    for batch in range(10):
        clock[0] += 1
        line.on_train_batch_end(batch, LOGS)
    line.on_epoch_end(0, LOGS)
    # 100 images a second: 1000 images left in this phase, 300000 after it.
    assert capsys.readouterr().out == (
        "step 1/5  epoch 1/2  loss 0.918  train acc 64.3%  100 images/s  "
        "0:10/50:10 left\n"
    )


@pytest.mark.parametrize("title", ["step 0/1", "step 10/10", "step 10/10 finetuning"])
def test_line_fits_80_columns(title, clock, capsys):
    logs = {**LOGS, "distillation": 1e-12, "less_forget": -123.456, "margin": 0.1}
    line = started(ProgressLine(title, 1_281_167, 10**9), epochs=160, epoch=100)
    for batch in range(10):
        clock[0] += 60
        line.on_train_batch_end(batch, logs)
    line.on_epoch_end(100, logs)
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 80
    assert all("loss" in text and text.endswith(" left") for text in printed)


@pytest.mark.parametrize("terminal", ["", "dumb"])
def test_line_is_printed_every_minute_where_it_cannot_be_live(
    terminal, clock, capsys, monkeypatch
):
    """A dumb terminal, such as a shell in Emacs, cannot move its cursor."""
    if terminal:
        monkeypatch.setenv("TERM", terminal)
        monkeypatch.setenv("FORCE_COLOR", "1")  # For rich, a terminal.
    line = started(ProgressLine("step 0/5", 1000))
    for batch in range(10):
        clock[0] += 30
        line.on_train_batch_end(batch, LOGS)
    line.on_epoch_end(0, LOGS)
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_resumed_epoch_counts_the_images_that_it_trains(clock, capsys):
    line = started(ProgressLine("step 0/5", 1000))
    clock[0] += 2
    for batch in (8, 9):
        line.on_train_batch_end(batch, LOGS)
    line.on_epoch_end(0, LOGS)
    assert "100 images/s" in capsys.readouterr().out


def test_time_left_recovers_from_a_pause_within_two_epochs(clock, capsys):
    line = started(ProgressLine("step 0/0", 1000), epochs=4)
    for epoch, seconds in enumerate((60, 1, 1)):
        if epoch:
            line.on_epoch_begin(epoch)
        for batch in range(10):
            clock[0] += seconds
            line.on_train_batch_end(batch, LOGS)
        line.on_epoch_end(epoch, LOGS)
    ends = [line.split()[-2] for line in capsys.readouterr().out.splitlines()]
    # 10 s an epoch but for the first one, which took 600 s.
    assert ends[-3:] == ["30:00", "10:10", "0:10"]


def test_epoch_has_its_means_and_images_per_second(clock, tmp_path):
    log = started(ScalarLog(str(tmp_path), images_per_epoch=1000))
    for batch in range(10):
        clock[0] += 0.5
        log.on_train_batch_end(batch)
    log.on_epoch_end(0, {"loss": 0.5, "learning_rate": 0.25})
    assert scalars(tmp_path) == {
        "loss": [(0, 0.5)],
        "learning_rate": [(0, 0.25)],
        "images_per_second": [(0, 200)],
    }


def test_every_move_of_alpha_has_a_scalar_once(tmp_path):
    """A resumed process writes the earlier epochs again, then goes on."""
    ScalarLog(str(tmp_path)).on_epoch_end(0, {"loss": 0.5})
    log = ScalarLog(str(tmp_path), history=[{"loss": 0.5}], alphas=[1.0, 0.75])
    log.log_alphas([0.25], first=2)
    assert scalars(tmp_path) == {
        "loss": [(0, 0.5)],
        "alpha_by_update": [(0, 1.0), (1, 0.75), (2, 0.25)],
    }


def test_steps_have_scalars_once_however_often_they_are_written(tmp_path):
    line = dict.fromkeys(progress.STEP_SCALARS, 0.5)
    lines = [{**line, "step": 0, "alpha": None, "old_accuracy": None}]
    write_step_scalars(tmp_path, lines)
    write_step_scalars(tmp_path, [*lines, {**line, "step": 1}])
    found = scalars(tmp_path)
    assert found["accuracy"] == found["new_accuracy"] == [(0, 0.5), (1, 0.5)]
    assert found["alpha"] == found["old_accuracy"] == [(1, 0.5)]
