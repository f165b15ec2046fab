"""Counts of the balanced softmax: from tensors, labels and data sets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import BalancedSoftmaxLoss

LABELS = np.array([2, 0, 0, 3, 0, 2])
COUNTS = [3, 0, 2, 1]

pytestmark = pytest.mark.filterwarnings("ignore:.*is 0 for classes")


def dataset_of(labels, batch_size=4):
    images = np.zeros((len(labels), 2, 2, 1), np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    return dataset.batch(batch_size) if batch_size else dataset


@pytest.mark.parametrize("tensor", [tf.constant, tf.Variable, keras.Variable])
def test_counts_may_be_a_tensor(tensor):
    assert BalancedSoftmaxLoss(tensor([5.0, 0, 2])).class_counts == [5, 0, 2]


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS.astype(float), LABELS[:, None], LABELS.reshape(1, 2, 3)],
)
def test_integer_labels_are_counted_in_the_order_of_the_outputs(labels):
    loss = BalancedSoftmaxLoss.from_labels(labels, 5, alpha=0.5, num_old_classes=2)
    assert loss.class_counts == [*COUNTS, 0]
    assert loss.alpha == 0.5


@pytest.mark.parametrize("dtype", [float, int, bool])
def test_one_hot_labels_are_counted(dtype):
    one_hot = np.eye(4, dtype=dtype)[LABELS]
    assert BalancedSoftmaxLoss.from_labels(one_hot, 4).class_counts == COUNTS


@pytest.mark.parametrize(
    ("labels", "counts"), [([[0, 1], [1, 0]], [2, 2, 0]), ([[1, 1, 0]], [1, 2, 0])]
)
def test_other_rows_of_0_and_1_than_one_hot_ones_are_maps_of_labels(labels, counts):
    """A row is one-hot if it has one 1, and as many entries as there are classes."""
    assert BalancedSoftmaxLoss.from_labels(labels, 3).class_counts == counts


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 4], "from 0 to 3, .* from 0 to 4"),
        ([-1, 2], "from -1 to 2"),
        (0.9 * np.eye(4) + 0.025, "count before MixUp"),
        (["cat", "dog"], "labels of type <U3"),
    ],
)
def test_labels_that_cannot_be_counted_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        BalancedSoftmaxLoss.from_labels(labels, 4)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], np.eye(4)[LABELS]])
def test_a_dataset_is_counted_over_all_its_batches(labels):
    loss = BalancedSoftmaxLoss.from_dataset(dataset_of(labels), from_logits=False)
    assert loss.class_counts == COUNTS
    assert not loss.from_logits


def test_classes_beyond_the_largest_label_of_a_dataset_are_counted_on_request():
    loss = BalancedSoftmaxLoss.from_dataset(dataset_of(LABELS), num_classes=6)
    assert loss.class_counts == [*COUNTS, 0, 0]


def test_class_names_of_a_dataset_give_the_number_of_classes():
    dataset = dataset_of(LABELS)
    dataset.class_names = ["a", "b", "c", "d", "e"]
    assert BalancedSoftmaxLoss.from_dataset(dataset).class_counts == [*COUNTS, 0]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (lambda: dataset_of(LABELS).repeat(), "is infinite"),
        (lambda: dataset_of(LABELS, batch_size=0), "must be batched"),
        (lambda: dataset_of(np.eye(4)[LABELS], batch_size=0), "must be batched"),
        (lambda: dataset_of(LABELS).map(lambda images, _: images), "must give"),
    ],
)
def test_datasets_that_cannot_be_counted_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        BalancedSoftmaxLoss.from_dataset(dataset())


@pytest.mark.parametrize(("dtype", "number"), [("float16", 6000), ("float32", 2**24)])
def test_many_one_hot_labels_are_counted_exactly(dtype, number):
    # A sum in this type stops at 2048 or 2**24.
    one_hot = np.zeros((number + 3, 2), dtype)
    one_hot[:, 0] = 1
    one_hot[0] = [0, 1]
    loss = BalancedSoftmaxLoss.from_labels(one_hot, 2)
    assert loss.class_counts == [number + 2, 1]


def test_a_dataset_with_several_labels_is_refused_by_their_names():
    dataset = dataset_of(LABELS).map(lambda images, labels: (images, {"b": labels}))
    with pytest.raises(ValueError, match=r"a dictionary of \['b'\]"):
        BalancedSoftmaxLoss.from_dataset(dataset)


@pytest.mark.parametrize("num_classes", ["2", 2.5, -2, 0])
def test_number_of_classes_that_is_not_a_count_is_refused(num_classes):
    dataset = tf.data.Dataset.from_tensor_slices((np.zeros(2), [0, 1])).batch(2)
    for count, labels in (
        (BalancedSoftmaxLoss.from_labels, [0, 1]),
        (BalancedSoftmaxLoss.from_dataset, dataset),
    ):
        with pytest.raises(ValueError, match="`num_classes` must be a whole number"):
            count(labels, num_classes)


def test_labels_and_data_sets_name_each_other_s_constructor():
    dataset = tf.data.Dataset.from_tensor_slices((np.zeros(2), [0, 1])).batch(2)
    with pytest.raises(ValueError, match="from_dataset"):
        BalancedSoftmaxLoss.from_labels(dataset, 2)
    with pytest.raises(ValueError, match="from_labels"):
        BalancedSoftmaxLoss.from_dataset((np.zeros((2, 3)), np.array([0, 1])))


def test_text_is_not_taken_for_from_logits():
    """Every text but the empty one is true."""
    with pytest.raises(ValueError, match="must be True or False. Received: 'False'"):
        BalancedSoftmaxLoss(COUNTS, from_logits="False")
