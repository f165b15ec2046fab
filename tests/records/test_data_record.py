"""A run continues only with the images it began with."""

import dataclasses
import json

import pytest

from bsce_keras.records.data_record import (
    data_differences,
    image_digests,
    keep_data_record,
)
from bsce_keras.runtime.errors import RequestError


def invert(images, index):
    images[index] = 255 - images[index]


def refusal(run_dir, stream, num_begun_steps):
    with pytest.raises(RequestError) as caught:
        keep_data_record(run_dir, stream, num_begun_steps, 0)
    head, *lines = caught.value.problems
    assert f"{run_dir} was begun with other images" in head
    assert "another --run_dir" in head
    return lines


def test_a_run_continues_with_the_same_images(photos, stream_of, tmp_path):
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    before = (tmp_path / "data.json").read_bytes()
    keep_data_record(tmp_path, stream_of(photos), 3, 0)
    assert (tmp_path / "data.json").read_bytes() == before


def test_every_class_of_a_begun_step_with_other_images_is_named(
    photos, stream_of, tmp_path
):
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    invert(photos["train"]["ant"], 1)
    photos["train"]["bee"].pop(0)
    invert(photos["test"]["cow"], 0)
    invert(photos["train"]["dog"], 0)
    assert refusal(tmp_path, stream_of(photos), 2) == [
        "class ant: 3 training images as before, but different or reordered",
        "class bee: 3 training images recorded, 2 now",
        "class cow: 1 test images as before, but different or reordered",
    ]


def test_images_of_steps_that_are_not_begun_may_change(photos, stream_of, tmp_path):
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    invert(photos["train"]["dog"], 0)
    photos["train"]["dog"].pop(1)
    keep_data_record(tmp_path, stream_of(photos), 2, 0)
    # These are the images of the run from here on.
    invert(photos["train"]["dog"], 0)
    assert refusal(tmp_path, stream_of(photos), 3) == [
        "class dog: 2 training images as before, but different or reordered"
    ]


def test_images_of_finished_steps_may_be_missing_but_not_changed(
    photos, stream_of, tmp_path
):
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    recorded = (tmp_path / "data.json").read_text()
    for split in photos:
        photos[split]["ant"] = []
    keep_data_record(tmp_path, stream_of(photos), 2, 1)
    assert (tmp_path / "data.json").read_text() == recorded
    photos["train"]["bee"] = photos["train"]["bee"][1:]
    with pytest.raises(RequestError, match="bee: 3 training images recorded, 2 now"):
        keep_data_record(tmp_path, stream_of(photos), 2, 1)
    # Images of a step that is begun but not finished must not be missing.
    with pytest.raises(RequestError, match="ant: 3 training images recorded, 0 now"):
        keep_data_record(tmp_path, stream_of(photos), 1, 0)


def test_a_learned_class_under_another_name_is_refused(photos, stream_of, tmp_path):
    """It would be learned twice, once under each name."""
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    photos["train"]["dog"], photos["train"]["ant"] = photos["train"]["ant"], []
    with pytest.raises(RequestError, match="rename dog to ant among training and test"):
        keep_data_record(tmp_path, stream_of(photos), 2, 2)


def test_a_refused_run_keeps_its_record(photos, stream_of, tmp_path):
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    before = (tmp_path / "data.json").read_bytes()
    invert(photos["train"]["ant"], 1)
    refusal(tmp_path, stream_of(photos), 1)
    assert (tmp_path / "data.json").read_bytes() == before


def test_reordered_images_count_as_different(photos, stream_of, tmp_path):
    """The order decides which images a batch holds."""
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    photos["train"]["bee"].reverse()
    [line] = refusal(tmp_path, stream_of(photos), 1)
    assert line.startswith("class bee: 3 training images as before, but")


def test_classes_that_changed_places_are_named(photos, stream_of, tmp_path):
    keep_data_record(tmp_path, stream_of(photos), 0, 0)
    assert refusal(tmp_path, stream_of(photos, (1, 0, 2, 3)), 1) == [
        "class bee: its place in the class order was that of ant",
        "class ant: its place in the class order was that of bee",
    ]


def test_a_missing_record_is_written_anew(photos, stream_of, tmp_path):
    keep_data_record(tmp_path, stream_of(photos), 3, 0)
    assert len(json.loads((tmp_path / "data.json").read_text())["classes"]) == 4


def test_a_damaged_record_is_refused_with_a_way_out(photos, stream_of, tmp_path):
    (tmp_path / "data.json").write_text('{"classes": [3]}')
    with pytest.raises(RequestError, match=r"data\.json is damaged .* Delete it"):
        keep_data_record(tmp_path, stream_of(photos), 1, 0)


def test_a_base_step_is_compared_by_its_training_images(photos, stream_of, tmp_path):
    stream = stream_of(photos)
    keep_data_record(tmp_path, stream, 0, 0)
    step = stream.steps[0]
    assert data_differences(tmp_path, image_digests(step)) == []
    other = dataclasses.replace(step.examples, images=255 - step.examples.images)
    lines = data_differences(
        tmp_path, image_digests(dataclasses.replace(step, examples=other))
    )
    assert [line.split(":")[0] for line in lines] == ["class ant", "class bee"]


def test_a_base_run_without_the_record_of_its_images_is_refused(
    photos, stream_of, tmp_path
):
    digests = image_digests(stream_of(photos).steps[0])
    with pytest.raises(RequestError, match=r"has no data\.json"):
        data_differences(tmp_path, digests)
