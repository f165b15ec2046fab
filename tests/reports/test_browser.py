"""Pages in a real browser: all images load, and the console stays empty."""

import dataclasses
import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest

from bsce_keras.records.run_records import picture_path
from bsce_keras.reports import html_parts
from bsce_keras.reports.page import html_page
from bsce_keras.reports.pictures import thumbnail
from bsce_keras.runtime.files import write_json

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
# Appended to a copy of the page; the page itself runs nothing.
PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  const loaded = images.filter(image => image.complete && image.naturalWidth > 0);
  const wide = document.documentElement.scrollWidth > innerWidth;
  const cut = [...document.querySelectorAll(".wide")].filter(
    table => table.scrollWidth > table.clientWidth);
  document.title = `${loaded.length}/${images.length} ${wide ? "too wide" : "fits"}`
    + `, ${cut.length} tables cut`;
});
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    matplotlib.image.imsave(path, np.zeros((4, 4, 3)))
    return path


def opened(text, folder, width):
    """Returns what the probe found, and the messages of the console."""
    page = folder / "page.html"
    page.write_text(text + PROBE, "utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        + ["--enable-logging=stderr", f"--window-size={width},900"]
        + [f"--user-data-dir={folder / 'profile'}", page.as_uri()],
        capture_output=True,
        text=True,
    )
    title = re.search("<title>(.*?)</title>", done.stdout)[1]
    return title, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [1400, 500])
def test_a_report_page_loads_its_images_and_fits(make_run, picture, tmp_path, width):
    run = make_run()
    kept = [{"class": "a" * 40, "png": thumbnail(np.zeros((4, 4, 1), np.uint8))}]
    picture_path(run.run_dir, 1).parent.mkdir()
    write_json(picture_path(run.run_dir, 1), {"exemplars": 20 * kept, "mistakes": []})
    text = html_page("Page", [run], {"All": picture}, [{"One": picture}])
    title, messages = opened(text, tmp_path, width)
    assert title.startswith("22/22 fits")
    assert messages == []


def test_tables_fit_a_screen_with_long_names_and_spreads(make_run, tmp_path):
    names = ["a rather long class name of a catalogue", "b" * 50, "c c", "d"]
    runs = []
    for number in range(4):
        loss = ("softmax", "balanced_softmax")[number // 2]
        run = make_run(loss, seed=1 + number % 2, weight_decay=number // 2 / 2000)
        run.summary["memory_bytes"] = {"exemplars": 123456789}
        stream = {**run.config["stream"], "class_names": names}
        config = {**run.config, "stream": stream}
        runs.append(dataclasses.replace(run, config=config))
    text = html_page("Page", runs, {}, len(runs) * [{}])
    assert opened(text, tmp_path, 1280)[0] == "0/0 fits, 0 tables cut"


def test_a_broken_image_is_found(tmp_path):
    text = html_parts.document("Page", ['<img alt="" src="data:image/png;base64,AA">'])
    title, _ = opened(text, tmp_path, 1400)
    assert title.startswith("0/1")
