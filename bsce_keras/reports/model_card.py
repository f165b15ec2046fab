"""Model card of an exported step: facts from the records of its run, nothing else."""

import hashlib
import html
import os

from bsce_keras.evaluation.calibration import FITTED_TO
from bsce_keras.evaluation.export_folder import DESCRIPTION
from bsce_keras.methods import TITLES
from bsce_keras.records.data_record import recorded_classes
from bsce_keras.records.run_facts import run_facts
from bsce_keras.records.run_records import read_run
from bsce_keras.runtime.files import read_json, write_atomically, write_json
from bsce_keras.runtime.text import percent, printable

CARD = "MODEL_CARD.md"
FACTS = "model_card.json"
# Fields of the protocol in config.json that the card repeats.
_PROTOCOL = ("optimizer", "augmentation", "memory", "precision", "evaluation")
_SCORES = {
    "accuracy": "all classes",
    "base_accuracy": "classes of the base step",
    "old_accuracy": "classes of earlier steps",
    "new_accuracy": "classes of this step",
}
# Accuracies below this share are listed among the limits.
_LOW = 0.5
_LOAD = {
    "saved_model": (
        'model = tf.saved_model.load("FOLDER")\n'
        'outputs = model.signatures["serving_default"](images=images)'
    ),
    "litert": (
        "from ai_edge_litert.interpreter import Interpreter\n"
        'runner = Interpreter("FOLDER/model.tflite").get_signature_runner()\n'
        "outputs = runner(images=images)"
    ),
    "onnx": (
        'session = onnxruntime.InferenceSession("FOLDER/model.onnx")\n'
        'outputs = session.run(None, {"images": images})'
    ),
    "keras": (
        "# Before it, import bsce_keras.models.heads if the export warned of layers.\n"
        'model = keras.models.load_model("FOLDER/model.keras")\noutputs = model(images)'
    ),
}


def card_facts(run_dir, line, per_class, description, alpha=1.0):
    """Returns the facts of a model card as a JSON-able dictionary.

    Facts that the run did not record are left out.

    Args:
        run_dir: the run folder.
        line: the step's line of steps.jsonl.
        per_class: accuracies of the classes that the step knows, NaN without images.
        description: content of `model.json`.
        alpha: weight of the old classes that the logits were moved by after training.
            The accuracies of such a model are unknown and left out.
    """
    result = read_run(run_dir)
    is_scored = alpha == 1
    config, protocol = result.config, result.config.get("protocol") or {}
    method = config["method"]
    digests = {one["name"]: one for one in recorded_classes(run_dir)}
    names = description["class_names"]
    classes = [
        {
            "name": name,
            "training_images": count,
            "test_images": digests.get(name, {}).get("test_images"),
            "accuracy": float(accuracy) if is_scored and accuracy >= 0 else None,
            "training_sha256": digests.get(name, {}).get("train_sha256"),
        }
        for name, count, accuracy in zip(
            names, line["class_counts"], per_class, strict=True
        )
    ]
    facts = {
        "run": os.path.basename(os.path.abspath(run_dir)),
        "run_id": config.get("run_id"),
        "step": line["step"],
        "method": TITLES.get(method["name"], method["name"]),
        "classification_loss": method["classification_loss"],
        "backbone": config["model"]["backbone"],
        "data_set": config["stream"]["dataset"],
        "num_old_classes": line.get("num_old_classes"),
        "scores": {
            n: line[n] for n in _SCORES if is_scored and line.get(n) is not None
        },
        "calibration_error": line.get("calibration_error") if is_scored else None,
        "temperature": line.get("temperature"),
        "calibrated_on": line.get("calibrated_on"),
        "alpha_after_training": None if is_scored else alpha,
        "classes": [_known(one) for one in classes],
        "protocol": {name: protocol[name] for name in _PROTOCOL if name in protocol},
        "memory_bytes": line.get("memory_bytes"),
        "made": run_facts(result),
        "model": description,
    }
    return _known(facts)


def write_card(run_dir, line, per_class, folder, alpha=1.0):
    """Writes MODEL_CARD.md and model_card.json into the folder of an export.

    Args:
        run_dir, line, per_class, alpha: as in `card_facts`.
        folder: folder of the export, which holds `model.json`.
    """
    description = read_json(os.path.join(folder, DESCRIPTION))
    facts = card_facts(run_dir, line, per_class, description, alpha)
    write_json(os.path.join(folder, FACTS), facts)
    write_atomically(os.path.join(folder, CARD), card_text(facts))


