"""The faults of faults.c, from the other side: a file of numbers that both map."""
import errno
import mmap
import os
import pathlib
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from lib.process import Deadline, Failed  # noqa: E402

FIELDS = ("write_errno", "sync_errno", "allocate_errno", "open_errno", "sync_delay_us", "write_delay_us", "allocation_fails",
          "allocations", "failed", "syncs", "sync_writes", "writes", "bytes", "sync_errno_once")
DISK_FULL = {"write_errno": errno.ENOSPC, "allocate_errno": errno.ENOSPC}


class Faults:
    """f.set(sync_errno=errno.EIO) … f.clear(); f.syncs and so on are counters."""

    def __init__(self, directory, library=None):
        object.__setattr__(self, "path", pathlib.Path(directory) / "faults")
        self.path.write_bytes(bytes(8 * len(FIELDS)))
        with open(self.path, "r+b") as file:
            object.__setattr__(self, "map", mmap.mmap(file.fileno(), 8 * len(FIELDS)))
        object.__setattr__(self, "library", library or os.environ["FAULTS_LIBRARY"])

    def env(self):
        return {**os.environ, "LD_PRELOAD": self.library, "FAULTS_FILE": str(self.path)}

    def __getattr__(self, name):
        return struct.unpack_from("<Q", self.map, 8 * FIELDS.index(name))[0]

    def __setattr__(self, name, value):
        struct.pack_into("<Q", self.map, 8 * FIELDS.index(name), value)

    def set(self, **values):
        for name, value in values.items():
            setattr(self, name, value)

    def clear(self):
        self.set(**{name: 0 for name in FIELDS if "errno" in name or "fails" in name or "delay" in name})

    def wait_failed(self, more=1, since=None, timeout=None):
        """Until so many calls have been made to fail."""
        deadline, target = Deadline(timeout), (self.failed if since is None else since) + more
        while self.failed < target:
            if deadline.passed:
                raise Failed("the fault did not happen")
            time.sleep(0.005)
