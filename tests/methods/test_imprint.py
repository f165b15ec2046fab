"""Imprint: columns of new classes and the head that has them."""

import keras
import numpy as np
import pytest

from bsce_keras import make_config
from bsce_keras.methods import load_method
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.imprinted_head import ImprintedHead
from bsce_keras.runtime.errors import RequestError


def method(recall=0.9):
    request = {"method": "imprint", "parameters": {"recall": recall}}
    return load_method(make_config("digits", **request).method)


def test_columns_by_hand():
    # Unit features (1, 0) and (0, 1): mean direction (1, 1) / sqrt(2), mean length 4.
    features = [np.array([[3.0, 0.0], [0.0, 5.0]])]
    # Each image is at right angles to the other, so that its cosine is 0.
    logits = [np.array([[1.0, -2.0], [3.0, 0.5]])]
    kernel, bias = method(recall=1.0).columns(features, logits, base_length=2.0)
    np.testing.assert_allclose(kernel[:, 0], [8 / 2**0.5, 8 / 2**0.5])
    # The smaller margin of both is 0 - 3: with this bias its logit is 3, the highest.
    np.testing.assert_allclose(bias, [3.0])


@pytest.mark.parametrize("recall", [0.5, 0.8, 1.0])
def test_the_threshold_lets_through_the_share_of_training_images(recall):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 12)) + 1.0
    logits = rng.normal(size=(500, 3))
    kernel, bias = method(recall).columns([features], [logits], 1.5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    passed = (unit @ kernel)[:, 0] + bias[0] >= logits.max(axis=1)
    assert passed.mean() == pytest.approx(recall, abs=0.01)


def test_one_image_is_enough():
    kernel, bias = method().columns([np.array([[0.0, 2.0]])], [np.array([[1.5]])], 1.0)
    np.testing.assert_allclose(kernel[:, 0], [0.0, 2.0])
    np.testing.assert_allclose(bias, [-0.5])  # 2 cos - 0.5 is the old logit 1.5


def test_later_classes_have_the_length_of_the_base_and_exceed_all_earlier_logits():
    """The base has two classes; a step of one class comes before."""
    rng = np.random.default_rng(3)
    first, second = (rng.normal(size=(20, 4)).astype("float32") + 2 for _ in "ab")
    base, earlier, head = LinearHead(2), ImprintedHead(3), ImprintedHead(4)
    for each in (base, earlier, head):
        each.build((None, 4))
    earlier.grow_from(base)
    method().imprint(earlier, iter([first]), seed=0)
    head.grow_from(earlier)
    # The new column is random until it is imprinted.
    head.bias.assign([*earlier.bias.numpy(), 100.0])
    method().imprint(head, iter([second]), seed=0)
    length = np.linalg.norm(base.kernel.numpy(), axis=0).mean()
    kernel, bias = method().columns(
        [second], [earlier(second)["logits"].numpy()], length
    )
    expected = np.hstack([earlier.kernel.numpy(), kernel])
    np.testing.assert_allclose(head.kernel, expected, rtol=1e-5)
    np.testing.assert_allclose(
        head.bias, [*earlier.bias.numpy(), *bias], rtol=1e-4, atol=1e-4
    )


def test_alpha_which_weighs_no_image_of_an_increment_is_refused():
    request = {"classification_loss": "balanced_softmax", "alpha": 0.5}
    with pytest.raises(RequestError, match="--alpha=0.5 has no effect with --method"):
        make_config("digits", method="imprint", **request)


def test_recall_beyond_one_is_refused():
    with pytest.raises(RequestError, match="must be a number above 0 and at most 1"):
        method(recall=1.2)


def test_only_classes_of_the_trained_head_see_features_of_any_length():
    """Two trained classes, then two steps that imprint a class each."""
    old = LinearHead(2)
    old.build((None, 4))
    for num_classes in (3, 4):
        head = ImprintedHead(num_classes)
        head.build((None, 4))
        head.grow_from(old)
        old = head
    assert old.is_imprinted.numpy().tolist() == [0, 0, 1, 1]


def test_head_and_its_plain_copy_have_the_logits_of_the_formula():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 4)).astype("float32")
    head = ImprintedHead(5)
    head.build((None, 4))
    kernel, bias = rng.normal(size=(4, 5)), rng.normal(size=5)
    head.set_weights([kernel, bias, np.array([0, 0, 1, 1, 1])])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = np.hstack([features @ kernel[:, :2], unit @ kernel[:, 2:]]) + bias
    np.testing.assert_allclose(head(features)["logits"], expected, atol=1e-5)
    copy = keras.Model(inputs := keras.Input((4,)), head.plain(inputs))
    np.testing.assert_allclose(copy(features)["logits"], expected, atol=1e-5)
