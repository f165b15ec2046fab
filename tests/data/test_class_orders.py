"""Published class orders are reproduced exactly; wrong files are refused by name."""

import numpy as np
import pytest

from bsce_keras.data import class_order
from bsce_keras.runtime.errors import RequestError

# Orders from the authors' code (LUCIR) and configuration (PODNet, order 1).
LUCIR = """
68 56 78 8 23 84 90 65 74 76 40 89 3 92 55 9 26 80 43 38 58 70 77 1 85 19 17 50 28 53
13 81 45 82 6 59 83 16 15 44 91 41 72 60 79 52 20 10 31 54 37 95 14 71 96 98 97 2 64 66
42 22 35 86 24 34 87 21 99 0 88 27 18 94 11 12 47 25 30 46 62 69 36 61 7 63 75 5 32 4
51 48 73 93 39 67 29 49 57 33
"""
ICARL = """
87 0 52 58 44 91 68 97 51 15 94 92 10 72 49 78 61 14 8 86 84 96 18 24 32 45 88 11 4 67
69 66 77 47 79 93 29 50 57 83 17 81 41 12 37 59 25 20 80 73 1 28 6 46 62 82 53 9 31 75
38 63 33 74 27 22 36 3 16 21 60 19 70 90 89 43 5 42 65 76 40 30 23 85 2 95 56 48 71 64
98 13 99 7 34 55 54 26 35 39
"""
NAMES = ("ant", "bee", "0")


def refusal(*args):
    with pytest.raises(RequestError) as caught:
        class_order(*args)
    return str(caught.value)


@pytest.mark.parametrize(("name", "published"), [("lucir", LUCIR), ("icarl", ICARL)])
def test_published_cifar100_orders(name, published):
    order = class_order(name, 100)
    assert order.dtype == np.int64
    assert order.tolist() == [int(number) for number in published.split()]


def test_lucir_order_of_imagenet():
    expected = [54, 7, 894, 512, 126, 337, 988, 11, 284, 493, 133, 783]
    assert class_order("lucir", 1000)[:12].tolist() == expected


def test_icarl_order_is_refused_beyond_100_classes():
    message = refusal("icarl", 10)
    assert "100" in message and "lucir" in message


def test_seeded_and_sorted_orders():
    np.testing.assert_array_equal(
        class_order("seed:1993", 50), class_order("lucir", 50)
    )
    assert class_order("seed:1", 50).tolist() != class_order("seed:2", 50).tolist()
    assert class_order("sorted", 4).tolist() == [0, 1, 2, 3]
    assert class_order("arrival", 4).tolist() == [0, 1, 2, 3]


def test_global_random_state_does_not_change():
    np.random.seed(5)
    expected = np.random.random(3)
    np.random.seed(5)
    for name in ("lucir", "icarl", "seed:3"):
        class_order(name, 100)
    np.testing.assert_array_equal(np.random.random(3), expected)


@pytest.mark.parametrize("seed", ["", "-1", "1.5", "x", str(2**32)])
def test_wrong_seeds_are_refused(seed):
    assert "seed:7" in refusal(f"seed:{seed}", 10)


def test_names_precede_ids_in_a_class_order_file(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("0\n\n  bee \n0000\n")
    # "0" is the name of class 2; "0000" is not a name, hence id 0.
    assert class_order(str(path), 3, NAMES).tolist() == [2, 1, 0]


def test_class_order_file_of_ids_works_without_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "order.txt"
    path.write_text("2\n0\n1\n")
    assert class_order("~/order.txt", 3).tolist() == [2, 0, 1]
    assert class_order(str(path), 3).tolist() == [2, 0, 1]


def test_a_class_order_file_of_another_editor_is_utf8_with_or_without_a_mark(tmp_path):
    path = tmp_path / "order.txt"
    for mark in ("", "\ufeff"):
        path.write_bytes(f"{mark}föhn\r\n象\r\nant".encode())
        assert class_order(str(path), 3, ("ant", "föhn", "象")).tolist() == [1, 2, 0]


def test_file_that_misses_repeats_and_invents_is_refused_with_the_classes(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("bee\nbee\nwasp\n3\n0\n")
    message = refusal(str(path), 3, NAMES)
    for part in ("missing: ant", "repeated: bee", "unknown: wasp, 3"):
        assert part in message


def test_unknown_class_order_gets_the_nearest_name():
    assert "Did you mean lucir" in refusal("luci", 10)
    assert "sorted" in refusal("no/such/file", 10)
