"""Published results have names that an installed package knows."""

import pathlib
import sys
import zipfile

import pytest

from bsce_keras import __version__, make_config, reproduce, train
from bsce_keras.options import command_line
from bsce_keras.options.flagfile_recipes import flagfiles_of, recipe_paths

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "cifar100_5steps/il_baseline_bsce"
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "bsce_keras", "flags")


def config_of(*arguments):
    values, _, problems = command_line.parse("train", arguments)
    assert not problems
    return make_config(**command_line.train_request(values))


def test_every_flagfile_of_the_repository_is_a_recipe():
    paths = {str(path) for path in (ROOT / "flags").glob("*/*.flags")}
    assert set(recipe_paths().values()) == paths


def test_a_recipe_is_the_experiment_of_its_flagfile(prepared):
    data = f"--data_dir={prepared}"
    flagfile = f"--flagfile={ROOT / 'flags' / NAME}.flags"
    assert config_of(f"--recipe={NAME}", data) == config_of(flagfile, data)


def test_a_flagfile_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "mine.flags"
    path.write_text("--dataset=digits\n--seed=7\n", encoding="utf-8-sig")
    assert config_of(f"--flagfile={path}").training.seed == 7


def test_a_flag_after_a_recipe_wins(prepared):
    config = config_of(f"--recipe={NAME}", f"--data_dir={prepared}", "--seed=7")
    assert config.training.seed == 7


def test_flagfile_of_a_run_has_the_flags_of_its_recipe():
    values, _, _ = command_line.parse("train", [f"--recipe={NAME}"])
    text = command_line.flagfile_text(values)
    assert "--classification_loss=balanced_softmax\n" in text
    assert "recipe" not in text


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--recipe=cifar100_5steps/il_baseline_bse"], f"Did you mean {NAME}"),
        (["--loss=softmax"], "Unknown flag --loss. Did you mean --classification_loss"),
    ],
)
def test_wrong_names_get_the_right_ones(arguments, fragment, capsys):
    assert train.main(arguments) == 2
    assert fragment in capsys.readouterr().err


def test_list_of_recipes_names_the_results(capsys):
    assert train.main(["--list_recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(recipe_paths())
    assert f"{NAME}  " in "\n".join(lines)


def test_version_is_printed(capsys):
    assert reproduce.main(["--version"]) == 0
    assert capsys.readouterr().out == f"bsce_keras {__version__}\n"


def test_reproduce_takes_recipes_by_pattern():
    names = [pathlib.Path(path).name for path in flagfiles_of("cifar100_5steps/lucir*")]
    assert names == ["lucir.flags", "lucir_bsce.flags", "lucir_meta_bsce.flags"]


def test_reproduce_names_the_list_of_recipes(capsys):
    assert reproduce.main(["cifar100_5steps/lucyr", "--seeds=x"]) == 2
    problems = capsys.readouterr().err
    assert "cifar100_5steps/lucyr is neither a flagfile nor a recipe." in problems
    assert "Did you mean cifar100_5steps/lucir" in problems
    assert "--list_recipes lists all recipes" in problems
    assert "--seeds must be" in problems


@pytest.mark.parametrize(
    ("argv", "name", "call"),
    [
        ("/opt/bin/bsce-train", "bsce-train", "bsce-train"),
        (
            "/src/bsce_keras/train.py",
            "bsce_keras.train",
            "python -m bsce_keras.train",
        ),
    ],
)
def test_messages_and_help_name_the_typed_command(
    argv, name, call, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", [argv])
    assert train.main(["--sed=1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"{name}: ") for line in lines)
    assert lines[-1] == f"{name}: `{call} --help` lists every flag"
    assert train.main(["--help"]) == 0
    assert f"usage: {call} [flags]\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_wheel_holds_the_recipes(tmp_path, run_python):
    source = tmp_path / "source"
    source.mkdir()
    for name in SOURCES:
        (source / name).symlink_to(ROOT / name)
    code = f"""
import subprocess, sys
options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir=."]
command = [sys.executable, "-m", "pip", "wheel", *options, {str(source)!r}]
subprocess.run(command, check=True)
"""
    run_python(code)
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "installed")!r})
from bsce_keras.options.flagfile_recipes import recipe_paths
assert all(path.startswith(sys.path[0]) for path in recipe_paths().values())
print(*recipe_paths(), sep="\\n")
"""
    names, _ = run_python(code)
    assert names.splitlines() == list(recipe_paths())
