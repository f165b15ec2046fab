"""Sections of a configuration: values that follow from fields, and refused values."""

import dataclasses

import pytest

from bsce_keras.config import (
    ImageSpec,
    MemoryConfig,
    MemoryUse,
    StreamConfig,
    TrainingConfig,
)
from bsce_keras.runtime.errors import RequestError

STREAM = StreamConfig(
    dataset="letters",
    data_dir=None,
    class_names=("a", "b", "c", "d", "e"),
    class_order="seed:3",
    order=(2, 0, 4, 3, 1),
    num_base_classes=2,
    increments=(1, 1),
    image=ImageSpec(size=8, stored_size=8),
)
TRAINING = TrainingConfig(epochs=1, batch_size=32, learning_rate=0.1, weight_decay=0.0)


def test_labels_follow_the_order_of_arrival_and_end_with_the_last_increment():
    assert STREAM.arriving_class_names == ("c", "a", "e", "d")


def test_a_stream_reports_all_of_its_problems_together():
    with pytest.raises(RequestError) as refusal:
        dataclasses.replace(STREAM, increments=(0, 4), order=(0, 0, 1, 2, 3))
    increments, number, order = refusal.value.problems
    assert "Every increment needs at least 1 new class" in increments
    assert "need 6 classes, but letters has 5" in number
    assert "must name every class exactly once" in order


def test_a_budget_is_shared_by_the_seen_classes_and_a_growing_memory_is_not():
    fixed = MemoryConfig(exemplars_per_class=None, memory_budget=60)
    assert [fixed.quota(number) for number in (2, 7, 61)] == [30, 8, 0]
    growing = MemoryConfig(exemplars_per_class=20)
    assert [growing.quota(number) for number in (2, 7, 61)] == [20, 20, 20]


def test_only_methods_that_set_images_aside_take_a_tenth_of_the_quota():
    use = MemoryUse(sets_aside=True)
    memory = MemoryConfig(exemplars_per_class=None, memory_budget=60, use=use)
    assert [memory.num_aside(number) for number in (2, 6)] == [3, 1]
    assert MemoryConfig(exemplars_per_class=20).num_aside(2) == 0


def test_a_step_has_as_many_epochs_as_its_least_number_of_updates_takes():
    training = dataclasses.replace(
        TRAINING, epochs=16, milestones=(8, 12), min_updates=1600
    )
    schedules = [training.at_step(1, number) for number in (140, 240, 5000)]
    assert [schedule.epochs for schedule in schedules] == [320, 200, 16]
    drops = [schedule.milestones for schedule in schedules]
    assert drops == [(160, 240), (100, 150), (8, 12)]
    assert TRAINING.at_step(1, 140) == TRAINING


def test_four_to_one_sampling_enlarges_batches_of_increments_by_a_quarter():
    training = dataclasses.replace(TRAINING, replay_sampling="four_to_one")
    assert [training.batch_size_at(step) for step in (0, 1, 2)] == [32, 40, 40]
    assert TRAINING.batch_size_at(1) == 32


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", float("nan")),
        ("weight_decay", -1e-4),
        ("milestones", (8, 4)),
        ("replay_sampling", "four_to_two"),
        ("seed", 2**31),
    ],
)
def test_training_refuses_a_value_out_of_range_and_repeats_it(field, value):
    shown = str(list(value) if field == "milestones" else value)
    with pytest.raises(RequestError) as refusal:
        dataclasses.replace(TRAINING, **{field: value})
    (problem,) = refusal.value.problems
    assert "Received: " in problem and shown in problem
