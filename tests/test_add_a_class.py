"""The commands of docs/add_a_class.md run as they are printed."""

import json
import pathlib
import re
import shlex

import keras
import numpy as np
import tensorflow as tf

from bsce_keras import train

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "add_a_class.md"
FIRST, *_ = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)


def write_photos(root):
    rng = np.random.default_rng(4)
    for part in ("train", "test"):
        for channel, name in enumerate(("cat", "dog", "owl")):
            (root / part / name).mkdir(parents=True)
            for number in range(6):
                photo = rng.integers(0, 100, (24, 30, 3))
                photo[..., channel] += 120
                data = tf.io.encode_jpeg(photo.astype(np.uint8)).numpy()
                (root / part / name / f"{number}.jpg").write_bytes(data)


def test_five_lines_add_a_class_to_a_saved_model(tmp_path, monkeypatch):
    assert len(FIRST.strip().splitlines()) == 5
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    ).save("model.keras")
    command = shlex.split(FIRST.replace("\\\n", " "))
    assert command[0] == "bsce-train"
    assert train.main(command[1:]) == 0
    lines = (tmp_path / "runs/one_more/steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["num_classes"] for line in lines] == [2, 3]
    assert (tmp_path / "runs/one_more/exports/step_01/saved_model.pb").is_file()
