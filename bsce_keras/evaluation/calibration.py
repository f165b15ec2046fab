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


def fitted_temperature(logits, labels):
    """Returns the temperature that minimises the cross-entropy of the softmax.

        T = argmin  - sum_i log softmax(logits_i / T)[label_i],   1e-3 <= T <= 100

    Args:
        logits: shape `(n, num_classes)`; n at least 1.
        labels: int, shape `(n,)`.
    """
    # Imported here, because SciPy takes a tenth of a second to load.
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits = np.asarray(logits, np.float64)

    def loss(log_temperature):
        scaled = logits / np.exp(log_temperature)
        chosen = scaled[np.arange(len(labels)), labels]
        return np.mean(logsumexp(scaled, axis=1) - chosen)

    best = minimize_scalar(
        loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(best.x))
