"""Losses of integer labels refuse labels that would be broadcast over the rows."""

import numpy as np
import pytest

from bsce_keras.losses import (
    margin_ranking,
    nca,
    rescaled_softmax_crossentropy,
    separated_softmax_crossentropy,
    softmax_crossentropy,
)

LOSSES = {
    "margin_ranking": lambda labels, logits: margin_ranking(labels, logits, 2),
    "nca": nca,
    "nca_paper": lambda labels, logits: nca(labels, logits, variant="paper"),
    "rescaled": lambda labels, logits: rescaled_softmax_crossentropy(
        labels, logits, [5, 5, 1]
    ),
    "separated": lambda labels, logits: separated_softmax_crossentropy(
        labels, logits, 2
    ),
    "softmax": softmax_crossentropy,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("num_labels", "num_rows"), [(1, 4), (4, 1), (2, 4)])
def test_another_number_of_labels_than_rows_is_refused(name, num_labels, num_rows):
    with pytest.raises(ValueError, match=r"[Rr]eceived|target\.shape"):
        LOSSES[name](np.zeros(num_labels, int), np.zeros((num_rows, 3)))
