"""Parts of the benchmark: their measurements and the file of a run."""

import itertools

import numpy as np


def test_the_per_image_loop_selects_the_same_exemplars_as_herding():
    from bsce_keras.memory import herding
    from tools.benchmark.parts import herding_loop

    features = np.random.default_rng(0).uniform(0.1, 1.0, (60, 5))
    assert herding_loop(features, 20) == herding(features, 20).tolist()


def test_a_smaller_run_does_not_replace_the_committed_numbers():
    from tools.benchmark.__main__ import _default_output, _parser

    def output(*arguments):
        return _default_output(_parser().parse_args(arguments))

    assert output() == output("--full") == "benchmarks/latest.json"
    for arguments in itertools.chain([["--quick"]], [["--only", "herding"]]):
        assert output(*arguments) is None


def test_only_one_part_measures_without_onednn(monkeypatch):
    from tools.benchmark import parts
    from tools.benchmark.measure import QUICK
    from tools.benchmark.task import CASES, installed_variants

    measured = []

    def measure_runs(part, case, runs, effort):
        measured.append([run.name for run in runs])
        return []

    monkeypatch.setattr(parts, "measure_runs", measure_runs)
    case = CASES["resnet32@32"]
    plan = parts.Plan([case], installed_variants(), "float32", QUICK)
    parts.onednn(plan)
    parts.update(plan)
    compared, others = measured
    assert compared == ["ours/plain/float32", "ours_onednn_off/plain/float32"]
    assert compared[0] in others
    assert compared[1] not in others
