"""How many threads are the right number, on made-up machines and in made-up control groups."""

from __future__ import annotations

import os
import struct

import pytest
from glmq_kernels.machine import cores
from glmq_kernels.machine.control_groups import processor_quota

V2_MOUNT = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


def write(root, path, text):
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")


def machine(root, siblings, name="core_cpus_list"):
    """`siblings`: for each logical processor those on the same core, as Linux writes them."""
    for processor, text in enumerate(siblings):
        write(root, f"sys/devices/system/cpu/cpu{processor}/topology/{name}", text)
    return root


def groups(root, mounts, cgroup, files):
    """A process in control groups whose files hold these texts."""
    write(root, "proc/self/mountinfo", "\n".join(["22 1 8:1 / / rw - ext4 /dev/sda1 rw", *mounts]))
    write(root, "proc/self/cgroup", "\n".join(cgroup))
    for path, text in files.items():
        write(root, path, text)
    return root


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
@pytest.mark.parametrize(
    ("siblings", "allowed", "expected"),
    [
        (["0", "1", "2", "3"], range(4), 4),
        (["0,2", "1,3", "0,2", "1,3"], range(4), 2),
        (["0-1", "0-1", "2-3", "2-3"], range(4), 2),
        (["0-1", "0-1", "2-3", "2-3"], [0, 1], 1),  # affinity to one core's two threads
        (["0-1", "0-1", "2-3", "2-3"], [1, 2], 2),
        (["0-1", "0-1", "2", "3", "4"], range(5), 4),  # efficiency cores have one thread each
    ],
)
def test_siblings_on_one_core_count_once(tmp_path, name, siblings, allowed, expected):
    assert cores.linux_cores(allowed, machine(tmp_path, siblings, name)) == expected


def test_processors_that_linux_says_nothing_of_are_cores(tmp_path):
    assert cores.linux_cores({3, 7, 8}, tmp_path) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [("150000 100000", 1.5), ("max 100000", None), ("50000 100000", 0.5), ("", None), ("0 100000", None)],
)
def test_quota_of_version_2(tmp_path, text, expected):
    files = {"sys/fs/cgroup/user.slice/app/cpu.max": text}
    assert processor_quota(groups(tmp_path, [V2_MOUNT], ["0::/user.slice/app"], files)) == expected


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3.0), ("-1", None)])
def test_quota_of_version_1(tmp_path, quota, expected):
    folder = "sys/fs/cgroup/cpu,cpuacct/jobs/7"
    files = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"}
    cgroup = ["9:memory:/other", "5:cpu,cpuacct:/jobs/7", "0::/"]
    assert processor_quota(groups(tmp_path, [V1_MEMORY, V1_MOUNT], cgroup, files)) == expected


def test_the_least_quota_of_nested_groups_counts(tmp_path):
    files = {
        "sys/fs/cgroup/cpu.max": "max 100000",
        "sys/fs/cgroup/a/cpu.max": "200000 100000",
        "sys/fs/cgroup/a/b/cpu.max": "800000 100000",
        "sys/fs/cgroup/a/b/c/cpu.max": "max 100000",
        "sys/fs/cgroup/a/other/cpu.max": "10000 100000",
    }
    assert processor_quota(groups(tmp_path, [V2_MOUNT], ["0::/a/b/c"], files)) == 2.0


def test_both_versions_at_once(tmp_path):
    unified = V2_MOUNT.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    files = {
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "250000",
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000",
    }
    found = groups(tmp_path, [V1_MOUNT, unified], ["3:cpu,cpuacct:/x", "0::/y"], files)
    assert processor_quota(found) == 2.5


@pytest.mark.parametrize(
    ("top", "cgroup"),
    [
        ("/", "0::/"),  # a namespace of its own
        ("/docker/4f2a", "0::/docker/4f2a"),  # the host's names, mounted from the container's group on
        ("/docker/4f2a", "0::/"),
        ("/", "0::/../../docker/4f2a"),  # seen from another namespace
    ],
)
def test_in_a_container_the_mounted_group_counts(tmp_path, top, cgroup):
    mount = V2_MOUNT.replace(" / ", f" {top} ", 1)
    files = {"sys/fs/cgroup/cpu.max": "400000 100000"}
    assert processor_quota(groups(tmp_path, [mount], [cgroup], files)) == 4.0


def test_mount_points_with_spaces(tmp_path):
    mount = V2_MOUNT.replace("/sys/fs/cgroup ", r"/my\040groups ")
    files = {"my groups/a/cpu.max": "100000 100000"}
    assert processor_quota(groups(tmp_path, [mount], ["0::/a"], files)) == 1.0


@pytest.mark.parametrize("damaged", ["", "nonsense", "1 2 3 - cgroup2"])
def test_without_control_groups_there_is_no_quota(tmp_path, damaged):
    assert processor_quota(tmp_path) is None
    write(tmp_path, "proc/self/mountinfo", damaged)
    assert processor_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "count", "expected"),
    [("max", 8, 8), (400000, 8, 4), (150000, 8, 2), (140000, 8, 1), (10000, 8, 1), (1600000, 8, 8)],
)
def test_a_quota_limits_threads_to_the_nearest_number(tmp_path, quota, count, expected):
    files = {"sys/fs/cgroup/cpu.max": f"{quota} 100000"}
    assert cores.within_quota(count, groups(tmp_path, [V2_MOUNT], ["0::/"], files)) == expected


def core_record(mask, relationship=0):
    """A SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX."""
    return struct.pack("<IIBB20xHQH6x", relationship, 48, 1, 0, 1, mask, 0)


@pytest.mark.parametrize(
    ("masks", "allowed", "expected"),
    [((0b11, 0b1100), 0, 2), ((0b11, 0b1100), 0b10, 1), ((1, 2, 4), 0b101, 2), ((), 0, 0)],
)
def test_cores_of_windows(masks, allowed, expected):
    records = b"".join(map(core_record, masks)) + core_record(1, relationship=2)
    assert cores.windows_cores(records, allowed) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_affinity_counts():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.core_count() == cores.processor_count() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= cores.core_count() <= cores.processor_count() <= len(before)
