"""Signals: the first is a request, the second ends the process."""

import contextlib
import os
import signal

import pytest

from bsce_keras.options.run_command import run_command
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


@BOTH
def test_previous_signal_handler_is_restored(signum):
    before = signal.getsignal(signum)
    with StopRequests() as requests:
        requests.record()
        assert signal.getsignal(signum) is not before
    assert signal.getsignal(signum) is before


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
