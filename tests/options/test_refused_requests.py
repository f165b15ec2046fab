"""Requests that `make_config` refuses, and the reasons that it gives."""

import dataclasses
import sys
import types

import pytest

from bsce_keras.options.make_config import make_config, request_problems
from bsce_keras.runtime.errors import RequestError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished_run(root):
    root.mkdir()
    (root / "config.json").write_text("{}")
    (root / "steps.jsonl").write_text('{"step": 0}\n')
    return root


def problems_of(**request):
    with pytest.raises(RequestError) as error:
        make_config(**{"dataset": "digits", **request})
    return error.value.problems


@pytest.mark.parametrize("run_dir", ["unmounted", "unmounted/run"])
def test_a_run_dir_behind_a_link_to_nothing_is_refused(empty_folder, run_dir):
    (empty_folder / "unmounted").symlink_to("nowhere")
    [problem] = problems_of(run_dir=run_dir)
    assert "unmounted is a symbolic link to a place that does not exist." in problem
    assert "Make or mount that place, or name another folder." in problem


@pytest.mark.parametrize(
    ("request_", "fragment"),
    [
        (
            {"classification_loss": "nca"},
            "only with --method=podnet. Received: --method=il_baseline",
        ),
        (
            {"method": "podnet", "parameters": {"nca": "book"}},
            "one of code, paper. Received",
        ),
        ({"balanced_finetuning": "maybe"}, "one of default, true, false. Received"),
        (
            {"export": False, "export_only_last": True},
            "export_only_last=True contradicts export=False",
        ),
        ({"replay_sampling": "four_to_one"}, "works only with --method=ss_il. "),
        ({"test_data": "mine"}, "test_data is for a data set of arrays"),
        ({"class_names": ["a", "b"]}, "class_names is for a data set of arrays"),
    ],
)
def test_choices_are_checked_in_python_as_on_the_command_line(request_, fragment):
    [problem] = problems_of(**request_)
    assert fragment in problem


@pytest.mark.parametrize(
    ("parameters", "fragment"),
    [
        ({"margn": 0.4}, "has no parameter 'margn'. It has less_forget_weight, "),
        ({"margn": 0.4}, "Did you mean margin?"),
        ({"margin": "wide"}, "must be a number of at least 0. Received: 'wide'"),
        ({"margin": -0.1}, "must be a number of at least 0. Received: -0.1"),
        ({"margin": float("inf")}, "must be a number of at least 0. Received: inf"),
        ({"top_k": 2.0}, "must be an integer of at least 1. Received: 2.0"),
        ({"top_k": True}, "must be an integer of at least 1. Received: True"),
        ({"top_k": 0}, "must be an integer of at least 1. Received: 0"),
        ({"top_k": 10**400}, "--method_parameters must be different names"),
        ({"top_k": None}, "--method_parameters must be different names"),
        ([("top_k", 2)], "--method_parameters must be different names"),
        ("top_k", "--method_parameters must be different names"),
        ("top_k=1,top_k=2", "--method_parameters must be different names"),
    ],
)
def test_wrong_parameters_of_a_method_are_refused(parameters, fragment):
    [problem] = problems_of(method="lucir", parameters=parameters)
    assert fragment in problem


def test_parameter_of_a_methods_own_loss_is_refused_with_another_loss():
    [problem] = problems_of(
        method="podnet", classification_loss="softmax", parameters={"nca": "paper"}
    )
    assert "nca of --method=podnet has no effect with" in problem


def test_a_parameter_that_cancels_in_the_chosen_formula_is_refused():
    [problem] = problems_of(method="podnet", parameters={"margin": 0.3})
    assert problem.endswith("has no effect with nca=code. Omit it, or use nca=paper.")
    parameters = {"margin": 0.3, "nca": "paper"}
    config = make_config("digits", method="podnet", parameters=parameters)
    assert config.method.parameters.margin == 0.3


