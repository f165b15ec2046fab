"""Measurement: effort, workloads that take turns, samples and medians."""

import dataclasses
import functools
import statistics
import time


@dataclasses.dataclass(frozen=True)
class Effort:
    """Amount of work of a measurement.

    Args:
        rounds: number of turns of every workload. A turn is one sample.
        repeats: number of calls in a turn.
        warm_up: number of calls before the first turn, which trace and fill caches.
        epoch_updates: number of updates in an epoch; by default that of an increment
            of CIFAR-100 (10 x 500 + 50 x 20 images).
        epoch_seconds: length of an epoch whose end is timed.
        evaluation_images: number of images of 32x32; fewer of larger images.
        herding_classes: number of classes of 1300 images each.
    """

    rounds: int = 5
    repeats: int = 8
    warm_up: int = 3
    epoch_updates: int = 47
    epoch_seconds: float = 12.0
    evaluation_images: int = 2000
    herding_classes: int = 100


QUICK = Effort(
    rounds=1,
    repeats=1,
    warm_up=1,
    epoch_updates=2,
    epoch_seconds=0.1,
    evaluation_images=32,
    herding_classes=2,
)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Samples of one quantity.

    Args:
        name: `part/case/variant/precision`, as far as they apply.
        unit: unit of the samples.
        samples: at least one number.
    """

    name: str
    unit: str
    samples: tuple[float, ...]

    @property
    def median(self):
        return statistics.median(self.samples)

    def to_json(self):
        """Returns unit, median and samples."""
        samples = list(self.samples)
        return {"unit": self.unit, "median": self.median, "samples": samples}


def speeds(prefix, seconds, num_images):
    """Converts results of `take_turns` to measurements in images per second."""
    return [
        Measurement(
            f"{prefix}/{name}",
            "images/s",
            tuple(num_images / sample for sample in samples),
        )
        for name, samples in seconds.items()
    ]


def alternate(workloads, effort):
    """Measures workloads of this process that take turns, in seconds per call.

    Args:
        workloads: functions without arguments by name. Each returns a number, or a
            scalar tensor that is ready when the work is done.
        effort: `Effort`.

    Returns:
        Dictionary by name of tuples with one sample a round.
    """
    for workload in workloads.values():
        seconds_of(workload, effort.warm_up)
    timers = {
        name: functools.partial(seconds_of, workload)
        for name, workload in workloads.items()
    }
    return take_turns(timers, effort)


def take_turns(timers, effort):
    """Measures seconds per call with several timers that take turns.

    The speed of a machine drifts with its temperature and other work. Turns spread the
    drift over all workloads, so that ratios within a round hold. Every second round
    has the reverse order, so that the predecessor of a workload changes.

    Args:
        timers: functions by name, from a number of calls to their seconds.
        effort: `Effort`. Its warm-up must be done.

    Returns:
        Dictionary by name of tuples with one sample a round.
    """
    samples = {name: [] for name in timers}
    order = list(timers)
    for _ in range(effort.rounds):
        for name in order:
            samples[name].append(timers[name](effort.repeats) / effort.repeats)
        order.reverse()
    return {name: tuple(values) for name, values in samples.items()}


def seconds_of(workload, calls):
    """Returns the seconds of `calls` calls of a workload, see `alternate`."""
    began = time.perf_counter()
    for _ in range(calls):
        result = workload()
    float(result)  # Waits for devices that work asynchronously.
    return time.perf_counter() - began
