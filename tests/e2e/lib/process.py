"""Programs under test: found by environment variables, started in a directory of their own, stopped by pid."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

DEADLINE = float(os.environ.get("E2E_DEADLINE", "30"))
"""Seconds that anything may take which a test waits for. Raised by the slow (sanitized) runs."""


class Failed(AssertionError):
    """What was waited for did not come, or came otherwise."""


def find_program(variable, name):
    """The path of a program: from the environment, else from a build directory beside the sources."""
    path = os.environ.get(variable)
    if path:
        return os.path.abspath(path)
    root = pathlib.Path(__file__).resolve().parents[3]
    for candidate in sorted(root.glob(f"build*/**/{name}")):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which(name)
    if not found:
        raise Failed(f"no {name}: set {variable} to its path")
    return found


class Deadline:
    def __init__(self, seconds=None):
        self.seconds = DEADLINE if seconds is None else seconds
        self.end = time.monotonic() + self.seconds

    @property
    def left(self):
        return max(0.0, self.end - time.monotonic())

    @property
    def passed(self):
        return time.monotonic() >= self.end


class Program:
    """A process of ours with a temporary directory; kept for inspection when E2E_KEEP is set."""

    def __init__(self, name):
        self.name = name
        self.process = None
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"postern-{name}-"))
        self.stderr_path = self.dir / "stderr"

    def spawn(self, command, **options):
        with open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stderr=err,
                                            cwd=self.dir, **options)
        return self.process

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def stderr(self):
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, timeout=None):
        """The exit status; a process that does not end is killed, and that is an error."""
        try:
            return self.process.wait(DEADLINE if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.name} did not end\n{self.stderr()}") from None

    def kill(self):
        """SIGKILL, as a power cut would be to the process."""
        if self.running:
            self.process.kill()
        if self.process:
            self.process.wait()

    def cpu_seconds(self):
        """User and system time so far."""
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def memory_parts(self):
        """Resident bytes: of its own (heap, stacks), and of files that it maps (programs, and what was lately read of the queue)."""
        with open(f"/proc/{self.pid}/status") as f:
            kib = {line.split(":")[0]: int(line.split()[1]) for line in f if line.startswith("Rss")}
        return kib["RssAnon"] * 1024, kib["RssFile"] * 1024

    def remove_dir(self):
        if not os.environ.get("E2E_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            if self.running:
                self.signal(signal.SIGTERM)
                with contextlib.suppress(Failed):
                    self.wait_exit(10)
        self.remove_dir()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
