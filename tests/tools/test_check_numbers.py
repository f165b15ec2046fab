"""Measured numbers on pages have a record or a command."""

import pathlib

import pytest

from tools.check_numbers import ALLOWED, numbers_without_source, sections

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def found(tmp_path):
    """Returns the numbers without a source of given pages, by name."""

    def numbers(**pages):
        (tmp_path / "docs").mkdir(exist_ok=True)
        for name, text in {"README": "", "results": "", **pages}.items():
            folder = tmp_path if name == "README" else tmp_path / "docs"
            (folder / f"{name}.md").write_text(text, encoding="utf-8")
        return [number for _, _, number in numbers_without_source(tmp_path)]

    return numbers


def test_every_measured_number_has_a_record_or_a_command():
    assert numbers_without_source(ROOT) == []


def test_every_exception_is_still_on_its_page():
    for page, number in ALLOWED:
        assert number in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It reached 65, 60 and 53 %.", ["65", "60", "53"]),
        ("An update makes 498 images/s.", ["498"]),
        ("The average is 62.98.", ["62.98"]),
        ("| loss | final |\n|---|---|\n| softmax 3 | 18.11 ± 0.2 |", ["18.11", "0.2"]),
        ("The paper has 43.80.", []),
        ("| | ours | paper |\n|---|---|---|\n| A | 21.36 | 43.80 |", ["21.36"]),
        ("`--alpha=0.25` needs TensorFlow 2.21.", []),
        ("See arXiv 2103.12532, Table 1.", []),
        ("```\naccuracy 99.12\n```", []),
    ],
)
def test_measured_numbers_of_a_text(found, text, numbers):
    assert found(page=text) == numbers


def test_a_number_in_results_has_a_source(found):
    results = "| loss | final |\n|---|---|\n| softmax | 18.11 |"
    assert found(README="It fell to 18.11 %, not 18.12 %.", results=results) == [
        "18.12"
    ]


def test_a_command_serves_its_section_only(found):
    text = "## A\n\n    make benchmark\n\nIt takes 12 s.\n\n## B\n\nIt takes 13 s."
    assert found(page=text) == ["13"]


def test_readme_needs_a_linked_page_with_the_number(found):
    page = "It reached 87.2 %.\n\n    bsce-train --dataset=digits"
    text = "It reached 87 %, see [the page](docs/page.md).\n\n    bsce-train --help"
    assert found(page=page, README=text) == []
    assert found(page="None.", README=text) == ["87"]


def test_headings_part_sections_outside_code():
    parts = sections("page", "# A\n```\n# comment\n```\n## B\n")
    assert [part.lines[0] for part in parts] == [(1, "# A"), (5, "## B")]
