"""Data sets are complete and in a fixed order, and name bad files."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from bsce_keras.config import StreamConfig
from bsce_keras.data import decoded_splits
from bsce_keras.data.catalog import describe_dataset
from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.examples import Examples
from bsce_keras.runtime.errors import RequestError, RunError


def configure(dataset, data_dir=None, image_size=None, on_bad_image="error"):
    info = describe_dataset(dataset, data_dir and str(data_dir), image_size=image_size)
    num_classes = len(info.class_names)
    return StreamConfig(
        dataset=dataset,
        data_dir=data_dir and str(data_dir),
        class_names=info.class_names,
        class_order="sorted",
        order=tuple(range(num_classes)),
        num_base_classes=num_classes,
        increments=(),
        image=info.image,
        on_bad_image=on_bad_image,
    )


def save_image(path, colour, size=(20, 16), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path):
    save_image(tmp_path / "train/ant/1.png", "red")
    save_image(tmp_path / "train/ant/2.jpg", "gray", mode="L")
    save_image(tmp_path / "train/bee/1.png", "lime", mode="RGBA")
    save_image(tmp_path / "train/bee/2.jpg", "blue", mode="CMYK")
    sixteen_bits = np.full((16, 20), 257 * 90, np.uint16)
    Image.fromarray(sixteen_bits).save(tmp_path / "train/bee/3.png")
    save_image(tmp_path / "test/bee/1.bmp", "white")
    return tmp_path


def add_bad_files(folder):
    whole = (folder / "train/ant/2.jpg").read_bytes()
    (folder / "train/ant/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "test/bee/empty.png").touch()


def test_selected_and_concatenated_examples():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    examples = Examples(images, np.array([0, 0, 1, 1, 2]), np.arange(5))
    joined = Examples.concatenate([examples.select([4]), examples.select(slice(0, 2))])
    assert len(joined) == 3
    assert joined.labels.tolist() == [2, 0, 0]
    assert joined.ids.tolist() == joined.images.ravel().tolist() == [4, 0, 1]


def test_digits_are_split_by_class_and_use_all_of_uint8():
    data = load_dataset(configure("digits"))
    assert np.bincount(data.train.labels).tolist() == [130] * 10
    assert len(data.test) == 1797 - 1300 and np.bincount(data.test.labels).min() > 40
    assert data.train.images.shape[1:] == (8, 8, 1)
    assert (data.train.images.dtype, data.train.images.max()) == (np.uint8, 255)


def test_folder_converts_every_kind_of_file(folder):
    data = load_dataset(configure("folder", folder, image_size=14))
    assert data.train.images.shape == (5, 16, 16, 3)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.train.ids.tolist() == [0, 1, 0, 1, 2]
    assert data.test.labels.tolist() == [1]
    assert data.skipped_images == ()
    expected = [(255, 0, 0), (128,) * 3, (0, 255, 0), (0, 0, 255), (90,) * 3]
    centres = data.train.images[:, 8, 8].astype(int)
    assert np.abs(centres - expected).max() <= 2


def test_files_that_cannot_be_decoded_are_all_named(folder):
    add_bad_files(folder)
    with pytest.raises(RequestError) as caught:
        load_dataset(configure("folder", folder))
    for part in ("ant/cut.jpg", "bee/empty.png", "--on_bad_image=skip"):
        assert part in str(caught.value)


def test_skipped_files_are_listed_and_leave_the_others_in_place(folder):
    add_bad_files(folder)
    data = load_dataset(configure("folder", folder, on_bad_image="skip"))
    assert [os.path.basename(path) for path in data.skipped_images] == [
        "cut.jpg",
        "empty.png",
    ]
    assert data.train.ids.tolist() == [0, 1, 0, 1, 2]
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]


def test_class_without_a_decodable_image_is_refused(folder):
    for name in ("1.png", "2.jpg"):
        (folder / "train/ant" / name).write_bytes(b"")
    with pytest.raises(RequestError, match="ant"):
        load_dataset(configure("folder", folder, on_bad_image="skip"))


def test_refusal_of_more_images_than_memory_states_the_bytes(folder, monkeypatch):
    # 5 training images and a test image of 73x73x3, twice.
    needed = 2 * 6 * 73 * 73 * 3
    monkeypatch.setattr(decoded_splits, "available_memory", lambda: needed)
    assert len(load_dataset(configure("folder", folder)).train) == 5
    monkeypatch.setattr(decoded_splits, "available_memory", lambda: needed - 1)
    with pytest.raises(RequestError, match="6 of 73x73x3 take .*--image_size"):
        load_dataset(configure("folder", folder))


def write_tfds(data_dir, name, splits):
    """A prepared copy as TFDS writes it; `splits` maps to shards of (id, label)."""
    copy = data_dir / name / "1.0.0"
    copy.mkdir(parents=True)
    feature = "tensorflow_datasets.core.features"
    info = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": []}
    for split, shards in splits.items():
        lengths = [str(len(shard)) for shard in shards]
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        info["splits"].append(
            {"name": split, "shardLengths": lengths, "filepathTemplate": template}
        )
        for index, shard in enumerate(shards):
            file = f"{name}-{split}.tfrecord-{index:05}-of-{len(shards):05}"
            with tf.io.TFRecordWriter(str(copy / file)) as writer:
                for key, label in shard:
                    writer.write(_record(key, label))
    dimensions = {"dimensions": ["-1", "-1", "3"]}
    features = {
        "id": {"pythonClassName": f"{feature}.text_feature.Text", "text": {}},
        "image": {
            "pythonClassName": f"{feature}.image_feature.Image",
            "image": {"dtype": "uint8", "shape": dimensions},
        },
        "label": {
            "pythonClassName": f"{feature}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "2"},
        },
    }
    root = f"{feature}.features_dict.FeaturesDict"
    (copy / "features.json").write_text(
        json.dumps({"pythonClassName": root, "featuresDict": {"features": features}})
    )
    (copy / "dataset_info.json").write_text(json.dumps(info))
    (copy / "label.labels.txt").write_text("ant\nbee\n")
    return copy


def _record(key, label):
    pixels = np.full((16, 16, 3), int(key[1:]), np.uint8)
    values = {
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[key.encode()])),
        "image": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[tf.io.encode_png(pixels).numpy()])
        ),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    features = tf.train.Features(feature=values)
    return tf.train.Example(features=features).SerializeToString()


def test_tfds_images_come_in_the_order_of_their_ids(tmp_path):
    shards = [[("t3", 0), ("t0", 1)], [("t2", 1), ("t1", 0)]]
    write_tfds(tmp_path, "insects", {"train": shards, "test": [[("v7", 1)]]})
    data = load_dataset(configure("tfds:insects", tmp_path, image_size=14))
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert data.train.labels.tolist() == [1, 0, 1, 0]
    assert data.train.ids.tolist() == [0, 1, 2, 3]
    assert data.test.images[0, 5, 5].tolist() == [7, 7, 7]


def test_classes_may_have_numbers_instead_of_names(tmp_path):
    splits = {"train": [[("t1", 1), ("t2", 0)]], "test": [[("v1", 1)]]}
    copy = write_tfds(tmp_path, "numbers", splits)
    (copy / "label.labels.txt").unlink()
    config = configure("tfds:numbers", tmp_path, image_size=14)
    assert config.class_names == ("0", "1")
    assert load_dataset(config).train.labels.tolist() == [1, 0]


def test_validation_split_replaces_an_unlabelled_test_split(tmp_path):
    splits = {
        "train": [[("t1", 0), ("t2", 1)]],
        "test": [[("u1", -1)]],
        "validation": [[("v1", 1), ("v2", 0)]],
    }
    write_tfds(tmp_path, "insects", splits)
    data = load_dataset(configure("tfds:insects", tmp_path, image_size=14))
    assert data.test.labels.tolist() == [1, 0]


def test_unused_training_images_are_not_read(tmp_path):
    splits = {"train": [[("t1", 0), ("t2", 1)]], "test": [[("v1", 1)]]}
    copy = write_tfds(tmp_path, "insects", splits)
    config = configure("tfds:insects", tmp_path, image_size=14)
    for path in copy.glob("*train*"):
        path.write_bytes(b"damaged")
    data = load_dataset(config, training_images=False)
    assert len(data.train) == 0
    assert data.test.labels.tolist() == [1]


@pytest.fixture
def imagenet(tmp_path):
    """A prepared ImageNet of few images; its test images are not labelled."""
    splits = {
        "train": [[("t1", 99), ("t2", 100), ("t3", 0)], [("t4", 999), ("t5", 0)]],
        "test": [[("u1", -1)]],
        "validation": [[("v1", 500), ("v2", 1)]],
    }
    copy = write_tfds(tmp_path, "imagenet2012", splits)
    name_thousand_classes(copy)
    return tmp_path


def name_thousand_classes(copy):
    """Writes the class names of ImageNet into a copy made by `write_tfds`."""
    names = [f"n{index:08}" for index in range(1000)]
    (copy / "label.labels.txt").write_text("\n".join(names) + "\n")
    features = copy / "features.json"
    features.write_text(features.read_text().replace('"2"', '"1000"'))


def test_subimagenet_keeps_the_images_of_the_first_hundred_classes(imagenet):
    data = load_dataset(configure("subimagenet", imagenet))
    assert data.train.labels.tolist() == [99, 0, 0]
    assert data.train.images[:, 128, 128, 0].tolist() == [1, 3, 5]
    assert data.train.ids.tolist() == [0, 1, 2]
    assert data.test.labels.tolist() == [1]
    assert data.test.images.shape == (1, 256, 256, 3)


def test_imagenet_is_evaluated_on_its_validation_images(imagenet):
    data = load_dataset(configure("imagenet2012", imagenet))
    assert data.train.labels.tolist() == [99, 100, 0, 999, 0]
    assert data.test.labels.tolist() == [500, 1]


@pytest.mark.parametrize(
    ("dataset", "needed"),
    # 1,331,167 and 135,000 images of 256 * 256 * 3 bytes, twice.
    [("imagenet2012", "523.436"), ("subimagenet", "53.084")],
)
def test_imagenet_of_full_size_is_refused_before_it_is_read(
    imagenet, dataset, needed, monkeypatch
):
    path = imagenet / "imagenet2012/1.0.0/dataset_info.json"
    info = json.loads(path.read_text())
    sizes = {"train": ["1281166", "1"], "test": ["1"], "validation": ["50000"]}
    for split in info["splits"]:
        split["shardLengths"] = sizes[split["name"]]
    path.write_text(json.dumps(info))
    monkeypatch.setattr(decoded_splits, "available_memory", lambda: 24 * 10**9)
    with pytest.raises(RequestError, match=f"{needed} GB while .* 24.000 GB available"):
        load_dataset(configure(dataset, imagenet))


def test_damaged_tfds_copy_is_named(tmp_path):
    copy = write_tfds(
        tmp_path, "insects", {"train": [[("t1", 0)]], "test": [[("v1", 1)]]}
    )
    shard = copy / "insects-train.tfrecord-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    with pytest.raises(RunError, match="insects/1.0.0"):
        load_dataset(configure("tfds:insects", tmp_path, image_size=14))


def test_training_images_without_a_label_are_refused(tmp_path):
    """A label of -1 would count as the last class."""
    splits = {"train": [[("t1", 0), ("t2", -1)]], "test": [[("v1", 1)]]}
    write_tfds(tmp_path, "insects", splits)
    with pytest.raises(
        RequestError, match=r"`train` of insects needs a .* Received: -1"
    ):
        load_dataset(configure("tfds:insects", tmp_path, image_size=14))


def test_a_copy_that_tfds_cannot_read_is_named(tmp_path):
    copy = write_tfds(
        tmp_path, "insects", {"train": [[("t1", 0)]], "test": [[("v1", 1)]]}
    )
    text = (copy / "features.json").read_text().replace("image_feature", "gone")
    (copy / "features.json").write_text(text)
    with pytest.raises(RunError, match=r"insects/1\.0\.0 is damaged: ValueError"):
        load_dataset(configure("tfds:insects", tmp_path, image_size=14))


@pytest.mark.skipif(
    "BSCE_TEST_TFDS_DIR" not in os.environ,
    reason="set BSCE_TEST_TFDS_DIR to a TFDS directory that holds cifar100",
)
def test_real_cifar100_equals_the_original_files():
    data = load_dataset(configure("cifar100", os.environ["BSCE_TEST_TFDS_DIR"]))
    assert data.train.images.shape == (50000, 32, 32, 3)
    assert np.bincount(data.train.labels).tolist() == [500] * 100
    assert np.bincount(data.test.labels).tolist() == [100] * 100
    # First labels in the training file of the Python version.
    assert data.train.labels[:8].tolist() == [19, 29, 0, 11, 1, 86, 90, 28]
    mean = data.train.images.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.5071, 0.4865, 0.4409], atol=1e-4)
