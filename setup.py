"""Metadata, dependencies with the lowest versions tested, and console scripts."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
RECIPES = "bsce_keras.flags"
COMMANDS = (
    *("train", "tune", "reproduce", "evaluate", "compare", "export", "forget"),
    *("predict", "report"),
)


def version():
    """`__version__`, read as text: an import would need the dependencies."""
    source = (ROOT / "bsce_keras" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE).group(1)


def long_description():
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="bsce_keras",
    version=version(),
    description=(
        "Class-incremental learning in Keras 3 on TensorFlow: balanced softmax "
        "cross-entropy and the systems it is compared with"
    ),
    long_description=long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=[*find_packages(include=["bsce_keras", "bsce_keras.*"]), RECIPES],
    # The flagfiles of the repository are the recipes of an installed package.
    package_dir={RECIPES: "flags"},
    package_data={RECIPES: ["*/*.flags"]},
    python_requires=">=3.11",
    install_requires=[
        "tensorflow>=2.21",
        "keras>=3.15",  # never below 3.13.2: CVE-2026-1462
        "tensorflow-datasets>=4.9.10",
        "keras-tuner>=1.4.8",
        "absl-py>=2.5",
        # TensorFlow writes summaries and TFDS prepares data sets only with these
        # two, and neither asks for them itself.
        "tensorboard>=2.21",
        "importlib_resources>=7.1",
        "scikit-learn>=1.9",
        "scipy>=1.17",
        "threadpoolctl>=3.8",
        "matplotlib>=3.11",
        "numpy>=2.4",
        "rich>=15.0",
    ],
    extras_require={
        "litert": ["ai-edge-litert>=2.3"],
        "onnx": ["onnx>=1.23", "tf2onnx>=1.17", "onnxruntime>=1.32"],
        "keras_hub": ["keras-hub>=0.32"],
        "test": [
            "pytest>=9.2",
            "pytest-xdist>=3.8",
            "hypothesis>=6.170",
            "pillow>=13.0",
            "ruff>=0.17",
            # Exports in other formats are tested with the programs that run them.
            "ai-edge-litert>=2.3",
            "onnx>=1.23",
            "tf2onnx>=1.17",
            "onnxruntime>=1.32",
        ],
    },
    entry_points={
        "console_scripts": [
            f"bsce-{command} = bsce_keras.{command}:main" for command in COMMANDS
        ]
    },
)
