"""Methods by name, without TensorFlow: `load_method` imports only one of them."""

import pkgutil

# Name of every method, module and class, and name as its paper writes it.
_TABLE = (
    ("finetune", "finetune:Finetune", "Fine-tuning"),
    ("il_baseline", "il_baseline:ILBaseline", "IL-Baseline"),
    ("lucir", "lucir:LUCIR", "LUCIR"),
    ("podnet", "podnet:PODNet", "PODNet"),
    ("icarl", "icarl:ICaRL", "iCaRL"),
    ("bic", "bic:BiC", "BiC"),
    ("ss_il", "ss_il:SSIL", "SS-IL"),
    ("wa", "wa:WA", "WA"),
    ("lwf", "lwf:LwF", "LwF"),
    ("tpcil", "tpcil:TPCIL", "TPCIL"),
    ("joint", "joint:Joint", "Joint training"),
    ("mnemonics", "mnemonics:Mnemonics", "Mnemonics"),
    ("acil", "acil:ACIL", "ACIL"),
    ("ds_al", "ds_al:DSAL", "DS-AL"),
    ("imprint", "imprint:Imprint", "Weight imprinting"),
)
METHODS = {name: f"bsce_keras.methods.{path}" for name, path, _ in _TABLE}
TITLES = {name: title for name, _, title in _TABLE}


def load_method(config):
    """Returns the `Method` of a `MethodConfig`."""
    if config.name in METHODS:
        return pkgutil.resolve_name(METHODS[config.name])(config.parameters)
    from bsce_keras.methods.own_methods import own_class

    return own_class(config.name)(config.parameters)
