"""Memory of a process, in the documented units."""

import numpy as np
import pytest

from bsce_keras.runtime.machine import available_memory, peak_memory_mb


def test_peak_memory_grows_by_an_allocation_in_mib():
    before = peak_memory_mb()
    # Far more than the difference between the peak so far and the current use.
    size = int(before * 2**20) + 2**26
    assert np.ones(size, np.uint8).sum() == size
    assert peak_memory_mb() >= before + 64


def write_files(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


MACHINE = {"proc/meminfo": "MemTotal: 4096 kB\nMemAvailable: 2048 kB"}
VERSION_2 = {
    "proc/self/cgroup": "0::/job/task",
    "sys/fs/cgroup/job/task/memory.max": "max",
    "sys/fs/cgroup/job/task/memory.current": 500_000,
    "sys/fs/cgroup/job/memory.max": 1_000_000,
    "sys/fs/cgroup/job/memory.current": 700_000,
    "sys/fs/cgroup/job/memory.stat": "anon 600000\ninactive_file 90000",
}
V1 = "sys/fs/cgroup/memory"
VERSION_1 = {
    "proc/self/cgroup": "4:memory:/job\n1:cpu:/\n0::/",
    f"{V1}/memory.limit_in_bytes": 2**63 - 4096,
    f"{V1}/memory.usage_in_bytes": 9_000_000,
    f"{V1}/memory.stat": "total_inactive_file 0",
    f"{V1}/job/memory.limit_in_bytes": 800_000,
    f"{V1}/job/memory.usage_in_bytes": 300_000,
    f"{V1}/job/memory.stat": "cache 9\ntotal_inactive_file 1000",
}
# A container sees its group as the root, but under the name of the host.
CONTAINER = {
    "proc/self/cgroup": "0::/docker/0123",
    "sys/fs/cgroup/memory.max": 600_000,
    "sys/fs/cgroup/memory.current": 100_000,
    "sys/fs/cgroup/memory.stat": "inactive_file 0",
}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({}, 2048 * 2**10),
        (VERSION_2, 1_000_000 - 700_000 + 90_000),
        (VERSION_1, 800_000 - 300_000 + 1000),
        (CONTAINER, 500_000),
    ],
    ids=["none", "version 2", "version 1", "container"],
)
def test_memory_is_bounded_by_machine_and_control_groups(tmp_path, groups, expected):
    write_files(tmp_path, MACHINE | groups)
    assert available_memory(tmp_path) == expected


def test_control_group_above_its_limit_has_0_bytes(tmp_path):
    full = {"sys/fs/cgroup/memory.current": 700_000}
    write_files(tmp_path, MACHINE | CONTAINER | full)
    assert available_memory(tmp_path) == 0


def test_all_memory_is_available_without_files_of_linux(tmp_path):
    assert available_memory(tmp_path) > 2**20
