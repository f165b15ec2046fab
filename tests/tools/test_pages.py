"""Commands and flags that pages name exist; the README is short."""

import dataclasses
import pathlib
import re
import statistics

import pytest

from bsce_keras.methods import METHODS, recipes
from bsce_keras.options.command_options import COMMANDS
from tools.check_sentences import sentence_lengths

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
CALL = re.compile(r"(?:bsce-|bsce_keras\.)(\w+) ((?:\\\n|[^\n`])*)")
FLAG = re.compile(r"(?<![\w-])--(\w+)")
TOOL = re.compile(r"python -m tools\.(?:\\\n|[^\n`])*")
# Flags of other programs, `--network` of a tool, and the start of pip's `--no-deps`.
FOREIGN = {
    *("exclude", "mount", "logdir", "rest_api_port", "model_name", "model_base_path"),
    *("network", "no"),
}


def flags_of(command):
    names = {option.name for option in COMMANDS[command].options}
    return names | {f"no{name}" for name in names}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_of_a_page_exist(page):
    text = TOOL.sub("", page.read_text(encoding="utf-8"))
    for command, arguments in CALL.findall(text):
        if command in COMMANDS:
            unknown = {*FLAG.findall(arguments)} - flags_of(command)
            assert not unknown, f"{command}: {unknown}"
    known = set().union(*map(flags_of, COMMANDS))
    assert {*FLAG.findall(text)} <= known | FOREIGN


def test_page_of_methods_names_every_parameter():
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    for name in METHODS:
        for parameters in recipes.published(name).parameters.values():
            for field in dataclasses.fields(parameters):
                assert f"`{field.name}`" in page, f"{name}: {field.name}"


def test_recipes_of_pages_exist():
    for page in PAGES:
        for name in re.findall(r"--recipe=([\w/]+)", page.read_text(encoding="utf-8")):
            assert (ROOT / "flags" / f"{name}.flags").is_file(), f"{page.name}: {name}"


def test_readme_is_read_in_two_minutes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lengths = sentence_lengths(text)
    assert len(text.splitlines()) <= 150
    assert statistics.median(lengths) <= 16
    assert max(lengths) <= 30


def test_sentences_are_counted_without_code_tables_and_headings():
    text = (
        "# Title\n\nOne two. Run `make demo`\nnow.\n- Three\n\n| a b |\n\n    x y z\n"
    )
    assert sentence_lengths(text) == [2, 3, 1]
    assert sentence_lengths("Two runs. 5 of them\nended.\n") == [2, 4]
