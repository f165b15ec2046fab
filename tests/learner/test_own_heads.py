"""Heads of a method outside the package are checked before anything is trained."""

import keras
import pytest

from bsce_keras import make_config, run_experiment
from bsce_keras.learner import own_heads
from bsce_keras.learner.own_heads import check_heads
from bsce_keras.methods.base import Method
from bsce_keras.models.heads import CosineHead, LinearHead
from bsce_keras.runtime.errors import RequestError


class WithoutConfig(keras.layers.Layer):
    def __init__(self, num_classes):
        super().__init__()
        self.dense = keras.layers.Dense(num_classes)

    def call(self, features):
        return {"logits": self.dense(features)}


class WithoutGrowth(WithoutConfig):
    def __init__(self, num_classes, **kwargs):
        super().__init__(num_classes)

    def get_config(self):
        return {"num_classes": self.dense.units}


class Refusing(WithoutConfig):
    def get_config(self):
        raise NotImplementedError


class Sharp(LinearHead):
    """Head whose configuration lacks its factor."""

    factor = 1.0

    def call(self, features):
        return {"logits": self.factor * super().call(features)["logits"]}


class Growing(WithoutGrowth):
    def grow_from(self, old):
        pass


def sharp(num_classes):
    head = Sharp(num_classes)
    head.factor = 30.0
    return head


@pytest.fixture(scope="module")
def configs():
    """Configurations of two steps, without and with balanced fine-tuning."""
    request = {"method": Method, "backbone": "small"}
    return [
        make_config("digits", balanced_finetuning=finetuning, **request)
        for finetuning in ("false", "true")
    ]


@pytest.fixture(autouse=True)
def small_features(monkeypatch):
    inputs = keras.Input((4,))
    monkeypatch.setattr(
        own_heads, "make_backbone", lambda *args: keras.Model(inputs, inputs)
    )


def method_of(make):
    """Returns a method with a head: `(num_old_classes, num_new_classes) -> head`."""

    class Own(Method):
        def make_head(self, num_old_classes, num_new_classes):
            return make(num_old_classes, num_new_classes)

    return Own(None)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda old, new: None, "5 new classes must be a Keras layer. Received: None"),
        (
            lambda old, new: keras.layers.Dense(old + new),
            "dictionary that has `logits`",
        ),
        (lambda old, new: LinearHead(new), "must return 6 columns .* Received: 1"),
        (lambda old, new: LinearHead(10), "0 old and 5 new .* Received: 10"),
        (lambda old, new: WithoutConfig(old + new), "copied by its get_config"),
        (lambda old, new: Refusing(old + new), "get_config.*NotImplementedError"),
        (lambda old, new: sharp(old + new), "gives other logits when it is copied"),
        (
            lambda old, new: WithoutGrowth(old + new),
            r"5 old .* needs .* grow_from\(old",
        ),
    ],
)
def test_heads_that_cannot_be_used_are_refused(make, reason, configs):
    with pytest.raises(RequestError, match=reason):
        check_heads(configs[0], method_of(make))


def test_finetuning_needs_the_weights_of_the_classes(configs):
    method = method_of(lambda old, new: Growing(old + new))
    check_heads(configs[0], method)
    with pytest.raises(RequestError, match="needs class_weights"):
        check_heads(configs[1], method)


def test_a_head_of_the_package_is_used(configs):
    for config in configs:
        check_heads(config, method_of(CosineHead))


def test_heads_are_checked_before_the_run_folder_is_written(tmp_path):
    own = type(method_of(lambda old, new: None))
    config = make_config("digits", method=own, run_dir=str(tmp_path / "run"))
    with pytest.raises(RequestError, match="must be a Keras layer"):
        run_experiment(config)
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())
