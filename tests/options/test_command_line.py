"""Command lines are read, refused and repeated."""

import sys
import types

import pytest

from bsce_keras import train
from bsce_keras.options import command_line, command_options
from bsce_keras.options.make_config import make_config
from bsce_keras.options.run_command import help_text, run_command
from bsce_keras.options.train_options import OPTIONS
from bsce_keras.runtime.errors import RequestError, RunError

COMMANDS = tuple(command_options.COMMANDS)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(*arguments, command="train"):
    values, positional, problems = command_line.parse(command, arguments)
    assert problems == []
    return values, positional


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--seed=3"], "seed", 3),
        (["--seed", "3"], "seed", 3),
        (["--learning_rate=1e-3"], "learning_rate", 0.001),
        (["--alpha", "-1"], "alpha", -1.0),
        (["--run_dir=a=b"], "run_dir", "a=b"),
        (["--resume"], "resume", True),
        (["--noresume"], "resume", False),
        (["--resume=false"], "resume", False),
        (["--method=finetune"], "method", "finetune"),
        (["--seed=3", "--seed=4"], "seed", 4),
        ([], "seed", 1),
        ([], "alpha", 1.0),
        ([], "epochs", None),
        ([], "resume", True),
    ],
)
def test_values_are_parsed_by_type(arguments, name, value):
    values, _ = parse(*arguments)
    assert getattr(values, name) == value


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        *(("train", "flagfile"), ("evaluate", "run_dir"), ("evaluate", "model")),
        *(("export", "output"), ("forget", "data_dir"), ("predict", "embedding")),
        *(("report", "output"), ("reproduce", "runs_dir"), ("tune", "runs_dir")),
    ],
)
def test_paths_may_begin_with_a_tilde(command, flag, empty_folder, monkeypatch):
    """Shells do not expand it after the equals sign."""
    monkeypatch.setenv("HOME", str(empty_folder))
    (empty_folder / "here").touch()
    values, *_ = command_line.parse(command, [f"--{flag}=~/here"])
    assert values[flag].value == (
        None if flag == "flagfile" else f"{empty_folder}/here"
    )


def test_arguments_after_a_double_dash_are_not_flags():
    values, files = parse("--top_k=2", "a.jpg", "--", "--b.jpg", command="predict")
    assert values.top_k == 2
    assert files == ["a.jpg", "--b.jpg"]


def test_a_path_like_a_flag_is_told_with_a_form_that_is_a_path(empty_folder):
    (empty_folder / "-run=1").mkdir()
    _, positional, problems = command_line.parse("report", ["-run=1", "other"])
    assert positional == ["other"]
    assert problems == [
        "Unknown flag -run. For the file or folder of this name, write ./-run=1"
    ]
    # A command without other arguments has only a flag to mean.
    _, _, problems = command_line.parse("train", ["-run=1"])
    assert "./" not in problems[0]


def test_mistyped_flags_and_contradictions_are_reported_together(capsys):
    arguments = ["--datset", "digits", "--seed=x", "--alpha=-1", "--epochs=0", "yes"]
    assert train.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    for fragment in (
        "Unknown flag --datset. Did you mean --dataset?",
        "--seed must be an integer",
        "Unexpected argument 'yes'",
        "--dataset is required",
        "--alpha must be a finite number above 0",
        "--epochs must be a finite number above 0",
    ):
        assert len([line for line in lines if fragment in line]) == 1, fragment
    assert not any("'digits'" in line for line in lines)


@pytest.mark.parametrize("file", ["--flagfile=nowhere", "--recipe=nowhere"])
def test_only_a_file_that_cannot_be_read_is_named(file, capsys):
    assert train.main([file]) == 2
    problem, hint = capsys.readouterr().err.splitlines()
    assert problem.startswith(f"bsce_keras.train: {file} ")
    assert hint.endswith("lists every flag")


