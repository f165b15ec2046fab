"""StepPlan: numbers of classes, exemplars and training images of every step."""

import dataclasses
import itertools

import numpy as np

from bsce_keras.config.memory import num_set_aside


@dataclasses.dataclass(frozen=True)
class StepPlan:
    """Numbers of one step, which follow from the configuration.

    The exemplars of a class include those that are set aside.

    Args:
        index: number of the step; 0 is the base step.
        all_step_sizes: number of new classes of each step of the stream.
        num_old_classes: number of classes of all earlier steps.
        old_quota: exemplars that each old class may have when the step begins; 0 at
            the base step.
        quota: exemplars that each seen class may have after the step.
        old_set_aside: images of each old class that are set aside.
        num_set_aside: images of each new class that are set aside.
        num_alpha_split: images of each seen class in the alpha split; 0 if alpha is
            not learned.
        replays_everything: the step trains on all images of old classes, not only on
            exemplars.
        finetunes: balanced fine-tuning on exemplars follows the main phase.
    """

    index: int
    all_step_sizes: tuple[int, ...]
    num_old_classes: int
    old_quota: int
    quota: int
    old_set_aside: int = 0
    num_set_aside: int = 0
    num_alpha_split: int = 0
    replays_everything: bool = False
    finetunes: bool = False

    @property
    def num_new_classes(self):
        """Number of classes that arrive at this step."""
        return self.all_step_sizes[self.index]

    @property
    def num_classes(self):
        """Number of classes seen up to and including this step."""
        return self.num_old_classes + self.num_new_classes

    @property
    def step_sizes(self):
        """Number of new classes of each step up to this one."""
        return self.all_step_sizes[: self.index + 1]

    def pool_sizes(self, images_per_class):
        """Returns the number of images that each pool of the step holds.

        Args:
            images_per_class: number of training images of every class, in arrival
                order, as a list or an array. For classes of finished steps, the number
                of exemplars suffices.

        Returns:
            Dictionary with `main`, the training pool, and with `alpha_split` and
            `finetuning` if the step has them.
        """
        seen = np.asarray(images_per_class[: self.num_classes])
        old, new = np.split(seen, [self.num_old_classes])
        if not self.replays_everything:
            old = np.minimum(old, self.old_quota) - self.old_set_aside
        alpha_split = self.num_classes * self.num_alpha_split
        set_aside = len(new) * self.num_set_aside
        pools = {"main": (old.sum() + new.sum() - set_aside - alpha_split).item()}
        if alpha_split:
            pools["alpha_split"] = alpha_split
        if self.finetunes:
            pools["finetuning"] = np.minimum(seen, self.quota).sum().item()
        return pools


def step_plans(config):
    """Returns the `StepPlan` of every step of an `ExperimentConfig`."""
    sizes = (config.stream.num_base_classes, *config.stream.increments)
    memory, learns_alpha = config.memory, config.method.learns_alpha
    plans = []
    for index, num_classes in enumerate(itertools.accumulate(sizes)):
        num_old = num_classes - sizes[index]
        old_quota = memory.quota(num_old) if num_old else 0
        split = num_set_aside(old_quota) if num_old and learns_alpha else 0
        plans.append(
            StepPlan(
                index=index,
                all_step_sizes=sizes,
                num_old_classes=num_old,
                old_quota=old_quota,
                quota=memory.quota(num_classes),
                old_set_aside=memory.num_aside(num_old) if num_old else 0,
                num_set_aside=memory.num_aside(num_classes),
                num_alpha_split=split,
                replays_everything=memory.use.replays_everything,
                finetunes=num_old > 0 and config.training.finetuning is not None,
            )
        )
    return plans
