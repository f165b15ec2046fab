"""Methods of the user's own: classes by `module:Class`, and objects from Python.

A request imports or passes them, and they are known to the process from then on. Run
folders and reports only name them, which imports nothing.
"""

import ast
import dataclasses
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import pathlib
import sys

from bsce_keras.methods import METHODS
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.tensorflow_import import import_keras
from bsce_keras.runtime.text import did_you_mean

_PATHS = {path: name for name, path in METHODS.items()}
# Classes and objects by name.
_known = {}


def is_own(name):
    """Returns True if a name is that of a method of the user's own."""
    return ":" in name


def know(method):
    """Makes a method known to this process.

    Args:
        method: name of a method, `"module:Class"`, or a `Method` class or object.

    Returns:
        The name of the method.

    Raises:
        RequestError: the class cannot be imported, it is not a `Method`, or it has
            values that are not recorded.
    """
    if isinstance(method, str):
        if is_own(method):
            _known[method] = _checked(method, _imported(method))
        return method
    from bsce_keras.methods.base import Method

    own = method if isinstance(method, type) else type(method)
    if not issubclass(own, Method):
        raise RequestError(
            "method must be a name, or a class or object of "
            f"bsce_keras.methods.base.Method. Received: {method!r}"
        )
    name = _path(own)
    if method is own and name in _PATHS:
        return _PATHS[name]
    if method is not own:
        _refuse_other_values(name, method)
    _known[name] = _checked(name, method)
    return name


def know_again(own):
    """Makes a class known whose name another class may have taken since.

    Args:
        own: class of a configuration.
    """
    known = _known.get(_path(own))
    if own not in (known, type(known)):
        know(own)


def own_class(name):
    """Returns the class of a known method.

    Raises:
        RequestError: no request of this process named it.
    """
    if name not in _known:
        raise RequestError(
            f"The method {name} is not part of bsce_keras, and this process did not "
            "load it. Pass its class as `method`, or give --method=MODULE:CLASS."
        )
    known = _known[name]
    return known if isinstance(known, type) else type(known)


def own_source(name):
    """Returns the SHA-256 of the source of a known method, or None.

    It covers the class and its ancestors outside of this package. Classes without
    source, such as those of `exec`, have None.
    """
    if name not in _known:
        return None
    *ancestors, _ = own_class(name).__mro__
    own = [kind for kind in ancestors if not kind.__module__.startswith("bsce_keras.")]
    try:
        source = "".join(map(inspect.getsource, own))
    except (OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest()


def own_parameters(name):
    """Returns the hyper-parameters that a known method brings, or None.

    They are those of the object that was passed, else `Method.Parameters()`.
    """
    known = _known.get(name)
    if known is None:
        return None
    if not isinstance(known, type) and known.parameters is not None:
        return known.parameters
    return None if known.Parameters is None else known.Parameters()


def published_relative(name):
    """Returns the name of the published method that a known method extends.

    It is `il_baseline` for methods that extend only `Method`, or are not known.
    """
    published = _published_class(name)
    return _PATHS[_path(published)] if published else "il_baseline"


def keeps_phases(name):
    """Returns True if a known method has the phases of the published one it extends."""
    published = _published_class(name)
    return published is not None and own_class(name).phases == published.phases


def _published_class(name):
    ancestors = own_class(name).__mro__ if name in _known else ()
    return next((kind for kind in ancestors if _path(kind) in _PATHS), None)


def _path(own):
    return f"{own.__module__}:{own.__qualname__}"


def _checked(name, method):
    """Returns a class or object; refuses its `Parameters` if they have another form."""
    kind = method.Parameters
    is_class = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    if kind is None or (is_class and all(map(_has_default, dataclasses.fields(kind)))):
        return method
    raise RequestError(
        f"Parameters of {name} must be a dataclass whose fields all have defaults. "
        f"Received: {kind!r}"
    )


def _has_default(field):
    missing = dataclasses.MISSING
    return not field.default is field.default_factory is missing


def _refuse_other_values(name, method):
    """Refuses an object that differs from one made of its `parameters` alone.

    Every run makes a new object of the class, from the parameters in config.json.
    Values that differ between two such objects too, such as layers, are not compared.
    """
    again, twice = (vars(type(method)(method.parameters)) for _ in range(2))
    other = [
        key
        for key, value in vars(method).items()
        if not _is_same(value, again.get(key))
        and _is_same(again.get(key), twice.get(key))
        and key != "parameters"
    ]
    if other:
        raise RequestError(
            f"The object of {name} has values that config.json cannot hold: "
            f"{', '.join(other)}. Move them to fields of its dataclass Parameters."
        )


def _is_same(value, other):
    if getattr(value, "shape", None) != getattr(other, "shape", None):
        return False
    same = value == other
    # Arrays compare element by element.
    return bool(same.all()) if hasattr(same, "all") else same is True


def _imported(name):
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        # Console scripts lack the working directory, which `python -m` has.
        sys.path.insert(0, os.getcwd())
    if module not in sys.modules:
        _refuse_misspelt(name, module, attribute)
    import_keras()
    from bsce_keras.methods.base import Method

    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise _not_importable(name, error) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise RequestError(
            f"--method={name} must be a subclass of bsce_keras.methods.base.Method. "
            f"Received: {found!r}"
        )
    return found


def _refuse_misspelt(name, module, attribute):
    """Refuses a module or class that its files do not have, before Keras loads."""
    spec = _spec(module)
    if spec is None:
        raise _not_importable(name, f"No module named {module!r}")
    if not spec.has_location or not spec.origin.endswith(".py"):
        return
    try:
        tree = ast.parse(pathlib.Path(spec.origin).read_bytes(), spec.origin)
    except (SyntaxError, ValueError) as error:
        raise _not_importable(name, error) from error
    names = {part for node in ast.walk(tree) for part in _names(node)}
    # A module with a star import, or with `__getattr__`, may have any name.
    if not names & {attribute, "*", "__getattr__"}:
        classes = [
            node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
        ]
        reason = (
            f"{spec.origin} has no {attribute!r}.{did_you_mean(attribute, classes)}"
        )
        raise _not_importable(name, reason)


def _spec(module):
    """Returns the spec of a module, which is found without importing packages."""
    name, *parts = module.split(".")
    # An empty name is a ValueError.
    spec = importlib.util.find_spec(name) if name else None
    for part in parts:
        name = f"{name}.{part}"
        path = spec and spec.submodule_search_locations
        spec = importlib.machinery.PathFinder.find_spec(name, path) if path else None
    return spec


def _names(node):
    """Returns the names that a node of a module may bind."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return [node.name]
    if isinstance(node, ast.alias):
        return [node.asname or node.name]
    return [node.id] if isinstance(node, ast.Name) else []


def _not_importable(name, reason):
    return RequestError(
        f"--method={name} cannot be imported: {reason}. Name MODULE:CLASS, with a "
        "module in the working directory or on PYTHONPATH."
    )
