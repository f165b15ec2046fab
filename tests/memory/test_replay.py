"""ReplayMemory: budget, ranking, order, images set aside and graphs."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsce_keras.config import MemoryConfig, MemoryUse
from bsce_keras.data.examples import Examples
from bsce_keras.data.stored_images import StoredImages
from bsce_keras.data.stream import Step
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.memory.selection import herding

SIZES = ((12, 9), (11,), (10, 12))  # images of each class of each step


def make_steps(sizes=SIZES):
    """Returns steps of random 2x2 images; ids are unique over all steps."""
    rng = np.random.default_rng(0)
    steps, num_old, first_id = [], 0, 0
    for index, per_class in enumerate(sizes):
        labels = np.repeat(num_old + np.arange(len(per_class)), per_class)
        labels = rng.permutation(labels)
        ids = first_id + np.arange(len(labels))
        images = rng.integers(0, 256, (len(labels), 2, 2, 1), dtype=np.uint8)
        names = tuple(f"class {num_old + i}" for i in range(len(per_class)))
        examples = Examples(images, labels, ids)
        steps.append(Step(index, num_old, len(per_class), names, examples))
        num_old += len(per_class)
        first_id += len(labels)
    return steps


def features_of(images):
    images = np.asarray(images)
    return images.reshape(len(images), -1).astype(np.float64) + 1.0


def snapshots(config, sizes=SIZES, seed=1):
    """Returns ids per class after each step."""
    memory = ReplayMemory(config, seed)
    taken = []
    for step in make_steps(sizes):
        memory.update(step, features_of)
        taken.append(ids_per_class(memory))
    return taken


def ids_per_class(memory):
    held = memory.examples()
    if held is None:
        return [[] for _ in memory.counts]
    return [
        held.ids[held.labels == label].tolist() for label in range(len(memory.counts))
    ]


def growing(exemplars_per_class, selection="herding"):
    return MemoryConfig(exemplars_per_class, selection=selection)


def fixed(memory_budget, selection="herding"):
    return MemoryConfig(None, memory_budget, selection)


def with_images_set_aside(exemplars_per_class=None, memory_budget=None):
    return MemoryConfig(
        exemplars_per_class, memory_budget, use=MemoryUse(sets_aside=True)
    )


def with_graph(**budget):
    return MemoryConfig(
        **{"exemplars_per_class": None, **budget},
        use=MemoryUse(policy="bsce_keras.memory.graph:ExemplarGraph"),
    )


def counts(taken):
    return [[len(ids) for ids in snapshot] for snapshot in taken]


@pytest.mark.parametrize("selection", ["herding", "random"])
def test_growing_memory_keeps_the_same_number_per_class(selection):
    taken = snapshots(growing(3, selection=selection))
    assert counts(taken) == [[3, 3], [3, 3, 3], [3, 3, 3, 3, 3]]
    assert taken[2][:3] == taken[1] and taken[1][:2] == taken[0]


def test_fixed_memory_shares_its_total_equally():
    # 20 exemplars for 2, 3 and 5 classes; the second class has only 9 images.
    assert counts(snapshots(fixed(20))) == [[10, 9], [6, 6, 6], [4, 4, 4, 4, 4]]


@pytest.mark.parametrize("selection", ["herding", "random"])
def test_shrinking_class_keeps_the_first_of_its_ranking(selection):
    first, second, third = snapshots(fixed(20, selection))
    for before, after in [(first, second), (second, third)]:
        for old, kept in zip(before, after, strict=False):
            assert kept == old[: len(kept)]


def test_exemplars_have_the_order_of_herding():
    (step,) = make_steps([(12, 9)])
    memory = ReplayMemory(growing(4), seed=1)
    memory.update(step, features_of)
    for label, ids in enumerate(ids_per_class(memory)):
        candidates = step.examples.select(step.examples.labels == label)
        ranking = herding(features_of(candidates.images), 4)
        assert ids == candidates.ids[ranking].tolist()


def test_examples_are_ordered_by_class_and_rank():
    memory = ReplayMemory(fixed(20), seed=1)
    everything = Examples.concatenate([step.examples for step in make_steps()])
    for step in make_steps():
        memory.update(step, features_of)
    held = memory.examples()
    assert held.labels.tolist() == np.repeat(np.arange(5), 4).tolist()
    np.testing.assert_array_equal(everything.labels[held.ids], held.labels)
    np.testing.assert_array_equal(everything.images[held.ids], held.images)


def test_random_exemplars_follow_the_seed():
    config = growing(5, selection="random")
    taken = snapshots(config, seed=1)
    assert taken == snapshots(config, seed=1) != snapshots(config, seed=2)


def test_random_exemplars_of_equally_large_classes_have_other_places():
    (step,) = make_steps([(12, 12)])
    memory = ReplayMemory(growing(5, selection="random"), seed=1)
    memory.update(step, features_of)
    places = [
        np.searchsorted(step.examples.ids[step.examples.labels == label], ids).tolist()
        for label, ids in enumerate(ids_per_class(memory))
    ]
    assert places[0] != places[1]


@pytest.mark.parametrize("config", [growing(0), fixed(0), fixed(4)])
def test_budget_below_one_image_per_class_gives_no_examples(config):
    memory = ReplayMemory(config, seed=1)
    for step in make_steps():
        memory.update(step, features_of)
    assert memory.examples() is None
    assert memory.counts == [0] * 5


def test_new_memory_is_empty():
    memory = ReplayMemory(growing(20), seed=1)
    assert memory.examples() is None and memory.counts == []


@given(
    sizes=st.lists(
        st.lists(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=4
    ),
    budget=st.integers(0, 30),
    is_fixed=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_budget_is_never_exceeded(sizes, budget, is_fixed):
    config = fixed(budget) if is_fixed else growing(budget)
    num_classes = np.cumsum([len(per_class) for per_class in sizes])
    taken = counts(snapshots(config, sizes))
    for held, seen in zip(taken, num_classes, strict=True):
        assert len(held) == seen
        assert sum(held) <= (budget if is_fixed else budget * seen)
        assert max(held) <= config.quota(seen)


def ids_set_aside(memory, step):
    """Returns ids of the images set aside, per class, before a step is learned."""
    set_aside = memory.split(step)[1]
    if set_aside is None:
        return []
    ids, labels = set_aside.ids, set_aside.labels
    return [ids[labels == label].tolist() for label in range(step.num_classes)]


def test_a_tenth_of_the_quota_is_set_aside_and_not_trained_on():
    """The quota is 25: 2 images are set aside, and at most 23 are trained on."""
    memory = ReplayMemory(with_images_set_aside(25), seed=1)
    seen = []
    for step in make_steps():
        training, set_aside = memory.split(step)
        aside = set(set_aside.ids.tolist())
        assert len(aside) == 2 * step.num_classes
        assert aside >= set(seen)  # images of old classes stay
        seen = set_aside.ids.tolist()
        assert not aside & {*training.examples.ids.tolist()}
        new = aside & {*step.examples.ids.tolist()}
        assert len(training.examples) == len(step.examples) - len(new)
        memory.update(step, features_of)
        assert not aside & {*memory.examples().ids.tolist()}
    assert memory.counts == [12, 9, 11, 10, 12]


def test_images_set_aside_are_drawn_by_the_seed():
    step = make_steps()[0]
    drawn = [
        ids_set_aside(ReplayMemory(with_images_set_aside(40), seed), step)
        for seed in (1, 1, 2)
    ]
    assert [len(ids) for ids in drawn[0]] == [4, 4]
    assert drawn[0] == drawn[1] != drawn[2]


def test_images_set_aside_are_part_of_the_quota():
    """One exemplar of 10 is set aside; the second class has only 9 images."""
    memory = ReplayMemory(with_images_set_aside(10), seed=1)
    for step in make_steps():
        memory.update(step, features_of)
    assert memory.counts == [10, 9, 10, 10, 10]
    assert len(memory.examples()) == 49 - 5


@pytest.mark.parametrize(
    "config",
    [
        growing(3),
        fixed(20),
        with_images_set_aside(10),
        with_graph(exemplars_per_class=3),
        with_graph(memory_budget=20),
    ],
)
def test_a_second_update_replaces_the_exemplars_of_its_step(config):
    """PODNet selects again by the features after balanced fine-tuning."""
    once, twice = ReplayMemory(config, seed=1), ReplayMemory(config, seed=1)
    for step in make_steps():
        once.update(step, features_of)
        twice.update(step, lambda images: features_of(255 - images))
        assert ids_per_class(twice) != ids_per_class(once)
        twice.update(step, features_of)
        assert twice.counts == once.counts
        ours, theirs = twice.to_arrays(), once.to_arrays()
        for name in ours.keys() - {"graph_edges"}:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_fixed_memory_counts_images_set_aside():
    """The budget is 60. With 2, 3 and 5 classes, 3, 2 and 1 per class are set aside."""
    memory = ReplayMemory(with_images_set_aside(memory_budget=60), seed=1)
    set_aside = []
    for step in make_steps():
        set_aside.append(ids_set_aside(memory, step))
        memory.update(step, features_of)
        assert sum(memory.counts) <= 60
        assert memory.num_bytes == sum(memory.counts) * step.examples.images[0].size
    assert [[len(ids) for ids in step] for step in set_aside] == [
        *([3] * 2, [2] * 3, [1] * 5),
    ]
    assert set_aside[2][0] == set_aside[1][0][:1] == set_aside[0][0][:1]


def test_images_are_not_set_aside_by_default():
    memory = ReplayMemory(growing(20), seed=1)
    step = make_steps()[0]
    training, set_aside = memory.split(step)
    assert training is step and set_aside is None


WITH_GRAPHS = (
    with_graph(exemplars_per_class=3),
    with_graph(memory_budget=20),
    with_graph(memory_budget=4),
)
GRAPHS = pytest.mark.parametrize("config", WITH_GRAPHS)


@pytest.mark.parametrize(
    "config",
    [
        *(growing(3), fixed(20), growing(0), fixed(3)),
        *(with_images_set_aside(3), with_images_set_aside(memory_budget=60)),
        *WITH_GRAPHS,
    ],
)
@pytest.mark.parametrize("num_steps", [0, 1, 2])
def test_restored_memory_updates_like_the_saved_one(config, num_steps):
    memory, restored = ReplayMemory(config, 1), ReplayMemory(config, 1)
    steps = make_steps()
    for step in steps[:num_steps]:
        memory.update(step, features_of)
    restored.restore(memory.to_arrays())
    for step in steps[num_steps:]:
        assert restored.counts == memory.counts
        assert ids_per_class(restored) == ids_per_class(memory)
        assert ids_set_aside(restored, step) == ids_set_aside(memory, step)
        memory.update(step, features_of)
        restored.update(step, features_of)
    arrays = memory.to_arrays()
    assert arrays.keys() == restored.to_arrays().keys()
    for name, values in restored.to_arrays().items():
        np.testing.assert_array_equal(values, arrays[name])


@pytest.mark.parametrize("selection", ["herding", "random"])
def test_exemplars_of_images_on_disk_are_copied_to_memory(selection):
    """Checkpoints contain them, because the data set may be gone later."""
    stored, held = (ReplayMemory(growing(4, selection), seed=1) for _ in range(2))
    for step in make_steps():
        held.update(step, features_of)
        images = StoredImages((step.examples.images,), np.arange(len(step.examples)))
        examples = dataclasses.replace(step.examples, images=images)
        stored.update(dataclasses.replace(step, examples=examples), features_of)
    ours, theirs = stored.to_arrays(), held.to_arrays()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, theirs[name])


@GRAPHS
def test_vertices_of_a_graph_fill_the_quotas(config):
    """Each class has exactly its quota; a shrinking class keeps its first exemplars."""
    chosen = dataclasses.replace(config, use=MemoryUse())
    taken = snapshots(config)
    assert counts(taken) == counts(snapshots(chosen)) and taken != snapshots(chosen)
    for before, after in itertools.pairwise(taken):
        for old, kept in zip(before, after, strict=False):
            assert kept == old[: len(kept)]


@GRAPHS
def test_edges_join_stored_exemplars_and_none_is_isolated(config):
    memory = ReplayMemory(config, seed=1)
    before = set()
    for step in make_steps():
        memory.update(step, features_of)
        held = memory.examples()
        num_held = 0 if held is None else len(held)
        ends = memory.edges
        assert np.all(ends[:, 0] < ends[:, 1])
        expected = range(num_held) if num_held > 1 else []
        assert set(ends.ravel().tolist()) == set(expected)
        ids = {tuple(pair) for pair in held.ids[ends].tolist()} if held else set()
        remaining = set(held.ids.tolist()) if held else set()
        assert {pair for pair in before if set(pair) <= remaining} <= ids
        before = ids


def test_bytes_of_a_graph_are_those_of_its_vertices_and_edges():
    memory = ReplayMemory(with_graph(exemplars_per_class=3), seed=1)
    for step in make_steps():
        memory.update(step, features_of)
    num_features = features_of(step.examples.images).shape[1]
    numbers = len(memory.examples()) * num_features + memory.edges.size
    assert memory.state_bytes == 8 * numbers
    assert ReplayMemory(growing(3), seed=1).state_bytes == 0


def test_memory_without_graph_has_no_edges():
    assert ReplayMemory(growing(3), seed=1).edges is None
    assert not any("graph" in name for name in ReplayMemory(growing(3), 1).to_arrays())


def test_replaced_pixels_keep_labels_ids_and_ranks():
    memory = ReplayMemory(growing(4), 1)
    steps = make_steps()
    memory.update(steps[0], features_of)
    before = memory.examples()
    memory.replace_images(255 - before.images)
    after = memory.examples()
    np.testing.assert_array_equal(after.images, 255 - before.images)
    np.testing.assert_array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.ids, before.ids)
    # Pixels stay replaced when a fixed budget leaves fewer exemplars.
    memory.config = MemoryConfig(None, 6)
    memory.update(steps[1], features_of)
    kept = memory.examples()
    np.testing.assert_array_equal(kept.images[:2], after.images[:2])
    np.testing.assert_array_equal(kept.images[2:4], after.images[4:6])


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 2, 2, 1)), np.zeros((7, 2, 2, 1), "u1")]
)
def test_images_of_another_type_or_shape_are_refused(wrong):
    memory = ReplayMemory(growing(4), 1)
    memory.update(make_steps()[0], features_of)
    with pytest.raises(ValueError, match=r"uint8 images of shape \(8, 2, 2, 1\)"):
        memory.replace_images(wrong)
