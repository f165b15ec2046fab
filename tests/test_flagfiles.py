"""Every published flagfile still asks for a valid experiment, the paper's one."""

import dataclasses
import json
import pathlib

import pytest

from bsce_keras import make_config
from bsce_keras.options import command_line
from bsce_keras.records.base_step import base_step_key
from bsce_keras.reports.paper_results import published_average

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGFILES = sorted(ROOT.glob("flags/*steps/*.flags"))
CORRECTIONS = sorted(ROOT.glob("flags/*_corrections/*.flags"))
SYSTEMS = {
    f"{method}{loss}"
    for method in ("il_baseline", "lucir", "podnet")
    for loss in ("", "_bsce", "_meta_bsce")
} | {"icarl", "bic", "mnemonics", "tpcil"}
# Systems on the schedule of another; their numbers are quoted.
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


@pytest.fixture
def prepared(tmp_path):
    """As much of prepared CIFAR-100 and ImageNet as a request reads."""
    for name, num_classes, test in (
        ("cifar100", 100, "test"),
        ("imagenet2012", 1000, "validation"),
    ):
        version = tmp_path / name / "5.1.0"
        version.mkdir(parents=True)
        splits = [{"name": "train"}, {"name": test}]
        features = {"featuresDict": {"features": {"image": {}, "label": {}}}}
        (version / "dataset_info.json").write_text(json.dumps({"splits": splits}))
        (version / "features.json").write_text(json.dumps(features))
        names = [f"n{index:08}" for index in range(num_classes)]
        (version / "label.labels.txt").write_text("\n".join(names))
    return str(tmp_path)


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


def test_a_flagfile_is_the_experiment_that_its_name_says(path, prepared):
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
    # Seed 1993 over the alphabet, as LUCIR, BiC and PODNet have it.
    first = {50: (68, 56, 78, 8, 23), 500: (54, 7, 894, 512, 126)}[num_base]
    assert config.stream.order[:5] == first
    assert (config.method.name, config.method.classification_loss) == (
        method_of(path),
        loss,
    )
    assert (config.memory.exemplars_per_class, config.memory.selection) == (
        20,
        "herding",
    )
    cifar = folder == "cifar100"
    assert config.model.backbone == ("resnet32" if cifar else "resnet18")


def test_a_flagfile_trains_as_published(path, prepared):
    training = make_config(**request_of(path), data_dir=prepared).training
    method, folder = method_of(path), path.parent.name.split("_")[0]
    assert SCHEDULES[SCHEDULED_LIKE.get(method, method), folder] == (
        training.epochs,
        training.milestones,
        training.batch_size,
        training.learning_rate,
        training.weight_decay,
    )
    assert training.schedule == ("cosine" if method == "podnet" else "multistep")
    assert (training.momentum, training.schedule_scale) == (0.9, 1.0)
    # PODNet* and Mnemonics everywhere, LUCIR* on ImageNet alone, none with a balanced
    # softmax.
    published = {"podnet": True, "mnemonics": True, "lucir": folder == "imagenet"}
    published = published.get(path.stem, False)
    assert (training.finetuning is not None) == published


@pytest.mark.parametrize("path", FLAGFILES + CORRECTIONS, ids=name_of)
def test_what_a_flagfile_spells_out_is_the_recipe_of_its_method(path, prepared):
    request = {**request_of(path), "data_dir": prepared}
    left_out = {
        name: value
        for name, value in request.items()
        if name not in ("batch_size", "learning_rate", "weight_decay")
    }
    assert len(left_out) <= len(request) - 3
    assert make_config(**left_out) == make_config(**request)


@pytest.mark.parametrize("path", FLAGFILES + CORRECTIONS, ids=name_of)
def test_a_flagfile_tells_its_command_and_the_number_of_the_paper(path, prepared):
    text = path.read_text()
    assert f"--flagfile=flags/{path.parent.name}/{path.name}\n" in text
    config = make_config(**request_of(path), data_dir=prepared)
    number = published_average(config.to_json())
    told = "none, not in the paper."
    if number is not None:
        told = f"average incremental accuracy {number:.2f} %."
    table = 4 if path in CORRECTIONS else 1
    assert f"# Paper, Table {table}: {told}\n" in text
    assert ("# Quoted there from " in text) == (config.method.name in SCHEDULED_LIKE)


def test_every_folder_holds_every_system():
    found = {}
    for path in FLAGFILES:
        found.setdefault(path.parent.name, set()).add(path.stem)
    names = {f"{data_set}_{steps}steps" for data_set in DATA_SETS for steps in (5, 10)}
    assert found == dict.fromkeys(names, SYSTEMS)


def test_a_correction_differs_from_the_baseline_in_nothing_but_itself(prepared):
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


def test_no_two_flagfiles_of_a_folder_write_into_the_same_run_folder(prepared):
    for folder in sorted({path.parent for path in FLAGFILES + CORRECTIONS}):
        paths = sorted(folder.glob("*.flags"))
        run_dirs = {
            make_config(**request_of(path), data_dir=prepared).run_dir for path in paths
        }
        assert len(run_dirs) == len(paths)
