"""Postfix, Exim and message samples, unpacked from Debian's packages by tests/peers.sh: in PEERS, or in a cache that test modules share."""
import fcntl
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "peers.sh"


def open_to_all(directory):
    """May every user pass through to it? Exim runs itself again as another user; a home of mode 0700 ends that."""
    return all(p.stat().st_mode & 0o001 for p in (directory, *directory.parents) if p.exists())


def place():
    named = os.environ.get("PEERS") or os.environ.get("E2E_CACHE")
    if named and open_to_all(pathlib.Path(named).absolute()):
        return pathlib.Path(named).absolute()
    return pathlib.Path(f"{tempfile.gettempdir()}/postern-peers-{os.getuid()}").absolute()


def unpacked():
    """The directory with postfix/, exim/ and samples/; the test is skipped when the packages cannot be had."""
    directory = place()
    directory.mkdir(parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise unittest.SkipTest(f"{directory} belongs to somebody else")
    with open(f"{directory}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["sh", SCRIPT, directory], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise unittest.SkipTest(f"packages cannot be downloaded (no network?): {done.stderr.strip()[-300:]}")
    return directory


def as_root():
    """Postfix and Exim change users: without root they cannot run."""
    if os.getuid() != 0:
        raise unittest.SkipTest("needs root, as Postfix and Exim do")
    return unpacked()


def smtp_source(peers):
    """Postfix's load generator: command line prefix and environment. Needs no root."""
    root = peers / "postfix"
    return str(root / "usr/sbin/smtp-source"), {**os.environ, "LD_LIBRARY_PATH": str(root / "usr/lib/postfix")}


def samples(peers):
    """Message files that others wrote, by name: of Python's email tests and of enmime, as they are on disk."""
    found = {}
    for pattern in ("usr/lib/python3*/test/test_email/data/msg_*.txt", "usr/share/gocode/src/github.com/jhillyerd/enmime/testdata/**/*"):
        for path in sorted((peers / "samples").glob(pattern)):
            if path.is_file():
                found["/".join(path.parts[-2:])] = path.read_bytes()
    return found


class NextHop:
    """A mail server of somebody else's while it runs: its process group, and what it put into the Maildir `mail`/all."""

    process = None

    def messages(self):
        """The files of the Maildir, oldest first."""
        new = self.mail / "all/new"
        return sorted(new.iterdir(), key=lambda p: p.stat().st_mtime_ns) if new.is_dir() else []

    def stop(self):
        if self.process and self.process.poll() is None:
            # it has children: the process group that start() made is its own
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
