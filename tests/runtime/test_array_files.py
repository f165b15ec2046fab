"""Files of named arrays hold those arrays and nothing that would run code."""

import numpy as np
import pytest

from bsce_keras.runtime import array_files


def test_a_file_has_the_arrays_that_were_written_and_no_other(tmp_path):
    """NumPy before 2.1 took a keyword of `savez` for one more array."""
    array_files.write(tmp_path / "file", {"a": np.arange(3), "b": np.ones(2)}, {})
    with np.load(tmp_path / "file.npz") as file:
        assert sorted(file.files) == ["a", "b"]


def test_an_array_of_objects_is_not_written(tmp_path):
    array = np.array([{}], dtype=object)
    with pytest.raises(ValueError, match="`odd` is an array of objects"):
        array_files.write(tmp_path / "file", {"odd": array}, {})
    assert not list(tmp_path.iterdir())
