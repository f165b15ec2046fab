"""Signals: the first is a request, the second ends the process."""

import contextlib
import os
import signal

import pytest

from bsce_keras.options.run_command import run_command
from bsce_keras.runtime.errors import RunError
from bsce_keras.runtime.signals import Stopped, StopRequests, ctrl_c_handler

BOTH = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])


@pytest.mark.parametrize(
    ("signum", "end"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
)
def test_first_signal_is_recorded_and_second_ends_the_process(signum, end, capsys):
    with StopRequests() as requests:
        requests.record()
        assert requests.signum is None
        os.kill(os.getpid(), signum)
        assert requests.signum == signum
        assert "A second signal stops at once" in capsys.readouterr().out
        with pytest.raises(end) as ended:
            os.kill(os.getpid(), signum)
    assert getattr(ended.value, "code", 143) == 143


def test_signal_while_output_is_held_up_is_recorded(monkeypatch):
    """A paused terminal (Ctrl-S) or a full pipe holds up a line of a run."""
    end, begin = os.pipe()
    os.set_blocking(end, False)
    monkeypatch.setattr("sys.stdout", os.fdopen(begin, "w"))

    def tick(*_):
        if requests.signum is None:
            os.kill(os.getpid(), signal.SIGTERM)
        with contextlib.suppress(BlockingIOError):
            os.read(end, 2**20)  # The reader goes on.

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with StopRequests() as requests:
            requests.record()
            print("." * 2**17, flush=True)
            assert requests.signum == signal.SIGTERM
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(end)


def test_signal_that_ended_the_reader_of_the_output_too_is_recorded(monkeypatch):
    """Ctrl-C of `bsce-train | tee log` ends `tee` first."""
    end, begin = os.pipe()
    os.close(end)
    monkeypatch.setattr("sys.stdout", os.fdopen(begin, "w"))
    with StopRequests() as requests:
        requests.record()
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.signum == signal.SIGINT
        print("the line of the epoch", flush=True)


@BOTH
def test_previous_signal_handler_is_restored(signum):
    before = signal.getsignal(signum)
    with StopRequests() as requests:
        requests.record()
        assert signal.getsignal(signum) is not before
    assert signal.getsignal(signum) is before


def test_run_that_fails_after_a_signal_has_stopped():
    """After a failure, `reproduce` and `tune` begin the next run."""
    with pytest.raises(Stopped, match="diverged") as stopped, StopRequests() as asked:
        asked.record()
        os.kill(os.getpid(), signal.SIGTERM)
        raise RunError("diverged")
    assert stopped.value.exit_code == 143


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_loop_that_goes_on_after_failures_ends_at_a_stop(signum):
    begun = []
    with pytest.raises(KeyboardInterrupt):
        for seed in (1, 2):
            begun.append(seed)
            with contextlib.suppress(Exception), StopRequests() as asked:
                asked.record()
                os.kill(os.getpid(), signum)
                asked.refuse("stopped in step 1")
    assert begun == [1]


@pytest.mark.parametrize(
    ("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_stopped_command_says_how_to_go_on(signum, exit_code, capsys):
    def main(values, positional):
        raise Stopped("stopped in step 2: give the same command to go on.", signum)

    assert run_command("train", main, ["--dataset=digits"]) == exit_code
    assert "give the same command to go on" in capsys.readouterr().err


def test_ctrl_c_that_a_library_swallows_still_stops_the_command(capsys):
    """Imports of some libraries catch every exception."""

    def main(values, positional):
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGINT)
        with StopRequests():
            raise AssertionError("training began")

    # A shell ignores Ctrl-C for what it runs in the background.
    with ctrl_c_handler(signal.default_int_handler):
        assert run_command("train", main, ["--dataset=digits"]) == 130
        assert "interrupted" in capsys.readouterr().err
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with StopRequests() as requests:  # The next command is not interrupted.
        assert requests.signum is None
