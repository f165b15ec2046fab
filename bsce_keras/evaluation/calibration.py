"""Temperature scaling: probabilities that say how often a prediction is right.

Source: Guo et al., ICML 2017, https://arxiv.org/abs/1706.04599.
"""

import numpy as np

_LOG_TEMPERATURES = (np.log(1e-3), np.log(1e2))
# Images that a temperature is fitted to, in a sentence, by `calibrated_on` of a record.
VALIDATION, TRAINING = "validation", "training"
FITTED_TO = {
    VALIDATION: "validation images, which no step trained on",
    TRAINING: (
        "training images. The network knows them better than new images, so the "
        "temperature is too low, and the probabilities are still too certain"
    ),
}


def probabilities_of(logits, temperature=1.0):
    """Returns the softmax of logits divided by a temperature, in float64."""
    # Imported here, because SciPy takes a tenth of a second to load.
    from scipy.special import softmax

    return softmax(logits.astype(np.float64) / temperature, axis=1)


def fitted_temperature(logits, labels, num_random=0):
    """Returns the temperature that minimises the cross-entropy of the softmax.

        T = argmin  - sum_i log softmax(logits_i / T)[label_i],   1e-3 <= T <= 100

    If all images are right, the smallest temperature is the best. `num_random` adds
    the loss of this number of images with random labels, as Platt scaling does. The
    fit then expects about one error among the images where it sees none.

    Args:
        logits: shape `(n, num_classes)`; n at least 1.
        labels: int, shape `(n,)`.
        num_random: number of images, not necessarily whole.

    Source of `num_random`: Platt, "Probabilistic outputs for support vector machines",
    1999.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits = np.asarray(logits, np.float64)

    def loss(log_temperature):
        scaled = logits / np.exp(log_temperature)
        chosen = scaled[np.arange(len(labels)), labels]
        spread = logsumexp(scaled, axis=1)
        random = np.mean(spread - scaled.mean(axis=1))
        return np.mean(spread - chosen) + num_random / len(labels) * random

    best = minimize_scalar(
        loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(best.x))
