"""Pages in a real browser: all images load, and the console stays empty."""

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
  document.title = `${loaded.length}/${images.length} ${wide ? "too wide" : "fits"}`;
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
    assert opened(text, tmp_path, width) == ("22/22 fits", [])


def test_a_broken_image_is_found(tmp_path):
    text = html_parts.document("Page", ['<img alt="" src="data:image/png;base64,AA">'])
    title, _ = opened(text, tmp_path, 1400)
    assert title.startswith("0/1")
