"""What processes can leave behind on a machine, and how much of it there is."""

import contextlib
import os
import re
import time
from pathlib import Path

import psutil

_LEAKED_MIB = 128
"""Half of what the rings of ten killed cameras hold; the rest of the machine moves it too."""
_SETTLE_S = 10


class Before:
    """How the machine was, to compare with."""

    def __init__(self):
        self.files = shared_memory_files()
        self.memory_mib = shared_memory_mib()

    def faults_since(self, run_dir):
        """One sentence for each thing that was left behind."""
        if run_dir.exists():
            yield f"left in the run directory: {sorted(os.listdir(run_dir))}"
        if orphans := processes_of(run_dir):
            yield f"orphans: {sorted(orphans)}"
        if new := shared_memory_files() - self.files - files_in_use():
            yield f"left in /dev/shm: {sorted(new)}"
        due_s = time.monotonic() + _SETTLE_S
        while self.grown_mib() > _LEAKED_MIB and time.monotonic() < due_s:
            time.sleep(0.1)
        if self.grown_mib() > _LEAKED_MIB:
            yield f"shared memory grew by {self.grown_mib():.0f} MiB"

    def grown_mib(self):
        return shared_memory_mib() - self.memory_mib


def processes_of(directory):
    """Pids of living processes whose command line names the directory."""
    found = set()
    for process in psutil.process_iter(["cmdline", "status"]):
        is_dead = process.info["status"] == psutil.STATUS_ZOMBIE
        if not is_dead and any(str(directory) in word for word in process.info["cmdline"] or ()):
            found.add(process.pid)
    return found


def shared_memory_files():
    return set(os.listdir("/dev/shm"))


def files_in_use():
    """Files in /dev/shm that other living processes have mapped: theirs, not left behind."""
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # gone, or not ours to look at
            found |= set(re.findall(r"/dev/shm/(.+)$", maps.read_text(), re.MULTILINE))
    return found


def shared_memory_mib():
    """Shmem of the whole machine: memfds, tmpfs and shared anonymous memory."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["Shmem"].split()[0]) / 1024


def open_files(pid):
    """How many file descriptors a process has open; 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
