"""One page that needs nothing else and shows what it is given as text."""

import dataclasses
import html.parser
import re

import pytest

from bsce_keras.reports.page import html_page

# Elements without an end.
VOID = {"meta", "img"}


class Reader(html.parser.HTMLParser):
    """Checks that elements nest, and keeps what they hold."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.cells, self.tags = [], [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


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
    assert page.cells.count("softmax") == page.cells.count("balanced_softmax") == 1
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


def test_a_run_without_protocol_has_a_page(make_run):
    run = make_run()
    config = {name: part for name, part in run.config.items() if name != "protocol"}
    Reader(html_page("One", [dataclasses.replace(run, config=config)], {}, [{}]))


def test_how_a_run_was_made_is_told(make_run):
    assert "coupled, before momentum" in html_page("One", [make_run()], {}, [{}])
