"""Lines that a run prints besides its epochs: a header, and the scores of a step."""

import statistics

from bsce_keras.methods.recipes import trained_steps
from bsce_keras.reports.groups import arrivals, loss_title, method_title
from bsce_keras.runtime.text import duration, percent, printable


def run_header(config, stream, devices):
    """Returns the header of a run: data, steps, method, network, devices and folder.

    Args:
        config: `ExperimentConfig`, resolved.
        stream: its `ClassIncrementalStream`.
        devices: number and kind of the devices that share a batch.

    Returns:
        Text of several lines.
    """
    asked, training, memory = config.stream, config.training, config.memory
    num_images = sum(len(step.examples) for step in stream.steps)
    num_scored = len(stream.seen_test(stream.steps[-1]))
    kept = f"{memory.exemplars_per_class} exemplars a class"
    if memory.memory_budget is not None:
        kept = f"{memory.memory_budget} exemplars"
    keeps_some = memory.exemplars_per_class or memory.memory_budget
    if not (memory.use.has_exemplars or keeps_some):
        kept = "without exemplars"
    settings = config.to_json()
    facts = {
        "data": (
            f"{asked.dataset}, {asked.num_classes} classes, {num_images} images to "
            f"train on, {num_scored} to score on"
        ),
        "steps": (
            f"{len(stream.steps)}: "
            f"{arrivals(asked.num_base_classes, asked.increments)} classes"
        ),
        "method": f"{method_title(settings)} + {loss_title(settings)}, {kept}",
        "network": _network(config.model),
        "training": (
            f"{_schedule(config)}, batches of {training.batch_size}, "
            f"{training.precision} on {devices}"
        ),
        "folder": config.run_dir,
    }
    return "\n".join(f"{name:9}{printable(fact)}" for name, fact in facts.items())


def _schedule(config):
    trains_base, trains_increments = trained_steps(config)
    if trains_increments:
        return f"{config.training.schedule_text} a step"
    if trains_base:
        return f"{config.training.schedule_text} at step 0, none later"
    return "none, the head is computed"


def _network(model):
    if not model.is_pretrained:
        return model.backbone
    side = model.input_size
    resized = f", resized to {side}x{side}" if side else ""
    frozen = ", frozen" if model.freeze_backbone else ""
    return f"{model.backbone}, input {model.input}{resized}{frozen}"


def step_line(lines, num_steps):
    """Scores of the last finished step, in percent, and the average so far.

    Args:
        lines: finished steps as in steps.jsonl, a dictionary each.
        num_steps: of the run.
    """
    last = lines[-1]
    known = [line["accuracy"] for line in lines if line["accuracy"] is not None]
    scores = [("accuracy", last["accuracy"])]
    scores += [
        (name, last[f"{name}_accuracy"])
        for name in ("base", "old", "new")
        if last[f"{name}_accuracy"] is not None
    ]
    average = statistics.fmean(known) if len(known) == len(lines) else None
    parts = [
        f"step {last['step']}/{num_steps - 1}",
        *(f"{name} {percent(score)}" for name, score in scores),
        f"average so far {percent(average)}",
        duration(last["train_seconds"]),
    ]
    return "  ".join(parts)
