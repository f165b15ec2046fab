"""Batches have every image once per epoch, in an order that depends only on the key."""

import errno
import functools
import gc
import os
import weakref

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from bsce_keras.config import ImageSpec
from bsce_keras.data import pipeline
from bsce_keras.data.crops import training_crops
from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import TrainingInput, split_validation
from bsce_keras.data.stored_images import ImageFile, StoredImages
from bsce_keras.runtime.randomness import Purpose, generator, integer

SIZE = 11
PLAIN = ImageSpec(size=2, stored_size=2, channels=1)
PADDED = ImageSpec(size=6, stored_size=6, channels=1, pad=2)
RESIZED = ImageSpec(size=5, stored_size=6, channels=1, training_crop="resized")
# Kinds of training crops.
IMAGES = pytest.mark.parametrize("image", [PADDED, RESIZED], ids=["pad", "resized"])


def make_pool(size=SIZE, image=PLAIN):
    """Random images whose labels are their positions."""
    side = image.stored_size
    images = np.random.default_rng(0).integers(0, 256, (size, side, side, 1), np.uint8)
    return Examples(images, np.arange(size), np.arange(size))


def make_input(
    size=SIZE, image=PLAIN, batch_size=4, key=(1, 0), num_replicas=1, **options
):
    return TrainingInput(
        make_pool(size, image), image, batch_size, *key, num_replicas, **options
    )


# Tracing the map takes longer than running it, so properties share one input.
shared_input = functools.cache(make_input)


def elements(dataset):
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


def labels_of(dataset):
    return [labels.tolist() for _, labels in elements(dataset)]


def assert_same_elements(ours, expected):
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_epoch_has_every_image_once_and_a_smaller_last_batch():
    training = make_input()
    for epoch in range(2):
        batches = labels_of(training.epoch(epoch))
        assert [len(batch) for batch in batches] == [4, 4, 3]
        assert sorted(sum(batches, [])) == list(range(SIZE))
    assert training.updates_per_epoch == 3


def test_images_are_drawn_as_often_as_their_probabilities():
    """Checks an epoch of as many images as the pool has."""
    probabilities = np.array([0.5, 0.25, 0.25] + [0.0] * (SIZE - 3))
    training = make_input(probabilities=probabilities)
    drawn = []
    for epoch in range(100):
        batches = labels_of(training.epoch(epoch))
        assert [len(batch) for batch in batches] == [4, 4, 3]
        drawn += sum(batches, [])
    shares = np.bincount(drawn, minlength=SIZE) / len(drawn)
    # Tolerance: five standard deviations of 1100 draws.
    np.testing.assert_allclose(shares, probabilities, atol=0.076)
    assert set(drawn) == {0, 1, 2}


def test_an_image_that_is_drawn_twice_is_cropped_twice():
    probabilities = np.eye(SIZE)[0]
    training = make_input(image=PADDED, probabilities=probabilities)
    pictures = {
        picture.tobytes()
        for images, _ in elements(training.epoch(0))
        for picture in images
    }
    assert len(pictures) > SIZE // 2


def test_epoch_of_draws_can_start_at_any_update():
    probabilities = np.arange(1, SIZE + 1) / np.arange(1, SIZE + 1).sum()
    training = make_input(image=PADDED, probabilities=probabilities)
    whole = elements(training.epoch(2))
    assert_same_elements(elements(training.epoch(2, first_update=1)), whole[1:])


@pytest.mark.parametrize(("size", "sizes"), [(8, [4, 4]), (3, [3]), (4, [4])])
def test_batch_sizes_of_pools_of_other_sizes(size, sizes):
    training = make_input(size)
    assert [len(batch) for batch in labels_of(training.epoch(0))] == sizes
    assert training.updates_per_epoch == len(sizes)


def test_images_are_cropped_in_one_traced_function_for_all_epochs(monkeypatch):
    """Python runs once, not once per image, batch or epoch."""
    calls = []

    def counted(*args):
        calls.append(args)
        return training_crops(*args)

    monkeypatch.setattr(pipeline, "training_crops", counted)
    training = make_input()
    for epoch in range(3):
        elements(training.epoch(epoch))
    assert len(calls) == 1


def test_images_keep_their_labels():
    image = ImageSpec(size=2, stored_size=2, channels=1, flip=False)
    pool = make_pool()
    for images, labels in elements(make_input(image=image).epoch(0)):
        np.testing.assert_array_equal(images, pool.images[labels])