def card_text(facts):
    """Returns the card of `card_facts` as Markdown. Text of users is escaped."""
    model = facts["model"]
    made = [f"- {name}: {_text(value)}" for name, value in facts["made"].items()]
    protocol = [
        f"- {name}: {_text(_in_words(value))}"
        for name, value in facts["protocol"].items()
    ]
    memory = facts.get("memory_bytes") or {}
    kept = [f"- {name}: {size:,} bytes" for name, size in memory.items()]
    parts = [
        f"# Model card: {_text(facts['run'])}, step {facts['step']}",
        f"An image classifier of {len(facts['classes'])} classes, trained by "
        f"{_text(facts['method'])} with {_text(facts['classification_loss'])} on "
        f"{_text(facts['data_set'])}. Backbone: {_text(facts['backbone'])}.",
        "## Use",
        _usage(model),
        "## Accuracy",
        *_accuracy(facts),
        "## Classes",
        "Training images are those of the last step, exemplars included.",
        _table(
            ("class", "training images", "test images", "accuracy"),
            [
                (
                    one["name"],
                    one["training_images"],
                    one.get("test_images", "-"),
                    percent(one.get("accuracy")),
                )
                for one in facts["classes"]
            ],
        ),
        "## Limits",
        *_limits(facts["classes"]),
        "## Training",
        "\n".join(protocol + made),
    ]
    if kept:
        parts += ["## Memory of earlier classes", "\n".join(kept)]
    parts += [f"SHA-256 over the digests of all training images: {_digest(facts)}"]
    return "\n\n".join(parts) + "\n"


def _accuracy(facts):
    """Returns the paragraphs of the section about accuracy."""
    scores = facts.get("scores") or {}
    parts = []
    if "alpha_after_training" in facts:
        parts.append(
            f"The logits of the {facts['num_old_classes']} old classes were moved by "
            f"log({facts['alpha_after_training']:g}) after training. The accuracy of "
            "this model was not measured."
        )
    if scores:
        rows = [(_SCORES[name], percent(value)) for name, value in scores.items()]
        parts.append(_table(("images of", "accuracy"), rows))
    if "temperature" in facts:
        parts.append(
            f"Probabilities are those of logits divided by {facts['temperature']:.4g}. "
            "This temperature was fitted to "
            f"{FITTED_TO.get(facts.get('calibrated_on'), 'unknown images')}."
        )
    if "calibration_error" in facts:
        error = percent(facts["calibration_error"])
        parts.append(
            f"Expected calibration error: {error} points, over 15 bins of the largest "
            "probability."
        )
    return parts


def _usage(model):
    """Returns the section about input, outputs and loading."""
    asked = model["input"]
    outputs = ", ".join(
        f"`{name}` {_shape(shape)}" for name, shape in model["outputs"].items()
    )
    loading = [
        f"```python\n{_LOAD[name]}\n```" for name in model["formats"] if name in _LOAD
    ]
    return "\n\n".join(
        [
            f"Input `images`: {asked['dtype']} {_shape(asked['shape'])}, "
            f"{asked['values']}. {asked['preparation']}",
            f"Outputs: {outputs}. `class_names` of `{DESCRIPTION}` has the order of "
            "the probabilities.",
            *loading,
        ]
    )


def _limits(classes):
    low = [
        f"{_text(one['name'])} ({percent(one['accuracy'])})"
        for one in classes
        if one.get("accuracy") is not None and one["accuracy"] < _LOW
    ]
    unscored = [_text(one["name"]) for one in classes if one.get("accuracy") is None]
    lines = ["Every image gets one of these classes, also an image of something else."]
    if low:
        lines.append(f"Classes below {percent(_LOW)} % accuracy: {', '.join(low)}.")
    if unscored and len(unscored) < len(classes):
        lines.append(f"Classes without test images: {', '.join(unscored)}.")
    return lines


def _digest(facts):
    digests = [one.get("training_sha256", "") for one in facts["classes"]]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_text, line))} |" for line in lines)


def _in_words(value):
    """Returns a value of the protocol as text."""
    if not isinstance(value, dict):
        return value
    return "; ".join(f"{name.replace('_', ' ')}: {one}" for name, one in value.items())


def _shape(shape):
    return f"({', '.join(map(str, shape))})"


def _text(value):
    """Returns text that is neither markup nor a table cell's end."""
    escaped = html.escape(printable(str(value)), quote=False)
    return "".join(f"\\{one}" if one in "\\`*[]|" else one for one in escaped)


def _known(fields):
    """Returns the fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, {})}
