"""Public names have type hints that resolve."""

import importlib
import inspect
import typing

import pytest

from tools.reference import API


def public_functions():
    """Yields `(name, function)` of the public API, methods of classes included."""
    paths = [path for paths in API.values() for path in paths]
    for path in (*paths, "bsce_keras:ExperimentConfig"):
        module, _, name = path.partition(":")
        module = importlib.import_module(module)
        for each in module.__all__ if name == "*" else [name]:
            value = getattr(module, each)
            if inspect.isclass(value):
                yield from methods(value)
            else:
                yield each, value


def methods(cls):
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", value)
        is_public = not name.startswith("_") or name == "__init__"
        if inspect.isfunction(function) and is_public:
            yield f"{cls.__name__}.{name}", function


FUNCTIONS = dict(public_functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_and_result_has_a_type(name):
    function = FUNCTIONS[name]
    hints = typing.get_type_hints(function)
    arguments = set(inspect.signature(function).parameters) - {"self", "cls"}
    assert arguments | {"return"} <= hints.keys()
