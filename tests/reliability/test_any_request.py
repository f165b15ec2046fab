"""Any request gives either a complete configuration or a list of problems."""

import itertools
import json
import pathlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bsce_keras import report
from bsce_keras.config.choices import REPLAY_SAMPLINGS
from bsce_keras.config.classification_losses import LOSS_CHOICES
from bsce_keras.options import command_line
from bsce_keras.options.make_config import make_config, request_problems
from bsce_keras.options.train_options import OPTIONS
from bsce_keras.options.values import plain_values
from bsce_keras.runtime.errors import RequestError

NAMES = tuple("0123456789")
INTEGERS = (
    st.integers(-3, 12) | st.integers() | st.sampled_from([2**31, 2**63, 10**400])
)
DIGITS = [b"9" * 400, b"9" * 16, b"-", b"e9", b"NaN"]
NUMBERS = st.floats() | INTEGERS
ANYTHING = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text()
    | st.binary()
    | st.lists(INTEGERS)
    | st.dictionaries(st.text(), st.integers())
)
quick = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(**request):
    """Returns a configuration that JSON can hold, or None for a refused request."""
    try:
        config = make_config(**{"dataset": "digits", **request})
    except RequestError as error:
        assert error.problems and all(map(str.strip, error.problems))
        return None
    json.dumps(config.to_json(), allow_nan=False)
    return config


@quick
@given(st.none() | INTEGERS, st.lists(INTEGERS, max_size=12))
def test_any_increments_reach_their_sum_or_are_refused(num_base_classes, increments):
    config = configure(num_base_classes=num_base_classes, increments=increments)
    base = 5 if num_base_classes is None else num_base_classes
    fits = (
        base >= 1 and min(increments, default=1) >= 1 and base + sum(increments) <= 10
    )
    assert (config is not None) == fits
    if fits:
        assert config.stream.num_classes == base + sum(increments)
        assert len(config.stream.arriving_class_names) == config.stream.num_classes


@quick
@given(num_base_classes=INTEGERS, num_increments=INTEGERS)
def test_any_number_of_increments_divides_the_classes_or_is_refused(
    num_base_classes, num_increments
):
    config = configure(num_base_classes=num_base_classes, num_increments=num_increments)
    if config is not None:
        assert len(config.stream.increments) == num_increments
        assert config.stream.num_classes == (10 if num_increments else num_base_classes)


LINES = st.sampled_from(
    [*NAMES, "ten", "", " 3 ", "00", "-1", "٣", "9" * 5000, "\ufeff1"]
)


@quick
@given(
    st.permutations(NAMES).map("\n".join).map(str.encode)
    | st.lists(LINES | st.text(max_size=3), max_size=14)
    .map("\n".join)
    .map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=40)
)
def test_any_class_order_file_is_an_order_of_all_classes_or_is_refused(
    empty_folder, content
):
    (empty_folder / "order").write_bytes(content)
    config = configure(class_order="order")
    if config is not None:
        assert sorted(config.stream.order) == list(range(10))


@quick
@given(st.text(max_size=12) | st.from_regex(r"seed:\d{1,30}", fullmatch=True))
def test_any_name_of_a_class_order_is_an_order_or_is_refused(name):
    config = configure(class_order=name)
    if config is not None:
        assert sorted(config.stream.order) == list(range(10))


COUNTS = {
    name: st.none() | INTEGERS
    for name in (
        "exemplars_per_class",
        "memory_budget",
        "epochs",
        "batch_size",
        "virtual_devices",
        "alpha_every",
        "seed",
        "image_size",
    )
}
RATES = {
    name: st.none() | NUMBERS
    for name in (
        "alpha",
        "alpha_learning_rate",
        "learning_rate",
        "weight_decay",
        "schedule_scale",
    )
}
LOSSES = st.sampled_from([None, *LOSS_CHOICES])
SAMPLINGS = st.sampled_from([None, *REPLAY_SAMPLINGS])


@quick
@given(st.fixed_dictionaries({}, optional={**COUNTS, **RATES}), LOSSES, SAMPLINGS)
def test_any_counts_and_rates_make_a_configuration_or_are_refused(
    request_, loss, sampling
):
    config = configure(**request_, classification_loss=loss, replay_sampling=sampling)
    if config is not None:
        assert config.training.epochs >= 1
        assert config.training.replay_sampling == (sampling or "uniform")
        assert all(
            0 < drop < config.training.epochs for drop in config.training.milestones
        )


@quick
@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)), ANYTHING))
@example({"dataset": False, "class_names": False})
def test_values_of_any_type_make_a_configuration_or_are_refused(request_):
    configure(**{"dataset": "digits", "run_dir": "run", **request_})


WORDS = st.sampled_from(
    ["--seed", "--resume", "--noresume", "--dataset=digits", "--flagfile=nowhere", "--"]
) | st.text(max_size=8).map(lambda text: f"--{text}")


@quick
@given(st.lists(WORDS | st.text(max_size=8), max_size=6))
def test_any_command_line_is_read_or_refused(arguments):
    values, _, problems = command_line.parse("train", arguments)
    assert all(map(str.strip, problems))
    request_problems(**{"dataset": None, **command_line.set_values(values)})


