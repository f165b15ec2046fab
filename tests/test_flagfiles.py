"""Every published flagfile is a valid experiment with the values of the paper."""

import dataclasses
import pathlib
import re

import pytest

from bsce_keras import make_config
from bsce_keras.options import command_line
from bsce_keras.records.base_step import base_step_key
from bsce_keras.reports import paper_results as published

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGFILES = sorted(ROOT.glob("flags/*steps/*.flags"))
CORRECTIONS = sorted(ROOT.glob("flags/*_corrections/*.flags"))
ALPHAS = sorted(ROOT.glob("flags/*_alpha/*.flags"))
EXEMPLARS = sorted(ROOT.glob("flags/*_exemplars/*.flags"))
EVERY = FLAGFILES + CORRECTIONS + ALPHAS + EXEMPLARS
SYSTEMS = {
    f"{method}{loss}"
    for method in ("il_baseline", "lucir", "podnet")
    for loss in ("", "_bsce", "_meta_bsce")
} | {"icarl", "bic", "mnemonics", "tpcil"}
# Systems without exemplars, which the paper does not have.
SOLVED = {"acil": "il_baseline", "ds_al": "il_baseline"}
SYSTEMS |= SOLVED.keys()
# Systems with the schedule of another one, whose numbers are quoted.
SCHEDULED_LIKE = {
    "icarl": "lucir",
    "bic": "il_baseline",
    "mnemonics": "lucir",
    "tpcil": "lucir",
}
# Folder of flagfiles: --dataset, base classes, other classes.
DATA_SETS = {
    "cifar100": ("cifar100", 50, 50),
    "subimagenet": ("subimagenet", 50, 50),
    "imagenet": ("imagenet2012", 500, 500),
}
# Epochs, drops, batch, rate and weight decay. Jodelet et al., 4.1.3; LUCIR's run.sh and
# script constants; PODNet's options/podnet/*.yaml, which decay by a cosine.
SCHEDULES = {
    ("il_baseline", "cifar100"): (250, (100, 150, 200), 128, 0.1, 2e-4),
    ("il_baseline", "subimagenet"): (100, (30, 60, 80, 90), 256, 0.1, 1e-4),
    ("il_baseline", "imagenet"): (100, (30, 60, 80, 90), 256, 0.1, 1e-4),
    ("lucir", "cifar100"): (160, (80, 120), 128, 0.1, 5e-4),
    ("lucir", "subimagenet"): (90, (30, 60), 128, 0.1, 1e-4),
    ("lucir", "imagenet"): (90, (30, 60), 128, 0.1, 1e-4),
    ("podnet", "cifar100"): (160, (), 128, 0.1, 5e-4),
    ("podnet", "subimagenet"): (90, (), 64, 0.05, 5e-4),
    ("podnet", "imagenet"): (90, (), 64, 0.05, 1e-4),
}


