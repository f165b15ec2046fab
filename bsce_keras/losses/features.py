"""Feature distillation: the student's features and maps stay near the teacher's."""

from collections.abc import Sequence

from keras import ops

from bsce_keras.losses.dtypes import Tensor, at_least_float32
from bsce_keras.losses.labels import may_agree

# Constant added to a squared norm of features or a squared distance of maps.
_EPSILON = 1e-12
# Smallest divisor of a vector: shorter vectors are divided by this.
_SHORTEST = 1e-12


def less_forget(teacher_features: Tensor, student_features: Tensor) -> Tensor:
    """LUCIR's less-forget constraint: the angle between old and new features.

    The old class vectors are frozen. Features that keep their direction therefore keep
    the old classes recognisable. Lengths are free.

        loss_i = 1 - <t_i, s_i> / sqrt((|t_i|^2 + 1e-12) (|s_i|^2 + 1e-12))

    The loss lies between 0 (same direction) and 2 (opposite). It is 1 if either vector
    is all zeros.

    Source: Hou et al., CVPR 2019, "Less-Forget Constraint". The epsilon comes from
    PyTorch's `CosineEmbeddingLoss`, which the released code calls
    (`utils_incremental/incremental_train_and_eval_MR_LF.py`, hshustc/
    CVPR19_Incremental_Learning). Paper and code agree.

    Args:
        teacher_features: float, shape `(batch, num_features)`; no gradient flows.
        student_features: float, the same shape: the inputs of the head, not
            normalised.

    Returns:
        Float, shape `(batch,)`: one value per image, not reduced, computed in float32
        at least. The source averages the values over all images, old and new.

    Raises:
        ValueError: the shapes differ.

    Example:

    >>> loss = less_forget(np.array([[3.0, 4.0]]), np.array([[8.0, 6.0]]))
    >>> round(float(loss[0]), 4)  # 1 - 48 / (5 * 10)
    0.04
    """
    return _one_minus_cosine(*_as_pair(teacher_features, student_features))


def pod_flat(teacher_features: Tensor, student_features: Tensor) -> Tensor:
    """PODNet's distillation of the pooled features: one minus their cosine.

        loss_i = 1 - <t_i, s_i> / sqrt((|t_i|^2 + 1e-12) (|s_i|^2 + 1e-12))

    Source: Douillard et al., ECCV 2020, https://arxiv.org/abs/2004.13513, POD-flat.
    The paper has a squared distance of normalised features, which is twice this. We
    follow the released code (`embeddings_similarity` of `inclearn/lib/losses/base.py`,
    arthurdouillard/incremental_learning.pytorch), because the published weights belong
    to it. The function equals `less_forget`.

    Args:
        teacher_features: float, shape `(batch, num_features)`; no gradient flows.
        student_features: float, the same shape, not normalised.

    Returns:
        Float, shape `(batch,)`: one value per image, not reduced, computed in float32
        at least. The source averages the values over the batch.

    Raises:
        ValueError: the shapes differ.
    """
    return _one_minus_cosine(*_as_pair(teacher_features, student_features))


def pod_spatial(
    teacher_maps: Sequence[Tensor], student_maps: Sequence[Tensor]
) -> Tensor:
    """PODNet's distillation of feature maps, pooled along rows and along columns.

    Only sums over the width and over the height are compared. The student may
    therefore move activations within a row or a column.

        v(a)   = concat(sum_w a[h, w, c]^2, sum_h a[h, w, c]^2)   of length (H + W) C
        u(a)   = v(a) / max(|v(a)|, 1e-12)
        loss_i = mean over maps of sqrt(|u(t_i) - u(s_i)|^2 + 1e-12)

    Each map contributes between 0 and sqrt(2), because the entries of v are not
    negative. At student = teacher the loss is 1e-6 and its gradient is 0. Without the
    1e-12 the gradient would be undefined there.

    Source: Douillard et al., ECCV 2020, https://arxiv.org/abs/2004.13513, POD-spatial.
    The paper has squared distances, and rows and columns as two terms. We follow the
    released code (`pod` of `inclearn/lib/losses/distillation.py`, arthurdouillard/
    incremental_learning.pytorch): one normalised vector, distance not squared. The
    code adds nothing under the root. Our values are therefore larger by at most 1e-6.

    Args:
        teacher_maps: list of float maps, each of shape `(batch, height, width,
            channels)`, before the ReLU; no gradient flows.
        student_maps: list of the same length and shapes.

    Returns:
        Float, shape `(batch,)`: one value per image, the mean over the list, not
        reduced over the batch, computed in float32 at least.

    Raises:
        ValueError: the lists are empty or of different lengths, the shapes of a pair
            differ, or a shape is not that of a map.

    Example:

    >>> teacher, student = np.zeros((2, 1, 1, 1, 2))
    >>> teacher[..., 0] = student[..., 1] = 7  # two different channels
    >>> round(float(pod_spatial([teacher], [student])[0]), 4)
    1.4142
    """
    teacher_maps, student_maps = list(teacher_maps), list(student_maps)
    if not student_maps or len(teacher_maps) != len(student_maps):
        raise ValueError(
            "`pod_spatial` needs equally many maps of teacher and student, at least "
            f"one. Received: {len(teacher_maps)} and {len(student_maps)}."
        )
    distances = [
        _pod_distance(*_as_pair(*pair, rank=4))
        for pair in zip(teacher_maps, student_maps, strict=True)
    ]
    return sum(distances) / len(distances)


def _as_pair(teacher, student, rank=2):
    """Tensors of both in the student's precision; the teacher's without gradient."""
    student = at_least_float32(student)
    teacher = ops.cast(ops.stop_gradient(teacher), student.dtype)
    if len(student.shape) != rank or not may_agree(teacher.shape, student.shape):
        expected = "(batch, num_features)"
        if rank == 4:
            expected = "(batch, height, width, channels), in lists"
        raise ValueError(
            f"Teacher and student must have the same shape, {expected}. Received: "
            f"{tuple(teacher.shape)} and {tuple(student.shape)}. Take the outputs of "
            "the same layer from both."
        )
    return teacher, student


def _one_minus_cosine(teacher, student):
    product = ops.sum(teacher * student, axis=-1)
    squared_teacher = ops.sum(ops.square(teacher), axis=-1) + _EPSILON
    squared_student = ops.sum(ops.square(student), axis=-1) + _EPSILON
    return 1 - product / ops.sqrt(squared_teacher * squared_student)


def _pod_distance(teacher, student):
    difference = _pooled(teacher) - _pooled(student)
    return ops.sqrt(ops.sum(ops.square(difference), axis=-1) + _EPSILON)


def _pooled(maps):
    """Unit vectors, shape `(batch, (height + width) * channels)`."""
    squares = ops.square(maps)
    batch = ops.shape(squares)[0]
    pooled = ops.concatenate(
        [ops.reshape(ops.sum(squares, axis=axis), (batch, -1)) for axis in (2, 1)],
        axis=-1,
    )
    squared_length = ops.sum(ops.square(pooled), axis=-1, keepdims=True)
    # The floor stays under the root: the gradient is then defined for a map of zeros.
    return pooled / ops.sqrt(ops.maximum(squared_length, _SHORTEST**2))