def test_train_passes_request_and_flags_to_the_experiment(monkeypatch):
    ran = []
    experiment = types.SimpleNamespace(
        run_experiment=lambda config, flagfile: ran.append((config, flagfile))
    )
    monkeypatch.setitem(sys.modules, "bsce_keras.experiment", experiment)
    monkeypatch.setattr(train, "import_keras", lambda: None)
    monkeypatch.setattr(train, "_print_steps", lambda run_dir: None)
    assert train.main(["--dataset=digits", "--seed=2", "--noresume"]) == 0
    [(config, flagfile)] = ran
    assert config == make_config("digits", seed=2, resume=False)
    assert set(flagfile.splitlines()) == {"--dataset=digits", "--seed=2", "--noresume"}


def test_every_train_flag_is_an_option_of_make_config():
    names = set(command_line.define("train")) - command_options.READ_AT_ONCE
    python_only = {name for name, option in OPTIONS.items() if option.python_only}
    assert set(OPTIONS) - names == python_only
    assert names <= set(OPTIONS)


def test_a_wrong_request_and_help_do_not_import_tensorflow(run_python):
    code = """
import sys
import bsce_keras
from bsce_keras import make_config, train
assert train.main(["--help"]) == 0
assert train.main(["--dataset=digits", "--num_increments=3"]) == 2
make_config("digits")
heavy = {"tensorflow", "keras", "tensorflow_datasets"} & set(sys.modules)
assert not heavy, heavy
"""
    run_python(code)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_flag_with_its_default(command, capsys):
    def main(*_):
        raise AssertionError("--help must not run the command")

    assert run_command(command, main, ["--help", "--wrong"]) == 0
    text = capsys.readouterr().out
    for name in command_line.define(command):
        assert f"--{name}" in text or f"--[no]{name}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_train_help_lists_choices_and_defaults():
    text = " ".join(help_text("train", command_line.define("train")).split())
    assert "one of herding, random (default: herding)" in text
    assert (
        "number of classes of the base step (default: half of the classes, rounded up)"
        in text
    )
    assert (
        "--[no]resume continue from the checkpoints of the run folder (default: true)"
        in text
    )


def test_flag_files_nest_and_later_flags_win(tmp_path):
    (tmp_path / "common.flags").write_text("# ours\n\n--seed=5\n--noexport\n")
    (tmp_path / "run.flags").write_text("--flagfile=common.flags\n// and\n--epochs=2\n")
    values, _ = parse("--seed=4", "--flagfile", "run.flags", "--epochs=3")
    assert (values.seed, values.export, values.epochs) == (5, False, 3)


def test_a_flag_file_that_includes_itself_is_refused(tmp_path):
    (tmp_path / "a").write_text("--flagfile=b\n")
    (tmp_path / "b").write_text("--flagfile=a\n--sead=1\n")
    *_, problems = command_line.parse("train", ["--flagfile=a", "--epochs=x"])
    assert "includes itself: a -> b -> a" in problems[0]
    assert "Unknown flag --sead" in problems[1]
    assert "--epochs must be an integer" in problems[2]


def test_the_flagfile_of_a_run_repeats_it(tmp_path):
    arguments = [
        "--dataset=digits",
        "--alpha=0.1",
        "--classification_loss=balanced_softmax",
        "--class_order=my order.txt",
        "--noexport",
        "--deterministic",
        "--seed=1",
    ]
    values, _ = parse(*arguments)
    text = command_line.flagfile_text(values)
    assert sorted(text.splitlines()) == sorted(arguments)
    (tmp_path / "flagfile.flags").write_text(text)
    again, _ = parse("--flagfile=flagfile.flags")
    assert command_line.set_values(again) == command_line.set_values(values)
    assert again.flag_values_dict() == values.flag_values_dict()


