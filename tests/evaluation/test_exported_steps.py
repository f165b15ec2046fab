"""Exports of a run that commands score."""

from bsce_keras.evaluation.export_folder import exported_steps


def test_exported_steps_ascend_beyond_99(tmp_path):
    for name in ("step_100", "step_09", "step_99", "step_100.tmp", "notes"):
        (tmp_path / "exports" / name).mkdir(parents=True)
    folders = {
        number: str(tmp_path / f"exports/step_{number:02d}") for number in (9, 99, 100)
    }
    assert list(exported_steps(tmp_path).items()) == list(folders.items())
    assert exported_steps(tmp_path / "notes") == {}
