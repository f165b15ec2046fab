"""One page that needs nothing else and shows what it is given as text."""

import dataclasses
import html.parser
import importlib.metadata
import pathlib
import re

import pytest

from bsce_keras.reports.page import html_page
from bsce_keras.runtime.files import write_json

# Elements without an end.
VOID = {"meta", "img"}


class Reader(html.parser.HTMLParser):
    """Checks that elements nest, and keeps what they hold."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.cells, self.tags = [], [], [], set()
        self.isolated, self.anchors = [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.anchors.add(dict(attributes).get("id"))
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        if self.open and self.open[-1] == "bdi":
            self.isolated.append(data)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG")
    return path


def test_a_page_holds_tables_and_pictures(make_run, picture):
    runs = [make_run("softmax"), make_run("balanced_softmax")]
    page = Reader(html_page("Two", runs, {"All": picture}, [{"One": picture}, {}]))
    assert [image["alt"] for image in page.images] == ["All", "One"]
    assert page.images[0]["src"] == "data:image/png;base64,iVBORw=="
    assert page.cells.count("Softmax") == page.cells.count("Balanced Softmax") == 1
    assert page.cells.count("66.67") == 2  # average incremental accuracies
    assert page.cells.count("accuracy") == 2  # tables of steps


def test_a_page_runs_nothing_and_fetches_nothing(make_run, picture):
    text = html_page("One", [make_run()], {}, [{"One": picture}])
    assert not Reader(text).tags & {"script", "link", "iframe", "object"}
    assert not re.search(r"(src|href)=.(?!data:)", text)
    assert "url(" not in text and "@import" not in text


def test_names_are_text(make_run):
    run = make_run()
    stream = {**run.config["stream"], "dataset": "<script>alert(1)</script>"}
    run = dataclasses.replace(
        run, run_dir="runs/<b>&", config={**run.config, "stream": stream}
    )
    text = html_page("<i>", [run], {}, [{}])
    assert not Reader(text).tags & {"script", "b", "i"}
    assert "runs/&lt;b&gt;&amp;" in text


def test_a_page_names_classes_with_their_accuracies_and_mistakes(make_run):
    """Classes arrive as c and a, then d, then b; see CONFUSIONS."""
    cells = Reader(html_page("One", [make_run()], {}, [{}])).cells
    rows = " ".join(cells)
    # Number, step, images, exemplars, test images, accuracy at first and at the end.
    assert "0 c 0 50 5 4 100.00 25.00 b (2)" in rows
    assert "2 d 1 50 5 4 100.00 25.00 b (3)" in rows
    assert "3 b 2 50 5 4 75.00 75.00 c (1)" in rows
    assert "a b 3 75.00" in rows
    assert "0 2 c, a 1 1 d 2 1 b" in rows


def test_names_that_are_written_leftward_keep_their_place_among_others(make_run):
    """Chromium showed `(2) חתול` for `חתול (2)`, and lists of such names backwards."""
    run = make_run()
    stream = {**run.config["stream"], "class_names": ["קוף", "חתול", "قطة", "c"]}
    run = dataclasses.replace(run, config={**run.config, "stream": stream})
    page = Reader(html_page("One", [run], {}, [{}]))
    assert "חתול (2)" in page.cells
    assert "قطة, קוף" in page.cells
    assert {"חתול", " (2)", "قطة", ", ", "קוף"} <= set(page.isolated)


def test_a_page_of_several_runs_links_to_each(make_run):
    runs = [make_run("softmax"), make_run("balanced_softmax")]
    text = html_page("Two", runs, {}, [{}, {}])
    targets = re.findall('href="#(.*?)"', text)
    assert len(targets) == 2
    assert set(targets) <= Reader(text).anchors


def test_a_command_breaks_at_spaces_only(make_run):
    run = make_run()
    pathlib.Path(run.run_dir, "flagfile.flags").write_text("--data_dir=a-b\n")
    text = html_page("One", [run], {}, [{}])
    assert '<span class="word">--data_dir=a-b</span>' in text


def test_one_core_is_no_cores(make_run):
    run = make_run()
    write_json(pathlib.Path(run.run_dir, "versions.json"), {"cores": 1})
    assert "<dd>1 core</dd>" in html_page("One", [run], {}, [{}])


def test_a_page_tells_how_to_repeat_a_run(make_run):
    run = make_run()
    flags = pathlib.Path(run.run_dir, "flagfile.flags")
    flags.write_text("--dataset=letters\n--run_dir=my runs/a\n")
    text = html_page("One", [run], {}, [{}])
    plain = re.sub("<.*?>", "", text)
    assert "python -m bsce_keras.train --dataset=letters" in plain
    assert "<dt>seed</dt><dd>1</dd>" in text
    assert "<dt>training time</dt><dd>0:04</dd>" in text
    assert f"keras {importlib.metadata.version('keras')}" in text
    assert "<dt>machine</dt>" in text


def test_the_training_time_names_the_share_of_a_shared_base_step(make_run):
    run = make_run()
    shared = dataclasses.replace(run, config={**run.config, "base_run_dir": "runs/b"})
    text = html_page("One", [shared], {}, [{}])
    assert "<dd>0:04, of which 0:02 in the base step that runs share</dd>" in text


def test_a_run_without_protocol_has_a_page(make_run):
    run = make_run()
    config = {name: part for name, part in run.config.items() if name != "protocol"}
    Reader(html_page("One", [dataclasses.replace(run, config=config)], {}, [{}]))


def test_how_a_run_was_made_is_told(make_run):
    assert "coupled, before momentum" in html_page("One", [make_run()], {}, [{}])
