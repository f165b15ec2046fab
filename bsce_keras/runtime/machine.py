"""What a process uses of the machine."""

import os
import resource
import sys


def available_memory():
    """Bytes a process may still take without swapping; off Linux, all there are."""
    if os.path.exists("/proc/meminfo"):
        with open("/proc/meminfo", encoding="utf-8") as file:
            fields = dict(line.split(":", 1) for line in file)
        if "MemAvailable" in fields:
            return int(fields["MemAvailable"].split()[0]) * 2**10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory_mb():
    """Highest resident memory of this process so far.

    Linux hands `ru_maxrss` of a parent down to the programs it starts; the high-water
    mark in /proc belongs to this program alone.
    """
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as file:
            fields = dict(line.split(":", 1) for line in file)
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
