"""Rooms import only rooms to their left, and some of them never import TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "bsce_keras"
# From left to right; rooms of one group do not import each other.
GROUPS = (
    ("runtime",),
    ("config",),
    ("losses", "data", "optimizers"),
    ("meta", "models"),
    ("evaluation",),
    ("memory",),
    ("methods",),
    ("records",),
    ("exports", "reports", "learner"),
    ("options",),
    ("experiment", "classifiers", "forgetting"),
    ("search",),
    (
        *("train", "tune", "reproduce", "evaluate", "compare", "export", "forget"),
        *("predict", "report"),
    ),
)
RANKS = {room: rank for rank, group in enumerate(GROUPS) for room in group}
# Besides the order of the groups.
FORBIDDEN = {
    "losses": {"runtime", "config"},
    "optimizers": {"runtime", "config"},
    "learner": {"records"},
    "options": {"learner", "models", "losses"},
}
WITHOUT_TENSORFLOW = (
    *("runtime.errors", "runtime.text", "runtime.files", "runtime.array_files"),
    *("runtime.machine", "runtime.randomness", "runtime.signals", "runtime.cluster"),
    *("config", "options", "records", "evaluation"),
    *("methods", "methods.recipes"),
)


def modules():
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
    }


def imported(path, names):
    """Modules of the package that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.ImportFrom) and node.module):
            continue
        package, _, module = node.module.partition(".")
        if package != "bsce_keras":
            continue
        for alias in node.names:
            inner = f"{module}.{alias.name}".lstrip(".")
            if module or inner in names:
                yield inner if inner in names else module


def test_every_module_has_a_room():
    assert {name.split(".")[0] for name in modules()} == set(RANKS)


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_rooms_to_its_left(module):
    names = modules()
    room = module.split(".")[0]
    for other in imported(names[module], names):
        other_room = other.split(".")[0]
        if other_room == room:
            continue
        assert RANKS[other_room] < RANKS[room], f"{module} imports {other}"
        assert other_room not in FORBIDDEN.get(room, ()), f"{module} imports {other}"


def test_no_modules_import_each_other_in_a_circle():
    names = modules()
    waiting = {module: set(imported(path, names)) for module, path in names.items()}
    waiting = {module: others & set(names) for module, others in waiting.items()}
    while True:
        free = {module for module, others in waiting.items() if not others}
        if not free:
            break
        waiting = {
            module: others - free
            for module, others in waiting.items()
            if module not in free
        }
    assert not waiting


def test_rooms_without_tensorflow_do_not_import_it():
    rooms = [
        module
        for module in modules()
        if module in WITHOUT_TENSORFLOW or module.split(".")[0] in WITHOUT_TENSORFLOW
        if not module.startswith("methods.") or module in WITHOUT_TENSORFLOW
    ]
    lines = [f"import bsce_keras.{room.removesuffix('.__init__')}" for room in rooms]
    lines += ["import sys", "assert 'tensorflow' not in sys.modules"]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
