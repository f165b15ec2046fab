"""Methods by name, without TensorFlow: `load_method` imports only one of them."""

import pkgutil

METHODS = {
    "finetune": "bsce_keras.methods.finetune:Finetune",
    "il_baseline": "bsce_keras.methods.il_baseline:ILBaseline",
    "lucir": "bsce_keras.methods.lucir:LUCIR",
    "podnet": "bsce_keras.methods.podnet:PODNet",
    "icarl": "bsce_keras.methods.icarl:ICaRL",
    "bic": "bsce_keras.methods.bic:BiC",
    "ss_il": "bsce_keras.methods.ss_il:SSIL",
    "wa": "bsce_keras.methods.wa:WA",
    "lwf": "bsce_keras.methods.lwf:LwF",
    "tpcil": "bsce_keras.methods.tpcil:TPCIL",
    "joint": "bsce_keras.methods.joint:Joint",
    "mnemonics": "bsce_keras.methods.mnemonics:Mnemonics",
    "acil": "bsce_keras.methods.acil:ACIL",
    "ds_al": "bsce_keras.methods.ds_al:DSAL",
    "imprint": "bsce_keras.methods.imprint:Imprint",
}
# Names as their papers write them.
TITLES = {
    "finetune": "Fine-tuning",
    "il_baseline": "IL-Baseline",
    "lucir": "LUCIR",
    "podnet": "PODNet",
    "icarl": "iCaRL",
    "bic": "BiC",
    "ss_il": "SS-IL",
    "wa": "WA",
    "lwf": "LwF",
    "tpcil": "TPCIL",
    "joint": "Joint training",
    "mnemonics": "Mnemonics",
    "acil": "ACIL",
    "ds_al": "DS-AL",
    "imprint": "Weight imprinting",
}


def load_method(config):
    """Returns the `Method` of a `MethodConfig`."""
    if config.name in METHODS:
        return pkgutil.resolve_name(METHODS[config.name])(config.parameters)
    from bsce_keras.methods.own_methods import own_class

    return own_class(config.name)(config.parameters)
