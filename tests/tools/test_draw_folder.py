"""Folder data sets that are drawn from a TFDS data set."""

from tools.draw_folder import drawn_classes, first_images


def test_a_class_has_its_first_images_in_order():
    labels = (1, 0, 2, 1, 1, 2, 1)
    examples = [{"label": n, "image": place} for place, n in enumerate(labels)]
    drawn = list(first_images(examples, [1, 2], most=2))
    assert drawn == [(1, 0, 0), (2, 0, 2), (1, 1, 3), (2, 1, 5)]


def test_a_seed_draws_the_same_classes_again_and_another_seed_others():
    assert drawn_classes(1, 100, 6) == [8, 15, 17, 72, 97, 32]
    assert set(drawn_classes(2, 100, 6)) != {8, 15, 17, 72, 97, 32}
