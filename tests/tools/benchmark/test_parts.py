"""Parts of the benchmark: what they measure, and where a run writes it."""

import itertools

import numpy as np


def test_the_per_image_loop_picks_what_herding_picks():
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