@IMAGES
def test_batches_differ_by_epoch_step_and_seed_and_repeat_for_equal_keys(image):
    first = make_input(image=image)
    again = make_input(image=image)
    assert_same_elements(elements(first.epoch(3)), elements(again.epoch(3)))
    orders = [
        sum(labels_of(make_input(key=key).epoch(epoch)), [])
        for key, epoch in [((1, 0), 0), ((1, 0), 1), ((1, 1), 0), ((2, 0), 0)]
    ]
    assert len({tuple(order) for order in orders}) == 4


@IMAGES
def test_an_image_is_cropped_anew_every_epoch(image):
    training = make_input(image=image)
    pictures = []
    for epoch in range(2):
        by_label = {
            label: picture.tobytes()
            for images, labels in elements(training.epoch(epoch))
            for picture, label in zip(images, labels, strict=True)
        }
        pictures.append(by_label)
    same = sum(pictures[0][label] == pictures[1][label] for label in range(SIZE))
    assert same < SIZE // 2


def test_an_image_of_the_alpha_split_is_cropped_anew_every_pass():
    training = make_input(size=4, image=PADDED)  # A batch is a pass.
    passes = [
        images.numpy()[np.argsort(labels)].tobytes()
        for images, labels in training.cycle(0, 3)
    ]
    assert len({*passes}) == 3


def test_order_does_not_depend_on_earlier_reads():
    training = make_input()
    late = labels_of(training.epoch(5))
    assert late == labels_of(make_input().epoch(5)) == labels_of(training.epoch(5))


@pytest.mark.parametrize("num_replicas", [1, 2])
@pytest.mark.parametrize("first_update", range(4))
@IMAGES
def test_epoch_can_start_at_any_update(image, first_update, num_replicas):
    training = make_input(image=image, num_replicas=num_replicas)
    rest = elements(training.epoch(2, first_update))
    whole = elements(training.epoch(2))
    assert_same_elements(rest, whole[first_update * num_replicas :])


@pytest.mark.parametrize("size", [10, 11])
@IMAGES
def test_replicas_share_every_batch_evenly(image, size):
    alone = elements(make_input(size, image).epoch(1))
    parts = elements(make_input(size, image, num_replicas=2).epoch(1))
    together = []
    for left, right in zip(parts[::2], parts[1::2], strict=True):
        assert 0 <= len(right[1]) - len(left[1]) <= 1
        together.append(
            [np.concatenate(pair) for pair in zip(left, right, strict=True)]
        )
    assert_same_elements(together, alone)


def test_last_batch_with_fewer_images_than_replicas_is_left_out():
    training = make_input(size=9, num_replicas=2)
    assert training.updates_per_epoch == 2
    assert [len(part) for part in labels_of(training.epoch(0))] == [2, 2, 2, 2]


@given(
    first_update=st.integers(0, 20),
    num_updates=st.integers(0, 6),
    batch_size=st.sampled_from([2, 4, 30]),
    num_replicas=st.sampled_from([1, 2]),
)
@settings(max_examples=12, deadline=None)
def test_cycle_can_start_at_any_update(
    first_update, num_updates, batch_size, num_replicas
):
    training = shared_input(
        image=PADDED, batch_size=batch_size, num_replicas=num_replicas
    )
    part = elements(training.cycle(first_update, num_updates))
    whole = elements(training.cycle(0, first_update + num_updates))
    assert len(part) == num_updates * num_replicas
    assert_same_elements(part, whole[first_update * num_replicas :])


def test_cycle_has_full_batches_and_every_image_once_per_pass():
    batches = labels_of(make_input().cycle(0, SIZE))
    assert {len(batch) for batch in batches} == {4}
    passes = np.reshape(sum(batches, []), (4, SIZE))
    assert np.all(np.sort(passes) == np.arange(SIZE))
    assert len({tuple(order) for order in passes.tolist()}) == 4


def test_pool_smaller_than_a_batch_is_one_batch_per_pass():
    batches = labels_of(make_input(size=3).cycle(5, 2))
    assert [sorted(batch) for batch in batches] == [[0, 1, 2], [0, 1, 2]]


# The alpha split.


