"""ExperimentConfig: all settings of a run."""

import dataclasses
import functools
from typing import Any

from bsce_keras.config.checks import Checked
from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.config.export_formats import SAVED_MODEL, format_problems
from bsce_keras.config.fields import setting, settings_by_name
from bsce_keras.config.memory import MemoryConfig
from bsce_keras.config.method import MethodConfig
from bsce_keras.config.model import ModelConfig
from bsce_keras.config.step_plan import StepPlan, step_plans
from bsce_keras.config.stream import StreamConfig
from bsce_keras.config.training import TrainingConfig


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(Checked):
    """Settings that decide the outcome of a run, and the folder that it is written to.

    Raises:
        RequestError: with a sentence for every contradiction between the sections.
    """

    stream: StreamConfig
    memory: MemoryConfig
    model: ModelConfig
    method: MethodConfig
    training: TrainingConfig
    run_dir: str = setting(decides_outcome=False)
    base_run_dir: str | None = setting(None, decides_base_step=False)
    resume: bool = setting(True, decides_outcome=False)
    export: bool = setting(True, decides_outcome=False)
    export_formats: str = setting(SAVED_MODEL, decides_outcome=False)
    calibrate: bool = setting(False, decides_outcome=False)
    export_only_last: bool = setting(False, flag=None, decides_outcome=False)

    @functools.cached_property
    def plans(self) -> list[StepPlan]:
        """`StepPlan` of every step, base step first."""
        return step_plans(self)

    def problems(self) -> list[str]:
        found = self._exemplar_problems()
        found += format_problems("export_formats", self.export_formats)
        clips_weights = getattr(self.method.parameters, "clips_weights", False)
        if clips_weights and self.model.is_adopted:
            found.append(
                f"--method={self.method.name} sets class weights below 0 to 0 after an "
                "update, which would change the classes of --initial_model. Add "
                "--method_parameters=clips_weights=false."
            )
        if not self.stream.increments:
            # The base step has neither fine-tuning nor an alpha.
            return found
        quota = self.memory.quota(self.stream.num_classes)
        if self.training.finetuning and quota < 1:
            found.append(
                "Balanced fine-tuning needs exemplars of every seen class, but the "
                "memory holds none at the last step. Raise --exemplars_per_class or "
                "--memory_budget, or use --balanced_finetuning=false."
            )
        num_old_classes = self.stream.num_classes - self.stream.increments[-1]
        quota = self.memory.quota(num_old_classes)
        sampling, loss = self.training.replay_sampling, self.method.classification_loss
        facts = loss_facts(loss)
        if sampling != "uniform" and facts.counts_classes:
            found.append(
                f"--replay_sampling={sampling} changes the class proportions that "
                f"--classification_loss={loss} corrects for. Use "
                "--replay_sampling=uniform, or another loss."
            )
        if min(self.stream.increments) < facts.least_new_classes:
            found.append(
                f"{loss} compares new classes only with each other, so every increment "
                f"needs at least {facts.least_new_classes} new classes. Received: "
                f"increments of {list(self.stream.increments)}. Use fewer "
                "--num_increments, or another --classification_loss."
            )
        replays = quota >= 1 or self.memory.use.replays_everything
        if sampling != "uniform" and not replays:
            found.append(
                f"--replay_sampling={sampling} draws old images more often, but the "
                "memory holds none when the last step begins. Raise "
                "--exemplars_per_class or --memory_budget, or use "
                "--replay_sampling=uniform."
            )
        if self.method.learns_alpha and quota < 2:
            found.append(
                "meta_balanced_softmax needs at least 2 exemplars a class: one to "
                f"train on and one to validate alpha. The memory holds {quota} "
                "when the last step begins. Raise --exemplars_per_class or "
                "--memory_budget, or use --classification_loss=balanced_softmax."
            )
        return found

    def _exemplar_problems(self):
        """Returns a sentence if the method needs exemplars that the memory lacks."""
        use = self.memory.use
        quota = self.memory.quota(self.stream.num_classes)
        needed = 1 + use.sets_aside
        if not use.needs_exemplars or quota >= needed:
            return []
        purpose = "classifies by exemplars"
        if use.sets_aside:
            purpose = "trains on exemplars and corrects its head by others"
        return [
            f"--method={self.method.name} {purpose}, so it needs at least {needed} of "
            f"every class. The memory holds {quota} at the last step. Raise "
            "--exemplars_per_class or --memory_budget, or use another --method."
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns plain dictionaries, lists and numbers, ready for `json.dump`.

        Images and classes that Python code passed are left out; data.json has the
        digests of images.
        """
        fields = dataclasses.asdict(self)
        del fields["stream"]["images"], fields["method"]["own"]
        return fields


# `Setting` of every field, by dotted name such as `training.seed`.
SETTINGS = settings_by_name(ExperimentConfig)
