"""The command `export`, and the model card that every export carries."""

import errno
import json
import os
import shutil
import unittest.mock

import numpy as np
import pytest

from bsce_keras import evaluate, experiment, export
from bsce_keras.data.digits import load_digits
from bsce_keras.evaluation.export_folder import altered_files
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.records.run_records import read_run
from bsce_keras.reports.model_card import card_text
from bsce_keras.runtime.errors import RequestError


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory, train_digits):
    """Real run that exports its last step, at the second start.

    The first one found a full disk. Its steps.jsonl is kept as `before.jsonl`.
    """
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError):
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr(experiment, "export_step", unittest.mock.Mock(side_effect=full))
        train_digits(run_dir, export_only_last=True)
    shutil.copy(run_dir / "steps.jsonl", run_dir.parent / "before.jsonl")
    return train_digits(run_dir, export_only_last=True)


@pytest.fixture(scope="module")
def card(trained_run):
    path = trained_run / "exports" / "step_01" / "model_card.json"
    return json.loads(path.read_text("utf-8"))


def test_a_step_whose_export_failed_is_not_trained_again(trained_run):
    before = (trained_run.parent / "before.jsonl").read_bytes()
    assert before.count(b"\n") == 2
    assert (trained_run / "steps.jsonl").read_bytes() == before


def test_the_card_has_the_recorded_accuracies(trained_run, card):
    run = read_run(trained_run)
    assert card["scores"]["accuracy"] == run.steps[1]["accuracy"]
    accuracies = [one["accuracy"] for one in card["classes"]]
    assert accuracies == run.per_class_accuracy[1].tolist()
    assert [one["training_images"] for one in card["classes"]] == [5] * 8 + [130] * 2


def test_the_card_names_data_and_memory(trained_run, card):
    recorded = json.loads((trained_run / "data.json").read_text())["classes"]
    digests = [one["training_sha256"] for one in card["classes"]]
    assert digests == [one["train_sha256"] for one in recorded]
    assert card["memory_bytes"]["exemplars"] == 10 * 5 * 64


def test_a_card_leaves_out_what_was_not_recorded(card):
    unknown = {**card, "memory_bytes": None, "protocol": {}}
    for one in unknown["classes"]:
        one.pop("test_images")
    text = card_text(unknown)
    assert "Memory of earlier classes" not in text
    assert "None" not in text


def test_class_names_are_text_in_a_card(card):
    name = "a|b <script>alert('x')</script>\u202e`"
    text = card_text({**card, "classes": [{**card["classes"][0], "name": name}]})
    assert "<script>" not in text
    [row] = [line for line in text.splitlines() if line.startswith("| a\\|b")]
    assert row.count(" | ") == 3


def test_a_finished_step_is_exported_in_further_formats(trained_run, capsys):
    arguments = [f"--run_dir={trained_run}", "--formats=keras"]
    assert export.main(arguments) == 0
    folder = trained_run / "exports" / "step_01"
    assert {"saved_model.pb", "model.keras"} <= {p.name for p in folder.iterdir()}
    assert altered_files(folder) == []
    assert "model.keras" in capsys.readouterr().out


def test_a_repeated_run_tells_which_formats_its_last_export_lacks(
    trained_run, train_digits, tmp_path, caplog
):
    shutil.copytree(trained_run, tmp_path / "run")
    train_digits(tmp_path / "run", export_only_last=True, export_formats="litert")
    [warning] = [text for text in caplog.messages if "--export_formats" in text]
    assert "step_01 lacks litert of --export_formats" in warning
    assert f"bsce-export --run_dir={tmp_path}/run --step=1 --formats=litert" in warning


def test_an_earlier_step_is_exported_with_its_own_classes(trained_run, tmp_path):
    path = tmp_path / "base"
    export.export_finished_step(trained_run, 0, ("keras",), str(path))
    facts = json.loads((path / "model.json").read_text("utf-8"))
    assert len(facts["class_names"]) == 8
    # A later export keeps the formats that are there.
    assert facts["formats"] == {"keras": ["model.keras"]}
    assert not (path / "saved_model.pb").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--formats=keras"], "--run_dir=RUN is required"),
        (["--run_dir=.", "--formats=keras"], "is not a run folder"),
        (["--run_dir=.", "--formats=tflite"], "Received: 'tflite'"),
    ],
)
def test_a_wrong_request_is_refused(flags, message, capsys):
    assert export.main(flags) == 2
    assert message in capsys.readouterr().err


def test_python_takes_formats_as_the_text_of_the_flag_and_refuses_others(
    trained_run, tmp_path
):
    path = tmp_path / "export"
    with pytest.raises(RequestError, match=r"^formats must .*'kers'.*keras"):
        export.export_finished_step(trained_run, formats=["kers"], output=path)
    assert not path.exists()
    export.export_finished_step(trained_run, formats="keras", output=path)
    assert (path / "model.keras").exists()


def test_a_step_that_is_not_finished_is_refused(trained_run, capsys):
    assert export.main([f"--run_dir={trained_run}", "--step=2"]) == 2
    assert "--step=2 is not a finished step" in capsys.readouterr().err


def test_the_last_step_is_that_of_the_records(trained_run, tmp_path):
    """Its checkpoint may be damaged; the step before it is not exported instead."""
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    for path in run.glob("checkpoints/step_01.npz"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RequestError, match="^step=1: .* has 1 finished, undamaged"):
        export.export_finished_step(run, formats="keras", output=tmp_path / "export")


def test_a_run_that_cannot_be_written_is_refused_with_the_way_out(
    trained_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(os, "access", lambda path, mode: path == str(tmp_path))
    assert export.main([f"--run_dir={trained_run}", "--formats=keras"]) == 2
    assert "by --output" in capsys.readouterr().err
    arguments = [f"--run_dir={trained_run}", f"--output={tmp_path}/export"]
    assert export.main([*arguments, "--formats=keras"]) == 0


def test_moved_logits_are_those_of_the_alpha_curve(trained_run, tmp_path, capsys):
    """The served model and `evaluate --alpha` agree, image for image."""
    path = tmp_path / "moved"
    arguments = [f"--run_dir={trained_run}", "--alpha=20", f"--output={path}"]
    assert export.main(arguments) == 0
    images = load_digits(None, True, True).test.images[:200]
    before = load_model(str(trained_run / "exports" / "step_01"))
    expected = before.probabilities(images, 200)
    expected[:, :8] *= 20
    actual = load_model(str(path)).probabilities(images, 200)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    assert "was not measured" in (path / "MODEL_CARD.md").read_text("utf-8")
    assert evaluate.main([f"--run_dir={trained_run}", "--alpha=1,20"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    old = {row[1]: float(row[3]) for row in rows if row[:1] == ["1"]}
    assert old["20"] > old["1"]


def test_a_link_as_output_stays_and_its_folder_is_written(trained_run, tmp_path):
    """As where `current` links to the export that is served."""
    folder, link = tmp_path / "release_1", tmp_path / "current"
    arguments = [f"--run_dir={trained_run}", "--step=0"]
    assert export.main([*arguments, f"--output={folder}"]) == 0
    link.symlink_to(folder, target_is_directory=True)
    assert export.main([f"--run_dir={trained_run}", f"--output={link}"]) == 0
    assert link.is_symlink()
    assert len(load_model(str(folder)).class_names) == 10


def test_alpha_needs_a_folder_of_its_own(trained_run, capsys):
    assert export.main([f"--run_dir={trained_run}", "--alpha=2"]) == 2
    assert "--alpha needs --output=FOLDER" in capsys.readouterr().err