def test_the_flagfile_of_a_run_repeats_it_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    arguments = ["--data_dir=photos", "--run_dir=~/run", "--base_run_dir=base"]
    values, _ = parse("--dataset=folder", *arguments)
    lines = command_line.flagfile_text(values).splitlines()
    assert f"--data_dir={tmp_path / 'photos'}" in lines
    assert f"--run_dir={tmp_path / 'home' / 'run'}" in lines
    # A begun run needs the text of its config.json.
    assert "--base_run_dir=base" in lines


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (RequestError(["first", "second"]), 2),
        (RunError("disk full"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_distinguish_failures(raised, code, capsys):
    def main(values, positional):
        raise raised

    assert run_command("report", main, ["run"]) == code
    message = capsys.readouterr().err
    for expected in getattr(raised, "problems", raised.args):
        assert f"bsce_keras.report: {expected}\n" in message


def test_exhausted_memory_ends_in_one_line(capsys):
    def main(values, positional):
        raise MemoryError

    assert run_command("report", main, ["run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory ran out. Finished work is kept" in line


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("train", ["--dataset=digits"], "Give the same command to go on"),
        ("report", ["run"], ""),
    ],
)
def test_training_says_that_the_reader_of_its_output_has_ended(
    command, arguments, message, capfd
):
    """Commands that only answer end in silence, as others do before `head`."""

    def main(values, positional):
        raise BrokenPipeError

    assert run_command(command, main, arguments) == 1
    error = capfd.readouterr().err
    assert message in error and len(error.splitlines()) == bool(message)


def test_warnings_keep_their_form_after_a_library_has_logged(run_python):
    code = """
import logging
from bsce_keras.options.run_command import run_command

def main(values, positional):
    logging.info("of a library")
    logging.getLogger("bsce_keras.learner").warning("Step 1 has only 2 updates.")

run_command("report", main, ["run"])
"""
    assert run_python(code)[1] == "Step 1 has only 2 updates.\n"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device. Finished"),
        (OSError(28, "No space left", "a/b"), "No space left: a/b. Finished"),
        (OSError("tape is worn"), "tape is worn. Finished"),
    ],
)
def test_a_failing_disk_is_told_with_its_file_if_it_is_known(error, reason, capsys):
    def main(values, positional):
        raise error

    assert run_command("report", main, ["run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the file system refused: {reason} work is kept" in line


def test_windows_lacks_the_locks_of_commands_and_has_their_help(run_python):
    """Its Python has neither of these modules."""
    code = """
import sys
sys.modules["fcntl"] = sys.modules["resource"] = None
from bsce_keras import train
sys.argv = ["train"]
assert train.main(["--dataset=digits"]) == 2
assert train.main(["--version"]) == 0
"""
    printed, error = run_python(code)
    assert "WSL 2" in error and printed.startswith("bsce_keras ")


def test_a_defect_keeps_its_traceback():
    def main(values, positional):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command("report", main, ["run"])


def test_main_receives_flag_values_and_other_arguments():
    seen = []

    def main(values, positional):
        seen.append((values.format, positional))

    assert run_command("report", main, ["--format=markdown", "a", "b"]) == 0
    assert seen == [("markdown", ["a", "b"])]


@pytest.mark.parametrize(("command", "name"), [("predict", "FILE"), ("report", "RUN_")])
def test_commands_that_need_files_name_them(command, name, capsys):
    assert run_command(command, lambda *_: 0, []) == 2
    assert f"Expected at least one {name}" in capsys.readouterr().err


def test_parameters_of_a_method_are_read_as_numbers():
    values, _, problems = command_line.parse(
        "train",
        ["--dataset=digits", "--method=lucir", "--method_parameters=margin=1,top_k=3"],
    )
    assert not problems
    parameters = make_config(**command_line.train_request(values)).method.parameters
    assert (parameters.margin, parameters.top_k) == (1.0, 3)
    assert "--method_parameters=margin=1,top_k=3" in command_line.flagfile_text(values)


@pytest.mark.parametrize("command", ["train", "tune"])
def test_help_with_a_method_lists_its_parameters(command, capsys):
    assert run_command(command, None, ["--method=lucir", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "number of new classes that each old image is compared with" in text
    assert "an integer of at least 1 (default: 2)" in text
    assert "5.0 for small, cifar; 10.0 for subimagenet, imagenet" in text


def test_help_with_a_method_without_parameters_says_so(capsys):
    assert run_command("train", None, ["--method=finetune", "--help"]) == 0
    assert capsys.readouterr().out.endswith("The method has none.\n")
