"""A search scores the requested values on held-out images, and can be continued."""

import dataclasses
import itertools
import json
import os
import pathlib
import shlex
import shutil

import pytest

from bsce_keras import make_config, report, tune
from bsce_keras.options import command_line
from bsce_keras.records import schema
from bsce_keras.records.run_folder import run_lock
from bsce_keras.runtime.errors import DivergedError, RunError
from bsce_keras.runtime.files import write_json
from bsce_keras.runtime.signals import Stopped

SCORES = (
    "average_incremental_accuracy",
    "final_accuracy",
    "final_base_accuracy",
    "final_new_accuracy",
)
DIGITS = ["--dataset=digits", "--num_increments=1", "--runs_dir=search"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class FakeRuns:
    """Fake runs whose scores are a function of their configuration."""

    def __init__(self):
        self.score = lambda config: 0.5
        self.begun = []

    def __call__(self, config, flags=""):
        """Replaces `search._train`."""
        self.begun.append(config)
        run_dir = pathlib.Path(config.run_dir)
        (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_json(run_dir / "config.json", config.to_json())
        (run_dir / "flagfile.flags").write_text(flags)
        scores = dict.fromkeys(SCORES, self.score(config))
        summary = dict.fromkeys(schema.SUMMARY) | scores
        sizes = [config.stream.num_base_classes, *config.stream.increments]
        lines = [
            dict.fromkeys(schema.STEP)
            | {"step": step, "num_classes": number, "train_images": 1}
            for step, number in enumerate(itertools.accumulate(sizes))
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run_dir / "steps.jsonl").write_text(text)
        write_json(run_dir / "summary.json", summary)
        return summary

    def search(self, *arguments):
        """Returns the exit code of the command and the trials that it began."""
        self.begun = []
        code = tune.main([*DIGITS, *arguments])
        return code, [config for config in self.begun if config.stream.increments]


@pytest.fixture
def runs(monkeypatch):
    from bsce_keras import search

    class FakeCheckpoints:
        """Fake checkpoints, which exist for trained base steps."""

        def __init__(self, run_dir):
            self._path = pathlib.Path(run_dir, "summary.json")

        def load_step(self, step):
            return ({}, {}) if self._path.exists() else None

    fake = FakeRuns()
    monkeypatch.setattr(search, "_train", fake)
    monkeypatch.setattr(search, "Checkpoints", FakeCheckpoints)
    return fake


def written():
    return json.loads(pathlib.Path("search/search.json").read_text())


def test_the_alphas_of_the_paper_are_tried_and_the_best_is_named(runs, capsys):
    runs.score = lambda config: 1.0 - abs(config.method.alpha - 0.3)
    code, configs = runs.search()
    assert code == 0
    assert [config.method.alpha for config in configs] == [0.1, 0.25, 0.5, 1.0]
    assert {c.method.classification_loss for c in configs} == {"balanced_softmax"}
    assert written()["best"] == {"alpha": 0.25}
    command = capsys.readouterr().out.splitlines()[-1]
    python, m, module, *arguments = shlex.split(command)
    assert module == "bsce_keras.train"
    values, _, problems = command_line.parse("train", arguments)
    config = make_config(**command_line.set_values(values))
    assert not problems
    assert config.method == next(c.method for c in configs if c.method.alpha == 0.25)
    assert config.stream.validation_share == 0


def test_every_trial_is_scored_on_held_out_images(runs):
    _, configs = runs.search("--validation_share=0.3")
    assert {config.stream.validation_share for config in configs} == {0.3}
    _, configs = runs.search("--runs_dir=other")
    assert {config.stream.validation_share for config in configs} == {0.1}


def test_seeds_are_averaged(runs):
    runs.score = lambda config: 0.1 * config.training.seed
    _, configs = runs.search("--alphas=1", "--seeds=1,2,6")
    assert [config.training.seed for config in configs] == [1, 2, 6]
    (trial,) = written()["trials"]
    assert trial["average_incremental_accuracy"] == pytest.approx(0.3)
    assert trial["num_seeds"] == 3


def test_a_grid_has_all_combinations(runs):
    _, configs = runs.search("--alphas=0.5,1", "--learning_rates=0.1,0.2,0.3")
    tried = {(c.method.alpha, c.training.learning_rate) for c in configs}
    assert len(configs) == 6
    assert tried == {(a, r) for a in (0.5, 1.0) for r in (0.1, 0.2, 0.3)}


def test_trials_of_one_base_step_train_it_once(runs):
    runs.search("--alphas=0.5,1", "--learning_rates=0.1,0.2", "--seeds=1,2")
    bases = {c.run_dir: c for c in runs.begun if not c.stream.increments}
    assert len(bases) == 4  # two rates, two seeds
    assert len(runs.begun) == 4 + 8
    for config in runs.begun:
        if config.stream.increments:
            assert bases[config.base_run_dir].training == config.training


def test_the_flagfile_of_a_trial_repeats_it(runs):
    _, (config,) = runs.search("--alphas=0.5", "--seeds=2", "--weight_decay=0.01")
    arguments = [f"--flagfile={config.run_dir}/flagfile.flags", "--precision=float32"]
    values, _, problems = command_line.parse("train", arguments)
    assert not problems
    again = make_config(**command_line.set_values(values))
    assert again.training == dataclasses.replace(
        config.training, precision="float32", strategy="auto"
    )
    assert (again.stream, again.method) == (config.stream, config.method)
    assert again.run_dir == os.path.abspath(config.run_dir)
    assert again.base_run_dir == config.base_run_dir


@pytest.mark.parametrize(
    "search", ["random", pytest.param("bayesian", marks=pytest.mark.slow)]
)
def test_a_repeated_search_chooses_the_same_values(runs, search):
    runs.score = lambda config: 1.0 - abs(config.method.alpha - 0.3)
    arguments = ["--alphas=0.1:1", f"--search={search}", "--max_trials=5"]
    _, configs = runs.search(*arguments)
    assert len(configs) == 5
    assert all(0.1 <= config.method.alpha <= 1 for config in configs)
    assert runs.search(*arguments) == (0, [])
    _, more = runs.search(*arguments[:2], "--max_trials=7")
    assert len(more) == 2


def test_a_longer_list_tries_only_new_values(runs):
    runs.search("--alphas=0.5,1")
    _, configs = runs.search("--alphas=0.1,0.5,1")
    assert [config.method.alpha for config in configs] == [0.1]


def test_a_longer_list_that_is_stopped_keeps_the_results_of_the_shorter_one(runs):
    runs.score = lambda config: config.method.alpha
    runs.search("--alphas=0.1,1")
    before = written()

    def stop(config):
        raise Stopped("stopped", 2)

    runs.score = stop
    runs.search("--alphas=0.1,0.5,1")
    assert written() == before
    runs.score = lambda config: config.method.alpha
    runs.search("--alphas=0.1,0.5,1")
    assert [trial["values"]["alpha"] for trial in written()["trials"]] == [0.1, 0.5, 1]
    runs.search("--alphas=0.5")
    assert written()["best"] == {"alpha": 0.5}


def test_a_trial_whose_steps_were_lost_is_trained_again(runs):
    assert len(runs.search("--alphas=0.5,1")[1]) == 2
    steps = pathlib.Path("search/alpha_1.0/seed_1/steps.jsonl")
    steps.write_text(steps.read_text().splitlines(keepends=True)[0])
    code, again = runs.search("--alphas=0.5,1")
    assert (code, [config.method.alpha for config in again]) == (0, [1.0])


def test_a_folder_of_another_search_is_refused_before_anything_is_trained(runs, capsys):
    runs.search("--alphas=0.5,1")
    before = written()
    assert runs.search("--alphas=0.1,1", "--epochs=3") == (2, [])
    assert "--epochs (training.epochs) was 16, now 3" in capsys.readouterr().err
    assert written() == before
    # Neither threads nor folders decide the outcome.
    assert runs.search("--alphas=0.5,1", "--save_minutes=1") == (0, [])


def test_two_searches_in_one_folder_are_refused(runs, capsys):
    with run_lock("search"):
        assert runs.search() == (2, [])
    assert "use another --runs_dir" in capsys.readouterr().err


def test_files_of_others_in_the_folder_stay(runs):
    notes = pathlib.Path("search/keras_tuner/notes.txt")
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    runs.search("--alphas=1")
    assert notes.read_text() == "mine"


def test_a_trial_that_diverges_is_reported_and_the_others_continue(runs, capsys):
    def score(config):
        if config.training.learning_rate == 100 and config.stream.increments:
            raise DivergedError("loss is nan")
        return 0.5

    runs.score = score
    code, _ = runs.search("--alphas=1", "--learning_rates=100,0.1")
    assert code == 0
    failed, fine = written()["trials"]
    assert (failed["error"], failed["final_accuracy"]) == ("loss is nan", None)
    assert fine["error"] is None
    assert written()["best"] == {"alpha": 1.0, "learning_rate": 0.1}
    output = capsys.readouterr()
    assert "failed" in output.out
    assert output.err.splitlines() == [
        "bsce_keras.tune: alpha_1.0_learning_rate_100.0 failed: loss is nan"
    ]


def test_a_base_step_that_diverges_is_tried_once(runs, capsys):
    def score(config):
        raise DivergedError("loss is nan")

    runs.score = score
    assert runs.search("--alphas=0.5,1")[0] == 1
    assert len(runs.begun) == 1
    assert "all trials failed: loss is nan" in capsys.readouterr().err


def test_trials_on_other_images_are_not_compared(runs, capsys):
    def score(config):
        data = {"classes": [{"name": str(config.method.alpha)}]}
        write_json(pathlib.Path(config.run_dir, "data.json"), data)
        return 0.5

    runs.score = score
    assert runs.search("--alphas=0.5,1")[0] == 2
    assert "trained on different images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Stopped("stopped", 15), 143),
        (OSError(28, "disk full"), 1),
        (RunError("damaged"), 1),
    ],
)
def test_errors_other_than_divergence_end_the_search(runs, error, code):
    def score(config):
        if config.method.alpha == 0.5:
            raise error
        return 0.5

    runs.score = score
    assert runs.search("--alphas=1,0.5,0.1")[0] == code
    assert [trial["values"] for trial in written()["trials"]] == [{"alpha": 1.0}]
    assert not pathlib.Path("search/alpha_0.1").exists()


