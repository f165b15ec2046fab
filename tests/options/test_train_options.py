"""Options of a run, and the values that follow from their table."""

import pytest

from bsce_keras import make_config
from bsce_keras.config import SETTINGS
from bsce_keras.methods import METHODS
from bsce_keras.methods.parameters import AcilParameters, parameters_of
from bsce_keras.methods.recipes import published
from bsce_keras.options.command_line import parse, passed_on
from bsce_keras.options.command_options import COMMANDS
from bsce_keras.options.train_options import OPTIONS
from bsce_keras.runtime.errors import RequestError


def names(options):
    return {option.name for option in options}


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS.values() if option.field]
)
def test_a_field_names_the_option_that_sets_it_as_its_flag(option):
    flag = None if option.python_only else option.name
    assert SETTINGS[option.field].flag == flag


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("save_minutes", 7.5),
        ("exemplar_selection", "random"),
        ("synchronized_batch_norm", True),
        ("export_only_last", True),
    ],
)
def test_a_value_goes_to_the_field_that_its_option_names(name, value, tmp_path):
    config = make_config("digits", run_dir=tmp_path / "run", **{name: value})
    for part in OPTIONS[name].field.split("."):
        config = getattr(config, part)
    assert config == value


def test_the_default_of_an_option_is_that_of_its_field():
    assert (
        OPTIONS["save_minutes"].default_without_flag
        == SETTINGS["training.save_minutes"].default
    )


def test_a_default_that_depends_on_other_options_is_left_open():
    assert OPTIONS["exemplars_per_class"].default_without_flag is None


def test_help_of_ridge_has_the_default_of_the_parameter():
    default = parameters_of(AcilParameters)["ridge"].default
    assert OPTIONS["ridge"].default_text.split(",")[0] == f"{default:g}"


def test_help_names_every_method_with_balanced_finetuning():
    text = OPTIONS["balanced_finetuning"].help
    finetuned = {name for name in METHODS if published(name).finetunes}
    assert finetuned == {name for name in METHODS if name in text}


def test_options_of_single_runs_are_not_passed_on_by_commands_that_train_many():
    of_a_run = {"seed", "run_dir", "base_run_dir", "resume"}
    for command in ("reproduce", "tune"):
        assert not names(COMMANDS[command].passed_on) & of_a_run


def test_tune_passes_on_every_option_that_it_does_not_set():
    left_out = set(OPTIONS) - names(COMMANDS["tune"].passed_on)
    set_by_tune = {"alpha", "validation_share", "export", "export_formats", "calibrate"}
    of_a_run = {"seed", "run_dir", "base_run_dir", "resume"}
    python_only = names(option for option in OPTIONS.values() if option.python_only)
    assert left_out == of_a_run | set_by_tune | python_only


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("reproduce", ["a.flags"], {"export": False}),
        ("reproduce", ["a.flags", "--export"], {"export": True}),
        ("tune", [], {"classification_loss": "balanced_softmax"}),
    ],
)
def test_given_values_and_defaults_of_its_own_are_passed_on(
    command, arguments, expected
):
    values, *_ = parse(command, arguments)
    assert passed_on(command, values) == expected


@pytest.mark.parametrize(
    "formats", [["saved_model", "keras"], ("saved_model", "keras")]
)
def test_python_takes_formats_as_a_list_too(formats):
    text = make_config("digits", export_formats="saved_model,keras")
    assert make_config("digits", export_formats=formats) == text


@pytest.mark.parametrize("formats", [[], ["saved_model", 3], ["keros"]])
def test_wrong_lists_of_formats_are_refused(formats):
    with pytest.raises(RequestError, match="--export_formats"):
        make_config("digits", export_formats=formats)
