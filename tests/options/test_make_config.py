"""Defaults that `make_config` fills in, and values that it takes."""

import dataclasses
import json

import numpy as np
import pytest

import bsce_keras
from bsce_keras.options.make_config import make_config
from bsce_keras.records.protocol import outcome_differences


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_folder_dataset(root, num_classes):
    for split in ("train", "test"):
        for index in range(num_classes):
            folder = root / split / f"class_{index}"
            folder.mkdir(parents=True)
            (folder / "image.png").write_bytes(b"never decoded here")
    return root


def test_digits_use_the_published_protocol_and_a_small_schedule():
    config = make_config("digits")
    assert config.stream.num_base_classes == 5
    assert config.stream.increments == (1, 1, 1, 1, 1)
    assert config.stream.class_order == "lucir"
    assert config.stream.order == (4, 2, 7, 6, 0, 3, 5, 8, 9, 1)
    assert config.memory.exemplars_per_class == 5
    assert config.model.backbone == "resnet8"
    assert config.method.classification_loss == "softmax"
    assert (config.training.epochs, config.training.milestones) == (16, (8, 12))
    assert config.training.min_updates == 0
    assert config.run_dir == "runs/digits_il_baseline_softmax_seed1"


def test_the_configuration_survives_json():
    again = json.loads(json.dumps(make_config("digits").to_json()))
    assert again["stream"]["increments"] == [1, 1, 1, 1, 1]
    assert again["method"]["parameters"] == {"temperature": 2.0}
    assert again["base_run_dir"] is None


def test_parameters_change_those_values_of_the_method_only():
    config = make_config(
        "digits", method="lucir", parameters={"margin": np.float32(0.25), "top_k": 1}
    )
    published = make_config("digits", method="lucir").method.parameters
    assert config.method.parameters == dataclasses.replace(
        published, margin=0.25, top_k=1
    )
    assert type(config.method.parameters.top_k) is int


def test_explicit_pixel_passes_are_not_scaled_with_the_schedule():
    request = {"dataset": "digits", "method": "mnemonics", "schedule_scale": 0.5}
    assert make_config(**request).method.parameters.pixel_passes == 5
    config = make_config(**request, parameters={"pixel_passes": 7})
    assert config.method.parameters.pixel_passes == 7


def test_parameters_belong_to_the_identity_of_a_run():
    one, other = (
        make_config("digits", method="lucir", parameters={"margin": margin}).to_json()
        for margin in (0.5, 0.4)
    )
    assert outcome_differences(one, other) == [
        "method.parameters.margin (of --method_parameters) was 0.5, now 0.4"
    ]


def test_none_means_the_default():
    assert make_config("digits", seed=None, epochs=None, alpha=None) == make_config(
        "digits"
    )


def test_make_config_is_a_public_name():
    assert bsce_keras.make_config is make_config


@pytest.mark.parametrize(
    ("num_classes", "num_base", "increments"),
    [
        (7, 4, (1, 1, 1)),
        (8, 4, (1, 1, 1, 1)),
        (13, 7, (2, 2, 2)),
        (15, 8, (7,)),
        (1, 1, ()),
    ],
)
def test_the_base_step_takes_half_of_the_classes_of_a_folder(
    tmp_path, num_classes, num_base, increments
):
    root = make_folder_dataset(tmp_path / "photos", num_classes)
    stream = make_config("folder", data_dir=root).stream
    assert (stream.num_base_classes, stream.increments) == (num_base, increments)


def test_folder_classes_arrive_by_time_of_arrival(tmp_path):
    root = make_folder_dataset(tmp_path / "photos", 4)
    config = make_config("folder", data_dir=root)
    assert config.stream.class_order == "arrival"
    assert config.stream.order == (0, 1, 2, 3)
    assert config.memory.exemplars_per_class == 20
    assert config.run_dir == "runs/folder_il_baseline_softmax_seed1"


