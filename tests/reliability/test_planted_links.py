"""Symbolic links that somebody planted are never written through."""

import pytest

from bsce_keras.config import ImageSpec
from bsce_keras.records.run_folder import run_lock
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import write_atomically, write_json


@pytest.fixture
def target(tmp_path):
    """A file elsewhere, which must stay as it is."""
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    yield target
    assert target.read_text() == "precious"


def test_a_lock_that_is_a_link_is_refused(tmp_path, target):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").symlink_to(target)
    refused = pytest.raises(RequestError, match=r"\.lock is a symbolic link")
    with refused, run_lock(tmp_path / "run"):
        pass


@pytest.mark.parametrize("name", ["config.json", "config.json.tmp"])
def test_an_atomic_write_replaces_a_link(tmp_path, target, name):
    (tmp_path / name).symlink_to(target)
    write_json(tmp_path / "config.json", {"new": True})
    assert not (tmp_path / "config.json").is_symlink()
    assert "new" in (tmp_path / "config.json").read_text()
    assert not (tmp_path / "config.json.tmp").is_symlink()


def test_a_file_that_appears_at_the_temporary_name_is_not_opened(
    tmp_path, target, monkeypatch
):
    """The link is planted after the temporary name was cleared."""
    from bsce_keras.runtime import files

    def unlink(path):
        files.os.symlink(target, path)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "unlink", unlink)
        with pytest.raises(FileExistsError):
            write_atomically(tmp_path / "config.json", "new")


def test_an_export_does_not_write_into_a_linked_folder(tmp_path):
    import keras

    from bsce_keras.exports.step_export import export_step

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "step_00.tmp").symlink_to(tmp_path / "elsewhere")
    images = keras.Input((8, 8, 1))
    outputs = {"logits": keras.layers.Flatten()(images)}
    image = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.3,), std=(0.4,))
    names = [str(number) for number in range(64)]
    export_step(keras.Model(images, outputs), image, names, str(tmp_path / "step_00"))
    assert list((tmp_path / "elsewhere").iterdir()) == []
