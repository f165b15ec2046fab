"""Facts about the machine and this process, as Linux tells them in /proc."""

import contextlib
import os
import pathlib
import resource
import sys

CPU_INFO = "/proc/cpuinfo"
_STATUS = "/proc/self/status"
# Below the mount point of control groups: the limit, the use, and the field of
# memory.stat that counts cached files, which the kernel gives up when it has to.
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
    """Fields of the first CPU as Linux names them, such as "flags"; else empty."""
    return _fields(CPU_INFO)


def available_memory(root="/"):
    """Bytes that a process may still take without swapping.

    The least of the memory of the machine and the limits of its control groups, of
    version 1 or 2. Off Linux, all memory of the machine.

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
    """Highest resident memory of this process so far.

    Linux hands `ru_maxrss` of a parent down to the programs it starts; the high-water
    mark in /proc belongs to this program alone.
    """
    high_water = _fields(_STATUS).get("VmHWM")
    if high_water:
        return int(high_water.split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def resident_memory_mb():
    """Resident memory of this process now; Linux only."""
    return int(_fields(_STATUS)["VmRSS"].split()[0]) / 2**10


def _control_group_memory(root):
    """Yields the bytes that each control group of this process leaves of its limit."""
    groups = {pathlib.PurePosixPath("/")}
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            group = pathlib.PurePosixPath(line.split(":", 2)[2])
            # A limit of a group above holds as well.
            groups |= {group, *group.parents}
    for mount, limit, usage, cached in _CONTROL_GROUPS:
        for group in groups:
            folder = root / mount / str(group).lstrip("/")
            # Groups without a limit say "max"; those of other mounts have no files.
            with contextlib.suppress(OSError, ValueError):
                most = int((folder / limit).read_text("utf-8"))
                used = int((folder / usage).read_text("utf-8"))
                given_up = int(_fields(folder / "memory.stat", " ").get(cached, 0))
                yield max(0, most - used + given_up)


def _fields(path, separator=":"):
    """Lines "name: value" of a file, the first of each name; empty without the file."""
    fields = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(separator)
            fields.setdefault(name.strip(), value.strip())
    return fields
