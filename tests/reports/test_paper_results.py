"""The paper's numbers are shown beside the experiments that they belong to, only."""

import pytest

from bsce_keras.reports.paper_results import TABLE_1, published_average


def config(dataset="cifar100", base=50, increments=(10,) * 5, loss="softmax", **fields):
    return {
        "stream": {
            "dataset": dataset,
            "num_base_classes": base,
            "increments": list(increments),
            "class_names": ["name"] * (base + sum(increments)),
            "validation_share": fields.get("share", 0.0),
        },
        "memory": {"exemplars_per_class": fields.get("exemplars", 20)},
        "model": {"backbone": "resnet32"},
        "method": {
            "name": fields.get("method", "il_baseline"),
            "classification_loss": loss,
            "alpha": fields.get("alpha", 1.0),
        },
        "training": {
            "finetuning": {"epochs": 20} if fields.get("finetuned") else None,
            "replay_sampling": fields.get("sampling", "uniform"),
        },
    }


def test_table_1_has_eleven_systems_in_six_settings():
    assert len(TABLE_1) == 66
    assert TABLE_1["cifar100", 10, "icarl", "softmax"] == 52.57
    assert TABLE_1["subimagenet", 5, "bic", "softmax"] == 70.07
    assert TABLE_1["subimagenet", 10, "podnet", "balanced_softmax"] == 74.93
    assert TABLE_1["imagenet2012", 5, "il_baseline", "meta_balanced_softmax"] == 66.15


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({}, 43.80),
        ({"increments": (5,) * 10}, 37.00),
        ({"method": "podnet", "loss": "nca", "finetuned": True}, 64.46),
        ({"sampling": "memory_oversampling"}, 49.75),
        ({"sampling": "class_oversampling"}, 55.95),
        ({"loss": "rescaled_softmax"}, 57.01),
        ({"finetuned": True}, 59.46),
        ({"loss": "separated_softmax", "sampling": "memory_oversampling"}, 61.21),
        ({"method": "icarl"}, 57.17),
        ({"method": "bic"}, 59.36),
        ({"dataset": "imagenet2012", "base": 500, "increments": (100,) * 5}, 43.23),
    ],
)
def test_numbers_of_the_protocol(fields, number):
    assert published_average(config(**fields)) == number


@pytest.mark.parametrize(
    "fields",
    [
        {"increments": (25, 25)},
        {"increments": (10, 10, 10, 10, 5, 5)},
        {"base": 60, "increments": (8,) * 5},
        {"exemplars": 10},
        {"loss": "balanced_softmax", "alpha": 0.5},
        {"loss": "meta_balanced_softmax", "method": "lucir"},
        {"loss": "balanced_softmax", "finetuned": True},
        {"loss": "separated_softmax"},
        {"share": 0.1},
        {"method": "podnet", "loss": "nca"},
        {"method": "lucir", "sampling": "memory_oversampling"},
        {"increments": (5,) * 10, "sampling": "memory_oversampling"},
        {"dataset": "digits"},
        {"method": "icarl", "loss": "balanced_softmax"},
        {"method": "wa"},
        {"method": "ss_il", "loss": "separated_softmax", "sampling": "four_to_one"},
    ],
)
def test_another_experiment_has_no_number(fields):
    assert published_average(config(**fields)) is None
