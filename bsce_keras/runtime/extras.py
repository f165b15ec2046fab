"""Packages that an extra of this package installs."""

import importlib.util


def missing_packages(what, modules, extra):
    """Returns a sentence if modules are not installed, as a list.

    Args:
        what: beginning of the sentence: the request that needs them.
        modules: names of modules.
        extra: extra of this package that installs them.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return []
    return [
        f"{what} needs {' and '.join(missing)}. Install by "
        f"`pip install 'bsce_keras[{extra}]'`."
    ]
