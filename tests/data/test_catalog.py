"""Data sets are described, or refused with advice, before TensorFlow loads."""

import json
import os
import subprocess
import sys

import pytest

from bsce_keras.config.backbones import default_backbone
from bsce_keras.config.choices import CIFAR, IMAGENET, SMALL, SUBIMAGENET
from bsce_keras.data import datasets, folder_description, tfds_download
from bsce_keras.data.catalog import describe_dataset
from bsce_keras.data.tfds_copy import find_prepared
from bsce_keras.options.make_config import make_config
from bsce_keras.runtime.errors import RequestError

FEATURES = {"featuresDict": {"features": {"image": {}, "label": {}}}}


def write_copy(folder, names=("ant", "bee"), splits=("train", "test"), features=None):
    folder.mkdir(parents=True)
    info = {"splits": [{"name": split} for split in splits]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features or FEATURES))
    (folder / "label.labels.txt").write_text("\n".join(names) + "\n")


def write_files(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def refusal(*args, **kwargs):
    with pytest.raises(RequestError) as caught:
        describe_dataset(*args, **kwargs)
    return caught.value.problems


def test_catalog_and_class_orders_load_no_tensorflow():
    code = (
        "import sys; from bsce_keras.data.catalog import describe_dataset;"
        "from bsce_keras.data import class_order; class_order('lucir', 10);"
        "describe_dataset('digits');"
        "sys.exit('tensorflow' in sys.modules or 'tensorflow_datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_digits_are_ten_small_grey_classes():
    info = describe_dataset("digits")
    assert info.class_names == tuple("0123456789")
    assert (info.kind, default_backbone(info.kind)) == (SMALL, "resnet8")
    assert (info.image.size, info.image.channels, info.image.flip) == (8, 1, False)


def test_digits_statistics_are_those_of_the_training_split():
    info = describe_dataset("digits")
    pixels = datasets.load_dataset(make_config("digits").stream).train.images / 255
    assert pixels.mean() == pytest.approx(info.image.mean[0], abs=5e-5)
    assert pixels.std() == pytest.approx(info.image.std[0], abs=5e-5)


def test_cifar_reads_class_names_of_the_newest_prepared_copy(tmp_path):
    write_copy(tmp_path / "cifar10" / "3.0.2", ["old"])
    write_copy(tmp_path / "cifar10" / "3.0.10", ["plane", "car"])
    write_copy(tmp_path / "cifar10" / "incomplete.AB_4.0.0", ["half"])
    info = describe_dataset("cifar10", str(tmp_path))
    assert info.class_names == ("plane", "car")
    assert (info.kind, default_backbone(info.kind)) == (CIFAR, "resnet32")
    assert (info.image.stored_size, info.image.pad) == (32, 4)


def test_missing_copy_and_needless_image_size_are_reported_together(tmp_path):
    size, missing = refusal("cifar100", str(tmp_path), image_size=64)
    assert "--image_size" in size and "64" in size
    assert str(tmp_path / "cifar100") in missing
    assert "--data_dir" in missing and "--download" in missing


def test_default_directory_is_that_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    write_copy(tmp_path / "cifar10" / "3.0.2")
    assert describe_dataset("cifar10").class_names == ("ant", "bee")


def test_download_prepares_a_missing_copy_once(tmp_path, monkeypatch):
    calls = []

    def prepare(name, data_dir):
        calls.append(name)
        write_copy(tmp_path / name / "1.0.0")

    monkeypatch.setattr(tfds_download, "prepare_dataset", prepare)
    for _ in range(2):
        info = describe_dataset("tfds:insects", str(tmp_path), download=True)
    assert calls == ["insects"] and info.class_names == ("ant", "bee")


@pytest.mark.parametrize(
    ("num_images", "backbone", "kind", "updates"),
    [(4999, "resnet8", SMALL, 1600), (5000, "resnet32", CIFAR, 0)],
)
def test_fewer_than_5000_images_get_the_small_network(
    tmp_path, num_images, backbone, kind, updates
):
    copy = tmp_path / "insects" / "1.0.0"
    write_copy(copy)
    lengths = [str(num_images - 9), "9"]
    splits = [{"name": "train", "shardLengths": lengths}, {"name": "test"}]
    (copy / "dataset_info.json").write_text(json.dumps({"splits": splits}))
    info = describe_dataset("tfds:insects", str(tmp_path), image_size=32)
    assert (default_backbone(info.kind), info.kind) == (backbone, kind)
    assert info.min_updates == updates


@pytest.mark.parametrize(
    ("size", "backbone", "kind", "stored"),
    [
        (None, "resnet18", SUBIMAGENET, 73),
        (40, "resnet32", CIFAR, 46),
        (41, "resnet18", SUBIMAGENET, 47),
        (224, "resnet18", SUBIMAGENET, 256),
    ],
)
def test_size_decides_backbone_and_recipe(tmp_path, size, backbone, kind, stored):
    write_copy(tmp_path / "insects" / "1.0.0")
    info = describe_dataset("tfds:insects", str(tmp_path), image_size=size)
    assert (default_backbone(info.kind), info.kind) == (backbone, kind)
    assert info.image.stored_size == stored


def test_single_configuration_is_used_and_several_must_be_named(tmp_path):
    write_copy(tmp_path / "birds" / "small" / "1.0.0")
    assert find_prepared("birds", tmp_path) == tmp_path / "birds" / "small" / "1.0.0"
    write_copy(tmp_path / "birds" / "large" / "1.0.0")
    (problem,) = refusal("tfds:birds", str(tmp_path))
    assert "tfds:birds/large" in problem and "tfds:birds/small" in problem
    info = describe_dataset("tfds:birds/large", str(tmp_path))
    assert info.name == "tfds:birds/large"


def test_tfds_set_without_labels_or_test_split_is_refused(tmp_path):
    features = {"featuresDict": {"features": {"image": {}, "boxes": {}}}}
    write_copy(tmp_path / "boxes" / "1.0.0", splits=["train"], features=features)
    no_label, no_split = refusal("tfds:boxes", str(tmp_path))
    assert "boxes, image" in no_label
    assert "`validation`" in no_split


@pytest.mark.parametrize("name", ["tfds:", "tfds:../secret", "tfds:a/b/c"])
def test_malformed_tfds_names_are_refused(tmp_path, name):
    assert "tfds:NAME" in refusal(name, str(tmp_path))[0]


def test_unreadable_dataset_info_is_named(tmp_path):
    write_copy(tmp_path / "insects" / "1.0.0")
    (tmp_path / "insects" / "1.0.0" / "dataset_info.json").write_text("{")
    assert "dataset_info.json" in refusal("tfds:insects", str(tmp_path))[0]


def test_folder_classes_are_the_visible_training_folders(tmp_path):
    write_files(
        tmp_path,
        "train/cat/1.JPG",
        "train/ant/1.png",
        "train/.cache/1.png",
        "train/README.txt",
        "val/cat/1.gif",
    )
    info = describe_dataset("folder", str(tmp_path))
    assert info.class_names == ("ant", "cat")
    assert (info.image.size, info.image.stored_size) == (64, 73)


def test_folder_problems_are_reported_together(tmp_path):
    write_files(
        tmp_path,
        "train/ant/._1.png",
        "train/bee/notes.txt",
        "train/cat/1.png",
        "test/cat/1.png",
        "test/dog/1.png",
    )
    size, empty, unknown = refusal("folder", str(tmp_path), image_size=3)
    assert "--image_size" in size
    assert "ant, bee" in empty and "cat" not in empty.split("without any")[1]
    assert "train/: dog." in unknown


def test_scoring_takes_classes_whose_training_images_are_gone(tmp_path):
    """`evaluate` and `compare` with `--dataset=folder` read only test images."""
    write_files(tmp_path, "train/bee/1.png", "test/ant/1.png", "test/bee/1.png")
    info = describe_dataset("folder", str(tmp_path), test_only=True)
    assert info.class_names == ("ant", "bee")
    write_files(tmp_path, "test/ wasp/1.png")
    (odd,) = refusal("folder", str(tmp_path), test_only=True)
    assert f"{tmp_path / 'test'}: ' wasp'" in odd


def test_missing_parts_of_a_folder_are_named(tmp_path):
    assert "--data_dir" in refusal("folder")[0]
    no_train, no_test = refusal("folder", str(tmp_path))
    assert str(tmp_path / "train") in no_train and "val/" in no_test
    write_files(tmp_path, "train/ant/1.png", "test/ant/notes.txt")
    assert "test images" in refusal("folder", str(tmp_path))[0]


def wnids(num_classes=1000):
    return [f"n{index:08}" for index in range(num_classes)]


@pytest.mark.parametrize(
    ("dataset", "num_classes", "kind"),
    [
        ("imagenet2012", 1000, IMAGENET),
        ("subimagenet", 100, SUBIMAGENET),
    ],
)
def test_imagenet_and_its_first_hundred_classes_share_a_copy(
    tmp_path, dataset, num_classes, kind
):
    write_copy(tmp_path / "imagenet2012/5.1.0", wnids(), ["train", "validation"])
    info = describe_dataset(dataset, str(tmp_path))
    assert info.class_names == tuple(wnids()[:num_classes])
    assert (info.kind, default_backbone(info.kind)) == (kind, "resnet18")
    assert (info.image.size, info.image.stored_size, info.image.pad) == (224, 256, 0)
    assert info.image.training_crop == "resized"
    assert info.image.mean == (0.485, 0.456, 0.406)


def test_numbered_tfds_classes_are_named_by_number(tmp_path):
    copy = tmp_path / "mnist/3.0.1"
    label = {"classLabel": {"numClasses": "10"}}
    features = {"featuresDict": {"features": {"image": {}, "label": label}}}
    write_copy(copy, features=features)
    (copy / "label.labels.txt").unlink()
    info = describe_dataset("tfds:mnist", str(tmp_path))
    assert info.class_names == tuple("0123456789")


@pytest.mark.parametrize("names", [wnids(999), wnids()[::-1], wnids(1001)])
def test_class_ids_of_imagenet_are_ranks_in_the_alphabet(tmp_path, names):
    write_copy(tmp_path / "imagenet2012/5.1.0", names, ["train", "validation"])
    (problem,) = refusal("subimagenet", str(tmp_path))
    assert "label.labels.txt" in problem and "alphabetical" in problem


def test_unlabelled_test_images_of_imagenet_do_not_count(tmp_path):
    write_copy(tmp_path / "imagenet2012/5.1.0", wnids(), ["train", "test"])
    (problem,) = refusal("imagenet2012", str(tmp_path))
    assert "`validation`" in problem and "`test` or" not in problem


@pytest.mark.parametrize("dataset", ["imagenet2012", "subimagenet"])
def test_missing_imagenet_names_its_archives_and_their_folder(
    tmp_path, monkeypatch, dataset
):
    def prepare(*_):
        raise AssertionError("a preparation was started")

    monkeypatch.setattr(tfds_download, "prepare_dataset", prepare)
    size, missing = refusal(dataset, str(tmp_path), image_size=64, download=True)
    assert "always 224x224" in size
    assert str(tmp_path / "imagenet2012") in missing
    assert "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar" in missing
    assert f"{tmp_path}/downloads/manual, and add --download" in missing


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar1000", "Did you mean cifar100"),
        ("mnist", "tfds:NAME"),
        ("imagenet", "Did you mean subimagenet or imagenet2012"),
    ],
)
def test_unknown_dataset_names_get_a_suggestion(name, hint):
    assert hint in refusal(name)[0]


