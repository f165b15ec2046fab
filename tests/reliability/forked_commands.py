"""Runs commands in processes that are forked from one with TensorFlow.

Every input line is a JSON list of COMMAND, ARGUMENTS, LOG and SECONDS. A forked child
runs the command and writes its output to LOG.out and LOG.err. The answer is its exit
code: `KILLED` after SECONDS, `FAILED` after an uncaught exception, `HUNG` if it uses
more than a minute of CPU time, or none for 20 seconds. A loaded machine makes a command
slow, but not hang.

TensorFlow is imported once, which takes most of the time of a short command. Nothing is
computed before a fork, because a fork does not copy TensorFlow's threads.
"""

import contextlib
import importlib
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time
import traceback

KILLED, HUNG, FAILED = 200, 201, 202
COMMANDS = ("report", "evaluate", "predict", "train")
_MOST_CPU_SECONDS, _MOST_IDLE_SECONDS = 60, 20
_POLL_SECONDS = 0.02
_ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def commands(folder):
    """Yields a function that runs a command; returns its exit code, stdout and stderr.

    Its arguments are the name of the command, its arguments, and the seconds after
    which the command is killed; by default, it is not.

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

        def run(command, arguments, seconds=math.inf):
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
    cpu_seconds, used_at = 0.0, time.monotonic()
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        now, before = time.monotonic(), cpu_seconds
        cpu_seconds = _cpu_seconds(child)
        used_at = now if cpu_seconds > before else used_at
        is_idle = now - used_at > _MOST_IDLE_SECONDS
        if now > end or is_idle or cpu_seconds > _MOST_CPU_SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return KILLED if now > end else HUNG
        time.sleep(_POLL_SECONDS)
    return os.waitstatus_to_exitcode(ended[1])


def _cpu_seconds(child):
    """Returns the CPU time of a process and of its threads."""
    fields = pathlib.Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    _main()
