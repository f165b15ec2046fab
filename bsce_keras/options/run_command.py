"""Runs a command: help, messages and exit codes. Imports no TensorFlow."""

import os
import sys
import textwrap

from bsce_keras.options.command_line import parse
from bsce_keras.options.command_options import COMMANDS
from bsce_keras.runtime.errors import RequestError, RunError
from bsce_keras.runtime.signals import Stopped
from bsce_keras.runtime.standard_streams import mend_standard_streams


def run_command(command, main, argv=None, check=None):
    """Runs a command and turns its failures into messages and exit codes.

    Args:
        command: a key of `COMMANDS`.
        main: function of the flag values and the list of other arguments; returns an
            exit code, or None for 0.
        argv: arguments without the program's name; those of the process by default.
        check: function of the flag values and the list of other arguments that
            returns a list of problems. It is asked when the command line is wrong, so
            that these are told as well.

    Returns:
        0, or 2 for a wrong request, 1 for a failure while running, 130 when
        interrupted, 143 when terminated. Any other exception is a defect and passes
        with its traceback.
    """
    mend_standard_streams()
    # TensorFlow reads it when it loads, which is later.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = sys.argv[1:] if argv is None else list(argv)
    values, positional, problems = parse(command, arguments)
    if values.help:
        print(help_text(command))
        return 0
    try:
        if problems:
            raise RequestError(problems + (check(values, positional) if check else []))
        return main(values, positional) or 0
    except RequestError as error:
        hint = f"`python -m bsce_keras.{command} --help` lists every flag"
        return _fail(command, [*error.problems, hint], 2)
    except RunError as error:
        return _fail(command, [str(error)], 1)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain once more when
        # it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}" if error.filename else error
        message = (
            f"the file system refused: {reason}. What was finished stays; mend it "
            "(space, permission, path) and give the same command again."
        )
        return _fail(command, [message], 1)
    except Stopped as stopped:
        return _fail(command, [str(stopped)], stopped.exit_code)
    except KeyboardInterrupt:
        return _fail(command, ["interrupted; what was finished stays"], 130)


def help_text(command):
    """What a command does and every flag of it, by group, with meaning and default."""
    spec = COMMANDS[command]
    positional = f" {spec.positional}..." if spec.positional else ""
    lines = [
        spec.purpose,
        "",
        f"usage: python -m bsce_keras.{command} [flags]{positional}",
        f"       python -m bsce_keras.{command} {spec.example}",
    ]
    for group, flags in spec.groups.items():
        lines += ["", f"{group}:"]
        for flag in flags:
            indent = " " * 8
            lines.append(f"  {flag.usage}")
            lines += textwrap.wrap(
                flag.description,
                width=80,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def _fail(command, messages, code):
    for message in messages:
        print(f"bsce_keras.{command}: {message}", file=sys.stderr)
    return code
