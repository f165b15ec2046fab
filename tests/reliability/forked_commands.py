"""Runs commands in processes that are forked from one with TensorFlow.

Every input line is a JSON list of COMMAND, ARGUMENTS, LOG and SECONDS. A forked child
runs the command and writes its output to LOG.out and LOG.err. The answer is its exit
code: `HUNG` after SECONDS, `FAILED` after an uncaught exception.

TensorFlow is imported once, which takes most of the time of a short command. Nothing is
computed before a fork, because a fork does not copy TensorFlow's threads.
"""

import contextlib
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import traceback

HUNG, FAILED = 200, 201
COMMANDS = ("report", "evaluate", "predict", "train")
_POLL_SECONDS = 0.02
_ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def commands(folder):
    """Yields a function that runs a command; returns its exit code, stdout and stderr.

    Its arguments are the name of the command, its arguments and a limit of seconds.

    Args:
        folder: working folder of the commands, for their output too.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.forked_commands"],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def run(command, arguments, seconds):
            log = str(folder / "log")
            line = json.dumps([command, arguments, log, seconds])
            print(line, file=process.stdin, flush=True)
            code = int(process.stdout.readline())
            texts = [
                pathlib.Path(f"{log}.{name}").read_text(errors="replace")
                for name in ("out", "err")
            ]
            return code, *texts

        yield run


def _main():
    from bsce_keras.runtime.tensorflow_import import import_tensorflow

    import_tensorflow()
    for name in ("experiment", *COMMANDS):
        importlib.import_module(f"bsce_keras.{name}")
    for line in sys.stdin:
        command, arguments, log, seconds = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(command, arguments, log)
        print(_code(child, seconds), flush=True)


def _run(command, arguments, log):
    """Runs a command and ends the process."""
    code = FAILED
    try:
        for name, number in (("out", 1), ("err", 2)):
            with open(f"{log}.{name}", "w") as file:
                os.dup2(file.fileno(), number)
        code = importlib.import_module(f"bsce_keras.{command}").main(arguments)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code(child, seconds):
    """Waits for a child and returns its exit code."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL_SECONDS)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


if __name__ == "__main__":
    _main()
