"""Recipes: the flagfiles of published results, which come with the package.

They are the `flags/` folder of the repository; setup.py installs it as
`bsce_keras/flags`. Imports no TensorFlow.
"""

import fnmatch
import os
import pathlib

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import did_you_mean

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_SUFFIX = ".flags"


def recipe_paths():
    """Returns the flagfiles of all recipes, by names like `cifar100_5steps/lucir`."""
    installed = _PACKAGE / "flags"
    folder = installed if installed.is_dir() else _PACKAGE.parent / "flags"
    return {
        f"{path.parent.name}/{path.stem}": str(path)
        for path in sorted(folder.glob(f"*/*{_SUFFIX}"))
    }


def recipe_problem(name):
    """Returns a sentence that refuses an unknown recipe, with the nearest names."""
    return (
        f"--recipe={name} is not a recipe.{did_you_mean(name, recipe_paths())} "
        "--list_recipes lists them all."
    )


def flagfiles_of(text):
    """Returns the flagfiles that an argument of `reproduce` stands for.

    Args:
        text: path of a flagfile, or name of recipes such as `cifar100_5steps/*`.

    Returns:
        List of paths.

    Raises:
        RequestError: there is neither such a path nor such a recipe.
    """
    if os.path.exists(text):
        return [text]
    paths = recipe_paths()
    names = fnmatch.filter(paths, text)
    if not names:
        raise RequestError(
            f"{text} is neither a flagfile nor a recipe.{did_you_mean(text, paths)} "
            "--list_recipes lists all recipes."
        )
    return [paths[name] for name in names]


def recipe_list():
    """Returns a line for every recipe: its name, and the first line of its flagfile."""
    paths = recipe_paths()
    width = max(map(len, paths), default=0)
    return "\n".join(
        f"{name:{width}}  {_title(path)}".rstrip() for name, path in paths.items()
    )


def _title(path):
    with open(path, encoding="utf-8") as file:
        return file.readline().strip("#;. \n")
