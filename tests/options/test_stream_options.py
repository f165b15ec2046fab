"""A run keeps the classes that have arrived; new classes are appended."""

import json
import pathlib
import shutil

import pytest

from bsce_keras.data import named_dataset
from bsce_keras.options.make_config import make_config
from bsce_keras.runtime.errors import RequestError


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    """Four class folders of images, which arrived first."""
    monkeypatch.chdir(tmp_path)
    add("cow", "dog", "eel", "fox")


def add(*names):
    for split in ("train", "test"):
        for name in names:
            folder = pathlib.Path("photos", split, name)
            folder.mkdir(parents=True)
            (folder / "image.png").write_bytes(b"never decoded here")


def ask(dataset="folder", **request):
    if dataset == "folder":
        request["data_dir"] = "photos"
    return make_config(dataset, run_dir="run", **request)


def begin(*args, **request):
    """Writes the record of a run that matters for the next request."""
    config = ask(*args, **request)
    pathlib.Path("run").mkdir(exist_ok=True)
    pathlib.Path("run/config.json").write_text(json.dumps(config.to_json()))
    return config.stream


def problem_of(**request):
    with pytest.raises(RequestError) as error:
        ask(**request)
    [problem] = error.value.problems
    return problem


def test_new_classes_are_appended_regardless_of_name():
    begin(num_base_classes=4)
    add("ant", "bee")
    shutil.rmtree("photos/train/cow")
    stream = begin(num_base_classes=4, num_increments=1)
    assert stream.arriving_class_names == ("cow", "dog", "eel", "fox", "ant", "bee")
    assert stream.increments == (2,)
    add("cat", "hen", "owl", "yak")
    stream = ask(num_base_classes=4, num_increments=3).stream
    assert stream.arriving_class_names[4:] == ("ant", "bee", "cat", "hen", "owl", "yak")
    assert stream.increments == (2, 2, 2)


def test_a_run_of_few_images_keeps_its_recipe_when_the_folder_has_many(monkeypatch):
    begin(num_base_classes=4)
    add("ant")
    monkeypatch.setattr(named_dataset, "LEAST_TO_BE_LARGE", 5)
    grown = ask(num_base_classes=4, num_increments=1)
    assert grown.model.backbone == "resnet8"
    assert grown.training.min_updates == 1600
    pathlib.Path("run/config.json").unlink()
    assert ask(num_base_classes=4, num_increments=1).model.backbone == "resnet18"


def test_an_unknown_kind_in_a_record_is_damage():
    begin()
    path = pathlib.Path("run/config.json")
    record = json.loads(path.read_text())
    record["stream"]["kind"] = "huge"
    path.write_text(json.dumps(record))
    assert "stream.kind must be one of small, cifar" in problem_of()


def test_a_run_that_began_with_half_of_its_classes_keeps_them():
    assert begin().increments == (1, 1)
    add("ant")
    stream = ask(num_increments=3).stream
    assert (stream.num_base_classes, stream.increments) == (2, (1, 1, 1))


def test_a_run_grows_only_on_request():
    begin(num_base_classes=3, num_increments=1)
    add("ant")
    for request in ({}, {"num_increments": 1}):
        stream = ask(num_base_classes=3, **request).stream
        assert stream.increments == (1,)
        assert stream.arriving_class_names == ("cow", "dog", "eel", "fox")


def test_a_seeded_order_shuffles_new_classes_among_themselves():
    first = begin(class_order="seed:5", num_base_classes=4).arriving_class_names
    add(*(new := [f"new_{number}" for number in range(6)]))
    grown = ask(class_order="seed:5", num_increments=1).stream.arriving_class_names
    assert grown[:4] == first
    assert sorted(grown[4:]) == new
    assert list(grown[4:]) != new


def test_a_file_of_names_orders_new_classes():
    path = pathlib.Path("order.txt")
    path.write_text("fox\ncow\ndog\neel\n")
    begin(class_order="order.txt", num_base_classes=4)
    add("ant", "bee")
    path.write_text("fox\ncow\ndog\neel\nbee\nant\n")
    stream = ask(class_order="order.txt", num_increments=2).stream
    assert stream.arriving_class_names == ("fox", "cow", "dog", "eel", "bee", "ant")


def test_growth_without_new_classes_is_refused():
    begin(num_base_classes=3, num_increments=1)
    problem = problem_of(num_base_classes=3, num_increments=2)
    assert "--num_increments=2: run has 1, and photos holds no further" in problem
    assert "Add class folders, or use --num_increments=1" in problem


def test_growth_by_an_uneven_number_names_the_numbers_that_divide():
    begin(num_base_classes=3, num_increments=1)
    add("ant", "bee", "cat", "hen")
    problem = problem_of(num_base_classes=3, num_increments=4)
    assert "adds 3 to the 1 of run, which does not divide the 4 classes left" in problem
    assert "Numbers that divide them: 2, 3, 5." in problem


def test_a_folder_with_only_other_classes_is_refused():
    begin(num_base_classes=4)
    shutil.rmtree("photos")
    add("ant", "bee")
    problem = problem_of(num_base_classes=4)
    assert "photos/train holds none of the classes of the run in run (cow, " in problem
    assert "but others (ant, bee)" in problem
    # A request with more increments may learn them too.
    assert ask(num_base_classes=4, num_increments=1).stream.increments == (2,)


def test_a_stream_of_part_of_the_classes_grows_on_any_data_set():
    begin("digits", num_base_classes=4, increments=[1, 2])
    stream = ask("digits", num_base_classes=4, num_increments=3).stream
    assert stream.increments == (1, 2, 3)
    begin("digits", num_base_classes=4, num_increments=3)
    assert ask("digits", num_base_classes=4, num_increments=3).stream == stream


def test_a_damaged_config_is_refused_first():
    begin()
    pathlib.Path("run/config.json").write_text('{"stream": 3}')
    assert "run/config.json is damaged" in problem_of()
