"""A search tries what it was asked to, on held-out images, and can be gone on with."""

import json
import pathlib

import pytest

from bsce_keras import tune
from bsce_keras.errors import RunError
from bsce_keras.stopping import Stopped

DIGITS = ["--dataset=digits", "--num_increments=1", "--runs_dir=search"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class FakeRuns:
    """Runs that take no time, scored by a function of their configuration."""

    def __init__(self):
        self.score = lambda config: 0.5
        self.configs = {}

    def __call__(self, config):
        """As `search._summary`."""
        is_new = config.run_dir not in self.configs
        known = self.configs.setdefault(config.run_dir, config)
        assert known == config, "a run folder of two configurations"
        if is_new:
            self.begun.append(config)
        names = ("average_incremental_accuracy", "final_accuracy")
        names += ("final_base_accuracy", "final_new_accuracy")
        return dict.fromkeys(names, self.score(config))

    def search(self, *arguments):
        """Exit code of the command, and the trials that were begun by it."""
        self.begun = []
        code = tune.main([*DIGITS, *arguments])
        return code, [config for config in self.begun if config.stream.increments]


@pytest.fixture
def runs(monkeypatch):
    from bsce_keras import search

    fake = FakeRuns()
    monkeypatch.setattr(search, "_summary", fake)
    return fake


def written():
    return json.loads(pathlib.Path("search/search.json").read_text())


def test_the_paper_s_alphas_are_tried_and_the_best_is_told(runs, capsys):
    runs.score = lambda config: 1.0 - abs(config.method.alpha - 0.3)
    code, configs = runs.search()
    assert code == 0
    assert [config.method.alpha for config in configs] == [0.1, 0.25, 0.5, 1.0]
    assert {c.method.classification_loss for c in configs} == {"balanced_softmax"}
    assert written()["best"] == {"alpha": 0.25}
    assert "best: --alpha=0.25." in capsys.readouterr().out


def test_every_trial_is_scored_on_images_held_out(runs):
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
    bases = [config for config in runs.begun if not config.stream.increments]
    assert len(bases) == 4  # two rates, two seeds
    for config in runs.begun:
        if config.stream.increments:
            base = runs.configs[config.base_run_dir]
            assert base.training == config.training


@pytest.mark.parametrize("search", ["random", "bayesian"])
def test_a_search_that_is_repeated_chooses_the_same_again(runs, search):
    runs.score = lambda config: 1.0 - abs(config.method.alpha - 0.3)
    arguments = ["--alphas=0.1:1", f"--search={search}", "--max_trials=5"]
    _, configs = runs.search(*arguments)
    assert len(configs) == 5
    assert all(0.1 <= config.method.alpha <= 1 for config in configs)
    assert runs.search(*arguments) == (0, [])
    _, more = runs.search(*arguments[:2], "--max_trials=7")
    assert len(more) == 2


def test_a_longer_list_tries_what_is_new(runs):
    runs.search("--alphas=0.5,1")
    _, configs = runs.search("--alphas=0.1,0.5,1")
    assert [config.method.alpha for config in configs] == [0.1]


def test_a_trial_that_fails_is_told_and_the_others_go_on(runs, capsys):
    def score(config):
        if config.training.learning_rate == 100 and config.stream.increments:
            raise RunError("loss is nan")
        return 0.5

    runs.score = score
    code, _ = runs.search("--alphas=1", "--learning_rates=100,0.1")
    assert code == 0
    failed, fine = written()["trials"]
    assert (failed["error"], failed["final_accuracy"]) == ("loss is nan", None)
    assert fine["error"] is None
    assert written()["best"] == {"alpha": 1.0, "learning_rate": 0.1}
    assert "failed" in capsys.readouterr().out


def test_a_search_of_failures_fails(runs, capsys):
    def score(config):
        raise RunError("loss is nan")

    runs.score = score
    assert runs.search("--alphas=0.5,1")[0] == 1
    assert "no trial has a score: loss is nan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(Stopped("stopped", 15), 143), (OSError(28, "disk full"), 1)]
)
def test_what_is_no_answer_ends_the_search(runs, error, code, capsys):
    def score(config):
        if config.method.alpha == 0.5:
            raise error
        return 0.5

    runs.score = score
    assert runs.search("--alphas=1,0.5,0.1")[0] == code
    assert [trial["values"] for trial in written()["trials"]] == [{"alpha": 1.0}]
    assert "alpha_0.1" not in "".join(runs.configs)


def test_a_defect_is_no_failed_trial(runs):
    def score(config):
        raise ZeroDivisionError

    runs.score = score
    with pytest.raises(ZeroDivisionError):
        runs.search("--alphas=1")


def test_a_search_on_digits_goes_on_when_it_is_repeated(monkeypatch, capsys):
    from bsce_keras import search

    arguments = [*DIGITS, "--alphas=0.5,1", "--epochs=1"]
    trained = []
    run_experiment = search.run_experiment

    def recorded(config):
        trained.append(config.run_dir)
        return run_experiment(config)

    monkeypatch.setattr(search, "run_experiment", recorded)
    assert tune.main(arguments) == 0
    first = written()
    assert [path.split("/")[1] for path in trained] == [
        "base_steps",
        "alpha_0.5",
        "alpha_1",
    ]
    pathlib.Path("search/alpha_1/seed_1/summary.json").unlink()
    assert tune.main(arguments) == 0
    assert trained[3:] == ["search/alpha_1/seed_1"]
    assert written() == first
    assert "0.1 held out" not in capsys.readouterr().err
    assert tune.main([*arguments, "--batch_size=16"]) == 2
    assert "--batch_size" in capsys.readouterr().err
