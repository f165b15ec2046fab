"""Functions and classes by name, for tables that must not import what they list."""

import importlib


def named_object(name):
    """The object of a "module:name", such as "os.path:join"; imports the module."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
