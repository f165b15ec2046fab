"""Names of the classes of a trained classifier, as a request gives them."""

import types

import pytest

from bsce_keras.options import initial_model as options
from bsce_keras.runtime.errors import RequestError


def names_of(text):
    asked = types.SimpleNamespace(
        initial_model="model.keras", initial_classes=text, refused=()
    )
    return options.initial_classes(asked)


def test_names_are_the_lines_of_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("cat\n\ndog\n")
    assert names_of(str(tmp_path / "names.txt")) == ("cat", "dog")


def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "names.txt").write_text("cat\ndog\n")
    monkeypatch.setattr(options, "open", refuse, raising=False)
    with pytest.raises(RequestError, match="names.txt cannot be read: Permission"):
        names_of(str(tmp_path / "names.txt"))
