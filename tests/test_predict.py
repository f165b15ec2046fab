"""The predict command, from image files to lines."""

import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from bsce_keras import predict
from bsce_keras.config import ImageSpec
from bsce_keras.evaluation.export_folder import CHECKSUMS
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.exports.step_export import export_step


def save_grey(path, brightness, size=(20, 16)):
    Image.new("L", size, brightness).save(path)
    return str(path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Says `light` or `dark` by the mean of the pixels, surer at the extremes."""
    images = keras.Input((8, 8, 3))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    logits = keras.layers.Dense(2)
    model = keras.Model(images, {"logits": logits(mean)})
    logits.set_weights([np.full((3, 2), (0.01, -0.01)), np.array([-3.84, 3.84])])
    path = tmp_path_factory.mktemp("run") / "exports" / "step_00"
    path.parent.mkdir()
    export_step(model, ImageSpec(8, 9), ("light", "dark"), str(path))
    return path


@pytest.fixture
def copy(exported, tmp_path):
    """An export that may be spoilt."""
    return shutil.copytree(exported, tmp_path / "step_00")


def run(model, *arguments):
    return predict.main([f"--model={model}", *map(str, arguments)])


def test_photos_with_an_exif_rotation_are_named(exported, tmp_path, caplog):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("L", (20, 16), 250).save(tmp_path / "turned.jpg", exif=exif)
    files = [save_grey(tmp_path / "as stored.jpg", 250), tmp_path / "turned.jpg"]
    assert run(exported, *files) == 0
    [record] = caplog.records
    assert record.getMessage().startswith("1 of 2 files have an EXIF rotation")
    assert f"as in training: {files[1]}." in record.getMessage()


def test_files_are_classified_in_order_one_line_each(
    exported, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(predict, "_BATCH_SIZE", 2)
    files = [
        save_grey(tmp_path / f"{i}.png", brightness, size=(9 + i, 12))
        for i, brightness in enumerate((0, 255, 120, 10, 250))
    ]
    assert run(exported, *files) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == files
    assert [line[1] for line in lines] == ["dark", "light", "dark", "dark", "light"]
    # Logits are +-(0.03 * brightness - 3.84).
    assert lines[0][2] == "0.9995"  # 1 / (1 + exp(-2 * 3.84))
    assert lines[2][2] == "0.6177"  # 1 / (1 + exp(-2 * 0.24))


def test_top_k_lists_classes_by_falling_probability(exported, tmp_path, capsys):
    file = save_grey(tmp_path / "a.jpg", 200)
    assert run(exported, "--top_k=5", file) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [[file, "light"], [file, "dark"]]
    assert float(lines[0][2]) + float(lines[1][2]) == pytest.approx(1)


def test_a_file_name_that_is_not_utf_8_is_printed_as_it_is(
    exported, tmp_path, capsysbinary
):
    file = tmp_path / os.fsdecode(b"caf\xe9.png")
    save_grey(file, 255)
    assert run(exported, file) == 0
    assert capsysbinary.readouterr().out.startswith(os.fsencode(file) + b"\tlight\t")


def test_control_characters_of_a_file_name_are_escaped(exported, tmp_path, capsys):
    good = save_grey(tmp_path / "a\n\x1b[31m\u2028.png", 255)
    bad = tmp_path / "b\r\n.png"
    bad.touch()
    assert run(exported, good, bad) == 1
    output = capsys.readouterr()
    assert output.out.splitlines()[0].split("\t")[0] == (
        rf"{tmp_path}/a\n\x1b[31m\u2028.png"
    )
    assert len(output.out.splitlines()) == 1
    assert rf"{tmp_path}/b\r\n.png" in output.err


def test_json_is_one_object_a_line(exported, tmp_path, capsys):
    files = [save_grey(tmp_path / "ä\t1.png", 0), save_grey(tmp_path / "b.png", 255)]
    assert run(exported, "--format=json", "--top_k=2", *files) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["file"] for answer in answers] == files
    names = [[p["class_name"] for p in a["predictions"]] for a in answers]
    assert names == [["dark", "light"], ["light", "dark"]]
    assert answers[0]["predictions"][0]["probability"] == pytest.approx(0.99954, 1e-4)


def test_embedding_that_cannot_be_written_is_refused_before_files_are_classified(
    exported, tmp_path, capsys, monkeypatch
):
    photo = save_grey(tmp_path / "a.jpg", 250)
    (tmp_path / "folder.npy").mkdir()
    assert run(exported, photo, f"--embedding={tmp_path / 'folder.npy'}") == 2
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    assert run(exported, photo, f"--embedding={tmp_path / 'new.npy'}") == 2
    output = capsys.readouterr()
    assert "cannot be written: the file system is read-only" in output.err
    assert output.out == ""


def test_a_file_that_cannot_be_decoded_is_named_and_the_others_classified(
    exported, tmp_path, capsys
):
    good = save_grey(tmp_path / "good.jpg", 255)
    cut, empty, text = (tmp_path / name for name in ("cut.jpg", "empty.png", "a.txt"))
    cut.write_bytes(pathlib.Path(good).read_bytes()[:200])
    empty.touch()
    text.write_text("no image")
    assert run(exported, cut, good, empty, text, good) == 1
    output = capsys.readouterr()
    assert output.out.count(f"{good}\tlight\t") == len(output.out.splitlines()) == 2
    assert "3 of 5 files" in output.err
    for bad, reason in (
        (cut, "cut off, altered or not supported"),
        (empty, "empty"),
        (text, "not an image"),
    ):
        assert f"{bad}: {reason}" in output.err


def test_a_file_too_large_for_memory_is_named_and_the_others_classified(
    exported, tmp_path, capsys, monkeypatch
):
    good, huge = save_grey(tmp_path / "good.jpg", 255), tmp_path / "huge.jpg"
    shutil.copy(good, huge)
    os.truncate(huge, 2**20)
    monkeypatch.setattr(predict, "available_memory", lambda: 2**21)
    zero = tmp_path / "zero.png"
    zero.symlink_to("/dev/zero")
    assert run(exported, huge, good, zero, good) == 1
    output = capsys.readouterr()
    assert output.out.count(f"{good}\tlight\t") == len(output.out.splitlines()) == 2
    assert "2 of 4 files cannot be classified" in output.err
    assert f"{huge}: too large for the memory" in output.err
    assert f"{zero}: not a regular file" in output.err


def test_a_lack_of_memory_in_tensorflow_is_told_of_the_file_only(exported):
    model = load_model(str(exported))
    ask = model._ask

    def failing(signature, encoded):
        if b"huge" in encoded:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")
        return ask(signature, encoded=encoded)

    model._ask = failing
    good = tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy()
    first, huge, last = model.outputs_of_files([good, b"huge", good])
    assert huge == (None, "too large for the memory")
    assert first[1] is last[1] is None
    assert first[0]["probabilities"].shape == last[0]["probabilities"].shape == (2,)


def test_images_of_more_pixels_than_the_limit_are_refused_by_an_export(
    exported, tmp_path, capsys
):
    bomb = tmp_path / "bomb.png"
    header = tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy()
    bomb.write_bytes(header[:16] + 2 * (13300).to_bytes(4) + header[24:])
    gif = tmp_path / "bomb.gif"
    frame = b"," + bytes(4) + 2 * (9000).to_bytes(2, "little") + bytes(2) + b"\0"
    gif.write_bytes(b"GIF89a" + 2 * b"\x09\0" + bytes(3) + 2 * frame)
    assert run(exported, bomb, gif) == 1
    error = capsys.readouterr().err
    assert f"{bomb}: more than 89,478,485 pixels" in error
    assert f"{gif}: more than 89,478,485 pixels" in error


def test_frames_of_a_gif_count_towards_the_limit_of_the_run(copy, tmp_path, capsys):
    """Two frames of 20 x 20 pixels are more than 500, one is not."""
    description = json.loads((copy / "model.json").read_text())
    description["input"]["max_image_pixels"] = 500
    (copy / "model.json").write_text(json.dumps(description))
    (copy / CHECKSUMS).unlink()
    frames = [Image.new("L", (20, 20), brightness) for brightness in (0, 250)]
    frames[1].save(tmp_path / "one.gif")
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert run(copy, tmp_path / "one.gif", tmp_path / "two.gif") == 1
    answers = capsys.readouterr()
    assert answers.out.startswith(f"{tmp_path}/one.gif")
    assert f"{tmp_path}/two.gif: more than 500 pixels" in answers.err


def test_an_altered_model_is_refused_with_the_file_named(copy, tmp_path, capsys):
    weights = copy / "variables" / "variables.data-00000-of-00001"
    data = bytearray(weights.read_bytes())
    data[0] ^= 1
    weights.write_bytes(data)
    assert run(copy, save_grey(tmp_path / "a.png", 0)) == 2
    output = capsys.readouterr()
    assert "variables/variables.data-00000-of-00001" in output.err
    assert output.out == ""


@pytest.mark.parametrize("name", [CHECKSUMS, "saved_model.pb", "variables/more"])
@pytest.mark.parametrize("keeps_checksums", [True, False])
def test_a_pipe_or_device_in_an_export_is_refused(
    copy, tmp_path, capsys, name, keeps_checksums
):
    image = save_grey(tmp_path / "a.png", 0)
    if not keeps_checksums:
        (copy / CHECKSUMS).unlink()
    for replace in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (copy / name).unlink(missing_ok=True)
        replace(copy / name)
        assert run(copy, image) == 2
        assert f"not a regular file: {name}." in capsys.readouterr().err


def test_a_model_without_checksums_is_used_with_a_warning(copy, tmp_path, caplog):
    (copy / CHECKSUMS).unlink()
    assert run(copy, save_grey(tmp_path / "a.png", 0)) == 0
    assert "only if you trust its author" in caplog.text


def test_a_saved_model_without_the_right_signatures_is_refused(tmp_path, capsys):
    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    assert run(tmp_path / "model", save_grey(tmp_path / "a.png", 0)) == 2
    message = capsys.readouterr().err
    assert "serve_encoded from `encoded` to `probabilities`" in message
    assert "class_names" in message


def test_a_saved_model_that_cannot_be_loaded_is_refused(copy, tmp_path, capsys):
    (copy / CHECKSUMS).unlink()
    (copy / "saved_model.pb").write_bytes(b"damaged")
    assert run(copy, save_grey(tmp_path / "a.png", 0)) == 2
    assert "cannot be loaded as a SavedModel" in capsys.readouterr().err


def test_for_a_run_folder_its_last_export_is_offered(exported, tmp_path, capsys):
    run_dir = exported.parents[1]
    assert run(run_dir, save_grey(tmp_path / "a.png", 0)) == 2
    assert f"Did you mean {exported}?" in capsys.readouterr().err


def test_every_problem_is_told_at_once_without_tensorflow(run_python):
    code = """
import sys
from bsce_keras import predict
assert predict.main(["--model=gone", "--top_k=0", "no.png", "."]) == 2
assert predict.main(["a.png"]) == 2
assert "tensorflow" not in sys.modules
"""
    printed, said = run_python(code)
    for fragment in (
        "There is no folder gone",
        "--top_k must be at least 1",
        "There is no file no.png",
        "Received the folder .",
        "--model is required",
    ):
        assert fragment in said
    assert printed == ""
