"""Methods outside the package: classes by name, and objects from Python."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from bsce_keras import (
    export,
    load_classifier,
    make_config,
    report,
    run_experiment,
    train,
)
from bsce_keras.methods import load_method, own_methods
from bsce_keras.methods.acil import ACIL
from bsce_keras.methods.base import LossTerm, Method, StepContext
from bsce_keras.methods.lucir import LUCIR
from bsce_keras.methods.parameters import LucirParameters
from bsce_keras.methods.podnet import PODNet
from bsce_keras.methods.recipes import trained_steps
from bsce_keras.runtime.errors import RequestError


@dataclasses.dataclass(frozen=True)
class Weights:
    weight: float = 2.0


@dataclasses.dataclass(frozen=True)
class Needed:
    weight: float


@dataclasses.dataclass(frozen=True)
class Optional:
    weight: float | None = None


class Weighted(Method):
    Parameters = Weights

    def classification_weight(self, context):
        return self.parameters.weight


class OwnLUCIR(LUCIR):
    pass


class OwnPODNet(PODNet):
    pass


class OwnACIL(ACIL):
    pass


class TrainedACIL(ACIL):
    phases = Method.phases


class ExtraTermFirst(Method):
    def loss_terms(self, context):
        extra = LossTerm("extra", 3.0, lambda labels, student, teacher: labels)
        return [extra, *super().loss_terms(context)]

    def classification_weight(self, context):
        return 0.2


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_method_of_a_module_is_trained_by_its_name(tmp_path, monkeypatch, capsys):
    source = "from bsce_keras.methods.base import Method\nclass Mine(Method): pass\n"
    (tmp_path / "my_module.py").write_text(source)
    monkeypatch.setattr(sys, "path", [*sys.path])
    arguments = ["--dataset=digits", "--method=my_module:Mine", "--num_base_classes=9"]
    assert train.main([*arguments, "--epochs=1", "--noexport"]) == 0
    run_dir = tmp_path / "runs" / "digits_Mine_softmax_seed1"
    assert json.loads((run_dir / "config.json").read_text())["method"]["name"] == (
        "my_module:Mine"
    )
    monkeypatch.setattr(own_methods, "_known", {})
    exported = [f"--run_dir={run_dir}", "--formats=keras"]
    assert export.main(exported) == 2
    assert "--method=MODULE:CLASS" in capsys.readouterr().err
    assert export.main([*exported, "--method=my_module:Mine"]) == 0
    (tmp_path / "my_module.py").unlink()
    del sys.modules["my_module"]
    # A report imports nothing that a run folder names.
    monkeypatch.setattr(own_methods, "_known", {})
    assert report.main([str(run_dir)]) == 0


@pytest.mark.parametrize("method", ["nowhere:Mine", "near.own:My", "near.own:Mine.A"])
def test_a_misspelt_class_is_refused_before_keras_loads(method, tmp_path, run_python):
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "__init__.py").write_text("import keras")
    (tmp_path / "near" / "own.py").write_text("import keras\nclass Mine: pass")
    run_python(f"""
