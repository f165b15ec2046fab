"""Facts about the machine and this process, as Linux tells them in /proc."""

import contextlib
import os
import resource
import sys

CPU_INFO = "/proc/cpuinfo"
_STATUS = "/proc/self/status"


def cpu_facts():
    """Fields of the first CPU as Linux names them, such as "flags"; else empty."""
    return _fields(CPU_INFO)


def available_memory():
    """Bytes a process may still take without swapping; off Linux, all there are."""
    available = _fields("/proc/meminfo").get("MemAvailable")
    if available:
        return int(available.split()[0]) * 2**10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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


def _fields(path):
    """Lines "name: value" of a file, the first of each name; empty without the file."""
    fields = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    return fields