# Independent mistakes, and a part of the expected message of each.
INDEPENDENT = {
    "--seed=-1": "--seed must be in",
    "--method=best": "--method must be one of",
    "--batch_size=0": "--batch_size must be",
    "--weight_decay=-1": "--weight_decay must be",
    "--exemplars_per_class=-1": "--exemplars_per_class must be",
    "--backbone=vgg": "--backbone must be one of",
    "--strategy=multi_worker": "--strategy=multi_worker needs",
    "--class_order=lucr": "--class_order must be one of",
    "--num_increments=3": "--num_increments=3 does not divide",
    "--on_bad_image=no": "--on_bad_image must be one of",
    "--image_size=9": "--image_size is for",
    "--base_run_dir=no": "--base_run_dir=no is not a run folder",
    "--learnin_rate=1": "Unknown flag --learnin_rate",
    "--alpha=2": "--alpha=2.0 has no effect",
}


@quick
@given(st.sets(st.sampled_from(sorted(INDEPENDENT)), min_size=1))
def test_exactly_the_mistakes_are_reported_together(mistakes):
    arguments = ["--dataset=digits", *sorted(mistakes)]
    values, _, problems = command_line.parse("train", arguments)
    problems += request_problems(**command_line.set_values(values))
    for mistake in mistakes:
        found = [p for p in problems if p.startswith(INDEPENDENT[mistake])]
        assert len(found) == 1, problems
    assert len(problems) == len(mistakes)


def test_numbers_of_numpy_and_paths_become_plain(tmp_path):
    np = pytest.importorskip("numpy")
    values = {
        "epochs": np.int64(3),
        "alpha": np.float32(0.5),
        "learning_rate": 1,
        "increments": np.array([2, 3]),
        "run_dir": tmp_path,
    }
    plain, problems = plain_values(OPTIONS, values)
    assert problems == []
    assert plain == {
        "epochs": 3,
        "alpha": 0.5,
        "learning_rate": 1.0,
        "increments": [2, 3],
        "run_dir": str(tmp_path),
    }
    assert {type(value) for value in plain.values()} == {int, float, list, str}


@pytest.mark.parametrize(
    ("name", "value", "fragment"),
    [
        (
            "epochs",
            "5",
            "--epochs must be an integer of at most 64 bits. Received: '5'",
        ),
        ("epochs", 2.0, "Received: 2.0"),
        ("epochs", True, "Received: True"),
        ("resume", "no", "--resume must be true or false. Received: 'no'"),
        ("alpha", "much", "--alpha must be a number. Received: 'much'"),
        ("method", 3, "method must be a name, or a class or object of"),
        ("increments", 5, "increments must be a list of integers"),
        ("increments", [1, 1.5], "increments must be a list of integers"),
        ("increments", "12", "increments must be a list of integers"),
        ("dataset", 7, "dataset must be a pair (images, labels), or a finite"),
        ("export_only_last", 1, "export_only_last must be true or false"),
    ],
)
def test_values_of_another_type_are_refused_by_name(name, value, fragment):
    with pytest.raises(RequestError) as refusal:
        make_config(**{"dataset": "digits", name: value})
    assert fragment in str(refusal.value)


def parts(value, path=()):
    """Yields the path of every part of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from parts(inner, (*path, key))


def replaced(value, path, part):
    """Returns a JSON value with one part replaced."""
    if not path:
        return part
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], part)
    return copy


@pytest.mark.parametrize("name", ["config.json", "steps.jsonl", "summary.json"])
def test_records_of_any_form_are_reported_or_refused(make_run, name, tmp_path, capsys):
    run_dir = make_run().run_dir
    path = tmp_path / run_dir / name
    text = path.read_text()
    first, *rest = text.splitlines() if name == "steps.jsonl" else [text]
    good = json.loads(first)
    # The protocol is for readers.
    # Steps that do not fit another config.json are blamed in its place.
    blamed = "" if name == "config.json" else name
    places = [p for p in parts(good) if p[:1] not in [("protocol",), ("metrics",)]]
    odd = [None, "a\n\ud800", -1, [], {}, 0.5, True, float("nan"), 10**400]
    for place, part in itertools.product(places, odd):
        spoilt = json.dumps(replaced(good, place, part))
        path.write_text("\n".join([spoilt, *rest]))
        code = report.main([run_dir])
        output = capsys.readouterr()
        assert code == 0 or (code == 2 and f"{blamed} is damaged" in output.err)


@pytest.fixture
def records(make_run):
    """Paths and bytes of the records of a run."""
    run_dir = pathlib.Path(make_run().run_dir)
    return {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}


@quick
@given(data=st.data())
def test_bytes_of_any_record_may_be_spoilt(records, data):
    path = data.draw(st.sampled_from(sorted(records)))
    spoilt = bytearray(records[path])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(spoilt)))
        end = start + data.draw(st.integers(0, 8))
        spoilt[start:end] = data.draw(st.binary(max_size=4) | st.sampled_from(DIGITS))
    path.write_bytes(spoilt)
    try:
        assert report.main([str(path.parent)]) in (0, 2)
    finally:
        path.write_bytes(records[path])