@pytest.mark.parametrize(
    "planted",
    [
        {"featuresDict": {"features": {"image": {"pythonClassName": "planted.Image"}}}},
        {"python_class_name": "planted.Image"},
        {"type": "planted.Image", "content": {}},
        {"jsonFeature": {"json": '{"feature": {"type": "planted.Image"}}'}},
    ],
)
@pytest.mark.parametrize("dataset", ["cifar10", "tfds:insects"])
def test_a_prepared_copy_does_not_choose_what_code_is_imported(
    tmp_path, planted, dataset
):
    name = dataset.removeprefix("tfds:")
    write_copy(tmp_path / name / "1.0.0", features=planted)
    (problem,) = refusal(dataset, str(tmp_path))
    assert "classes of tensorflow_datasets" in problem and "planted.Image" in problem


@pytest.mark.parametrize("name", ["features", "dataset_info"])
@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"splits": [1]}', '"x"'])
def test_malformed_tfds_descriptions_are_refused(tmp_path, name, content):
    write_copy(tmp_path / "insects" / "1.0.0")
    (tmp_path / "insects" / "1.0.0" / f"{name}.json").write_text(content)
    assert (
        f"{name}.json must be readable JSON"
        in refusal("tfds:insects", str(tmp_path))[0]
    )


def test_describing_a_folder_takes_work_linear_in_its_classes(tmp_path, monkeypatch):
    """Each name is hashed a few times, not once per other name."""

    class Name(str):
        hashed = 0

        def __hash__(self):
            Name.hashed += 1
            return super().__hash__()

    names = [Name(f"class{index:03}") for index in range(300)]
    write_files(tmp_path, *(f"{s}/{n}/1.png" for s in ("train", "test") for n in names))
    monkeypatch.setattr(folder_description, "class_folders", lambda folder: names)
    assert describe_dataset("folder", str(tmp_path)).class_names == tuple(names)
    assert Name.hashed < 20 * len(names)


