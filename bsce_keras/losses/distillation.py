"""Logit distillation: the student keeps the frozen teacher's scores of old classes."""

from keras import ops

from bsce_keras.losses.dtypes import Tensor, at_least_float32
from bsce_keras.losses.labels import may_agree


def logit_distillation(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float = 2.0
) -> Tensor:
    """Cross-entropy of softened outputs over the classes that the teacher knows.

        p_hat = softmax(teacher / tau),  p = softmax(student[:, :num_old] / tau)
        loss_i = tau^2 sum_k -p_hat[i, k] log p[i, k]

    The gradient is 0 where the student's old logits equal the teacher's up to a
    constant. The loss there is tau^2 times the teacher's entropy. With one old class
    the loss is 0, because that class has all the probability.

    Source: Jodelet et al., Eq. 2. The factor tau^2 is in the paper. BiC's released
    code, the origin of this baseline, omits it. We follow the paper.

    Args:
        teacher_logits: float, shape `(batch, num_old_classes)`; no gradient flows.
        student_logits: float, shape `(batch, num_classes)`. Old classes come first;
            the other columns are ignored.
        temperature: tau, above 0.

    Returns:
        Float, shape `(batch,)`: one value per image, in nats, computed in float32 at
        least.

    Raises:
        ValueError: the numbers of rows differ, or the teacher has more classes than the
            student.
    """
    teacher = ops.stop_gradient(at_least_float32(teacher_logits))
    student = at_least_float32(student_logits)
    # One row or column would be broadcast to all rows or classes.
    rows_agree = may_agree(teacher.shape[:-1], student.shape[:-1])
    if not rows_agree or teacher.shape[-1] > student.shape[-1]:
        raise ValueError(
            "The student must have the rows of the teacher, and its classes first. "
            f"Received: teacher logits of shape {tuple(teacher.shape)} and student "
            f"logits of shape {tuple(student.shape)}."
        )
    if teacher.shape[-1] == 1:
        # Keras warns about a softmax of one column. The sum of zero columns is 0 for
        # each image and has a gradient of 0 instead of None.
        return ops.sum(student[:, :0], axis=-1)
    old_logits = student[:, : teacher.shape[-1]]
    target = ops.softmax(teacher / temperature)
    log_probabilities = ops.log_softmax(old_logits / temperature)
    return -(temperature**2) * ops.sum(target * log_probabilities, axis=-1)