def test_a_defect_is_not_a_failed_trial(runs):
    def score(config):
        raise ZeroDivisionError

    runs.score = score
    with pytest.raises(ZeroDivisionError):
        runs.search("--alphas=1")


@pytest.mark.slow
def test_a_repeated_search_on_digits_continues(monkeypatch, capsys):
    from bsce_keras import search

    arguments = [*DIGITS, "--alphas=0.5,1", "--epochs=1"]
    trained = []
    run_experiment = search.run_experiment

    def recorded(config, flags):
        trained.append(config.run_dir)
        return run_experiment(config, flags)

    monkeypatch.setattr(search, "run_experiment", recorded)
    assert tune.main(arguments) == 0
    first = written()
    assert [path.split("/")[1] for path in trained] == [
        "base_steps",
        "alpha_0.5",
        "alpha_1.0",
    ]
    shutil.rmtree("search/base_steps")
    pathlib.Path("search/alpha_1.0/seed_1/summary.json").unlink()
    assert tune.main(arguments) == 0
    assert trained[3:] == ["search/alpha_1.0/seed_1"]
    assert written() == first
    assert report.main(["search/alpha_1.0/seed_1"]) == 0
    assert "digits, 0.1 held out" in capsys.readouterr().out


def test_parameters_of_the_method_are_searched(runs, capsys):
    runs.score = lambda config: config.method.parameters.margin
    code, configs = runs.search(
        *("--method=lucir", "--classification_loss=softmax"),
        *("--method_parameters=less_forget_weight=3", "--schedule_scale=0.5"),
        "--parameter_values=margin=0.3,0.5;top_k=1",
    )
    assert code == 0
    parameters = [config.method.parameters for config in configs]
    assert [found.margin for found in parameters] == [0.3, 0.5]
    assert {(p.top_k, p.less_forget_weight) for p in parameters} == {(1, 3.0)}
    best = {"method_parameters.margin": 0.5, "method_parameters.top_k": 1}
    assert written()["best"] == best
    *_, command = capsys.readouterr().out.splitlines()
    values, _, problems = command_line.parse("train", shlex.split(command)[3:])
    assert not problems
    repeated = make_config(**command_line.set_values(values))
    assert repeated.method.parameters == parameters[1]
    flags = pathlib.Path(configs[1].run_dir, "flagfile.flags").read_text()
    assert "--method_parameters=less_forget_weight=3,margin=0.5,top_k=1" in flags


