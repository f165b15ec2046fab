"""Runs a command: help, messages and exit codes. Imports no TensorFlow."""

import logging
import os
import pathlib
import sys
import textwrap

from bsce_keras import __version__
from bsce_keras.config.choices import CIFAR, KINDS
from bsce_keras.methods import recipes
from bsce_keras.methods.parameters import parameters_of
from bsce_keras.options.command_line import is_whole, parse
from bsce_keras.options.command_options import COMMANDS
from bsce_keras.options.flagfile_recipes import recipe_list
from bsce_keras.runtime.errors import RequestError, RunError
from bsce_keras.runtime.file_lock import refuse_without_locks
from bsce_keras.runtime.signals import Stopped, remembered_ctrl_c
from bsce_keras.runtime.standard_streams import (
    discarded_if_unread,
    mend_standard_streams,
)
from bsce_keras.runtime.text import one_line

# Other commands end in silence, as is usual: `bsce-report runs/* | head`.
_UNREAD = (
    "stopped, because the program that read its output has ended. Give the same "
    "command to go on from the last save, with the output in a file.",
)


def run_command(command, main, argv=None, check=None):
    """Runs a command and turns its failures into messages and exit codes.

    Args:
        command: key of `COMMANDS`.
        main: function of the flag values and the list of other arguments. It returns
            an exit code, or None for 0.
        argv: arguments without the name of the program; those of the process by
            default.
        check: function of the flag values and the list of other arguments that
            returns a list of problems. It is called if the command line is wrong and
            its files were read, so that all problems are reported together.

    Returns:
        Exit code: 0, 2 for a wrong request, 1 for a failure while running, 130 when
        interrupted, or 143 when terminated. Other exceptions are defects and keep
        their traceback.
    """
    mend_standard_streams()
    # Libraries would otherwise choose another form of warnings while a command runs.
    logging.basicConfig(format="%(message)s")
    # TensorFlow reads the variable when it loads, which is later.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = sys.argv[1:] if argv is None else list(argv)
    values, positional, problems = parse(command, arguments)
    try:
        answer = _answer(command, values)
        if answer is not None:
            print(answer, flush=True)
            return 0
        refuse_without_locks()
        if problems:
            if check and is_whole(values):
                problems += check(values, positional)
            raise RequestError(problems)
        with remembered_ctrl_c():
            return main(values, positional) or 0
    except RequestError as error:
        hint = f"`{program(command)} --help` lists every flag"
        return _fail(command, [*error.problems, hint], 2)
    except RunError as error:
        return _fail(command, [str(error)], 1)
    except BrokenPipeError:
        return _fail(command, _UNREAD if COMMANDS[command].resumes else [], 1)
    except OSError as error:
        reason = error.strerror or str(error)
        reason += f": {error.filename}" if error.filename else ""
        message = (
            f"the file system refused: {reason}. Finished work is kept. Correct the "
            "cause (space, permission, path) and repeat the command."
        )
        return _fail(command, [message], 1)
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        message = (
            f"memory ran out{reason}. Finished work is kept. Free memory, or use a "
            "machine with more, and repeat the command."
        )
        return _fail(command, [message], 1)
    except Stopped as stopped:
        return _fail(command, [str(stopped)], stopped.exit_code)
    except KeyboardInterrupt:
        return _fail(command, ["interrupted; finished work is kept"], 130)


def _answer(command, values):
    """Returns the text that a command prints instead of running, or None."""
    if values.help:
        return help_text(command, values)
    if values.version:
        return f"bsce_keras {__version__}"
    if "list_recipes" in values and values.list_recipes:
        return recipe_list()
    return None


def help_text(command, values):
    """Returns the purpose of a command and its flags, with meanings and defaults.

    With `--method`, the parameters of that method follow.
    """
    spec = COMMANDS[command]
    positional = f" {spec.positional}..." if spec.positional else ""
    lines = [
        spec.purpose,
        "",
        f"usage: {program(command)} [flags]{positional}",
        f"       {program(command)} {spec.example}",
    ]
    for group, flags in spec.groups.items():
        lines += ["", f"{group}:"]
        for flag in flags:
            lines += _entry(flag.usage, flag.description)
    if "method" in values and values["method"].present:
        lines += _parameters(values.method)
    return "\n".join(lines)


def _entry(usage, description):
    indent = " " * 8
    return [
        f"  {usage}",
        *textwrap.wrap(
            description,
            width=80,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        ),
    ]


def _parameters(method):
    """Lines of the hyper-parameters of a method, with meanings and published values."""
    lines = ["", f"--method_parameters of --method={method}:"]
    by_kind = {kind: recipes.parameters(method, kind) for kind in KINDS}
    for name, parameter in parameters_of(by_kind[CIFAR]).items():
        kinds = {}
        for kind, values in by_kind.items():
            kinds.setdefault(getattr(values, name), []).append(kind)
        published = [
            str(value).lower() + (f" for {', '.join(of)}" if len(kinds) > 1 else "")
            for value, of in kinds.items()
        ]
        lines += _entry(
            name,
            f"{parameter.help}; {parameter.expected} (default: {'; '.join(published)})",
        )
    return lines if len(lines) > 2 else [*lines, "  The method has none."]


def _fail(command, messages, code):
    with discarded_if_unread(sys.stdout):
        sys.stdout.flush()
    name = program(command).rpartition(" ")[2]
    with discarded_if_unread(sys.stderr):
        for message in messages:
            # File names in messages may contain control characters.
            print(f"{name}: {one_line(message)}", file=sys.stderr)
    return code


def program(command):
    """Returns the call of a command in the form in which the running one was called.

    >>> program("train")
    'python -m bsce_keras.train'
    """
    is_script = pathlib.Path(sys.argv[0]).stem.startswith("bsce-")
    return f"bsce-{command}" if is_script else f"python -m bsce_keras.{command}"