def name_of(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture(params=FLAGFILES, ids=name_of)
def path(request):
    return request.param


def request_of(path):
    values, _, problems = command_line.parse("train", [f"--flagfile={path}"])
    assert not problems
    return command_line.set_values(values)


def method_of(path):
    return path.stem.removesuffix("_bsce").removesuffix("_meta")


def test_a_flagfile_is_the_experiment_of_its_name(path, prepared):
    config = make_config(**request_of(path), data_dir=prepared)
    folder, steps = path.parent.name.split("_")
    dataset, num_base, num_rest = DATA_SETS[folder]
    num_increments = int(steps.removesuffix("steps"))
    loss = {"podnet": "nca"}.get(method_of(path), "softmax")
    if path.stem.endswith("_bsce"):
        meta = path.stem.endswith("_meta_bsce")
        loss = "meta_balanced_softmax" if meta else "balanced_softmax"
    assert config.stream.dataset == dataset
    assert config.stream.num_base_classes == num_base
    assert config.stream.increments == (num_rest // num_increments,) * num_increments
    # Seed 1993 over sorted class names, as in LUCIR, BiC and PODNet.
    first = {50: (68, 56, 78, 8, 23), 500: (54, 7, 894, 512, 126)}[num_base]
    assert config.stream.order[:5] == first
    assert (config.method.name, config.method.classification_loss) == (
        method_of(path),
        loss,
    )
    assert (config.memory.exemplars_per_class, config.memory.selection) == (
        0 if method_of(path) in SOLVED else 20,
        "herding",
    )
    cifar = folder == "cifar100"
    assert config.model.backbone == ("resnet32" if cifar else "resnet18")


def test_a_flagfile_trains_as_published(path, prepared):
    training = make_config(**request_of(path), data_dir=prepared).training
    method, folder = method_of(path), path.parent.name.split("_")[0]
    like = {**SCHEDULED_LIKE, **SOLVED}.get(method, method)
    assert SCHEDULES[like, folder] == (
        training.epochs,
        training.milestones,
        training.batch_size,
        training.learning_rate,
        training.weight_decay,
    )
    assert training.schedule == ("cosine" if method == "podnet" else "multistep")
    assert (training.momentum, training.schedule_scale) == (0.9, 1.0)
    # PODNet* and Mnemonics everywhere, LUCIR* only on ImageNet, never with a balanced
    # softmax.
    published = {"podnet": True, "mnemonics": True, "lucir": folder == "imagenet"}
    published = published.get(path.stem, False)
    assert (training.finetuning is not None) == published


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_explicit_values_of_a_flagfile_are_the_recipe_of_its_method(path, prepared):
    request = {**request_of(path), "data_dir": prepared}
    left_out = {
        name: value
        for name, value in request.items()
        if name not in ("batch_size", "learning_rate", "weight_decay")
    }
    assert len(left_out) <= len(request) - 3
    assert make_config(**left_out) == make_config(**request)


def numbers_told(path):
    """Returns the numbers of the paper in the first lines of a flagfile, by table."""
    head = path.read_text().partition("\n--")[0].replace("\n#", "")
    table, told = re.search(r"Paper, Table (\d): (.*?)\.(?: |$)", f"{head} ").groups()
    names = {
        "average incremental accuracy": "average",
        "final": "final",
        "final on the base classes": "base",
    }
    found = re.findall(rf"({'|'.join(names)}) (\d+\.\d\d) %", re.sub(" +", " ", told))
    return table, {names[name]: float(number) for name, number in found}


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_a_flagfile_names_its_command_and_the_number_of_the_paper(path, prepared):
    text = path.read_text()
    assert f"--flagfile=flags/{path.parent.name}/{path.name}\n" in text
    config = make_config(**request_of(path), data_dir=prepared).to_json()
    number, told = numbers_told(path)
    is_quoted = config["method"]["name"] in SCHEDULED_LIKE
    assert ("# Quoted there from " in text) == is_quoted
    tables = {"1": published.TABLE_1 | published.QUOTED, "2": published.TABLE_2}
    tables |= {"3": published.TABLE_3, "4": published.TABLE_4}
    cell = published.cell_of(config)
    assert told == tables[number].get(cell, {})
    # Quoted numbers of another protocol are not compared with runs.
    scores = published.published_scores(config)
    assert told.items() <= scores.items() or (is_quoted and not scores)
    if not told:
        assert f"# Paper, Table {number}: none, not in the paper.\n" in text


def test_every_cell_of_the_ablations_has_a_flagfile(prepared):
    found = {
        published.published_cell(
            make_config(**request_of(path), data_dir=prepared).to_json()
        )
        for path in ALPHAS + EXEMPLARS
    }
    learned_in_10 = published.Cell(
        "cifar100", 10, "il_baseline", "meta_balanced_softmax"
    )
    # That row of Table 2 is in flags/cifar100_10steps.
    wanted = (published.TABLE_2 | published.TABLE_3).keys() - {learned_in_10}
    assert found == wanted


def test_every_folder_holds_every_system():
    found = {}
    for path in FLAGFILES:
        found.setdefault(path.parent.name, set()).add(path.stem)
    names = {f"{data_set}_{steps}steps" for data_set in DATA_SETS for steps in (5, 10)}
    assert found == dict.fromkeys(names, SYSTEMS)


def test_a_correction_differs_from_the_baseline_only_in_itself(prepared):
    baseline = make_config(
        **request_of(ROOT / "flags/cifar100_5steps/il_baseline.flags"),
        data_dir=prepared,
    )
    found = {}
    for path in CORRECTIONS:
        config = make_config(**request_of(path), data_dir=prepared)
        found[path.stem] = (
            config.method.classification_loss,
            config.training.replay_sampling,
            config.training.finetuning is not None,
        )
        training = dataclasses.replace(
            config.training, replay_sampling="uniform", finetuning=None
        )
        method = dataclasses.replace(config.method, classification_loss="softmax")
        assert baseline == dataclasses.replace(
            config, training=training, method=method, run_dir=baseline.run_dir
        )
    assert found == {
        "memory_oversampling": ("softmax", "memory_oversampling", False),
        "class_oversampling": ("softmax", "class_oversampling", False),
        "rescaled_softmax": ("rescaled_softmax", "uniform", False),
        "balanced_finetuning": ("softmax", "uniform", True),
        "separated_softmax": ("separated_softmax", "memory_oversampling", False),
    }


def test_all_corrections_share_the_base_step_of_the_baseline(prepared):
    paths = [ROOT / "flags/cifar100_5steps/il_baseline.flags", *CORRECTIONS]
    configs = [make_config(**request_of(path), data_dir=prepared) for path in paths]
    assert len(set(map(base_step_key, configs))) == 1


def test_flagfiles_of_a_folder_have_different_run_folders(prepared):
    for folder in sorted({path.parent for path in EVERY}):
        paths = sorted(folder.glob("*.flags"))
        run_dirs = {
            make_config(**request_of(path), data_dir=prepared).run_dir for path in paths
        }
        assert len(run_dirs) == len(paths)
