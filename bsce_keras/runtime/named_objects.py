"""Functions and classes by name, for tables that must not import their entries."""

import importlib


def named_object(name):
    """Imports the object of a "module:name", such as "os.path:join"."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
