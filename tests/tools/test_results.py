"""Pages are what the records give: same bytes, or other bytes for other numbers."""

import itertools
import json
import pathlib
import shutil

import numpy as np
import pytest
from matplotlib.image import imread

from bsce_keras import make_config
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.errors import RequestError
from tools import results
from tools.collect import record_name
from tools.results import BEGIN, END, write_results
from tools.results_page import IMAGES, page, readme_table
from tools.results_sections import read_records, sections

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIGITS = "digits_5steps_il_baseline_{}_5exemplars_seed1"
PAGE = "docs/results.md"
CONFUSION = "cifar100_5steps_confusion.png"


@pytest.fixture
def output(tmp_path):
    """A folder with a README to write into."""
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "README.md").write_text(f"Before\n{BEGIN}\nold\n{END}\nAfter\n")
    return folder


@pytest.fixture
def records(tmp_path):
    """A copy of the committed records of digits, to be edited."""
    folder = tmp_path / "results"
    for loss in ("softmax", "balanced_softmax", "meta_balanced_softmax"):
        name = DIGITS.format(loss)
        shutil.copytree(ROOT / "results" / name, folder / name)
    return folder


@pytest.fixture
def add_record(records, prepared):
    """A function from a request to a record of CIFAR-100, with numbers of digits."""

    def add(name, is_complete=True, **request):
        config = make_config("cifar100", data_dir=prepared, **request).to_json()
        config["stream"]["data_dir"] = None
        folder = records / name
        shutil.copytree(records / DIGITS.format("softmax"), folder)
        (folder / "config.json").write_text(json.dumps(config))
        lines = (folder / "steps.jsonl").read_text().splitlines()
        stream = config["stream"]
        sizes = [stream["num_base_classes"], *stream["increments"]]
        seen = list(itertools.accumulate(sizes))
        if not is_complete:
            (folder / "summary.json").unlink()
            edit(folder / "record.json", steps="3 of 6 steps", complete=False)
            seen = seen[:3]
        steps = [
            json.loads(line) | {"num_classes": number}
            for line, number in zip(lines, seen, strict=False)
        ]
        text = "".join(json.dumps(step) + "\n" for step in steps)
        (folder / "steps.jsonl").write_text(text)
        np.save(folder / "confusion.npy", np.eye(seen[-1], dtype=int))
        (folder / "per_class_accuracy.npy").unlink()

    return add


def edit(path, **fields):
    path.write_text(json.dumps(read_record(path) | fields))


def text_of(records):
    return page(sections(read_records(records)))[0]


def part_of(text, title):
    """The text below a heading, to the next one."""
    _, mark, rest = text.partition(f"# {title}\n")
    assert mark, title
    return rest.partition("\n#")[0]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_committed_pages_are_what_the_committed_records_give(tmp_path):
    """`make results` was run after the last change of a record."""
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
    write_results(ROOT / "results", tmp_path)
    for name in (PAGE, "README.md"):
        assert (ROOT / name).read_text() == (tmp_path / name).read_text(), name
    names = [path.name for path in (tmp_path / "docs" / IMAGES).iterdir()]
    committed = ROOT / "docs" / IMAGES
    assert sorted(names) == sorted(path.name for path in committed.iterdir())
    for name in names:
        ours, theirs = committed / name, tmp_path / "docs" / IMAGES / name
        if software(ours) == software(theirs):
            # The same version of Matplotlib draws the same pixels.
            assert (imread(ours) == imread(theirs)).all(), name


def software(path):
    """The program that a PNG file says it was written by."""
    return path.read_bytes().partition(b"Software\0")[2].partition(b",")[0]


def test_the_same_records_give_the_same_bytes(records, output):
    write_results(records, output)
    first = contents(output)
    write_results(records, output)
    assert contents(output) == first
    assert first["README.md"].startswith(b"Before\n" + BEGIN.encode())
    assert first["README.md"].endswith(END.encode() + b"\nAfter\n")
    assert b"| IL-Baseline | Softmax |" in first["README.md"]


def test_a_number_edited_in_a_record_changes_page_and_readme(records):
    found = sections(read_records(records))
    before = page(found)[0], readme_table(found)
    path = records / DIGITS.format("softmax") / "summary.json"
    edit(path, average_incremental_accuracy=0.12345)
    found = sections(read_records(records))
    after = page(found)[0], readme_table(found)
    for old, new in zip(before, after, strict=True):
        assert "12.35" in new and "12.35" not in old
        assert len(set(old.splitlines()) - set(new.splitlines())) == 1


@pytest.mark.parametrize("name", ["accuracy", "alpha"])
def test_a_number_edited_in_a_step_changes_the_page(records, name):
    before = text_of(records)
    path = records / DIGITS.format("meta_balanced_softmax") / "steps.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = json.dumps(json.loads(lines[3]) | {name: 0.12345})
    path.write_text("\n".join(lines) + "\n")
    assert text_of(records) != before


def test_figures_without_records_go(records, output):
    write_results(records, output)
    images = output / "docs" / IMAGES
    assert (images / "digits_5steps_alpha.png").exists()
    shutil.rmtree(records / DIGITS.format("meta_balanced_softmax"))
    write_results(records, output)
    assert [path.name for path in images.iterdir()] == ["digits_5steps_confusion.png"]


