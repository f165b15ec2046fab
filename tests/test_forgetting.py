"""Exact forgetting: a run without the classes has the same head."""

import dataclasses
import json
import os
import pathlib
import shutil
import types

import numpy as np
import pytest

from bsce_keras import forget, make_config
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.methods.acil import AnalyticState
from bsce_keras.methods.ridge import RidgeSolution
from bsce_keras.records.run_identity import begin_run
from bsce_keras.runtime import array_files
from bsce_keras.runtime.errors import RequestError


def config_of(run_dir, **request):
    defaults = {
        "method": "acil",
        "backbone": "small",
        "expansion_size": 650,
        "num_base_classes": 5,
        "increments": [2, 2],
        "epochs": 1,
        "precision": "float32",
        "export_only_last": True,
    }
    return make_config("digits", run_dir=str(run_dir), **{**defaults, **request})


def without(config, names, run_dir, increments):
    """Returns a configuration in which classes do not arrive."""
    stream = config.stream
    ids = [stream.class_names.index(name) for name in names]
    rest = [class_id for class_id in stream.order if class_id not in ids]
    return dataclasses.replace(
        config,
        run_dir=str(run_dir),
        base_run_dir=config.run_dir,
        stream=dataclasses.replace(stream, order=(*rest, *ids), increments=increments),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Returns the configuration of a finished run."""
    from bsce_keras.experiment import run_experiment

    run_dir = tmp_path_factory.mktemp("runs") / "run"
    config = config_of(run_dir, classification_loss="balanced_softmax")
    run_experiment(config)
    return config


def solution(path):
    """Returns the head of a saved state in float64."""
    arrays, _ = array_files.read(path)
    state = AnalyticState.from_arrays(arrays)
    return state.counts, RidgeSolution(state.streams["main"], 0.1).kernel


@pytest.mark.parametrize(
    ("places", "increments"),
    [
        ([6, 8], (1, 1)),
        pytest.param([5], (1, 2), marks=pytest.mark.slow),
        pytest.param([7, 8], (2,), marks=pytest.mark.slow),
    ],
)
def test_forgotten_classes_leave_the_head_of_a_run_that_never_saw_them(
    finished, tmp_path, places, increments
):
    """The classes are some of two steps, some of one, and a whole last step."""
    from bsce_keras.experiment import run_experiment
    from bsce_keras.forgetting import forget_classes

    names = [finished.stream.arriving_class_names[place] for place in places]
    never = without(finished, names, tmp_path / "never", increments)
    run_experiment(never)
    output = tmp_path / "output"
    record = forget_classes(finished, names, str(output))
    assert record["class_names"] == list(never.stream.arriving_class_names)
    assert json.loads((output / "forgotten.json").read_text()) == record
    step = f"step_{len(increments):02d}"
    counts, kernel = solution(output / "state")
    theirs = pathlib.Path(never.run_dir)
    expected_counts, expected = solution(theirs / f"checkpoints/{step}_state")
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_allclose(kernel, expected, atol=1e-8)
    images = ClassIncrementalStream(never.stream).steps[-1].examples.images
    ours, others = (
        load_model(str(path)).probabilities(images, 500)
        for path in (output / "export", theirs / "exports" / step)
    )
    # The exported weights are float32.
    np.testing.assert_allclose(ours, others, atol=1e-5)


def refusal(config, names, output="output"):
    from bsce_keras.forgetting import forget_classes

    with pytest.raises(RequestError) as refused:
        forget_classes(config, names, output)
    assert not pathlib.Path(output).exists()
    return str(refused.value)


def test_unforgettable_classes_are_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lucir = refusal(config_of("run", method="lucir", expansion_size=None), ["1"])
    assert "--method=lucir cannot forget classes: all its weights depend" in lucir
    assert "second stream" in refusal(config_of("run", method="ds_al"), ["1"])
    config = config_of("run")
    assert "the run has no class 'x'" in refusal(config, ["x"])
    base = config.stream.arriving_class_names[0]
    assert "trained the backbone" in refusal(config, [base])
    deep = config_of("run", parameters={"depths": 2})
    model = dataclasses.replace(deep.model, freeze_backbone=True)
    deep = dataclasses.replace(deep, model=model)
    assert "scaled the features" in refusal(deep, [base])
    weighed = config_of("run", classification_loss="balanced_softmax", alpha=0.5)
    last = config.stream.arriving_class_names[-2]
    assert "Forgetting needs --alpha=1" in refusal(weighed, [last])


def test_a_class_that_has_a_comma_in_its_name_is_named_by_a_file(tmp_path, capsys):
    config = config_of(run_dir := tmp_path / "run")
    names = ("salt, pepper", *config.stream.class_names[1:])
    stream = dataclasses.replace(config.stream, class_names=names)
    begin_run(run_dir, dataclasses.replace(config, stream=stream), 1)
    (run_dir / "steps.jsonl").touch()
    (tmp_path / "classes.txt").write_text("salt, pepper\nd\n", encoding="utf-8-sig")
    flags = [f"--run_dir={run_dir}", f"--classes={tmp_path}/classes.txt"]
    assert forget.main(flags) == 2
    [line] = [x for x in capsys.readouterr().err.splitlines() if "no class" in x]
    assert "no class 'd'" in line
    assert "Names such as 'salt, pepper' need a file, one a line." in line


def test_classes_that_the_run_has_not_learned_are_refused(finished, tmp_path):
    """The run was stopped before its last step."""
    run_dir = tmp_path / "run"
    shutil.copytree(finished.run_dir, run_dir)
    for path in (run_dir / "checkpoints").glob("step_02*"):
        path.unlink()
    stopped = dataclasses.replace(finished, run_dir=str(run_dir))
    learned, other = (finished.stream.arriving_class_names[i] for i in (6, 8))
    message = refusal(stopped, [learned, other], str(tmp_path / "output"))
    assert f"has not learned class {other!r}" in message


def test_a_run_does_not_forget_every_class(finished, tmp_path, monkeypatch):
    from bsce_keras import forgetting

    # Classes of a backbone that is not trained here may be forgotten too.
    monkeypatch.setattr(forgetting, "unforgettable_problems", lambda *_: [])
    names = list(finished.stream.arriving_class_names)
    message = refusal(finished, names, str(tmp_path / "output"))
    assert "names every class. Keep at least one" in message


def test_images_other_than_those_of_the_training_are_refused(finished, tmp_path):
    """Their sums were never added, so they cannot be subtracted."""
    run_dir = tmp_path / "run"
    shutil.copytree(finished.run_dir, run_dir)
    record = json.loads((run_dir / "data.json").read_text())
    record["classes"][6]["train_sha256"] = "0" * 64
    (run_dir / "data.json").write_text(json.dumps(record))
    altered = dataclasses.replace(finished, run_dir=str(run_dir))
    name = finished.stream.arriving_class_names[6]
    message = refusal(altered, [name], str(tmp_path / "output"))
    assert "Forgetting needs the images" in message and f"class {name}: " in message


def test_export_refuses_an_alpha_for_a_solved_head(finished, tmp_path):
    from bsce_keras.export import export_finished_step

    output = tmp_path / "moved"
    with pytest.raises(RequestError, match="but the head of .* is solved"):
        export_finished_step(finished.run_dir, output=output, alpha=0.5)
    assert not output.exists()


def test_images_to_forget_have_the_weights_that_they_were_learned_with(tmp_path):
    from bsce_keras.forgetting import _FinishedRun

    run = _FinishedRun.__new__(_FinishedRun)
    run.config = config_of(
        tmp_path / "run",
        classification_loss="balanced_softmax",
        parameters={"base_weight": 0.25},
    )
    head = types.SimpleNamespace(expansion=np.ones((4, 8)))
    run.learner = types.SimpleNamespace(
        classifier=types.SimpleNamespace(layers=[head]),
        own_features=lambda images: images,
    )
    labels = np.array([0, 0, 1])
    examples = types.SimpleNamespace(images=np.ones((3, 4)), labels=labels)
    # A base class and a later one, with two images and one.
    step = run._analytic_step(examples, np.array([4, 6]))
    np.testing.assert_array_equal(step.weights, [0.125, 0.125, 1.0])


def test_command_writes_a_folder_of_the_run_and_names_what_is_left(
    finished, capsys, tmp_path
):
    run_dir = tmp_path / "run"
    shutil.copytree(finished.run_dir, run_dir)
    shutil.rmtree(run_dir / "exports")
    name = finished.stream.arriving_class_names[6]
    assert forget.main([f"--run_dir={run_dir}", f"--classes={name}"]) == 0
    printed = capsys.readouterr().out
    assert f"forgot   {name}\nkept     8 classes" in printed
    # The page shows images that the model mistook.
    assert f"classes in {run_dir}: checkpoints, pictures, report.html" in printed
    assert (run_dir / "forgotten/01/export").is_dir()


def test_interrupted_command_leaves_nothing_that_refuses_the_next_one(
    finished, tmp_path, monkeypatch
):
    from bsce_keras import forgetting

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(forgetting, "export_step", interrupted)
    output, name = tmp_path / "output", finished.stream.arriving_class_names[6]
    flags = [f"--run_dir={finished.run_dir}", f"--classes={name}"]
    assert forget.main([*flags, f"--output={output}"]) == 130
    assert not output.exists()


def test_earlier_outputs_that_hold_the_classes_are_named_too(tmp_path):
    """Two requests to forget: the output of the first one has the second class."""
    records = {
        "01": '{"class_names": ["b", "c"]}',
        "02": '{"class_names": ["c"]}',
        "03": None,
        "04": "{",
    }
    for number, record in records.items():
        folder = tmp_path / "forgotten" / number
        folder.mkdir(parents=True)
        if record:
            (folder / "forgotten.json").write_text(record)
    (tmp_path / "exports").mkdir()
    # Nothing says what the last two hold. The third was not finished.
    holders = ["exports", "forgotten/01", "forgotten/03", "forgotten/04"]
    assert forget.holders(tmp_path, ["a", "b"]) == holders


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--classes=NAME,... is required"),
        (["--classes=1"], "--run_dir=RUN is required"),
        (["--classes=1", "--run_dir=nowhere"], "nowhere is not a run folder"),
    ],
)
def test_command_refuses_requests_before_tensorflow(arguments, message, capsys):
    assert forget.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_command_takes_a_method_of_the_users_own(capsys, tmp_path, monkeypatch):
    from bsce_keras.experiment import run_experiment

    (tmp_path / "own_head.py").write_text(
        "from bsce_keras.methods.acil import ACIL\n\n\nclass OwnHead(ACIL):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = config_of("run", method="own_head:OwnHead", expansion_size=None)
    run_experiment(config)
    name = config.stream.arriving_class_names[6]
    flags = ["--run_dir=run", f"--classes={name}", "--method=own_head:OwnHead"]
    assert forget.main(flags) == 0
    assert "kept     8 classes" in capsys.readouterr().out


def test_a_run_that_cannot_be_locked_is_refused_before_tensorflow(
    finished, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(os, "access", lambda path, mode: path == str(tmp_path))
    run_dir, name = finished.run_dir, finished.stream.arriving_class_names[6]
    arguments = [f"--run_dir={run_dir}", f"--classes={name}"]
    assert forget.main([*arguments, f"--output={tmp_path}/output"]) == 2
    assert f"--run_dir={run_dir} cannot be written" in capsys.readouterr().err
