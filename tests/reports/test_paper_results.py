"""The paper's numbers are shown beside runs of the same experiment, and no others."""

import dataclasses
import json

import pytest

from bsce_keras import make_config
from bsce_keras.reports.paper_results import (
    FIGURE_2,
    QUOTED,
    TABLE_1,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    Cell,
    published_average,
    published_remarks,
    published_scores,
)


@pytest.fixture
def config_of(prepared):
    """A function from a request to the config.json of its run."""

    def config_of(**request):
        full = {"dataset": "cifar100", "data_dir": prepared, **request}
        return json.loads(json.dumps(make_config(**full).to_json()))

    return config_of


def test_the_tables_have_as_many_numbers_as_the_paper():
    sizes = [len(table) for table in (TABLE_1, QUOTED, TABLE_2, TABLE_3, TABLE_4)]
    assert sizes == [7 * 6, 4 * 6, 2 * 5, 14, 8]
    assert QUOTED[Cell("cifar100", 10, "icarl", "softmax")] == {"average": 52.57}
    cell = Cell("cifar100", 10, "il_baseline", "balanced_softmax", alpha=0.25)
    assert TABLE_2[cell] == {"average": 59.40, "final": 47.86, "base": 60.28}


@pytest.mark.parametrize("increments", [5, 10])
def test_base_classes_gain_by_a_smaller_alpha_in_table_2(increments):
    cells = [
        Cell("cifar100", increments, "il_baseline", "balanced_softmax", alpha=alpha)
        for alpha in (0.1, 0.25, 0.5, 1.0)
    ]
    base = [TABLE_2[cell]["base"] for cell in cells]
    assert base == sorted(base, reverse=True)
    assert all(TABLE_2[cell]["final"] < TABLE_2[cell]["average"] for cell in cells)


def test_tables_that_share_an_experiment_agree():
    for table in (TABLE_2, TABLE_3, TABLE_4):
        shared = table.keys() & TABLE_1.keys()
        assert shared
        for cell in shared:
            assert table[cell]["average"] == TABLE_1[cell]["average"]
    [(cell, numbers)] = FIGURE_2.items()
    assert (cell.loss, numbers) == ("softmax", {"final": 31.25, "base": 17.40})


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ({}, 43.80),
        ({"num_increments": 10}, 37.00),
        ({"method": "podnet"}, 64.46),
        ({"method": "podnet", "classification_loss": "balanced_softmax"}, 67.67),
        ({"replay_sampling": "memory_oversampling"}, 49.75),
        ({"classification_loss": "rescaled_softmax"}, 57.01),
        ({"balanced_finetuning": "true"}, 59.46),
        ({"method": "icarl"}, 57.17),
        ({"classification_loss": "balanced_softmax", "alpha": 0.25}, 64.09),
        ({"exemplars_per_class": 50}, 52.99),
        ({"dataset": "imagenet2012"}, 43.23),
        ({"dataset": "subimagenet", "num_increments": 10}, 42.22),
    ],
)
def test_a_published_experiment_has_its_number(config_of, request_, number):
    assert published_average(config_of(**request_)) == number


@pytest.mark.parametrize(
    "request_",
    [
        {"schedule_scale": 0.04, "seed": 3},
        {"schedule_scale": 0.04, "method": "podnet"},
        {"precision": "mixed_bfloat16", "strategy": "one_device"},
        {"deterministic": True, "save_minutes": 9.0, "intra_op_threads": 2},
    ],
)
def test_seed_scale_and_machine_leave_the_number(config_of, request_):
    without = {key: request_[key] for key in request_ if key == "method"}
    assert published_scores(config_of(**request_)) == published_scores(
        config_of(**without)
    )


@pytest.mark.parametrize(
    "request_",
    [
        {"class_order": "icarl"},
        {"backbone": "resnet18"},
        {"exemplar_selection": "random"},
        {"epochs": 10},
        {"learning_rate": 0.05},
        {"batch_size": 64},
        {"weight_decay": 5e-4},
        {"num_increments": 2},
        {"increments": [10, 10, 10, 10, 5, 5]},
        {"num_base_classes": 60},
        {"exemplars_per_class": 15},
        {"exemplars_per_class": None, "memory_budget": 2000},
        {"classification_loss": "balanced_softmax", "alpha": 0.3},
        {"classification_loss": "meta_balanced_softmax", "alpha_every": 1},
        {"classification_loss": "meta_balanced_softmax", "alpha_learning_rate": 0.7},
        {"classification_loss": "meta_balanced_softmax", "method": "lucir"},
        {"classification_loss": "balanced_softmax", "balanced_finetuning": "true"},
        {"classification_loss": "separated_softmax"},
        {"validation_share": 0.1},
        {"method": "podnet", "balanced_finetuning": "false"},
        {"method": "podnet", "parameters": {"nca": "paper"}},
        {"method": "lucir", "replay_sampling": "memory_oversampling"},
        {"num_increments": 10, "replay_sampling": "memory_oversampling"},
        {"dataset": "digits", "data_dir": None},
        {"method": "icarl", "classification_loss": "balanced_softmax"},
        {"method": "wa"},
        {"method": "ss_il"},
        # Quoted in the paper from experiments with another protocol.
        {"method": "bic"},
        {"method": "mnemonics"},
        {"method": "tpcil"},
        {"dataset": "subimagenet", "method": "icarl"},
    ],
)
def test_another_experiment_has_no_number(config_of, request_):
    assert published_scores(config_of(**request_)) == {}


@pytest.mark.parametrize(
    "image",
    [
        {"flip": False},
        {"pad": 0},
        {"std": [0.2675, 0.2565, 0.2761]},
        {"an_augmentation_of_a_later_version": "jitter"},
    ],
)
def test_other_augmentation_or_normalisation_has_no_number(config_of, image):
    config = config_of()
    config["stream"]["image"] |= image
    assert published_average(config) is None


def test_a_shortened_stream_has_no_number(config_of):
    config = config_of()
    config["stream"]["increments"] = [10, 10, 10, 10]
    assert published_average(config) is None


def test_a_schedule_that_is_not_the_scaled_one_has_no_number(config_of):
    config = config_of(schedule_scale=0.1)
    assert published_average(config) == 43.80
    config["training"]["milestones"] = [10, 15]
    assert published_average(config) is None


def test_defaults_of_a_learned_alpha_do_not_matter_where_alpha_is_fixed(config_of):
    config = config_of(classification_loss="balanced_softmax")
    config["method"] |= {"alpha_learning_rate": 7.0, "alpha_optimizer": "adam"}
    assert published_average(config) == 62.22


def test_what_podnet_leaves_out_is_said_where_its_row_is_shown(config_of):
    [remark] = published_remarks([config_of(), config_of(method="podnet")])
    assert "brightness by 63/255" in remark and ".2675 .2565 .2761" in remark
    assert published_remarks([config_of(), config_of(method="lucir")]) == []


def test_the_cell_of_a_number_is_a_plain_value():
    cell = Cell("cifar100", 5, "il_baseline", "softmax")
    assert dataclasses.replace(cell, exemplars=5) in TABLE_3