@pytest.mark.parametrize(
    ("optimizer", "visits", "fragment"),
    [
        ("sgd", ((0, 0.5),), "needs --alpha_optimizer=held"),
        ("held", ((5, 0.5), (2, 0.5)), "in rising order. Received: [5, 2]"),
        ("held", ((0, 0.0),), "alpha_visits must be a finite number above 0"),
    ],
)
def test_bad_visits_are_refused(optimizer, visits, fragment):
    method = make_config("digits", classification_loss="meta_balanced_softmax").method
    with pytest.raises(RequestError) as error:
        dataclasses.replace(method, alpha_optimizer=optimizer, alpha_visits=visits)
    assert fragment in str(error.value)


@pytest.mark.parametrize(
    ("request_", "fragments"),
    [
        ({"alhpa": 1.0}, ["make_config has no option 'alhpa'", "Did you mean alpha"]),
        ({"classification_loss": "bsce"}, ["balanced_softmax", "Received: 'bsce'"]),
        ({"increments": [5], "num_increments": 1}, ["either num_increments or"]),
        ({"increments": [3, 0]}, ["at least 1 new class"]),
        ({"increments": [3, 3]}, ["need 11 classes", "digits has 10"]),
        ({"on_bad_image": "ignore"}, ["--on_bad_image must be one of error, skip"]),
        ({"exemplar_selection": "best"}, ["must be one of herding, random"]),
    ],
)
def test_a_request_that_only_python_can_make_is_refused_with_the_reason(
    request_, fragments, tmp_path
):
    message = "\n".join(problems_of(**request_))
    for fragment in fragments:
        assert fragment in message
    assert not any(tmp_path.iterdir())


def test_all_problems_are_reported_together():
    problems = problems_of(
        dataset="nothing",
        method="best",
        classification_loss="softmx",
        alpha=-1.0,
        exemplars_per_class=-1,
        seed=-1,
        strategy="multi_worker",
        backbone="vgg",
    )
    for part in (
        "--dataset",
        "--method",
        "--classification_loss",
        "--alpha must",
        "--exemplars_per_class",
        "--seed",
        "--strategy",
        "--backbone",
    ):
        assert [p for p in problems if p.startswith(part)], part


def test_problems_of_order_and_sizes_are_reported_together():
    message = "\n".join(
        problems_of(class_order="lucr", num_increments=4, on_bad_image="drop")
    )
    for fragment in ("lucr", "--num_increments=4", "--on_bad_image"):
        assert fragment in message


def test_a_single_mistake_gives_a_single_problem():
    assert len(problems_of(num_base_classes=12, num_increments=2)) == 1
    assert len(problems_of(epochs=-3)) == 1
    assert len(problems_of(augmentation="none")) == 1


def test_the_base_run_must_be_another_run_with_a_finished_base_step(tmp_path):
    run = finished_run(tmp_path / "softmax")
    assert make_config("digits", base_run_dir=run).base_run_dir == str(run)
    assert "is --run_dir itself" in problems_of(base_run_dir=run, run_dir=run)[0]
    (run / "steps.jsonl").write_text("")
    assert "has not finished its base step" in problems_of(base_run_dir=run)[0]


def test_a_run_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    assert "is a file" in problems_of(run_dir="run")[0]


def test_a_wrong_request_downloads_nothing(monkeypatch):
    def prepare(*_):
        raise AssertionError("a download was started")

    datasets = types.SimpleNamespace(prepare_dataset=prepare)
    monkeypatch.setitem(sys.modules, "bsce_keras.data.tfds_download", datasets)
    request = {"data_dir": "nowhere", "download": True}
    problems = request_problems("cifar100", alpha=2.0, **request)
    assert len(problems) == 1
    assert problems[0].startswith("--alpha")
    assert request_problems("cifar100", **request) == []
    with pytest.raises(AssertionError, match="a download was started"):
        make_config("cifar100", **request)
