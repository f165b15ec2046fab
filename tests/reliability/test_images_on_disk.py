"""Whole runs on images on the disk equal those on images in memory."""

import errno
import os

import pytest

from bsce_keras import train
from bsce_keras.data import stream as streams
from bsce_keras.records.checkpoints import Checkpoints
from tests.reliability.outcomes import outcome
from tests.reliability.test_growth import MONTHS, add, command

CACHE = "--cache_dir=cache"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Four classes in the folder `photos` of the working directory."""
    monkeypatch.chdir(tmp_path)
    for seed, month in enumerate(MONTHS[:2]):
        add(month, seed)


class Died(BaseException):
    """Exception that a run does not handle, like `kill -9`."""


def train_until_a_save(monkeypatch, arguments):
    """Trains until the first update of step 1 is saved."""
    with monkeypatch.context() as patched:
        save = Checkpoints.save_progress

        def save_and_die(self, step, *args):
            save(self, step, *args)
            if step == 1:
                raise Died

        patched.setattr(Checkpoints, "save_progress", save_and_die)
        with pytest.raises(Died):
            train.main(arguments)


def outcome_of(run_dir):
    found = outcome(run_dir)
    del found["config"]["stream"]["cache_dir"]
    return found


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            ("--classification_loss=balanced_softmax",), marks=pytest.mark.slow
        ),
        # The alpha split is on the disk too.
        pytest.param(
            ("--classification_loss=meta_balanced_softmax", "--alpha_every=2"),
            marks=pytest.mark.faults,
        ),
    ],
)
def test_a_run_continues_with_and_without_the_cache(options, photos, monkeypatch):
    """The run also continues within an epoch."""
    assert train.main(command("memory", 1, *options)) == 0
    train_until_a_save(monkeypatch, command("disk", 1, *options, CACHE))
    assert train.main(command("disk", 1, *options)) == 0
    assert outcome_of("disk") == outcome_of("memory")


def test_a_disk_failure_while_training_names_the_file(photos, monkeypatch, capsys):
    load = streams.load_dataset

    def load_and_refuse_the_rest(*args):
        def refuse(*_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        loaded = load(*args)
        monkeypatch.setattr(os, "preadv", refuse)
        return loaded

    monkeypatch.setattr(streams, "load_dataset", load_and_refuse_the_rest)
    assert train.main(command("run", 0, CACHE)) == 1
    message = capsys.readouterr().err
    assert "the file system refused: Input/output error: cache/photos_train" in message
