"""Classes arrive once each, in the requested order, under labels 0, 1, 2, ..."""

import dataclasses

import numpy as np
import pytest

from bsce_keras.config import StreamConfig
from bsce_keras.data import stream as stream_module
from bsce_keras.data.catalog import describe_dataset
from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.stream import ClassIncrementalStream

ORDER = (3, 7, 0, 9, 1, 2, 8, 4, 6, 5)


@pytest.fixture(scope="module")
def config():
    info = describe_dataset("digits")
    return StreamConfig(
        dataset="digits",
        data_dir=None,
        class_names=info.class_names,
        class_order="file",
        order=ORDER,
        num_base_classes=4,
        increments=(1, 3),
        image=info.image,
    )


@pytest.fixture(scope="module")
def stream(config):
    return ClassIncrementalStream(config)


def test_uneven_steps_follow_the_class_order(stream):
    old, new, names = zip(
        *[(s.num_old_classes, s.num_new_classes, s.class_names) for s in stream.steps],
        strict=True,
    )
    assert [step.index for step in stream.steps] == [0, 1, 2]
    assert (old, new) == ((0, 4, 5), (4, 1, 3))
    assert [step.num_classes for step in stream.steps] == [4, 5, 8]
    assert names == (("3", "7", "0", "9"), ("1",), ("2", "8", "4"))


def test_each_step_has_exactly_the_images_of_its_classes(stream, config):
    train = load_dataset(config).train
    for step in stream.steps:
        examples = step.examples
        class_ids = np.array(ORDER)[examples.labels]
        np.testing.assert_array_equal(train.labels[examples.ids], class_ids)
        np.testing.assert_array_equal(train.images[examples.ids], examples.images)
        new = ORDER[step.num_old_classes : step.num_classes]
        assert len(examples) == np.isin(train.labels, new).sum()


def test_earlier_images_are_those_of_all_steps_before(stream):
    """Joint training trains on them again."""
    first, second, third = stream.steps
    assert first.earlier is None
    for step, before in ((second, [first]), (third, [first, second])):
        for name in ("images", "labels", "ids"):
            parts = [getattr(one.examples, name) for one in before]
            np.testing.assert_array_equal(
                getattr(step.earlier, name), np.concatenate(parts)
            )


def test_seen_test_has_the_images_of_all_seen_classes(stream, config):
    test = load_dataset(config).test
    for step in stream.steps:
        seen = stream.seen_test(step)
        assert np.unique(seen.labels).tolist() == list(range(step.num_classes))
        assert np.all(np.lexsort([seen.ids, seen.labels]) == np.arange(len(seen)))
        np.testing.assert_array_equal(test.images[seen.ids], seen.images)
        assert len(seen) == np.isin(test.labels, ORDER[: step.num_classes]).sum()


def test_steps_share_the_memory_of_the_data_set(stream):
    for step in stream.steps:
        assert np.shares_memory(step.examples.images, stream.dataset.train.images)
        seen = stream.seen_test(step)
        assert np.shares_memory(seen.images, stream.dataset.test.images)


def test_data_set_keeps_class_ids(stream):
    last = stream.steps[-1].examples
    start = sum(len(step.examples) for step in stream.steps[:-1])
    class_ids = stream.dataset.train.labels[start : start + len(last)]
    np.testing.assert_array_equal(class_ids, np.array(ORDER)[last.labels])


def test_classes_without_test_images_are_named_in_their_order(config, monkeypatch):
    """Classes 5 and 6 do not arrive."""

    def load(*args, **kwargs):
        loaded = load_dataset(*args, **kwargs)
        test = loaded.test.select(~np.isin(loaded.test.labels, (0, 1, 7, 5)))
        return dataclasses.replace(loaded, test=test)

    monkeypatch.setattr(stream_module, "load_dataset", load)
    stream = ClassIncrementalStream(config)
    assert stream.classes_without_test_images() == ["7", "0", "1"]
