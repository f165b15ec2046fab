"""Protocol of a run, and fields that decide its outcome."""

import dataclasses
import json

import pytest

from bsce_keras.config import ImageSpec, MemoryConfig, MethodConfig, ModelConfig
from bsce_keras.methods.parameters import IcarlParameters, NoParameters
from bsce_keras.records.protocol import outcome_differences, outcome_fields, protocol


def test_a_growing_memory_has_a_constant_quota(make_config):
    memory = protocol(make_config())["memory"]
    assert memory["policy"].startswith("growing: up to 5 exemplars")
    assert memory["quota_per_class_after_step"] == [5, 5, 5]
    assert memory["limit_in_total_after_step"] == [10, 15, 20]


def test_a_fixed_memory_is_shared_by_the_seen_classes(make_config):
    budget = MemoryConfig(exemplars_per_class=None, memory_budget=13)
    memory = protocol(dataclasses.replace(make_config(), memory=budget))["memory"]
    assert "at most 13 exemplars in total" in memory["policy"]
    assert memory["quota_per_class_after_step"] == [6, 4, 3]
    assert memory["limit_in_total_after_step"] == [12, 12, 12]


def test_the_protocol_names_order_optimizer_metrics_and_replicas(make_config):
    answers = protocol(make_config(milestones=(4, 8)), num_replicas=2)
    assert answers["class_order"] == {
        "name": "seed:3",
        "class_names": ["c", "a", "d", "b"],
        "classes_per_step": [2, 1, 1],
    }
    assert "divided by 10 after 4, 8 epochs" in answers["optimizer"]
    assert "coupled" in answers["optimizer"]
    assert "unweighted" in answers["metrics"]["average_incremental_accuracy"]
    assert "per replica" in answers["batch_normalization"]
    assert answers["replicas"] == 2
    json.dumps(answers, allow_nan=False)


def test_synchronised_batch_normalisation_is_named(make_config):
    model = ModelConfig("resnet8", synchronized_batch_norm=True)
    answers = protocol(dataclasses.replace(make_config(), model=model))
    assert "synchronised" in answers["batch_normalization"]


def test_folders_do_not_decide_the_outcome(make_config):
    config = make_config()
    stream = dataclasses.replace(config.stream, download=True, cache_dir="y")
    other = dataclasses.replace(config, run_dir="x", export=False, stream=stream)
    assert outcome_fields(other.to_json()) == outcome_fields(config.to_json())


def test_options_of_learned_alpha_do_not_matter_for_a_fixed_alpha(make_config):
    def differ(loss):
        config = make_config(loss)
        method = dataclasses.replace(config.method, alpha_every=1)
        other = dataclasses.replace(config, method=method)
        return outcome_differences(config.to_json(), other.to_json())

    assert differ("balanced_softmax") == []
    assert len(differ("meta_balanced_softmax")) == 1


def test_the_replay_sampling_is_described(make_config):
    config = make_config()
    assert "once an epoch" in protocol(config)["memory"]["replay"]
    training = dataclasses.replace(
        config.training, replay_sampling="memory_oversampling"
    )
    answers = protocol(dataclasses.replace(config, training=training))
    assert "exemplars as often as new images" in answers["memory"]["replay"]


def test_training_crops_are_described(make_config):
    config = make_config()
    image = ImageSpec(size=32, stored_size=32, pad=4)

    def described(image):
        stream = dataclasses.replace(config.stream, image=image)
        return protocol(dataclasses.replace(config, stream=stream))["augmentation"]

    told = described(image)
    assert told.startswith("random 32x32 crops of the image padded by 4 black pixels")
    assert "mirrored left to right" in told
    told = described(ImageSpec(224, 256, flip=False, training_crop="resized"))
    assert told.startswith("random boxes of 8 % to 100 % of the stored 256x256 centre")
    assert "width over height 0.75 to 1.33 (log-uniform), resized to 224x224" in told
    assert "not mirrored" in told


def test_batch_sizes_of_four_to_one_sampling_are_named(make_config):
    training = {"batch_size": 128, "replay_sampling": "four_to_one"}
    told = protocol(make_config(**training))["optimizer"]
    assert "global batch 128 at step 0 and 160 later" in told
    assert "global batch 32;" in protocol(make_config())["optimizer"]


def test_changes_of_the_schedule_from_step_to_step_are_named(make_config):
    """SS-IL divides the rate by the step; `min_updates` lengthens small steps."""
    told = protocol(make_config(milestones=(4,), rate_falls_with_steps=True))
    assert "after 4 epochs, and divided by t + 1 at step t" in told["optimizer"]
    told = protocol(make_config(milestones=(4,), min_updates=9))["optimizer"]
    assert "in proportion where a step has more" in told and "t + 1" not in told


def test_an_analytic_head_has_an_optimizer_at_the_base_step_only(make_config):
    method = MethodConfig("acil", "softmax", NoParameters())
    told = protocol(dataclasses.replace(make_config(), method=method))["optimizer"]
    assert told.startswith("at step 0 only: SGD")


@pytest.mark.parametrize("mirrors", [False, True])
def test_mirrored_exemplars_are_named(make_config, mirrors):
    method = MethodConfig("icarl", "softmax", IcarlParameters(2.0, mirrors))
    told = protocol(dataclasses.replace(make_config(), method=method))["evaluation"]
    assert told.endswith("mirror images included") is mirrors


def test_the_scored_images_are_named(make_config):
    config = make_config()
    assert protocol(config)["evaluation"].startswith("test images of all classes")
    stream = dataclasses.replace(config.stream, validation_share=0.1)
    told = protocol(dataclasses.replace(config, stream=stream))["evaluation"]
    assert told.startswith("training images held out (a share of 0.1 of every class)")