def unbalanced_pool():
    labels = np.repeat([0, 1, 2], [4, 9, 2])[np.random.default_rng(0).permutation(15)]
    images = np.arange(15, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Examples(images, labels, 100 + np.arange(15))


def test_alpha_split_is_balanced_disjoint_and_complete():
    pool = unbalanced_pool()
    training, validation = split_validation(pool, 2, np.random.default_rng(0))
    assert np.bincount(validation.labels).tolist() == [2, 2, 2]
    assert np.bincount(training.labels).tolist() == [2, 7]
    ids = np.concatenate([training.ids, validation.ids])
    assert sorted(ids) == pool.ids.tolist()
    for part in (training, validation):
        np.testing.assert_array_equal(part.labels, pool.labels[part.ids - 100])
        np.testing.assert_array_equal(part.images, pool.images[part.ids - 100])


def test_alpha_split_is_random_but_repeatable():
    splits = [
        split_validation(unbalanced_pool(), 2, np.random.default_rng(seed))[1]
        for seed in (0, 0, 1)
    ]
    assert splits[0].ids.tolist() == splits[1].ids.tolist() != splits[2].ids.tolist()


# The keys of random numbers.


def test_draws_of_other_purposes_positions_and_seeds_differ():
    keys = [(seed, purpose, 2, 3) for seed in (0, 1) for purpose in Purpose]
    keys += [(0, Purpose.EPOCH_ORDER, 3, 2), (0, Purpose.EPOCH_ORDER, 2, 4)]
    draws = {integer(*key) for key in keys}
    assert len(draws) == len(keys)
    assert draws == {integer(*key) for key in keys}
    assert all(0 <= draw < 2**31 for draw in draws)


def test_draw_does_not_depend_on_earlier_draws():
    expected = generator(1, Purpose.WEIGHTS, 0).random()
    generator(1, Purpose.AUGMENTATION, 0).random(100)
    assert generator(1, Purpose.WEIGHTS, 0).random() == expected


def make_stored_pool(tmp_path, image=PADDED):
    """`make_pool` with most of its images on the disk, stored in another order."""
    pool = make_pool(image=image)
    num_stored = SIZE - 3
    pool.images[:num_stored][::-1].tofile(tmp_path / "images")
    file = ImageFile(tmp_path / "images", (num_stored, *pool.images.shape[1:]))
    stored = StoredImages((file,), np.arange(num_stored)[::-1])
    new = Examples(stored, pool.labels[:num_stored], pool.ids[:num_stored])
    return Examples.concatenate([new, pool.select(slice(num_stored, None))])


@pytest.mark.parametrize("num_replicas", [1, 2])
@IMAGES
def test_images_on_the_disk_give_the_same_batches(tmp_path, image, num_replicas):
    on_disk, in_memory = (
        TrainingInput(pool, image, 4, 1, 0, num_replicas)
        for pool in (make_stored_pool(tmp_path, image), make_pool(image=image))
    )
    for get in (
        lambda training: training.epoch(0),
        lambda training: training.epoch(1, first_update=2),
        lambda training: training.cycle(2, 3),
    ):
        assert_same_elements(elements(get(on_disk)), elements(get(in_memory)))


def test_unreadable_image_file_is_named(tmp_path, monkeypatch):
    training = TrainingInput(make_stored_pool(tmp_path), PADDED, 4, 1, 0)
    assert training.failure is None

    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", refuse)
    with pytest.raises(tf.errors.OpError):
        elements(training.epoch(0))
    assert training.failure.filename == str(tmp_path / "images")


def test_exemplars_of_former_pools_are_freed(tmp_path):
    """TensorFlow keeps functions of graphs; the images that they read are freed."""
    pool = make_stored_pool(tmp_path)
    images = weakref.ref(pool.images)
    training = TrainingInput(pool, PADDED, 4, 1, 0)
    elements(training.epoch(0))
    del pool, training
    gc.collect()
    assert images() is None


@pytest.mark.parametrize(
    ("size", "batch_size", "workers", "local"),
    [(SIZE, 4, 2, 1), (SIZE, 4, 2, 2), (SIZE, 5, 3, 1)],
)
def test_workers_share_every_global_batch(size, batch_size, workers, local):
    """Workers together read the elements of one process, each element once."""
    num_replicas = workers * local
    whole = labels_of(make_input(size, batch_size=batch_size).epoch(1))
    shares = [
        labels_of(
            make_input(
                size,
                batch_size=batch_size,
                num_replicas=num_replicas,
                local_replicas=range(first, first + local),
            ).epoch(1)
        )
        for first in range(0, num_replicas, local)
    ]
    dropped = 0 < size % batch_size < num_replicas
    assert len({len(share) for share in shares}) == 1
    together = [
        sum((sum(share[at : at + local], []) for share in shares), [])
        for at in range(0, len(shares[0]), local)
    ]
    assert together == (whole[:-1] if dropped else whole)


def test_workers_share_the_batches_of_the_alpha_split():
    whole = labels_of(make_input(num_replicas=2).cycle(1, 3))
    for worker in range(2):
        own = make_input(num_replicas=2, local_replicas=range(worker, worker + 1))
        assert labels_of(own.cycle(1, 3)) == whole[worker::2]
