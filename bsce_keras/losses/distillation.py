"""Logit distillation: the student keeps the frozen teacher's opinion of old classes."""

from keras import ops

from bsce_keras.losses.dtypes import at_least_float32


def logit_distillation(teacher_logits, student_logits, temperature=2.0):
    """Cross-entropy of softened outputs over the classes that the teacher knows.

        p_hat = softmax(teacher / tau),  p = softmax(student[:, :num_old] / tau)
        loss_i = tau^2 sum_k -p_hat[i, k] log p[i, k]

    Its gradient vanishes where the student's old logits equal the teacher's (up to a
    constant); its value there is tau^2 times the teacher's entropy. With one old class,
    which has all the probability, it is 0.

    Source: Jodelet et al., Eq. 2. The factor tau^2 is in the paper; BiC's released
    code, where this baseline comes from, has none. We follow the paper.

    Args:
        teacher_logits: float, shape `(batch, num_old_classes)`; no gradient flows.
        student_logits: float, shape `(batch, num_classes)`; old classes come first,
            further columns are ignored.
        temperature: tau, above 0.

    Returns:
        Float, shape `(batch,)`: one value per image, in nats, computed in float32 at
        least.
    """
    teacher = ops.stop_gradient(at_least_float32(teacher_logits))
    student = at_least_float32(student_logits)
    if teacher.shape[-1] == 1:
        # Keras would warn of such a softmax. The sum of no columns: 0 for each image,
        # and a gradient of 0 instead of none.
        return ops.sum(student[:, :0], axis=-1)
    old_logits = student[:, : teacher.shape[-1]]
    target = ops.softmax(teacher / temperature)
    log_probabilities = ops.log_softmax(old_logits / temperature)
    return -(temperature**2) * ops.sum(target * log_probabilities, axis=-1)
