"""Streams with too few images are refused, with the classes that lack them."""

import dataclasses

import pytest

from bsce_keras import make_config
from bsce_keras.config import num_set_aside
from bsce_keras.config.choices import ADOPTED
from bsce_keras.config.step_requirements import image_problems, small_class_warnings


def problems(images, num_replicas=1, **request):
    """Returns the problems of a run with 3 base classes and increments of 2 and 1."""
    config = make_config(
        "digits",
        class_order="sorted",
        num_base_classes=3,
        increments=[2, 1],
        **request,
    )
    return image_problems(config, images, num_replicas)


def meta_problems(images, **memory):
    return problems(images, classification_loss="meta_balanced_softmax", **memory)


@pytest.mark.parametrize(("quota", "aside"), [(2, 1), (19, 1), (20, 2), (500, 50)])
def test_the_alpha_split_takes_a_tenth_of_the_quota(quota, aside):
    assert num_set_aside(quota) == aside


def test_one_image_of_every_class_suffices_without_meta_learning():
    for method in ("finetune", "il_baseline", "lucir", "podnet"):
        assert problems([1] * 6, method=method, exemplars_per_class=1) == []


def test_classes_without_images_are_named():
    (problem,) = problems([1, 0, 1, 1, 1, 0])
    assert "Classes without one: 1, 5." in problem


def test_every_new_class_needs_an_image_beside_those_set_aside():
    """60 exemplars for 3, 5 and 6 classes: 2, 1 and 1 of each are set aside."""
    assert problems([3, 3, 3, 2, 2, 2], method="bic", memory_budget=60) == []
    first, second = problems([2, 3, 3, 2, 1, 2], method="bic", memory_budget=60)
    assert first.startswith("At step 0 bic sets 2 images of every new class")
    assert "Received: 0 with 2. Add images" in first
    assert second.startswith("At step 1") and "Received: 4 with 1." in second


def test_images_set_aside_are_in_no_pool():
    """60 exemplars for 3, 5 and 6 classes: 2, 1 and 1 of each are set aside."""
    config = make_config(
        "digits",
        num_base_classes=3,
        increments=[2, 1],
        method="bic",
        memory_budget=60,
    )
    pools = [plan.pool_sizes([100] * 6)["main"] for plan in config.plans]
    assert pools == [3 * 98, 3 * 18 + 2 * 99, 5 * 11 + 99]


def test_joint_training_needs_the_images_of_finished_steps():
    config = make_config(
        "digits",
        class_order="sorted",
        num_base_classes=3,
        increments=[2, 1],
        method="joint",
    )
    (problem,) = image_problems(config, [9, 0, 9, 9, 9, 9], num_finished=1)
    assert "Classes without one: 1." in problem


def test_classes_too_small_for_the_alpha_split_are_named_once():
    first, second = meta_problems([2, 3, 9, 3, 2, 1], exemplars_per_class=20)
    assert first.startswith(
        "At step 1 the alpha split of meta_balanced_softmax takes 2 images"
    )
    assert "Received: 0 with 2, 4 with 2. Add images" in first
    assert second.startswith("At step 2") and "Received: 5 with 1." in second


def test_a_budget_shared_by_more_classes_sets_fewer_images_aside():
    """60 exemplars: 20 of each class when step 1 begins, 12 when step 2 begins."""
    assert meta_problems([3, 3, 3, 3, 3, 2], memory_budget=60) == []
    assert len(meta_problems([3, 3, 3, 3, 2, 2], memory_budget=60)) == 1


@pytest.mark.parametrize(
    ("request_", "fewest"),
    [
        ({"exemplars_per_class": 0}, {2: 3}),
        # The exemplars of two classes suffice for fine-tuning on all devices.
        ({"exemplars_per_class": 1, "balanced_finetuning": "true"}, {}),
        ({"memory_budget": 3}, {2: 3}),
    ],
)
def test_every_replica_needs_an_image_at_every_step(request_, fewest):
    found = problems([2, 2, 2, 2, 2, 3], num_replicas=4, **request_)
    assert [problem.split(" for ")[0] for problem in found] == [
        f"Step {step} has a pool of {images} images" for step, images in fewest.items()
    ]


def test_the_alpha_split_is_a_pool_of_its_own():
    (problem,) = problems(
        [9] * 6,
        num_replicas=6,
        classification_loss="meta_balanced_softmax",
        exemplars_per_class=2,
    )
    assert problem.startswith("Step 1 has a pool of 5 images for 6 replicas")


def test_only_exemplars_of_finished_steps_are_needed():
    """Steps 0 and 1 are finished: five classes, the first without exemplars."""
    config = make_config(
        "digits", num_base_classes=3, increments=[2, 1], exemplars_per_class=4
    )
    assert image_problems(config, [0, 4, 4, 4, 4, 9], num_finished=2) == []
    assert image_problems(config, [4, 4, 4, 4, 4, 0], num_finished=3) == []
    (problem,) = image_problems(config, [4, 4, 4, 4, 4, 0], num_finished=2)
    assert f"without one: {config.stream.arriving_class_names[5]}." in problem


def test_classes_with_few_images_are_named_with_their_numbers():
    config = make_config(
        "digits",
        class_order="sorted",
        num_base_classes=3,
        increments=[2, 1],
        exemplars_per_class=20,
    )
    assert list(small_class_warnings(config, [20] * 6)) == []
    few, below_quota = small_class_warnings(config, [130, 4, 19, 130, 5, 130])
    assert few.startswith("Fewer than 5 training images") and "1 with 4. " in few
    assert below_quota.endswith("1 with 4, 2 with 19, 4 with 5.")
    # Warnings about finished steps are not repeated.
    (below_quota,) = small_class_warnings(config, [0, 4, 19, 130, 5, 130], 1)
    assert below_quota.endswith(": 4 with 5.")


def test_classes_of_a_given_classifier_with_fewer_images_than_exemplars_are_named():
    """They are not learned, and need no image."""
    config = make_config("digits", class_order="sorted", increments=[2, 3])
    adopted = dataclasses.replace(config.model, backbone=ADOPTED)
    config = dataclasses.replace(config, model=adopted)
    images = [4, 0, 130, 130, 130, 3, 130, 130, 130, 130]
    few, below_quota = small_class_warnings(config, images)
    assert few.startswith("Fewer than 5 training images") and ": 5 with 3. " in few
    assert below_quota.endswith(": 0 with 4, 5 with 3.")


def test_a_budget_of_less_than_one_exemplar_a_class_is_named():
    def warnings(**memory):
        config = make_config("digits", num_increments=5, method="finetune", **memory)
        return list(small_class_warnings(config, [130] * 10))

    (emptied,) = warnings(memory_budget=7)
    assert "--memory_budget=7 has less than one exemplar" in emptied
    assert "for each of the 8 classes of step 3." in emptied
    assert warnings(memory_budget=10) == warnings(memory_budget=0) == []


def test_classes_are_compared_with_the_quota_of_their_own_step():
    config = make_config("digits", increments=[5], memory_budget=100)
    assert list(small_class_warnings(config, [20] * 5 + [10] * 5)) == []
