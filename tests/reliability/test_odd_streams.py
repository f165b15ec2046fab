"""Whole runs of every method on unusual streams."""

import dataclasses
import itertools
import pathlib
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bsce_keras import make_config
from bsce_keras.config.choices import REPLAY_SAMPLINGS
from bsce_keras.config.classification_losses import LOSS_CHOICES, loss_facts
from bsce_keras.methods import METHODS
from bsce_keras.runtime.errors import RequestError
from tests.reliability.odd_runs import META, OddRun, check_learned, check_refused

LOSSES = LOSS_CHOICES[1:]  # without `default`
# Methods with few losses, and memories and pools of their own.
SPECIAL = ("bic", "acil", "ds_al", "imprint")
# Losses and corrections that these methods refuse, whatever the stream.
REFUSED = (("joint", META), ("joint", "separated_softmax"))
NOT_FINETUNED = ("joint", "bic", "wa")
SYSTEMS = [
    *(
        (method, loss)
        for method, loss in itertools.product(METHODS, LOSSES)
        if method not in SPECIAL and (method, loss) not in REFUSED
    ),
    ("bic", "softmax"),
    ("podnet", "nca"),
]

# One base class, one class a step, one image a class, fewer images than proxies, batch
# larger than the pool, class without test images.
LONELY = OddRun(
    train=(1, 1),
    test=(1, 0),
    steps=(1, 1),
    method="podnet",
    loss="nca",
    finetuning=True,
    exemplars_per_class=1,
    batch_size=64,
)
# No exemplars from the middle on, last batch of one image, steps of different size,
# base class without test images, old classes that leave the softmax.
FORGETFUL = OddRun(
    train=(3, 2, 1, 4),
    test=(0, 1, 1, 2),
    steps=(1, 2, 1),
    method="lucir",
    loss="balanced_softmax",
    memory_budget=2,
    export=True,
)
# More exemplars than images, batches of one image.
THOROUGH = OddRun(
    train=(2, 4, 3),
    test=(1, 1, 1),
    steps=(2, 1),
    loss=META,
    exemplars_per_class=9,
    batch_size=1,
)
# Graph that loses vertices at every step, until each class has one.
JOINED = OddRun(
    train=(4, 3, 1, 2),
    test=(1, 1, 1, 1),
    steps=(2, 1, 1),
    method="tpcil",
    loss="balanced_softmax",
    memory_budget=7,
    batch_size=3,
)


# Budget that sets fewer images of a class aside at later steps, and class means of only
# one image.
CAREFUL = OddRun(
    train=(4, 5, 5, 2),
    test=(1, 1, 0, 1),
    steps=(2, 1, 1),
    method="bic",
    memory_budget=60,
)
NEAREST = OddRun(
    train=(1, 2, 1), test=(2, 1, 1), steps=(2, 1), method="icarl", memory_budget=3
)
# Fewer images than features, one image a class, base class without test images.
SOLVED = OddRun(
    train=(1, 2, 1, 3),
    test=(0, 1, 1, 2),
    steps=(1, 2, 1),
    method="ds_al",
    exemplars_per_class=0,
    export=True,
)
# Base step of one class, and directions of classes of one image.
IMPRINTED = dataclasses.replace(SOLVED, method="imprint", loss="softmax")
WEIGHED = OddRun(
    train=(1, 4, 1, 3),
    test=(1, 1, 0, 2),
    steps=(2, 2),
    method="acil",
    loss="balanced_softmax",
    exemplars_per_class=0,
)


@pytest.mark.parametrize(
    "run",
    [
        LONELY,
        pytest.param(FORGETFUL, marks=pytest.mark.slow),
        pytest.param(CAREFUL, marks=pytest.mark.slow),
        pytest.param(WEIGHED, marks=pytest.mark.slow),
        pytest.param(THOROUGH, marks=pytest.mark.slow),
        pytest.param(NEAREST, marks=pytest.mark.slow),
        pytest.param(JOINED, marks=pytest.mark.slow),
        pytest.param(SOLVED, marks=pytest.mark.slow),
        pytest.param(IMPRINTED, marks=pytest.mark.faults),
    ],
)
def test_an_odd_stream_is_learned_and_scored_as_the_oracle_says(run, tmp_path, caplog):
    assert run.refusal() is None
    check_learned(tmp_path, run)
    told = [
        step
        for step in range(len(run.steps))
        if f"Step {step}: the classification loss has only one class" in caplog.text
    ]
    assert told == run.steps_without_choice


