"""The paper's numbers, to be shown beside measured ones.

Source: Jodelet, Liu, Murata, "Balanced Softmax Cross-Entropy for Incremental Learning",
Tables 1 and 4: average incremental top-1 accuracy in percent. LUCIR and PODNet with
their own losses are the authors' runs (starred in Table 1). Meta-Balanced Softmax was
published on IL-Baseline only. The paper did not run iCaRL, BiC, Mnemonics and TPCIL: it
quotes them from other papers, some of them with other classes or another class order.
"""

from bsce_keras.data.catalog import find_dataset
from bsce_keras.methods import recipes

_SETTINGS = (
    ("cifar100", 5),
    ("cifar100", 10),
    ("subimagenet", 5),
    ("subimagenet", 10),
    ("imagenet2012", 5),
    ("imagenet2012", 10),
)
_SYSTEMS = {
    ("il_baseline", "softmax"): (43.80, 37.00, 51.52, 42.22, 43.23, 36.70),
    ("il_baseline", "balanced_softmax"): (62.22, 58.32, 72.57, 68.25, 66.45, 62.14),
    ("il_baseline", "meta_balanced_softmax"): (
        *(64.11, 60.08, 72.88, 69.26, 66.15, 61.59),
    ),
    ("lucir", "softmax"): (63.37, 60.88, 70.25, 67.84, 66.69, 64.06),
    ("lucir", "balanced_softmax"): (64.83, 62.36, 71.18, 70.66, 67.81, 66.47),
    ("podnet", "nca"): (64.46, 62.69, 74.97, 71.57, 65.20, 62.87),
    ("podnet", "balanced_softmax"): (67.67, 66.63, 76.08, 74.93, 69.67, 68.65),
    # Quoted there.
    ("icarl", "softmax"): (57.17, 52.57, 65.04, 59.53, 51.36, 46.72),
    ("bic", "softmax"): (59.36, 54.20, 70.07, 64.96, 62.65, 58.72),
    ("mnemonics", "softmax"): (63.34, 62.28, 72.58, 71.37, 64.54, 63.01),
    ("tpcil", "softmax"): (65.34, 63.58, 76.27, 74.81, 64.89, 62.88),
}
# By data set, number of increments, method and loss.
TABLE_1 = {
    (*setting, *system): number
    for system, numbers in _SYSTEMS.items()
    for setting, number in zip(_SETTINGS, numbers, strict=True)
}

# Other corrections of IL-Baseline, CIFAR-100 in 5 increments: by loss, sampling and
# whether a balanced fine-tuning follows.
TABLE_4 = {
    ("softmax", "memory_oversampling", False): 49.75,
    ("softmax", "class_oversampling", False): 55.95,
    ("rescaled_softmax", "uniform", False): 57.01,
    ("softmax", "uniform", True): 59.46,
    ("separated_softmax", "memory_oversampling", False): 61.21,
}


def published_average(config):
    """The paper's average incremental accuracy, on its full schedule, for a setting.

    Args:
        config: the dictionary of `ExperimentConfig.to_json()`, or config.json.

    Returns:
        Percent; None where the paper has no such experiment: other base classes,
        increments, memory, alpha, sampling or fine-tuning are another one.
    """
    stream, method, training = config["stream"], config["method"], config["training"]
    base, increments = stream["num_base_classes"], stream["increments"]
    same_protocol = (
        base == sum(increments)
        and base + sum(increments) == len(stream["class_names"])
        and len(set(increments)) == 1
        and config["memory"]["exemplars_per_class"] == 20
        and method["alpha"] == 1
        and method.get("alpha_optimizer") != "held"
        and stream["validation_share"] == 0
    )
    if not same_protocol:
        return None
    setting = (stream["dataset"], len(increments))
    name, loss = method["name"], method["classification_loss"]
    sampling = training["replay_sampling"]
    finetunes = training.get("finetuning") is not None
    correction = (loss, sampling, finetunes)
    if (*setting, name) == ("cifar100", 5, "il_baseline") and correction in TABLE_4:
        return TABLE_4[correction]
    dataset = find_dataset(stream["dataset"])
    kind = dataset and dataset.kind
    if sampling != "uniform" or finetunes != recipes.finetunes(name, kind, loss):
        return None
    return TABLE_1.get((*setting, name, loss))
