"""The command `evaluate`: exported models have the recorded scores."""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from bsce_keras import evaluate, make_config
from bsce_keras.config import ImageSpec
from bsce_keras.exports.step_export import export_step
from bsce_keras.records.run_identity import begin_run
from bsce_keras.records.run_records import RunRecords
from bsce_keras.records.step_record import StepRecord


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory, train_digits):
    """Real run that exports both steps."""
    return train_digits(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def copied_run(trained_run, tmp_path):
    """Copy of a run that tests may change."""
    return shutil.copytree(trained_run, tmp_path / "run")


def export_brightness(path, names, channels=3):
    """Exports a model that predicts the first class for light, the second for dark."""
    images = keras.Input((8, 8, channels))
    logits = keras.layers.Dense(len(names))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    model = keras.Model(images, {"logits": logits(mean)})
    slopes = np.array([0.01, -0.01] + [0] * (len(names) - 2))
    biases = np.array([-3.84, 3.84] + [-99] * (len(names) - 2))
    logits.set_weights([np.tile(slopes, (channels, 1)), biases])
    path.parent.mkdir(parents=True, exist_ok=True)
    export_step(model, ImageSpec(8, 9, channels), names, str(path))
    return path


def save_images(folder, brightnesses):
    folder.mkdir(parents=True)
    for i, brightness in enumerate(brightnesses):
        Image.new("RGB", (20 + i, 16), (brightness,) * 3).save(folder / f"{i}.png")


@pytest.fixture
def folder(tmp_path):
    """Folder of three classes; one of four test images of `night` is bright."""
    data = tmp_path / "data"
    for name in ("dawn", "day", "night"):
        save_images(data / "train" / name, [100])
    save_images(data / "test/day", [255, 240])
    save_images(data / "test/night", [0, 10, 20, 250])
    save_images(data / "test/dawn", [120])
    return data


@pytest.fixture
def folder_run(folder, tmp_path):
    """Records and export of a run on two classes of the folder."""
    shutil.rmtree(folder / "train/dawn")
    shutil.rmtree(folder / "test/dawn")
    config = make_config(
        "folder",
        data_dir=str(folder),
        image_size=8,
        num_base_classes=2,
        run_dir=str(tmp_path / "run"),
    )
    record = StepRecord(
        step=0,
        num_classes=2,
        num_old_classes=0,
        num_base_classes=2,
        train_images=2,
        confusion=np.array([[2, 0], [1, 3]]),
        epochs=1,
        train_seconds=1.0,
        images_per_second=2.0,
        peak_memory_mb=1.0,
        class_counts=[1, 1],
        exemplars_per_class=[1, 1],
    )
    begin_run(config.run_dir, config, num_replicas=1)
    RunRecords(config.run_dir, config).append(record)
    export_brightness(tmp_path / "run/exports/step_00", ("day", "night"))
    return tmp_path / "run"


def rows(text):
    """Returns the cells of a printed table without its head."""
    return [line.split() for line in text.split("\n\n")[0].splitlines()[1:]]


def recorded(run_dir):
    lines = (run_dir / "steps.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_exported_steps_have_the_recorded_scores(trained_run, capsys):
    # The batch size differs from that of the run and does not divide the images.
    assert evaluate.main([f"--run_dir={trained_run}", "--batch_size=97"]) == 0
    output = capsys.readouterr().out
    base, last = recorded(trained_run)
    assert rows(output) == [
        ["0", "8", *_percents(base, "accuracy", "base_accuracy"), "-"]
        + _percents(base, "new_accuracy", "accuracy"),
        ["1", "10", *_percents(last, "accuracy", "base_accuracy", "old_accuracy")]
        + _percents(last, "new_accuracy", "accuracy"),
    ]
    assert "*" not in output


def _percents(record, *names):
    return [f"{100 * record[name]:.2f}" for name in names]


def test_a_different_recorded_score_is_marked(copied_run, capsys):
    base, last = recorded(copied_run)
    last["old_accuracy"] += 0.002
    text = "".join(json.dumps(line) + "\n" for line in (base, last))
    (copied_run / "steps.jsonl").write_text(text)
    assert evaluate.main([f"--run_dir={copied_run}"]) == 0
    output = capsys.readouterr().out
    assert [row[-1] == "*" for row in rows(output)] == [False, True]
    assert "* differs from the recorded accuracy" in output
    assert "format or precision of the export" in " ".join(output.split())


def test_steps_without_export_are_named(copied_run, capsys):
    shutil.rmtree(copied_run / "exports/step_00")
    assert evaluate.main([f"--run_dir={copied_run}"]) == 0
    output = capsys.readouterr().out
    assert [row[0] for row in rows(output)] == ["1"]
    assert "Not exported, so not scored: step 0." in output


def test_a_run_without_exports_is_refused_with_a_way_out(copied_run, capsys):
    shutil.rmtree(copied_run / "exports")
    assert evaluate.main([f"--run_dir={copied_run}"]) == 2
    assert "exports a finished one" in capsys.readouterr().err


def test_an_altered_export_is_refused_with_the_file_named(copied_run, capsys):
    with open(copied_run / "exports/step_01/saved_model.pb", "ab") as file:
        file.write(b"\0")
    assert evaluate.main([f"--run_dir={copied_run}"]) == 2
    output = capsys.readouterr()
    assert "step_01 was changed after the export" in output.err
    assert "saved_model.pb" in output.err
    assert output.out == ""


def test_an_export_of_another_run_is_refused_with_both_named(
    trained_run, copied_run, capsys
):
    """The classes are the same, so only the card tells whose export it is."""
    config = json.loads((copied_run / "config.json").read_text())
    other = {**config, "run_id": "0123"}
    (copied_run / "config.json").write_text(json.dumps(other))
    assert evaluate.main([f"--run_dir={copied_run}"]) == 2
    output = capsys.readouterr()
    assert f"step_01 is of run {config['run_id']} ({trained_run.name})" in output.err
    assert f"{copied_run} is run 0123" in output.err
    assert output.out == ""
    # A run of an earlier version has no id.
    (copied_run / "config.json").write_text(json.dumps({**config, "run_id": None}))
    assert evaluate.main([f"--run_dir={copied_run}"]) == 0


def test_an_export_of_other_classes_is_refused(folder_run, capsys):
    export_brightness(folder_run / "exports/step_00", ("night", "day"))
    assert evaluate.main([f"--run_dir={folder_run}"]) == 2
    message = capsys.readouterr().err
    assert "is not a step of this run" in message
    assert "night, day" in message


def test_classes_unknown_to_the_model_are_named(trained_run, capsys, caplog):
    model = trained_run / "exports/step_00"
    assert evaluate.main([f"--model={model}", "--dataset=digits"]) == 0
    [[_, classes, accuracy]] = rows(capsys.readouterr().out)
    assert (classes, [accuracy]) == (
        "8",
        _percents(recorded(trained_run)[0], "accuracy"),
    )
    protocol = json.loads((trained_run / "config.json").read_text())["protocol"]
    unseen = sorted(protocol["class_order"]["class_names"][8:])
    assert f"(2 of 10): {', '.join(unseen)}." in caplog.text


def test_classes_are_matched_by_name_not_by_position(folder, tmp_path, capsys, caplog):
    # day and night have other labels than in the data set, which lacks moon.
    model = export_brightness(tmp_path / "model", ("day", "night", "moon"))
    arguments = [f"--model={model}", "--dataset=folder", f"--data_dir={folder}"]
    assert evaluate.main(arguments) == 0
    assert rows(capsys.readouterr().out) == [["6", "2", "83.33"]]
    assert "(1 of 3): dawn." in caplog.text


def test_a_model_is_scored_on_a_folder_of_test_images_alone(folder, tmp_path, capsys):
    shutil.rmtree(folder / "train")
    model = export_brightness(tmp_path / "model", ("day", "night"))
    arguments = [f"--model={model}", "--dataset=folder", f"--data_dir={folder}"]
    assert evaluate.main(arguments) == 0
    assert rows(capsys.readouterr().out) == [["6", "2", "83.33"]]
    shutil.rmtree(folder / "test")
    assert evaluate.main(arguments) == 2
    assert "Found neither test/ nor val/" in capsys.readouterr().err


def test_models_and_data_sets_that_do_not_fit_are_refused(folder, tmp_path, capsys):
    data = ["--dataset=folder", f"--data_dir={folder}"]
    other = export_brightness(tmp_path / "other", ("cat", "dog"))
    assert evaluate.main([f"--model={other}", *data]) == 2
    assert "no class name in common" in capsys.readouterr().err
    grey = export_brightness(tmp_path / "grey", ("day", "night"), channels=1)
    assert evaluate.main([f"--model={grey}", *data]) == 2
    assert "images of 1 channels" in capsys.readouterr().err


def test_bad_test_images_are_named_and_can_be_left_out(folder_run, folder, capsys):
    # Training images are not read.
    (folder / "train/day/bad.png").touch()
    (folder / "test/day/bad.png").touch()
    assert evaluate.main([f"--run_dir={folder_run}"]) == 2
    assert "test/day/bad.png" in capsys.readouterr().err
    assert evaluate.main([f"--run_dir={folder_run}", "--on_bad_image=skip"]) == 0
    assert "*" not in capsys.readouterr().out


def test_a_run_is_scored_on_images_that_moved(folder_run, folder, capsys):
    moved = folder.rename(folder.with_name("moved"))
    # Scoring needs no training images and ignores new classes.
    shutil.rmtree(moved / "train")
    save_images(moved / "test/comet", [255])
    assert evaluate.main([f"--run_dir={folder_run}"]) == 2
    message = capsys.readouterr().err
    assert str(folder / "test") in message
    assert "--data_dir=DIR" in message
    assert evaluate.main([f"--run_dir={folder_run}", f"--data_dir={moved}"]) == 0
    output = capsys.readouterr().out
    assert rows(output) == [["0", "2", "83.33", "83.33", "-", "83.33", "83.33"]]


def test_a_run_with_validation_is_scored_on_held_out_images(folder_run, folder, capsys):
    """Test images may be missing then, but held-out images may not."""
    path = folder_run / "config.json"
    config = json.loads(path.read_text())
    config["stream"]["validation_share"] = 0.5
    path.write_text(json.dumps(config))
    shutil.rmtree(folder / "test")
    shutil.rmtree(folder / "train/day")
    save_images(folder / "train/day", [255, 255])
    assert evaluate.main([f"--run_dir={folder_run}"]) == 2
    assert "would hold out every image of: night." in capsys.readouterr().err
    shutil.rmtree(folder / "train/night")
    assert evaluate.main([f"--run_dir={folder_run}"]) == 2
    assert "scored on held-out training images, but" in capsys.readouterr().err
    save_images(folder / "train/night", [0, 255])
    assert evaluate.main([f"--run_dir={folder_run}"]) == 0
    ((_, _, accuracy, *_),) = rows(capsys.readouterr().out)
    # One image of each class was held out; one image of night is bright.
    assert accuracy in ("50.00", "100.00")


def test_a_config_of_another_version_is_refused(folder_run, capsys):
    path = folder_run / "config.json"
    config = json.loads(path.read_text())
    config["stream"]["image"]["colour_space"] = "hsv"
    path.write_text(json.dumps(config))
    assert evaluate.main([f"--run_dir={folder_run}"]) == 2
    assert "colour_space" in capsys.readouterr().err
