"""Records in sections: the runs of one table of the paper in one setting."""

import dataclasses
import pathlib

import numpy as np

from bsce_keras.config.backbones import BACKBONES
from bsce_keras.records.run_records import RunResult, read_record, read_run
from bsce_keras.reports import paper_results as published
from bsce_keras.reports.groups import group_runs
from bsce_keras.runtime.errors import RequestError

# In the order of the page: heading, and the paper's experiments by rows.
TABLES = (
    ("Table 1: systems", published.TABLE_1 | published.QUOTED),
    ("Table 2: fixed and learned alpha", published.TABLE_2),
    ("Table 3: exemplars of every class", published.TABLE_3),
    ("Table 4: corrections of the softmax of IL-Baseline", published.TABLE_4),
)
# Folder of records with the networks of base steps, which no table lists.
BASE_STEPS = "base_steps"
_DATA_SETS = {
    "cifar100": "CIFAR-100",
    "subimagenet": "SubImageNet",
    "imagenet2012": "ImageNet",
}


@dataclasses.dataclass(frozen=True)
class Record:
    """A folder of `results/`.

    Args:
        name: of the folder.
        result: what it holds of a run.
        made: record.json.
    """

    name: str
    result: RunResult
    made: dict

    @property
    def is_complete(self):
        """True once every step is finished."""
        return self.result.summary is not None

    @property
    def seed(self):
        return self.result.config["training"]["seed"]

    @property
    def is_pretrained(self):
        """True if the backbone came with weights."""
        return self.result.config["model"]["backbone"] not in BACKBONES

    @property
    def columns(self):
        """What the run is, by column head of the tables."""
        [group] = group_runs([self.result])
        return group.columns


@dataclasses.dataclass(frozen=True)
class Section:
    """Runs that one table compares.

    Args:
        chapter: heading that sections share: a table of the paper, or a data set.
        dataset: as `--dataset`.
        classes: base classes and increments, such as `50 + 5 x 10`.
        scale: of the schedule.
        records: `Record`s in the order of the paper's rows, then by name.
        is_overview: True where the section holds all systems of its setting.
    """

    chapter: str
    dataset: str
    classes: str
    scale: float
    records: list[Record]
    is_overview: bool

    @property
    def complete(self):
        """Records of finished runs."""
        return [record for record in self.records if record.is_complete]

    @property
    def is_of_paper(self):
        """True for a data set of the paper and a backbone that the run trained."""
        return _is_of_paper(self.records[0])

    @property
    def title(self):
        """Data set, classes, schedule and seeds in words."""
        seeds = sorted({record.seed for record in self.complete or self.records})
        schedule = "full schedule"
        if self.scale != 1:
            schedule = f"schedule scale {self.scale:g}"
        word = "seed" if len(seeds) == 1 else "seeds"
        name = _DATA_SETS.get(self.dataset, self.dataset)
        return (
            f"{name}, {self.classes} classes, {schedule}, "
            f"{word} {', '.join(map(str, seeds))}"
        )

    @property
    def slug(self):
        """The setting as a part of file names."""
        stream = self.records[0].result.config["stream"]
        base, increments = stream["num_base_classes"], stream["increments"]
        # The paper's classes, half of them at first, have the shortest names.
        is_usual = sum(increments) == base and len({*increments}) == 1
        classes = "" if is_usual else f"_{self.classes.replace(' ', '')}"
        scale = "" if self.scale == 1 else f"_scale{self.scale:g}"
        backbone = "_pretrained" if self.records[0].is_pretrained else ""
        dataset = self.dataset.replace(":", "-").replace("/", "-")
        return f"{dataset}_{len(increments)}steps{classes}{scale}{backbone}"


def read_records(results_dir):
    """The `Record`s of a folder by name.

    Raises:
        RequestError: one is damaged, or lacks its record.json.
    """
    found = []
    for folder in sorted(pathlib.Path(results_dir).glob("*/")):
        if folder.name == BASE_STEPS:
            continue
        made = read_record(folder / "record.json")
        if made is None:
            raise RequestError(
                f"{folder} has no record.json. Write it by `python -m tools.collect`."
            )
        result = read_run(folder)
        if result.confusion is not None:
            # Stored in as few bits as its counts need.
            confusion = result.confusion.astype(np.int64)
            result = dataclasses.replace(result, confusion=confusion)
        found.append(Record(folder.name, result, made))
    return found


def sections(records):
    """The `Section`s of a page in its order; a record may be in several."""
    found = []
    for number, (chapter, cells) in enumerate(TABLES, 1):
        of_table = [record for record in records if _belongs(record, number, cells)]
        found += _by_setting(chapter, of_table, cells, is_overview=number == 1)
    others = {}
    for record in records:
        if not _is_of_paper(record):
            dataset = record.result.config["stream"]["dataset"]
            backbone = " on a pretrained backbone" if record.is_pretrained else ""
            others.setdefault(f"{dataset}{backbone}", []).append(record)
    for title, own in sorted(others.items()):
        chapter = f"{title}, not in the paper"
        found += _by_setting(chapter, own, TABLES[0][1], is_overview=True)
    return found


def _is_of_paper(record):
    dataset = record.result.config["stream"]["dataset"]
    return dataset in _DATA_SETS and not record.is_pretrained


def _belongs(record, number, cells):
    if not _is_of_paper(record):
        return False
    cell = published.published_cell(record.result.config)
    if number > 1:
        return cell in cells
    # Systems that the paper does not have are compared with those it has.
    return cell is None or cell in cells


def _by_setting(chapter, records, cells, is_overview):
    """Sections of one chapter, long schedules first."""
    settings = {}
    for record in records:
        config = record.result.config
        key = (
            config["stream"]["dataset"],
            len(config["stream"]["increments"]),
            -config["training"]["schedule_scale"],
            record.columns["classes"],
        )
        settings.setdefault(key, []).append(record)
    # Numbers that are in Table 1 already do not make a section.
    shown = {
        key: members
        for key, members in settings.items()
        if is_overview or any(_cell(record) not in TABLES[0][1] for record in members)
    }
    rank = {cell: number for number, cell in enumerate(cells)}
    return [
        Section(
            chapter,
            dataset,
            classes,
            -minus_scale,
            sorted(shown[key], key=lambda record: _place(record, rank)),
            is_overview,
        )
        for key in sorted(shown, key=_setting_order)
        for dataset, _, minus_scale, classes in [key]
    ]


def _setting_order(key):
    dataset, *rest = key
    order = list(_DATA_SETS)
    return order.index(dataset) if dataset in order else len(order), dataset, *rest


def _cell(record):
    return published.published_cell(record.result.config)


def _place(record, rank):
    cell = published.cell_of(record.result.config)
    # Other settings follow the order of the systems on CIFAR-100.
    system = dataclasses.replace(
        cell, dataset="cifar100", num_increments=5, exemplars=20
    )
    return rank.get(cell, rank.get(system, len(rank))), record.name
