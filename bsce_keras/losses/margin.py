"""Losses with a margin: LUCIR's margin ranking and PODNet's NCA."""

from keras import ops

from bsce_keras.losses.dtypes import Tensor, at_least_float32
from bsce_keras.losses.labels import flat_labels, require_old_among

_VARIANTS = ("code", "paper")

# Value of a column that a maximum or a softmax is to ignore.
_ABSENT = -float("inf")


def margin_ranking(
    y_true: Tensor,
    cosines: Tensor,
    num_old_classes: int,
    margin: float = 0.5,
    top_k: int = 2,
) -> Tensor:
    """LUCIR's inter-class separation: a margin between old images and new classes.

    The own cosine of an old image should exceed its K largest cosines to new classes by
    the margin. The loss is 0 for images of new classes.

        loss_i = 1/K sum_{k in top-K new classes} max(0, margin - c[i, y_i] + c[i, k])

    The source averages over the old images of the batch, not over the batch. To do so,
    divide the sum by the number of labels below `num_old_classes`; take 0 if that
    number is 0. Gradient flows to all cosines.

    Source: Hou et al., CVPR 2019, "Inter-Class Separation". The paper sums over k. The
    released code (`utils_incremental/incremental_train_and_eval_MR_LF.py`, hshustc/
    CVPR19_Incremental_Learning) averages, because `MarginRankingLoss` does. We follow
    the code.

    Args:
        y_true: int labels, shape `(batch,)` or `(batch, 1)`.
        cosines: float, shape `(batch, num_classes)`, in [-1, 1], before the scale of
            the cosine head.
        num_old_classes: classes `[0, num_old_classes)` are old. The loss is 0 if all
            classes are old or all are new.
        margin: required difference of the cosines.
        top_k: K, number of new classes that each old image is compared with, limited
            to the number of new classes.

    Returns:
        Float, shape `(batch,)`: one value per image, not reduced, computed in float32
        at least.

    Raises:
        ValueError: `num_old_classes` is negative or above the number of classes,
            `top_k` is below 1, or the labels are one-hot or not one per row.

    Example:

    >>> loss = margin_ranking([0], np.array([[0.6, 0.4, -0.2, 0.2]]), 1)
    >>> round(float(loss[0]), 4)  # mean of 0.5 - 0.6 + 0.4 and 0.5 - 0.6 + 0.2
    0.2
    """
    cosines = at_least_float32(cosines)
    num_classes = cosines.shape[-1]
    require_old_among(num_old_classes, num_classes)
    if top_k < 1:
        raise ValueError(f"`top_k` must be 1 or more. Received: {top_k}")
    labels = flat_labels(y_true, cosines)
    num_rivals = min(top_k, num_classes - num_old_classes)
    if not num_rivals:
        # The sum of zero columns is 0 for each image, with gradient 0 instead of None.
        return ops.sum(cosines[:, num_classes:], axis=-1)
    own = _own(cosines, _is_own(labels, num_classes))
    rivals, _ = ops.top_k(cosines[:, num_old_classes:], num_rivals)
    violations = ops.relu(margin - own[:, None] + rivals)
    return ops.where(labels < num_old_classes, ops.mean(violations, axis=-1), 0.0)


def nca(
    y_true: Tensor,
    similarities: Tensor,
    scale: float | Tensor = 1.0,
    margin: float = 0.6,
    variant: str = "code",
) -> Tensor:
    """PODNet's classification loss, after neighbourhood component analysis.

    The paper's formula differs from the code that produced its results. With
    s[c] = scale * similarities[i, c] and y the label of image i:

        code:   loss_i = -s[y] + log( sum_{c != y} exp s[c] + exp max_c s[c] )
        paper:  loss_i = max(0, -s[y] + scale * margin + log sum_{c != y} exp s[c])

    `code` is the loss of the released code. That code subtracts the margin from all
    similarities, so it cancels and `margin` has no effect. After subtracting the row's
    maximum it sets the label's entry to 0 instead of removing it. The maximum therefore
    enters once more. The value is never negative, and equals plain cross-entropy if the
    label has the largest similarity. Gradient flows through the maximum, as in the
    released code.

    Source: Douillard et al., ECCV 2020, https://arxiv.org/abs/2004.13513; `nca` of
    `inclearn/lib/losses/base.py`, arthurdouillard/incremental_learning.pytorch. Issue
    59 of that repository discusses the margin. The default follows the code, because
    the published numbers come from it.

    Args:
        y_true: int labels, shape `(batch,)` or `(batch, 1)`. A label outside
            `[0, num_classes)` gives inf.
        similarities: float, shape `(batch, num_classes)`, not scaled.
        scale: eta, the factor that the head learns; a number, a scalar tensor or a
            variable. Gradient flows to it.
        margin: delta, subtracted from the label's similarity before the scale; only
            `paper` uses it.
        variant: `code` or `paper`.

    Returns:
        Float, shape `(batch,)`: one value per image, in nats, not reduced, computed in
        float32 at least. The source averages over the batch.

    Raises:
        ValueError: the variant is unknown, or the labels are one-hot or not one per
            row.

    Example:

    >>> similarities = np.log([[1.0, 3.0]])
    >>> round(float(nca([0], similarities)[0]), 4)  # log(3 + 3); cross-entropy: log 4
    1.7918
    >>> round(float(nca([0], similarities, variant="paper")[0]), 4)  # log(3) + 0.6
    1.6986
    """
    if variant not in _VARIANTS:
        raise ValueError(
            f"`variant` must be one of {', '.join(_VARIANTS)}. Received: {variant!r}"
        )
    similarities = at_least_float32(similarities)
    scale = ops.convert_to_tensor(scale, dtype=similarities.dtype)
    scaled = scale * similarities
    is_own = _is_own(flat_labels(y_true, scaled), scaled.shape[-1])
    own = _own(scaled, is_own)
    if variant == "code":
        largest = ops.max(scaled, axis=-1, keepdims=True)
        return ops.logsumexp(ops.where(is_own, largest, scaled), axis=-1) - own
    rivals = ops.logsumexp(ops.where(is_own, _ABSENT, scaled), axis=-1)
    return ops.relu(rivals - (own - scale * margin))


def _is_own(labels, num_classes):
    """Bool, shape `(batch, num_classes)`: True in the label's column."""
    return ops.equal(labels[:, None], ops.arange(num_classes, dtype="int32"))


def _own(values, is_own):
    """Value in the label's column, shape `(batch,)`; -inf without such a column."""
    return ops.max(ops.where(is_own, values, _ABSENT), axis=-1)