@pytest.mark.parametrize(
    ("request_", "increments"),
    [
        ({"num_base_classes": 4}, (2, 2, 2)),
        ({"num_base_classes": 4, "num_increments": 6}, (1,) * 6),
        ({"num_base_classes": 10}, ()),
        ({"num_increments": 0}, ()),
        ({"increments": [2, 3]}, (2, 3)),
    ],
)
def test_increments_share_the_other_classes_equally(request_, increments):
    assert make_config("digits", **request_).stream.increments == increments


@pytest.mark.parametrize(
    ("request_", "epochs", "milestones"),
    [
        ({"schedule_scale": 0.5}, 8, (4, 6)),
        ({"schedule_scale": 2.0}, 32, (16, 24)),
        ({"schedule_scale": 0.01}, 1, ()),
        ({"epochs": 4}, 4, (2, 3)),
    ],
)
def test_schedules_scale_and_explicit_epochs_stay(request_, epochs, milestones):
    training = make_config("digits", **request_).training
    assert (training.epochs, training.milestones) == (epochs, milestones)


def test_a_memory_budget_replaces_exemplars_per_class():
    memory = make_config("digits", memory_budget=40).memory
    assert (memory.exemplars_per_class, memory.memory_budget) == (None, 40)


def test_requested_values_reach_the_configuration():
    config = make_config(
        "digits",
        classification_loss="meta_balanced_softmax",
        alpha_learning_rate=0.5,
        alpha_every=3,
        batch_size=64,
        learning_rate=0.2,
        weight_decay=0.0,
        seed=7,
        resume=False,
        export_only_last=True,
        synchronized_batch_norm=True,
    )
    assert config.method.learns_alpha
    assert (config.method.alpha_learning_rate, config.method.alpha_every) == (0.5, 3)

    assert config.training.batch_size == 64
    assert config.training.learning_rate == 0.2
    assert config.training.weight_decay == 0.0
    assert config.training.seed == 7
    assert (config.resume, config.export_only_last) == (False, True)
    assert config.model.synchronized_batch_norm


@pytest.mark.parametrize(
    ("optimizer", "rate"), [(None, 0.01), ("adam", 0.01), ("sgd", 1.0), ("held", None)]
)
def test_each_optimizer_of_alpha_has_its_own_default_rate(optimizer, rate):
    meta = {"classification_loss": "meta_balanced_softmax"}
    method = make_config("digits", **meta, alpha_optimizer=optimizer).method
    assert method.alpha_learning_rate == rate
    assert method.alpha_optimizer == (optimizer or "adam")
    if optimizer != "held":
        given = {**meta, "alpha_learning_rate": 0.5}
        method = make_config("digits", **given, alpha_optimizer=optimizer).method
        assert method.alpha_learning_rate == 0.5


def test_a_held_alpha_visits_values_from_their_epochs_on():
    method = make_config(
        "digits",
        classification_loss="meta_balanced_softmax",
        alpha_optimizer="held",
        alpha=0.7,
    ).method
    visits = dataclasses.replace(method, alpha_visits=((2, 0.5), (5, 0.1)))
    values = [visits.held_alpha(epoch) for epoch in range(7)]
    assert values == [0.7, 0.7, 0.5, 0.5, 0.5, 0.1, 0.1]
    learned = dataclasses.replace(method, alpha_optimizer="sgd")
    assert learned.held_alpha(0) is None


def test_a_tilde_in_paths_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_config("digits", run_dir="~/run").run_dir == str(tmp_path / "run")


@pytest.mark.parametrize("method", ["podnet", "il_baseline"])
def test_a_base_step_alone_needs_no_memory(method):
    """A base step is not fine-tuned and learns no alpha, so it needs no exemplars."""
    config = make_config(
        "digits",
        method=method,
        classification_loss=None if method == "podnet" else "meta_balanced_softmax",
        num_base_classes=3,
        num_increments=0,
        exemplars_per_class=0,
    )
    assert config.stream.increments == ()
    assert config.stream.num_classes == 3


def test_a_relative_data_dir_is_recorded_as_absolute(tmp_path):
    """Later commands may run in another folder."""
    make_folder_dataset(tmp_path / "photos", 2)
    config = make_config("folder", data_dir="photos")
    assert config.stream.data_dir == str(tmp_path / "photos")
