"""Groups of runs that differ in their seed only, and what tells groups apart."""

import dataclasses
import json
import zlib

from bsce_keras.config.choices import CIFAR, CROP_FLIP, KINDS
from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.methods import TITLES, recipes
from bsce_keras.methods.parameters import PUBLISHED_RIDGE
from bsce_keras.records.protocol import outcome_fields
from bsce_keras.records.run_records import RunResult
from bsce_keras.runtime.text import printable

# Heads of the columns that describe a row; `other` has the remaining differences.
HEADS = ("data set", "classes", "method", "loss", "scale", "precision", "other")
# Rows that are equal in these columns are compared, so all other differences are shown.
_SETTING = ("data set", "classes", "scale")
_TOLD_ELSEWHERE = {
    "training.seed",
    "base_run_dir",
    "method.name",
    "method.classification_loss",
    "method.alpha",
    "training.precision",
    "training.replay_sampling",
    "stream.validation_share",
    "stream.image.augmentation",
}
# Characters of a value that tells groups apart.
_LONGEST = 48
_ARRIVALS = "stream.arriving_class_names"


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed, as far as it decides the outcome.

    Args:
        columns: texts by column head.
        runs: the `RunResult`s.
        fields: fields of the first run that decide the outcome, by dotted name.
    """

    columns: dict[str, str]
    runs: list[RunResult]
    fields: dict

    @property
    def finished(self):
        """Complete runs of the group."""
        return [run for run in self.runs if run.summary]


def group_runs(results):
    """Groups runs over seeds, in the order of their first run.

    Runs on other images are groups of their own. A run whose images are unknown joins
    the first group of its configuration.
    """
    known, runs = {}, {}
    for result in results:
        if result.images:
            known.setdefault(seedless(result), result.images)
    for result in results:
        setting = seedless(result)
        images = result.images or known.get(setting)
        runs.setdefault((setting, images), []).append(result)
    groups = [
        Group(_columns(members[0]), members, outcome_fields(members[0].config))
        for members in runs.values()
    ]
    settings = [setting for setting, _ in runs]
    return [
        _with_images(told) if settings.count(setting) > 1 else told
        for setting, told in zip(
            settings, [_told_apart(group, groups) for group in groups], strict=True
        )
    ]


def group_labels(groups):
    """Returns a short name for each group: method, loss, and other columns that vary.

    Methods and losses have their names of the papers: "LUCIR + Balanced Softmax".
    """
    extra = [head for head in varying_heads(groups) if head not in ("method", "loss")]
    labels = []
    for group in groups:
        columns = group.columns
        parts = [in_words(head, columns[head]) for head in extra if columns[head]]
        labels.append(", ".join([f"{columns['method']} + {columns['loss']}", *parts]))
    return labels


def in_words(head, value):
    """Returns a cell with the head of its column, if it does not name itself."""
    return value if head == "other" else f"{head} {value}"


def varying_heads(groups):
    """Returns the heads of the columns in which groups differ."""
    return [
        head for head in HEADS if len({group.columns[head] for group in groups}) > 1
    ]


def seedless(result):
    """Returns a text that is equal for runs that differ only in their seed."""
    fields = outcome_fields(result.config)
    # Seeds are what is averaged over, and each seed has its own shared base run.
    del fields["training.seed"], fields["base_run_dir"]
    return json.dumps(fields, sort_keys=True)


def _columns(result):
    config = result.config
    stream, training = config["stream"], config["training"]
    share = stream["validation_share"]
    augmentation = stream["image"].get("augmentation", CROP_FLIP)
    data_set = stream["dataset"] + (f", {share:g} held out" if share else "")
    if augmentation != CROP_FLIP:
        # Another protocol than the papers': such rows are another setting.
        data_set += f", augmentation {augmentation}"
    return {
        "data set": data_set,
        "classes": arrivals(stream["num_base_classes"], stream["increments"]),
        "method": method_title(config),
        "loss": loss_title(config),
        "scale": f"{training['schedule_scale']:g}",
        "precision": training["precision"],
        "other": "",
    }


def method_title(config):
    """Name of the method of a config.json, as its paper writes it.

    Methods that solve their head are named with the parameters that go beyond the
    published ones.
    """
    name = config["method"]["name"]
    title = TITLES.get(name, name)
    if name not in TITLES or not recipes.published(name).solves_head:
        return title
    published = dataclasses.asdict(recipes.parameters(name, CIFAR))
    others = [
        parameter if value is True else f"{parameter} {value:g}"
        for parameter, value in config["method"]["parameters"].items()
        if value != published.get(parameter, value)
        # The chosen ridge and the published one both belong to the method.
        and (parameter, value) != ("ridge", PUBLISHED_RIDGE)
    ]
    return ", ".join([title, *others])


def loss_title(config):
    """Returns the title of the loss, and of other corrections of the imbalance."""
    method, training = config["method"], config["training"]
    loss = method["classification_loss"]
    facts = loss_facts(loss)
    parts = [facts.title or loss]
    if facts.takes_alpha and method["alpha"] != 1:
        parts.append(f"alpha {method['alpha']:g}")
    if facts.learns_alpha and method.get("alpha_optimizer") == "held":
        values = [method["alpha"], *(value for _, value in method["alpha_visits"])]
        parts.append(f"alpha held at {', '.join(f'{value:g}' for value in values)}")
    if training["replay_sampling"] != "uniform":
        parts.append(training["replay_sampling"].replace("_", " "))
    if training.get("finetuning"):
        parts.append("fine-tuned")
    return ", ".join(parts)


def arrivals(num_base_classes, increments):
    """Classes of each step in words, such as `50 + 5 x 10`."""
    if len(increments) > 1 and len(set(increments)) == 1:
        return f"{num_base_classes} + {len(increments)} x {increments[0]}"
    return " + ".join(str(size) for size in [num_base_classes, *increments])


def _told_apart(group, groups):
    alike = [
        other
        for other in groups
        if all(other.columns[head] == group.columns[head] for head in _SETTING)
    ]
    own = group.fields
    chosen = _unlike_recipe(group.runs[0].config) & own.keys()
    varying = [
        name
        for name in own
        if name in chosen or any(_differs(name, group, o) for o in alike)
    ]
    if not varying:
        return group
    if "stream.class_order" in varying and _ARRIVALS in varying:
        # The name of an order says it.
        varying.remove(_ARRIVALS)
    other = ", ".join(_told(name, own[name]) for name in varying)
    return dataclasses.replace(group, columns={**group.columns, "other": other})


def _with_images(group):
    """Returns the group with the run whose images it has."""
    told = [group.columns["other"], _told("images_of", group.runs[0].run_dir)]
    other = ", ".join(filter(None, told))
    return dataclasses.replace(group, columns={**group.columns, "other": other})


def _told(name, value):
    """Returns a field with its value; long values are cut and get a checksum."""
    shown = text = printable(value)
    if len(text) > _LONGEST:
        # Long values often begin alike.
        number = zlib.crc32(text.encode()) % 2**16
        shown = f"{text[: _LONGEST - 10]}... ({number:04x})"
    return f"{name.rpartition('.')[2].replace('_', ' ')} {shown}"


def _unlike_recipe(config):
    """Returns the fields of a config.json that its method's recipe has otherwise."""
    kind, training = config["stream"].get("kind"), config["training"]
    if kind not in KINDS:
        return set()
    recipe = recipes.published(config["method"]["name"]).recipes[kind]
    expected = recipes.scaled(recipe, training["schedule_scale"])
    names = {
        f"training.{name}"
        for name, value in dataclasses.asdict(expected).items()
        if name != "milestones" and training.get(name, value) != value
    }
    # The drops of other epochs follow from them.
    of_epochs = recipes.scaled(recipe, training["epochs"] / recipe.epochs)
    drops = tuple(training["milestones"])
    if drops not in (expected.milestones, of_epochs.milestones):
        names.add("training.milestones")
    return names - _TOLD_ELSEWHERE


def _has_none(group):
    """Returns True if the method keeps no exemplars by default, and keeps none here."""
    memory = group.runs[0].config["memory"]
    return memory["exemplars_per_class"] == 0 and not memory["use"]["has_exemplars"]


def _differs(name, group, other):
    """Returns True if groups differ in a field that no other column explains."""
    if name in _TOLD_ELSEWHERE or group.fields[name] == other.fields.get(name):
        return False
    if all(group.columns[head] == other.columns[head] for head in ("method", "loss")):
        return True
    if name == "memory.exemplars_per_class" and any(map(_has_none, (group, other))):
        return False
    section, _, rest = name.partition(".")
    of_method = section == "method" or rest.startswith(("finetuning", "use."))
    return not of_method and rest not in recipes.differ_in(
        *(one.runs[0].config["method"]["name"] for one in (group, other))
    )
