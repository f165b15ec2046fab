"""From `--backbone` and its options to a `ModelConfig`. Imports no TensorFlow."""

import dataclasses
import json
import os
import zipfile

from bsce_keras.config import ModelConfig
from bsce_keras.config.backbone_inputs import (
    APPLICATIONS,
    AS_PRESET,
    INPUTS,
    NORMALIZED,
    SavedInput,
    saved_input,
)
from bsce_keras.config.backbones import BACKBONES, BACKBONES_TEXT, default_backbone
from bsce_keras.config.choices import ADOPTED, KERAS_APPLICATIONS, KERAS_HUB, SAVED
from bsce_keras.data.catalog import find_dataset
from bsce_keras.runtime.errors import Problems, RequestError, refuse
from bsce_keras.runtime.extras import missing_packages
from bsce_keras.runtime.files import sha256
from bsce_keras.runtime.text import did_you_mean

SAVED_SUFFIX = ".keras"
_OF_PRETRAINED = ("backbone_weights", "backbone_input", "backbone_input_size")
_FORMS = (
    f"one of {BACKBONES_TEXT}, the path NAME{SAVED_SUFFIX} of a saved backbone, "
    f"{KERAS_APPLICATIONS}NAME or {KERAS_HUB}PRESET"
)


@dataclasses.dataclass(frozen=True)
class PretrainedBackbone:
    """Backbone that a request names, with the facts that its files tell.

    Args:
        name: `SAVED`, `applications:NAME` or `keras_hub:PRESET`.
        path, sha256: file or folder of the weights, and its digest; None where a
            download brings them.
        input: `SavedInput`: values and shape of the images.
        size: side of the images that the weights were trained on; None if not known.
    """

    name: str
    path: str | None
    sha256: str | None
    input: SavedInput
    size: int | None

    @property
    def shown(self):
        """Flag and file, for messages."""
        flag = "--initial_model" if self.name == ADOPTED else "--backbone"
        return f"{flag}={self.path}"


def pretrained_backbone(asked):
    """Returns the `PretrainedBackbone` of a `Request`; None for one of this package.

    Raises:
        RequestError: the backbone cannot be used; it lists every problem found.
    """
    if asked.initial_model is not None:
        path = asked.initial_model
        return _saved(ADOPTED, path, "--initial_model", "classifier")
    name = asked.backbone
    if name is None or name in BACKBONES:
        given = asked.given(*_OF_PRETRAINED)
        problems = [
            f"--{option}={value} has no effect on a backbone of this package. Omit it, "
            f"or use --backbone=NAME{SAVED_SUFFIX}."
            for option, value in given.items()
        ]
        if asked.freeze_backbone:
            problems.append(
                "--freeze_backbone keeps the weights that a backbone came with, but "
                "those of this package are random. Use --backbone with a pretrained "
                f"network: NAME{SAVED_SUFFIX}, {KERAS_APPLICATIONS}NAME or "
                f"{KERAS_HUB}PRESET."
            )
        refuse(problems)
        return None
    problems = Problems(
        f"--{option} needs a backbone of this package. Received: --backbone={name}. "
        f"Use one of {BACKBONES_TEXT}."
        for option, given in (
            (f"method={asked.method_name}", asked.published.uses_stages),
            ("synchronized_batch_norm", asked.synchronized_batch_norm),
            (
                "method_parameters=depths",
                (asked.method_parameters or {}).get("depths", 0),
            ),
        )
        if given
    )
    if asked.backbone_weights and not name.startswith(KERAS_APPLICATIONS):
        problems.append(
            f"--backbone_weights={asked.backbone_weights} is for --backbone="
            f"{KERAS_APPLICATIONS}NAME. Received: --backbone={name}, which brings its "
            "weights. Omit --backbone_weights."
        )
    problems += _freezing_problems(asked)
    found = problems.attempt(_find, asked, name)
    refuse(problems)
    return found


def _freezing_problems(asked):
    reason = asked.published.trains_backbone
    if not (asked.freeze_backbone and reason):
        return []
    return [
        f"--freeze_backbone leaves nothing to --method={asked.method_name}: {reason}. "
        "Omit it, or use another --method, such as il_baseline."
    ]


def model_config(asked, backbone, kind, image):
    """Returns the `ModelConfig` of a `Request`.

    Args:
        asked: the `Request`.
        backbone: its `PretrainedBackbone`, or None.
        kind: kind of the data set.
        image: `ImageSpec` of its images; None if the data set was refused.

    Raises:
        RequestError: the backbone does not fit the images.
    """
    if backbone is None:
        name = asked.backbone or default_backbone(kind)
        return ModelConfig(**asked.fields("model") | {"backbone": name})
    return ModelConfig(
        **asked.fields("model")
        | {
            "backbone": backbone.name,
            "backbone_path": backbone.path,
            "backbone_sha256": backbone.sha256,
            "input": _input(asked, backbone),
            "input_size": _input_size(asked, backbone, image),
        }
    )


def _find(asked, name):
    if name.startswith(KERAS_APPLICATIONS):
        return _application(asked, name.removeprefix(KERAS_APPLICATIONS))
    if name.startswith(KERAS_HUB):
        return _preset(asked, name.removeprefix(KERAS_HUB))
    if name.endswith(SAVED_SUFFIX):
        return _saved(SAVED, os.path.expanduser(name), "--backbone", "backbone")
    raise RequestError(
        f"--backbone must be {_FORMS}. Received: {name!r}."
        f"{did_you_mean(name, BACKBONES)}"
    )


