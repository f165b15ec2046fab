"""Names of the classes of a trained classifier, as a request gives them."""

import types

import pytest

from bsce_keras.options import initial_model as options
from bsce_keras.options import values
from bsce_keras.options.request import Request
from bsce_keras.runtime.errors import RequestError


def names_of(text):
    asked = types.SimpleNamespace(
        initial_model="model.keras", initial_classes=text, refused=()
    )
    return options.initial_classes(asked)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_names_are_the_lines_of_a_file(tmp_path, encoding):
    """Some editors begin a file with a byte order mark, which is no part of a name."""
    (tmp_path / "names.txt").write_text("cat\n\ndog\n", encoding)
    assert names_of(str(tmp_path / "names.txt")) == ("cat", "dog")


@pytest.mark.parametrize("given", ["dog", "dog,,cat", "dog,dog", ["dog", "c\tat"]])
def test_names_are_at_least_two_different_lines(given):
    with pytest.raises(RequestError, match="needs at least two different names"):
        names_of(given)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    """Other names would make new classes of the old ones."""
    (tmp_path / "names.txt").write_text("Käfer\nHund\n", "latin-1")
    with pytest.raises(RequestError, match="names.txt is not UTF-8 text"):
        names_of(str(tmp_path / "names.txt"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "names.txt").write_text("cat\ndog\n")
    monkeypatch.setattr(values, "open", refuse, raising=False)
    with pytest.raises(RequestError, match="names.txt cannot be read: Permission"):
        names_of(str(tmp_path / "names.txt"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone_weights", "weights.h5"),
        ("synchronized_batch_norm", True),
        ("method_parameters", {"depths": 2}),
    ],
)
def test_options_of_other_backbones_are_refused(name, value):
    asked = Request({"initial_model": "model.keras", "method": "acil", name: value})
    found = [
        text for wrong, text in options.initial_model_contradictions(asked) if wrong
    ]
    assert len(found) == 1
    assert f"--{name}" in found[0]
    assert "has no effect with --initial_model=model.keras" in found[0]
