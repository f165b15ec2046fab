"""Packages, which pyproject.toml cannot list: `flags/` is installed as recipes."""

from setuptools import find_namespace_packages, find_packages, setup

RECIPES = "bsce_keras.flags"

setup(
    packages=[
        *find_packages(include=["bsce_keras", "bsce_keras.*"]),
        RECIPES,
        *(f"{RECIPES}.{folder}" for folder in find_namespace_packages("flags")),
    ],
    # The flagfiles of the repository are the recipes of an installed package.
    package_dir={RECIPES: "flags"},
    package_data={"": ["*.flags", "py.typed"]},
)