def test_a_heading_gives_schedule_and_seeds_and_the_row_the_paper_s_number(
    records, add_record
):
    add_record("a", schedule_scale=0.04)
    add_record("b", schedule_scale=0.04, seed=2)
    add_record("c", class_order="icarl")
    text = text_of(records)
    title = "CIFAR-100, 50 + 5 x 10 classes, schedule scale 0.04, seeds 1, 2"
    scaled = part_of(text, title)
    lines = [line for line in scaled.splitlines() if line.startswith("|")]
    head, _, row = lines[:3]
    told = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert told["average (paper, scale 1)"] == "43.80"
    assert told["final (paper, scale 1)"] == "31.25"
    assert told["average"].endswith("± 0.00")
    full = part_of(text, "CIFAR-100, 50 + 5 x 10 classes, full schedule, seed 1")
    assert "43.80" not in full
    assert "not in the paper" in text  # digits have a chapter of their own


def test_settings_of_equally_many_steps_have_figures_of_their_own(records, add_record):
    """They share data set, increments and scale, and differ in their classes."""
    add_record("half")
    add_record("tenth", num_base_classes=10)
    text, figures = page(sections(read_records(records)))
    shown = [name for name in figures if name.startswith("cifar100")]
    for title in ("50 + 5 x 10", "10 + 5 x 18"):
        title = f"CIFAR-100, {title} classes, full schedule, seed 1"
        assert part_of(text, title).count("_confusion.png") == 1
    assert shown == ["cifar100_5steps_10+5x18_confusion.png", CONFUSION]
    assert all(text.count(f"({IMAGES}/{name})") == 1 for name in shown)


def test_ablations_have_chapters_of_their_own(records, add_record):
    balanced = {"classification_loss": "balanced_softmax"}
    add_record("plain", **balanced)
    add_record("quarter", alpha=0.25, **balanced)
    add_record("few", exemplars_per_class=5, **balanced)
    add_record("tuned", balanced_finetuning="true")
    chapters = {}
    for section in sections(read_records(records)):
        names = [record.name for record in section.records]
        chapters.setdefault(section.chapter.partition(":")[0], []).extend(names)
    assert chapters["Table 1"] == ["plain"]
    # In the order of the paper's rows; those of Table 1 beside the others.
    assert chapters["Table 2"] == ["quarter", "plain"]
    assert chapters["Table 3"] == ["few", "plain"]
    assert chapters["Table 4"] == ["tuned", "plain"]
    assert len(chapters["digits, not in the paper"]) == 3


def test_a_pretrained_backbone_stands_in_no_column_of_the_paper(records, add_record):
    add_record("plain")
    add_record("pretrained")
    config = read_record(records / "pretrained/config.json")
    model = config["model"] | {"backbone": "saved"}
    edit(records / "pretrained/config.json", model=model)
    name = record_name(config | {"model": model})
    assert name == "cifar100_5steps_il_baseline_softmax_pretrained_seed1"
    found = sections(read_records(records))
    in_chapter = {
        part.chapter: [record.name for record in part.records] for part in found
    }
    assert in_chapter["Table 1: systems"] == ["plain"]
    title = "cifar100 on a pretrained backbone, not in the paper"
    assert in_chapter[title] == ["pretrained"]


def test_a_run_that_is_not_finished_is_named_with_its_steps_and_not_averaged(
    records, add_record
):
    add_record("half", is_complete=False)
    text = text_of(records)
    part = part_of(text, "CIFAR-100, 50 + 5 x 10 classes, full schedule, seed 1")
    assert "Not complete, 3 of 6 steps: [half](../results/half)" in part
    assert part.count(", ") >= 2 and "| average" not in part


def test_a_run_that_moved_names_all_of_its_commits_and_machines(records):
    path = records / DIGITS.format("softmax") / "versions.json"
    versions = json.loads(path.read_text())
    part = {"cpu": "A", "cores": 1, "gpus": [], "commit": "1234567890abcdef"}
    path.write_text(json.dumps(versions | {"history": [part, part | {"cores": 8}]}))
    text = text_of(records)
    assert "| 1234567890, then " in text
    assert "| A, 1 core, then A, 8 cores, then " in text


def test_confusion_matrices_tell_the_paper_s_accuracies(records, add_record):
    add_record("a")
    text = text_of(records)
    assert "(paper, scale 1: 31.25)" in text and "(paper, scale 1: 17.40)" in text
    assert "cifar100_5steps_confusion.png" in text


def test_the_readme_shows_a_setting_that_compares_losses(records, add_record):
    add_record("a")
    table = readme_table(sections(read_records(records)))
    assert table.startswith("\ndigits, 5 + 5 x 1 classes")


def test_the_readme_has_the_methods_with_several_losses(records, add_record):
    add_record("plain")
    add_record("balanced", classification_loss="balanced_softmax")
    add_record("other", method="lucir")
    add_record("third", method="podnet")
    add_record("fourth", method="podnet", classification_loss="balanced_softmax")
    table = readme_table(sections(read_records(records)))
    assert table.startswith("\nCIFAR-100")
    assert "| IL-Baseline | Balanced Softmax |" in table
    assert "| PODNet | Balanced Softmax |" in table and "LUCIR" not in table


def test_without_records_nothing_is_made_up(tmp_path):
    (tmp_path / "empty").mkdir()
    found = sections(read_records(tmp_path / "empty"))
    text, figures = page(found)
    assert not figures and "| average" not in text
    assert readme_table(found) == "No run is finished yet."


def test_a_folder_without_record_json_is_refused(records, output, capsys):
    folder = records / DIGITS.format("softmax")
    (folder / "record.json").unlink()
    with pytest.raises(RequestError, match=r"has no record\.json"):
        write_results(records, output)
    command = [f"--results={records}", f"--output={output}"]
    assert results.main(command) == 2
    assert "tools.collect" in capsys.readouterr().err