def _saved(name, path, flag, kind):
    """Returns the `PretrainedBackbone` of a file that Keras saved."""
    found = saved_input(_model_file_config(flag, path, kind))
    height, width, _ = found.shape
    side = height if height == width else None
    return PretrainedBackbone(name, path, sha256(path), found, side)


def _model_file_config(flag, path, kind):
    """Returns config.json of a `.keras` file.

    Args:
        flag, kind: flag that names the file, and kind of its model, for messages.
        path: path of the file.

    Raises:
        RequestError: it cannot be read or is not a model that Keras 3 saved.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            if "model.weights.h5" in parts.namelist():
                config = json.loads(parts.read("config.json"))
                if isinstance(config, dict):
                    return config
    except OSError as error:
        raise RequestError(
            f"{flag}={path} cannot be read: {error.strerror}. Use the path of a {kind} "
            "that Keras saved."
        ) from error
    except (zipfile.BadZipFile, KeyError, ValueError):
        pass
    raise RequestError(
        f"{flag}={path} is not a model that Keras 3 saved. Save a {kind} by "
        "`model.save('NAME.keras')`."
    )


def _application(asked, name):
    if name not in APPLICATIONS:
        raise RequestError(
            f"--backbone={KERAS_APPLICATIONS}NAME takes a network of "
            f"keras.applications: {', '.join(APPLICATIONS)}. Received: {name!r}."
            f"{did_you_mean(name, APPLICATIONS)}"
        )
    family, path = APPLICATIONS[name], asked.backbone_weights
    if path is None and not asked.download:
        raise RequestError(
            f"--backbone={KERAS_APPLICATIONS}{name} needs weights. Use "
            "--backbone_weights=FILE, saved without the top layer, or --download, "
            "which fetches those of ImageNet."
        )
    return PretrainedBackbone(
        f"{KERAS_APPLICATIONS}{name}",
        path,
        path and _file_digest("--backbone_weights", path),
        SavedInput(family.input, (None, None, 3)),
        family.sizes[name],
    )


def _preset(asked, preset):
    folder = os.path.expanduser(preset)
    is_folder = os.path.isdir(folder)
    problems = missing_packages(
        f"--backbone={KERAS_HUB}{preset}", ["keras_hub"], "keras_hub"
    )
    if not is_folder and not asked.download:
        problems.append(
            f"--backbone={KERAS_HUB}{preset}: {preset} is not a folder. Name the "
            "folder of a preset, or fetch a preset by its name with --download."
        )
    if is_folder and not os.path.isfile(os.path.join(folder, "config.json")):
        problems.append(
            f"--backbone={KERAS_HUB}{preset} is not a preset, because it holds no "
            "config.json. Save one by `backbone.save_to_preset(FOLDER)`."
        )
    refuse(problems)
    return PretrainedBackbone(
        KERAS_HUB + ("folder" if is_folder else preset),
        folder if is_folder else None,
        _folder_digest(folder) if is_folder else None,
        SavedInput(AS_PRESET, (None, None, 3)),
        _preset_size(folder),
    )


def _preset_size(folder):
    """Returns the side of the images of a preset; None if its files do not tell."""
    for name in ("config.json", "preprocessor.json"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                config = json.load(file)["config"]
            converter = config.get("image_converter")
            if isinstance(converter, dict):
                config = converter["config"]
            size = config.get("image_shape") or config.get("image_size")
            side = size[0] if isinstance(size, list) else size
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        if isinstance(side, int):
            return side
    return None


def _file_digest(flag, path):
    try:
        return sha256(path)
    except OSError as error:
        raise RequestError(
            f"{flag}={path} cannot be read: {error.strerror}. Use the path of a file."
        ) from error


def _folder_digest(folder):
    """Digests of the files of a preset that decide its network, as one text."""
    names = ("config.json", "model.weights.h5", "preprocessor.json")
    paths = [os.path.join(folder, name) for name in names]
    return "-".join(sha256(path) for path in paths if os.path.isfile(path))


def _input(asked, backbone):
    if asked.backbone_input is not None:
        return asked.backbone_input
    is_adopted = backbone.name == ADOPTED
    if backbone.input.is_mixed or (is_adopted and backbone.input.name is None):
        reason = "was trained on pixel values that its layers do not tell"
        if backbone.input.is_mixed:
            reason = (
                "has a network of keras.applications behind layers that change its "
                "input, so the pixel values that it expects are not known"
            )
        raise RequestError(
            f"{backbone.shown} {reason}. Name them by --backbone_input: "
            f"{', '.join(INPUTS)} or {NORMALIZED} (by mean and deviation of the data "
            "set). 0_255 is for networks that take photos as they are."
        )
    return backbone.input.name or NORMALIZED


def _input_size(asked, backbone, image):
    size = asked.backbone_input_size
    if image is None or size == image.size:
        return None
    wanted = backbone.size
    is_fixed = backbone.input.shape[0] is not None
    has_own_size = find_dataset(asked.dataset).image is not None
    if is_fixed and wanted is not None and (size or image.size) != wanted:
        received = f"images of {image.size}x{image.size}"
        if size is not None:
            received += f" and --backbone_input_size={size}"
        ways = [f"--backbone_input_size={wanted}, which resizes images"]
        if not has_own_size:
            ways.insert(0, f"--image_size={wanted}")
        raise RequestError(
            f"{backbone.shown} takes images of {wanted}x{wanted}. Received: "
            f"{received}. Use {' or '.join(ways)}."
        )
    if size is None and not is_fixed and has_own_size and wanted:
        return wanted if wanted != image.size else None
    return size
