"""The header of a run, and the line of a finished step."""

import dataclasses
from types import SimpleNamespace

import pytest

from bsce_keras.config import MemoryConfig
from bsce_keras.config.memory import MemoryUse
from bsce_keras.reports.groups import method_title
from bsce_keras.reports.run_lines import run_header, step_line


def test_the_header_tells_what_is_trained_on_what(make_config):
    config = make_config("balanced_softmax")
    steps = [SimpleNamespace(examples=range(number)) for number in (100, 40, 30)]
    stream = SimpleNamespace(steps=steps, seen_test=lambda step: range(16))
    assert run_header(config, stream, "2 x GPU").splitlines() == [
        "data     letters, 4 classes, 170 images to train on, 16 to score on",
        "steps    3: 2 + 2 x 1 classes",
        "method   Fine-tuning + Balanced Softmax, 5 exemplars a class",
        "network  resnet8",
        "training 10 epochs a step, batches of 32, auto on 2 x GPU",
        f"folder   {config.run_dir}",
    ]


@pytest.mark.parametrize(
    "settings, kept",
    [
        ({"exemplars_per_class": 5}, "5 exemplars a class"),
        ({"exemplars_per_class": None, "memory_budget": 40}, "40 exemplars"),
        ({"exemplars_per_class": 0}, "without exemplars"),
    ],
)
def test_the_header_tells_exemplars_of_a_method_that_has_none_by_default(
    make_config, settings, kept
):
    config = make_config("softmax")
    use = MemoryUse(has_exemplars=False)
    config = dataclasses.replace(config, memory=MemoryConfig(use=use, **settings))
    steps = [SimpleNamespace(examples=range(9))]
    stream = SimpleNamespace(steps=steps, seen_test=lambda step: range(5))
    assert f" + Softmax, {kept}\n" in run_header(config, stream, "CPU")


@pytest.mark.parametrize(
    "name, is_frozen, training",
    [
        ("imprint", False, "10 epochs at step 0, none later"),
        ("imprint", True, "10 epochs at step 0, none later"),
        ("acil", False, "10 epochs at step 0, none later"),
        ("acil", True, "none, the head is computed"),
    ],
)
def test_the_header_says_where_nothing_is_trained(
    make_config, name, is_frozen, training
):
    config = make_config("softmax")
    method = dataclasses.replace(config.method, name=name)
    model = dataclasses.replace(config.model, freeze_backbone=is_frozen)
    config = dataclasses.replace(config, method=method, model=model)
    steps = [SimpleNamespace(examples=range(9))]
    stream = SimpleNamespace(steps=steps, seen_test=lambda step: range(5))
    header = run_header(config, stream, "CPU")
    assert f"training {training}, batches of 32" in header


def test_a_solved_head_is_named_with_what_goes_beyond_the_published_one():
    parameters = {"expansion_size": 8192, "ridge": 0.1, "depths": 4, "mirrored": True}
    config = {"method": {"name": "acil", "parameters": parameters}}
    assert method_title(config) == "ACIL, depths 4, mirrored"
    config["method"]["parameters"]["ridge"] = 10.0
    assert method_title(config) == "ACIL, ridge 10, depths 4, mirrored"
    # A chosen ridge is told where rows differ in it, not in the name.
    config["method"]["parameters"]["ridge"] = 0.0
    assert method_title(config) == "ACIL, depths 4, mirrored"
    config["method"]["parameters"] |= {"depths": 0, "mirrored": False}
    assert method_title(config) == "ACIL"


def test_the_line_of_a_step_has_its_scores_and_the_average_so_far(make_run):
    lines = make_run().steps
    assert step_line(lines[:1], 3) == (
        "step 0/2  accuracy 87.50  base 87.50  new 87.50  average so far 87.50  0:02"
    )
    assert step_line(lines, 3) == (
        "step 2/2  accuracy 37.50  base 25.00  old 25.00  new 75.00  "
        "average so far 66.67  0:02"
    )


def test_an_average_with_an_unscored_step_is_undefined(make_run):
    lines = make_run().steps
    lines[0] = {**lines[0], "accuracy": None}
    assert "average so far -" in step_line(lines, 3)
