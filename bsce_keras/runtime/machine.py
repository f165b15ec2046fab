"""Facts about the machine and this process, from /proc on Linux."""

import contextlib
import os
import pathlib
import sys

CPU_INFO = "/proc/cpuinfo"
_STATUS = "/proc/self/status"
# Mount points of control groups, files of the limit and the use, and the field of
# memory.stat that counts cached files. The kernel frees these if it needs memory.
_CONTROL_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def cpu_facts():
    """Returns fields of the first CPU, such as "flags"; only on Linux, else empty."""
    return _fields(CPU_INFO)


def available_memory(root="/"):
    """Returns the bytes that a process may still take without swapping.

    This is the smallest of the machine's memory and the limits of its control groups,
    of version 1 or 2. On other systems than Linux, it is all memory of the machine.

    Args:
        root: folder that holds `proc` and `sys`.
    """
    root = pathlib.Path(root)
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    available = _fields(root / "proc/meminfo").get("MemAvailable")
    if available:
        bounds.append(int(available.split()[0]) * 2**10)
    return min([*bounds, *_control_group_memory(root)])


def peak_memory_mb():
    """Returns the largest resident memory of this process so far, in MiB.

    On Linux, a program inherits `ru_maxrss` from its parent. The high-water mark in
    /proc counts only this program.
    """
    high_water = _fields(_STATUS).get("VmHWM")
    if high_water:
        return int(high_water.split()[0]) / 2**10
    import resource  # Windows has no such module.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def resident_memory_mb():
    """Returns the current resident memory of this process in MiB; only on Linux."""
    return int(_fields(_STATUS)["VmRSS"].split()[0]) / 2**10


def _control_group_memory(root):
    """Yields the bytes left of the limit of each control group of this process."""
    groups = {pathlib.PurePosixPath("/")}
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            group = pathlib.PurePosixPath(line.split(":", 2)[2])
            # Limits of parent groups hold as well.
            groups |= {group, *group.parents}
    for mount, limit, usage, cached in _CONTROL_GROUPS:
        for group in groups:
            folder = root / mount / str(group).lstrip("/")
            # Groups without a limit contain "max"; groups of other mounts lack files.
            with contextlib.suppress(OSError, ValueError):
                most = int((folder / limit).read_text("utf-8"))
                used = int((folder / usage).read_text("utf-8"))
                given_up = int(_fields(folder / "memory.stat", " ").get(cached, 0))
                yield max(0, most - used + given_up)


def _fields(path, separator=":"):
    """Returns lines "name: value" of a file, the first of each name; else empty."""
    fields = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(separator)
            fields.setdefault(name.strip(), value.strip())
    return fields
