"""Validation images: a share of every class, the same in every run."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from bsce_keras.data import stream as stream_module
from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.data.validation import held_out
from bsce_keras.options.make_config import make_config
from bsce_keras.runtime.errors import RequestError

NAMES = ("ant", "bee", "cat")


def labels_of(*counts):
    return np.repeat(np.arange(len(counts)), counts)


def test_a_share_of_every_class_and_at_least_one_image_is_held_out():
    labels = labels_of(20, 3, 14, 16)
    chosen = held_out(labels, 0.1, NAMES)
    assert np.bincount(labels[chosen]).tolist() == [2, 1, 1, 2]


def test_held_out_images_are_from_all_over_their_class():
    """Neighbours are often alike, such as the frames of a video."""
    places = np.flatnonzero(held_out(labels_of(100), 0.2, NAMES))
    assert np.histogram(places, bins=4, range=(0, 100))[0].min() >= 2
    assert len(np.unique(np.diff(places))) > 2


def test_held_out_images_depend_only_on_the_size_of_their_class():
    """New or missing classes do not change the images of the other classes."""
    alone = held_out(labels_of(0, 9), 0.3, NAMES)
    among = held_out(labels_of(5, 9, 7), 0.3, NAMES)
    np.testing.assert_array_equal(alone, among[5:14])


def test_a_class_without_an_image_to_train_on_is_refused():
    with pytest.raises(RequestError, match=r"out every image of: ant, cat\."):
        held_out(labels_of(1, 2, 1), 0.1, NAMES)


def counts_of(examples):
    return np.bincount(examples.labels).tolist()


def test_validation_images_are_training_images_outside_all_steps():
    config = make_config("digits", validation_share=0.2).stream
    stream = ClassIncrementalStream(config)
    test = stream.seen_test(stream.steps[-1])
    assert counts_of(test) == [26] * 10
    assert [len(step.examples) for step in stream.steps] == [5 * 104, *[104] * 5]
    every = load_dataset(config).train

    def rows(examples):
        return {image.tobytes() for image in examples.images}

    assert rows(test) <= rows(every)
    # A few digits occur twice.
    trained_on = set().union(*(rows(step.examples) for step in stream.steps))
    assert len(rows(test) & trained_on) < 5


def test_images_that_were_skipped_are_named_with_a_validation_share(monkeypatch):
    def load(config, *args, **kwargs):
        loaded = load_dataset(config, *args, **kwargs)
        return dataclasses.replace(loaded, skipped_images=("train/3/bad.png",))

    monkeypatch.setattr(stream_module, "load_dataset", load)
    stream = ClassIncrementalStream(make_config("digits", validation_share=0.2).stream)
    assert stream.dataset.skipped_images == ("train/3/bad.png",)


def test_later_evaluation_uses_the_same_validation_images():
    config = make_config("digits", validation_share=0.2).stream
    stream, later = (
        ClassIncrementalStream(config, training_images=wanted)
        for wanted in (True, False)
    )
    images = [s.seen_test(s.steps[-1]).images for s in (stream, later)]
    np.testing.assert_array_equal(*images)


def test_validation_does_not_read_test_images(tmp_path):
    for number in range(3):
        for name in ("ant", "bee"):
            folder = tmp_path / "train" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    (tmp_path / "test/ant").mkdir(parents=True)
    (tmp_path / "test/ant/damaged.png").write_bytes(b"no image")
    config = make_config(
        "folder", data_dir=tmp_path, image_size=8, validation_share=0.3
    ).stream
    stream = ClassIncrementalStream(config)
    assert counts_of(stream.seen_test(stream.steps[-1])) == [1, 1]


def write_pile(folder, numbers):
    for name, number in numbers.items():
        for index in range(number):
            path = folder / name / f"{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (index, 0, 0)).save(path)


def pile_config(folder, **request):
    return make_config("folder", data_dir=folder, image_size=8, **request)


@pytest.mark.parametrize("inside", ["", "train"])
def test_folder_without_train_and_test_is_split_by_class(tmp_path, inside):
    write_pile(tmp_path / inside, {"ant": 10, "bee": 5, "cat": 20})
    config = pile_config(tmp_path, validation_share=0.2).stream
    assert config.class_names == ("ant", "bee", "cat")
    stream = ClassIncrementalStream(config)
    assert counts_of(stream.seen_test(stream.steps[-1])) == [2, 1, 4]
    assert sum(len(step.examples) for step in stream.steps) == 8 + 4 + 16
    # The files are not moved.
    assert len(list((tmp_path / inside / "cat").iterdir())) == 20


def test_new_classes_do_not_change_the_split_of_earlier_classes(tmp_path):
    write_pile(tmp_path, {"bee": 9, "cat": 9})
    share = {"validation_share": 0.3}
    before = ClassIncrementalStream(pile_config(tmp_path, **share).stream)
    write_pile(tmp_path, {"ant": 9, "dog": 4})
    after = ClassIncrementalStream(pile_config(tmp_path, **share).stream)
    bees = [
        stream.dataset.test.labels == label
        for stream, label in ((before, 0), (after, 1))
    ]
    np.testing.assert_array_equal(
        before.dataset.test.images[bees[0]], after.dataset.test.images[bees[1]]
    )


@pytest.mark.parametrize("inside", ["", "train"])
def test_folder_without_test_images_or_share_is_refused_with_advice(tmp_path, inside):
    write_pile(tmp_path / inside, {"ant": 2, "bee": 2})
    with pytest.raises(RequestError, match="--validation_share=0.2"):
        pile_config(tmp_path)


@pytest.mark.parametrize("option", ["run_dir", "cache_dir"])
def test_output_folder_among_the_class_folders_is_refused(tmp_path, option):
    write_pile(tmp_path, {"ant": 5, "bee": 5})
    with pytest.raises(RequestError, match=f"--{option}=.* lies among the class"):
        pile_config(tmp_path, validation_share=0.2, **{option: tmp_path / "runs/a"})


def test_test_images_are_scored_without_a_validation_share():
    config = make_config("digits").stream
    stream = ClassIncrementalStream(config)
    assert len(stream.seen_test(stream.steps[-1])) == len(load_dataset(config).test)
    assert dataclasses.asdict(config)["validation_share"] == 0.0