def test_a_refused_parameter_is_named_by_the_flag_of_the_command(runs, capsys):
    assert runs.search("--parameter_values=margin=1") == (2, [])
    start = "bsce_keras.tune: --parameter_values: --method=il_baseline has no parameter"
    assert start in capsys.readouterr().err


@pytest.mark.parametrize("method", ["imprint", "lwf"])
def test_alphas_are_not_tried_with_a_method_that_does_not_use_them(runs, method):
    _, configs = runs.search(f"--method={method}", "--learning_rates=0.1,0.2")
    assert [config.training.learning_rate for config in configs] == [0.1, 0.2]


@pytest.mark.parametrize(
    ("flags", "fragment"),
    [
        (["--parameter_values=margin"], "Received: 'margin'"),
        (["--parameter_values=margin=1;margin=2"], "Received: 'margin=2'"),
        (["--parameter_values=top_k=0"], "top_k of --method=lucir must be an integer"),
        (
            ["--parameter_values=top_k=1,2", "--method_parameters=top_k=1"],
            "Set top_k either in --method_parameters",
        ),
    ],
)
def test_wrong_parameters_to_search_are_refused(runs, capsys, flags, fragment):
    code, begun = runs.search("--method=lucir", *flags)
    assert (code, begun) == (2, [])
    assert fragment in capsys.readouterr().err