# Refusals that follow from the images; others are in `test_request_table`.
@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    "run",
    [
        OddRun((3, 3, 1), (1, 1, 1), (1, 1, 1), loss=META, exemplars_per_class=2),
        OddRun((9, 9, 2), (1, 1, 1), (2, 1), loss=META, exemplars_per_class=20),
        OddRun((2, 2, 2), (1, 1, 1), (1, 2), finetuning=True, memory_budget=2),
        OddRun((4, 1), (1, 1), (1, 1), exemplars_per_class=0, replicas=2),
        OddRun((4, 4), (0, 0), (1, 1), exemplars_per_class=1),
        OddRun(
            *((4, 4), (1, 1), (1, 1)),
            sampling="class_oversampling",
            exemplars_per_class=0,
        ),
    ],
)
def test_an_impossible_stream_is_refused_before_training(run, tmp_path):
    check_refused(tmp_path, run)


def test_a_class_of_the_stream_without_training_images_is_refused(
    tmp_path, monkeypatch
):
    """Prepared copies may have such a class; folders are refused earlier."""
    from bsce_keras.data import stream as streams
    from bsce_keras.experiment import run_experiment

    config = make_config("digits", run_dir=tmp_path / "run", class_order="sorted")
    loaded = streams.load_dataset(config.stream)
    some = loaded.train.select(~np.isin(loaded.train.labels, [3, 8]))
    loaded = dataclasses.replace(loaded, train=some)
    monkeypatch.setattr(streams, "load_dataset", lambda *_: loaded)
    with pytest.raises(
        RequestError, match=r"Classes without one: 3, 8\. Add or restore"
    ):
        run_experiment(config)
    assert not (tmp_path / "run").exists()


_MEMORIES = [0, 1, 2, 5, 9, 20]


@st.composite
def odd_runs(draw, method, loss):
    """Strategy of small streams and memories, some of which are impossible."""
    steps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    num_classes = sum(steps) + draw(st.integers(0, 1))  # One may never arrive.
    fewest = draw(st.integers(1, 3))
    memory = draw(st.sampled_from(["exemplars_per_class", "memory_budget"]))
    batch_size = draw(st.sampled_from([1, 2, 3, 64]))
    counts_classes = loss_facts(loss).counts_classes
    return OddRun(
        train=draw(st.tuples(*[st.integers(fewest, 4)] * num_classes)),
        test=draw(st.tuples(*[st.integers(0, 2)] * num_classes)),
        steps=tuple(steps),
        method=method,
        loss=loss,
        finetuning=method not in NOT_FINETUNED and draw(st.booleans()),
        sampling="uniform"
        if counts_classes or method == "joint"
        else draw(st.sampled_from(REPLAY_SAMPLINGS)),
        **{memory: 0 if method == "joint" else draw(st.sampled_from(_MEMORIES))},
        batch_size=batch_size,
        replicas=draw(st.sampled_from([1, 1, 2])) if batch_size > 1 else 1,
        export=draw(st.sampled_from([False, False, True])),
    )


many = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking an example takes many runs.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@pytest.mark.faults
@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(("method", "loss"), SYSTEMS)
@settings(many, max_examples=3)
@given(data=st.data())
def test_any_possible_stream_is_learned_as_the_oracle_says(method, loss, data):
    runs = odd_runs(method, loss).filter(lambda run: run.refusal() is None)
    with tempfile.TemporaryDirectory() as name:
        check_learned(pathlib.Path(name), data.draw(runs))


@pytest.mark.faults
@pytest.mark.usefixtures("two_devices")
@settings(many, max_examples=60)
@given(data=st.data())
def test_any_impossible_stream_is_refused_with_the_reason(data):
    runs = odd_runs(*data.draw(st.sampled_from(SYSTEMS)))
    with tempfile.TemporaryDirectory() as name:
        run = data.draw(runs.filter(OddRun.refusal))
        check_refused(pathlib.Path(name), run)
