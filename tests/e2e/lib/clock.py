"""The clock of clock.c, from the other side."""
import datetime
import mmap
import os
import pathlib
import struct
import time

DAY = 86400


class Clock:
    """Clocks that the relay goes by: c.set("2026-11-03 08:00") … c.step(days=1) sets the system's; c.elapse(seconds=30): that much passes.
    UTC."""

    def __init__(self, directory, start):
        self.path = pathlib.Path(directory) / "clock"
        self.path.write_bytes(bytes(16))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 16)
        self.set(start)

    def env(self):
        return {**os.environ, "LD_PRELOAD": os.environ["CLOCK_LIBRARY"], "CLOCK_FILE": str(self.path)}

    @property
    def offset(self):
        return struct.unpack_from("<q", self.map, 0)[0]

    @offset.setter
    def offset(self, ms):
        struct.pack_into("<q", self.map, 0, int(ms))

    @property
    def now(self):
        return time.time() + self.offset / 1000

    @property
    def date(self):
        return datetime.datetime.fromtimestamp(self.now, datetime.timezone.utc).date().isoformat()

    def set(self, text):
        at = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)
        self.offset = (at.timestamp() - time.time()) * 1000

    def step(self, **duration):
        self.offset += datetime.timedelta(**duration).total_seconds() * 1000

    def elapse(self, **duration):
        """As if so much time had passed, by all clocks."""
        self.step(**duration)
        struct.pack_into("<q", self.map, 8, struct.unpack_from("<q", self.map, 8)[0] + int(datetime.timedelta(**duration).total_seconds() * 1000))