import sys
from bsce_keras import train
assert train.main(["--dataset=digits", "--method={method}"]) == 2
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""")


@pytest.mark.parametrize(
    "source",
    ["from base import Mine", "from base import *", "import base; Mine = base.Mine"],
)
def test_a_class_may_come_from_another_module(source, tmp_path, monkeypatch):
    base = "from bsce_keras.methods.base import Method\nclass Mine(Method): pass\n"
    (tmp_path / "base.py").write_text(base)
    (tmp_path / "other.py").write_text(source)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    assert make_config("digits", method="other:Mine").method.name == "other:Mine"


@pytest.mark.parametrize(
    ("method", "fragment"),
    [
        ("nowhere:Mine", "--method=nowhere:Mine cannot be imported: No module named"),
        ("json:Mine", "--method=json:Mine cannot be imported: module 'json' has no"),
        ("json:dumps", "must be a subclass of bsce_keras.methods.base.Method"),
        (dict, "Received: <class 'dict'>"),
        (3, "method must be a name, or a class or object of"),
        ("LUCIR", "or MODULE:CLASS. Received: 'LUCIR'. Did you mean lucir?"),
    ],
)
def test_what_is_not_a_method_is_refused(method, fragment):
    with pytest.raises(RequestError) as refused:
        make_config("digits", method=method)
    assert fragment in str(refused.value)


def test_class_is_trained_with_its_own_parameters():
    config = make_config("digits", method=Weighted, parameters={"weight": 3.0})
    assert config.method.parameters == Weights(3.0)
    assert isinstance(load_method(config.method), Weighted)


def test_parameters_of_an_object_are_the_defaults():
    config = make_config("digits", method=Weighted(Weights(5.0)))
    assert config.method.parameters == Weights(5.0)


def test_parameters_of_an_object_out_of_range_are_refused():
    parameters = LucirParameters(less_forget_weight=5.0, margin=-1.0, top_k=0)
    with pytest.raises(RequestError) as refused:
        make_config("digits", method=OwnLUCIR(parameters))
    margin, top_k = refused.value.problems
    assert "margin of" in margin and "number of at least 0. Received: -1.0" in margin
    assert "top_k of" in top_k and "Received: 0" in top_k


def test_unknown_parameter_of_a_class_is_refused():
    with pytest.raises(RequestError, match="It has weight. Did you mean weight?"):
        make_config("digits", method=Weighted, parameters={"wight": 3.0})


def test_method_takes_the_recipe_of_the_published_one_that_it_extends():
    own, published = (
        make_config("digits", method=method, run_dir="run")
        for method in (OwnLUCIR, LUCIR)
    )
    assert own.training == published.training
    assert own.method.parameters == published.method.parameters
    assert published.method.name == "lucir"


def test_method_has_the_loss_and_the_needs_of_the_one_that_it_extends():
    assert make_config("digits", method=OwnPODNet).method.classification_loss == "nca"
    pretrained = {"backbone": "applications:VGG16", "download": True}
    with pytest.raises(RequestError, match="OwnPODNet needs a backbone of this pack"):
        make_config("digits", method=OwnPODNet, **pretrained)


@pytest.mark.parametrize(
    ("method", "increments_are_trained"), [(OwnACIL, False), (TrainedACIL, True)]
)
def test_steps_of_an_own_method_are_trained_by_its_phases(
    method, increments_are_trained
):
    config = make_config("digits", method=method)
    assert trained_steps(config) == (True, increments_are_trained)


class Tuned(Method):
    def __init__(self, parameters, weight=1.0):
        super().__init__(parameters)
        self.weight = weight


@pytest.mark.parametrize("method", [Tuned(Weights(), 3.0), Tuned(None, 3.0)])
def test_an_object_with_values_beside_parameters_is_refused(method):
    with pytest.raises(RequestError, match="weight.* dataclass Parameters"):
        make_config("digits", method=method)
    method.weight = 1.0
    assert make_config("digits", method=method).method.name.endswith(":Tuned")


class Prepared(Method):
    """Makes an array and an object of its own for every object."""

    def __init__(self, parameters):
        super().__init__(parameters)
        self.table, self.helper = np.arange(3), object()


def test_an_object_may_hold_what_every_object_of_its_class_makes():
    method = Prepared(None)
    assert make_config("digits", method=method).method.name.endswith(":Prepared")
    for other in (np.arange(4), np.array([0, 1, 3])):
        method.table = other
        with pytest.raises(RequestError, match="cannot hold: table"):
            make_config("digits", method=method)


def test_a_configuration_trains_the_class_that_it_was_made_with(tmp_path):
    """Another class of the same name is made before the run begins."""

    def config_of(head):
        class Own(Method):
            def make_head(self, num_old_classes, num_new_classes):
                return head

        return make_config("digits", method=Own, run_dir=tmp_path / "run")

    first, _ = config_of("first"), config_of("second")
    with pytest.raises(RequestError, match="must be a Keras layer. Received: 'first'"):
        run_experiment(first)


@pytest.mark.parametrize("parameters", [{"weight": 1.0}, Weights(), float, Needed])
def test_parameters_that_are_not_a_dataclass_with_defaults_are_refused(parameters):
    own = type("Own", (Method,), {"Parameters": parameters})
    with pytest.raises(RequestError, match="Parameters of .*:Own must be a dataclass"):
        make_config("digits", method=own)


def test_a_parameter_of_another_type_cannot_be_set():
    own = type("Own", (Method,), {"Parameters": Optional})
    assert make_config("digits", method=own).method.parameters == Optional()
    with pytest.raises(RequestError, match=r"weight .*is of type float \| None"):
        make_config("digits", method=own, parameters={"weight": 2.0})


@pytest.mark.slow
def test_local_class_is_trained_and_loaded_by_its_class(monkeypatch):
    class Local(Weighted):
        pass

    config = make_config(
        "digits", method=Local, num_base_classes=9, epochs=1, export=False
    )
    assert run_experiment(config)["final_accuracy"] > 0
    assert config.run_dir == "runs/digits_Local_softmax_seed1"
    monkeypatch.setattr(own_methods, "_known", {})
    with pytest.raises(RequestError, match="Pass its class as `method`"):
        load_classifier(config.run_dir)
    classifier = load_classifier(config.run_dir, method=Local)
    assert classifier.output["logits"].shape == (None, 10)


def test_finetuning_reweighs_the_classification_term_wherever_it_stands():
    context = StepContext(2, 1, (3, 3, 20), "softmax")
    terms = ExtraTermFirst(None).finetuning_terms(context)
    assert [(term.name, term.weight) for term in terms] == [
        ("extra", 3.0),
        ("classification", 1.0),
    ]
