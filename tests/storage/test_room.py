"""What there is room for: the tightest of the machine and of all control groups above, of both versions."""

from types import SimpleNamespace

import pytest

from linsim.storage import room

MB = 2**20
HUGE = str(2**63 - 4096)
"""No limit, as version 1 has it."""
SECOND = {"memory.max": 600 * MB, "memory.current": 100 * MB, "memory.stat": "anon 5\ninactive_file 0\n"}
FIRST = {
    "memory.limit_in_bytes": 600 * MB,
    "memory.usage_in_bytes": 300 * MB,
    "memory.stat": f"inactive_file 1\ntotal_inactive_file {200 * MB}\n",
}
LIMITS = {
    "a container": ("0::/\n", {"": SECOND}, 500),
    "a container seen by the path of the host": ("0::/docker/abc\n", {"": SECOND}, 500),
    "files held in memory": ("0::/\n", {"": SECOND | {"memory.stat": f"inactive_file {60 * MB}\n"}}, 560),
    "a job of a batch system": ("0::/job/step\n", {"job": SECOND, "job/step": SECOND | {"memory.max": "max"}}, 500),
    "a limit above which it is slowed down": ("0::/\n", {"": SECOND | {"memory.high": 400 * MB}}, 300),
    "more taken than allowed": ("0::/\n", {"": SECOND | {"memory.current": 700 * MB}}, 0),
    "no limit": ("0::/\n", {"": SECOND | {"memory.max": "max"}}, 1000),
    "more than the machine has": ("0::/\n", {"": SECOND | {"memory.max": 9000 * MB}}, 1000),
    "version 1": ("7:cpu,memory:/job\n3:cpuset:/\n", {"memory/job": FIRST}, 500),
    "version 1 without a limit": ("7:memory:/job\n", {"memory/job": FIRST | {"memory.limit_in_bytes": HUGE}}, 1000),
    "both": ("7:memory:/job\n0::/\n", {"memory/job": FIRST, "": SECOND | {"memory.max": 350 * MB}}, 250),
    "no control groups": (None, {}, 1000),
    "nonsense": ("memory\n\n0::\n", {"": {"memory.max": "many", "memory.current": "-1"}}, 1000),
}


@pytest.mark.parametrize("case", LIMITS)
def test_limits_count(tmp_path, monkeypatch, case):
    groups, folders, left = LIMITS[case]
    monkeypatch.setattr(room, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(room, "_MOUNT", tmp_path / "mount")
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000 * MB))
    if groups is not None:
        (tmp_path / "cgroup").write_text(groups)
    for folder, files in folders.items():
        (tmp_path / "mount" / folder).mkdir(parents=True, exist_ok=True)
        for name, told in files.items():
            (tmp_path / "mount" / folder / name).write_text(f"{told}\n")
    assert room.memory_left() == left * MB


def test_the_disk_of_a_folder_that_is_not_there_is_that_of_the_next_above(tmp_path):
    assert room.disk_left(tmp_path / "new" / "folder") > 0
