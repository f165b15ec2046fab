"""How it is measured: effort, workloads that take turns, samples and medians."""

import dataclasses
import functools
import statistics
import time


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much work a measurement takes.

    Args:
        rounds: turns every workload gets; a turn is one sample.
        repeats: calls a turn.
        warm_up: calls before the first turn, which trace and fill caches.
        epoch_updates: updates in an epoch; by default those of an increment of
            CIFAR-100 (10 x 500 + 50 x 20 images).
        evaluation_images: at 32x32; fewer where they are larger.
        herding_classes: classes of 1300 images each.
    """

    rounds: int = 5
    repeats: int = 8
    warm_up: int = 3
    epoch_updates: int = 47
    evaluation_images: int = 2000
    herding_classes: int = 100


QUICK = Effort(
    rounds=1,
    repeats=1,
    warm_up=1,
    epoch_updates=2,
    evaluation_images=32,
    herding_classes=2,
)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Samples of one quantity.

    Args:
        name: `part/case/variant/precision`, as far as they apply.
        unit: of the samples.
        samples: at least one number.
    """

    name: str
    unit: str
    samples: tuple[float, ...]

    @property
    def median(self):
        return statistics.median(self.samples)

    def to_json(self):
        """The median for readers, the samples for whoever doubts it."""
        samples = list(self.samples)
        return {"unit": self.unit, "median": self.median, "samples": samples}


def speeds(prefix, seconds, num_images):
    """Measurements in images per second out of what `take_turns` returned."""
    return [
        Measurement(
            f"{prefix}/{name}",
            "images/s",
            tuple(num_images / sample for sample in samples),
        )
        for name, samples in seconds.items()
    ]


def alternate(workloads, effort):
    """Seconds per call of several workloads of this process that take turns.

    Args:
        workloads: by name, functions without arguments that return a number, or a
            tensor of one that is ready when the work is done.
        effort: `Effort`.

    Returns:
        By name, a tuple of one sample a round.
    """
    for workload in workloads.values():
        seconds_of(workload, effort.warm_up)
    timers = {
        name: functools.partial(seconds_of, workload)
        for name, workload in workloads.items()
    }
    return take_turns(timers, effort)


def take_turns(timers, effort):
    """Seconds per call of what several timers time, in turns.

    A machine's speed drifts with its temperature and its other work; taking turns
    spreads the drift over all workloads, so that ratios within a round hold. Every
    second round runs backwards, so that no workload always follows the same one.

    Args:
        timers: by name, functions of a number of calls that return their seconds.
        effort: `Effort`; its warm-up is past.

    Returns:
        By name, a tuple of one sample a round.
    """
    samples = {name: [] for name in timers}
    order = list(timers)
    for _ in range(effort.rounds):
        for name in order:
            samples[name].append(timers[name](effort.repeats) / effort.repeats)
        order.reverse()
    return {name: tuple(values) for name, values in samples.items()}


def seconds_of(workload, calls):
    """Seconds that `calls` calls of a workload, as of `alternate`, take."""
    began = time.perf_counter()
    for _ in range(calls):
        result = workload()
    float(result)  # Waits for devices that work asynchronously.
    return time.perf_counter() - began