def test_class_folders_need_names_that_are_text(tmp_path):
    for name in (b"caf\xe9", b"two\nlines", "日本 語".encode()):
        os.makedirs(os.path.join(os.fsencode(tmp_path), b"train", name))
    write_files(tmp_path, "test/日本 語/1.png")
    odd, empty = refusal("folder", str(tmp_path))
    assert "'caf\\udce9', 'two\\nlines'." in odd and "日本" not in odd
    assert "日本 語" in empty


@pytest.mark.parametrize(
    "name", ["two\u2028lines", "next\x85line", " ant", "ant\u3000", "\x7f"]
)
def test_class_folders_need_names_that_fill_one_line(tmp_path, name):
    write_files(tmp_path, f"train/{name}/1.png", f"test/{name}/1.png")
    (problem,) = refusal("folder", str(tmp_path))
    assert ascii(name) in problem and "Rename these folders" in problem


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("ant\n\ncat\n", "outer spaces: ''"),
        ("ant\nbee\x07\ncat\n", r"'bee\x07'"),
        ("ant\nbee\x85\ncat\n", r"'bee\x85'"),
        ("ant\n bee\ncat\n", "' bee'"),
        ("ant\nbee\nant\n", "repeated names: 'ant'"),
        ("ant\nbee\ncat\ndog\n", "4 names for 3 classes"),
        ("ant\nbee\n", "2 names for 3 classes"),
        ("ant\nbee\ncat\x85dog\n", r"'cat\x85dog'"),
    ],
)
@pytest.mark.parametrize("dataset", ["cifar10", "tfds:insects"])
def test_label_files_need_one_name_per_class(tmp_path, dataset, lines, fault):
    label = {"classLabel": {"numClasses": "3"}}
    features = {"featuresDict": {"features": {"image": {}, "label": label}}}
    copy = tmp_path / dataset.removeprefix("tfds:") / "1.0.0"
    write_copy(copy, features=features)
    (copy / "label.labels.txt").write_text(lines, "utf-8")
    (problem,) = refusal(dataset, str(tmp_path))
    assert "label.labels.txt must hold a name for every class" in problem
    assert fault in problem


@pytest.mark.parametrize("lengths", [["-5"], ["3", "-1"], ["many"], "x", [None]])
def test_shard_lengths_of_a_copy_are_numbers_of_images(tmp_path, lengths):
    copy = tmp_path / "insects/1.0.0"
    write_copy(copy)
    splits = [{"name": n, "shardLengths": lengths} for n in ("train", "test")]
    (copy / "dataset_info.json").write_text(json.dumps({"splits": splits}))
    (problem,) = refusal("tfds:insects", str(tmp_path))
    assert "dataset_info.json must be readable JSON, as TFDS writes it" in problem


@pytest.mark.parametrize("dataset", ["folder", "cifar10", "tfds:insects"])
def test_unreadable_data_folder_is_a_request_error(dataset, tmp_path):
    too_long = str(tmp_path / ("x" * 300))
    (problem,) = refusal(dataset, too_long)
    assert "File name too long" in problem and "Check --data_dir" in problem
