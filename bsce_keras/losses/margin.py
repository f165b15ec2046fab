"""Losses with a margin: LUCIR's ranking against new classes, PODNet's NCA."""

from keras import ops

from bsce_keras.losses.dtypes import at_least_float32
from bsce_keras.losses.labels import flat_labels

_VARIANTS = ("code", "paper")

# What a column that takes no part in a maximum or a softmax holds.
_ABSENT = -float("inf")


def margin_ranking(y_true, cosines, num_old_classes, margin=0.5, top_k=2):
    """LUCIR's inter-class separation: old images keep off the nearest new classes.

    For an image of an old class, its own cosine shall exceed the K largest cosines to
    new classes by the margin.

        loss_i = 1/K sum_{k in top-K new classes} max(0, margin - c[i, y_i] + c[i, k])

    and 0 for images of new classes. The source averages over the old images of the
    batch, not over the batch: divide the sum by the number of labels below
    `num_old_classes`, and take 0 where there are none. Gradient flows to all cosines.

    Source: Hou et al., CVPR 2019, "Inter-Class Separation". The paper sums over k; the
    released code (`utils_incremental/incremental_train_and_eval_MR_LF.py`, hshustc/
    CVPR19_Incremental_Learning) averages, as `MarginRankingLoss` does. We follow the
    code.

    Args:
        y_true: int labels, shape `(batch,)` or `(batch, 1)`.
        cosines: float, shape `(batch, num_classes)`, in [-1, 1]: before the scale of
            the cosine head.
        num_old_classes: classes `[0, num_old_classes)` are old. With no old or no new
            class there is nothing to separate, and the loss is 0.
        margin: wanted difference of the cosines.
        top_k: K, new classes that each old image is compared with; cut to the number
            of new classes.

    Returns:
        Float, shape `(batch,)`: one value per image, not reduced, computed in float32
        at least.

    Raises:
        ValueError: `num_old_classes` is negative or above the number of classes,
            `top_k` is below 1, or the labels are one-hot.

    Example:

    >>> loss = margin_ranking([0], np.array([[0.6, 0.4, -0.2, 0.2]]), 1)
    >>> round(float(loss[0]), 4)  # mean of 0.5 - 0.6 + 0.4 and 0.5 - 0.6 + 0.2
    0.2
    """
    cosines = at_least_float32(cosines)
    num_classes = cosines.shape[-1]
    if not 0 <= num_old_classes <= num_classes:
        raise ValueError(
            "`num_old_classes` must lie between 0 and the number of columns of the "
            f"cosines, {num_classes}. Received: {num_old_classes}"
        )
    if top_k < 1:
        raise ValueError(f"`top_k` must be 1 or more. Received: {top_k}")
    labels = flat_labels(y_true)
    num_rivals = min(top_k, num_classes - num_old_classes)
    if not num_rivals:
        # The sum of no columns: 0 for each image, and a gradient of 0 instead of none.
        return ops.sum(cosines[:, num_classes:], axis=-1)
    own = _own(cosines, _is_own(labels, num_classes))
    rivals, _ = ops.top_k(cosines[:, num_old_classes:], num_rivals)
    violations = ops.relu(margin - own[:, None] + rivals)
    return ops.where(labels < num_old_classes, ops.mean(violations, axis=-1), 0.0)


def nca(y_true, similarities, scale=1.0, margin=0.6, variant="code"):
    """PODNet's classification loss, after neighbourhood component analysis.

    The paper's loss and the one its results were made with are not the same. With
    s[c] = scale * similarities[i, c] and y the label of image i:

        code:   loss_i = -s[y] + log( sum_{c != y} exp s[c] + exp max_c s[c] )
        paper:  loss_i = max(0, -s[y] + scale * margin + log sum_{c != y} exp s[c])

    `code` is what the released code computes: it takes the margin from all
    similarities, where it cancels, and sets the label's entry to 0 after subtracting
    the row's maximum instead of removing it, so that the maximum enters once more. So
    `margin` has no effect, the value is never negative, and it is plain cross-entropy
    wherever the label has the largest similarity. Gradient flows through the maximum
    too, as it does there.

    Source: Douillard et al., ECCV 2020, https://arxiv.org/abs/2004.13513; `nca` of
    `inclearn/lib/losses/base.py`, arthurdouillard/incremental_learning.pytorch, where
    issue 59 is about the margin. The default follows the code, for the published
    numbers come from it.

    Args:
        y_true: int labels, shape `(batch,)` or `(batch, 1)`. A label outside
            `[0, num_classes)` gives inf.
        similarities: float, shape `(batch, num_classes)`, not scaled.
        scale: eta, the factor that the head learns; a number, a scalar tensor or a
            variable. Gradient flows to it.
        margin: delta, taken from the label's similarity before the scale; used by
            `paper` only.
        variant: `code` or `paper`.

    Returns:
        Float, shape `(batch,)`: one value per image, in nats, not reduced, computed in
        float32 at least. The source averages over the batch.

    Raises:
        ValueError: an unknown variant, or one-hot labels.

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
    is_own = _is_own(flat_labels(y_true), scaled.shape[-1])
    own = _own(scaled, is_own)
    if variant == "code":
        largest = ops.max(scaled, axis=-1, keepdims=True)
        return ops.logsumexp(ops.where(is_own, largest, scaled), axis=-1) - own
    rivals = ops.logsumexp(ops.where(is_own, _ABSENT, scaled), axis=-1)
    return ops.relu(rivals - (own - scale * margin))


def _is_own(labels, num_classes):
    """Bool, shape `(batch, num_classes)`: which column is the label's."""
    return ops.equal(labels[:, None], ops.arange(num_classes, dtype="int32"))


def _own(values, is_own):
    """The label's value, shape `(batch,)`; -inf where no column is the label's."""
    return ops.max(ops.where(is_own, values, _ABSENT), axis=-1)
