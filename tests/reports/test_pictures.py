"""Pictures of a step: those that are chosen, and how a page shows them."""

import base64
import io
import types

import matplotlib.image
import numpy as np

from bsce_keras.data.examples import Examples
from bsce_keras.records.run_records import picture_path
from bsce_keras.reports.page import html_page
from bsce_keras.reports.pictures import step_pictures, thumbnail
from bsce_keras.runtime.files import write_json

NAMES = ("cat", "dog", "<script>alert(1)</script>")


def pixels_of(png):
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(png)))[..., :3]


def grey(labels, values):
    """Returns images of one grey value each."""
    images = np.zeros((len(labels), 4, 4, 1), np.uint8)
    images += np.array(values, np.uint8)[:, None, None, None]
    return Examples(images, np.array(labels), np.arange(len(labels)))


def pictures_of(exemplars, test, probabilities):
    step = types.SimpleNamespace(num_old_classes=2, num_classes=3)
    return step_pictures(step, exemplars, test, np.array(probabilities), NAMES)


def test_only_exemplars_of_new_classes_are_shown_best_first():
    exemplars = grey([0, 1, *[2] * 7], [1, 2, *range(51, 58)])
    shown = pictures_of(exemplars, grey([], []), np.empty((0, 3)))["exemplars"]
    assert [one["class"] for one in shown] == [NAMES[2]] * 5
    values = [round(255 * pixels_of(one["png"]).mean()) for one in shown]
    assert values == [51, 52, 53, 54, 55]


def test_mistakes_are_the_wrong_images_with_the_most_certain_prediction():
    test = grey([0, 0, 1, 2], [10, 20, 30, 40])
    probabilities = [[0.9, 0.1, 0], [0.3, 0.6, 0.1], [0.1, 0, 0.9], [0, 0, 1]]
    pictures = pictures_of(None, test, probabilities)
    assert pictures["exemplars"] == []
    facts = [
        (one["class"], one["predicted"], one["probability"])
        for one in pictures["mistakes"]
    ]
    assert facts == [("dog", NAMES[2], 0.9), ("cat", "dog", 0.6)]


def test_a_large_image_becomes_a_small_picture_with_its_colours():
    image = np.zeros((224, 224, 3), np.uint8)
    image[:112, :, 0] = 200
    pixels = pixels_of(thumbnail(image))
    assert pixels.shape == (56, 56, 3)
    np.testing.assert_allclose(255 * pixels[0, 0], [200, 0, 0])
    np.testing.assert_allclose(pixels[-1], 0)


def test_a_page_of_one_run_shows_the_pictures_with_names_as_text(make_run):
    run = make_run()
    pictures = pictures_of(grey([2], [9]), grey([0], [5]), [[0.2, 0, 0.8]])
    picture_path(run.run_dir, 1).parent.mkdir()
    write_json(picture_path(run.run_dir, 1), pictures)
    text = html_page("Page", [run], {}, [{}])
    assert "Pictures of step 1" in text
    assert pictures["mistakes"][0]["png"] in text
    plain = text.replace("<bdi>", "").replace("</bdi>", "")
    shown = "taken for &lt;script&gt;alert(1)&lt;/script&gt;, 80.00"
    # No line ends between a number and its sign.
    assert f"{shown}\N{NO-BREAK SPACE}%" in plain
    assert "<script>" not in text
    assert "Pictures of step" not in html_page("Page", [run, run], {}, [{}, {}])


def test_damaged_pictures_do_not_stop_a_page(make_run):
    run = make_run()
    picture_path(run.run_dir, 1).parent.mkdir()
    picture_path(run.run_dir, 1).write_text("[")
    assert "Pictures of step 1 are damaged" in html_page("Page", [run], {}, [{}])
