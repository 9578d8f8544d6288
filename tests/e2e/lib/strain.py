"""Clients for tests under strain: good ones whose rate and delay are measured, and those that hold, idle or guess.

Run as a program it guesses passwords: python3 -m lib.strain HOST PORT SOURCE…, until it is ended."""
import base64
import contextlib
import socket
import statistics
import sys
import threading
import time

from .raw import Smtp


class Rate:
    """What good clients got done."""

    def __init__(self, seconds, delays, failures):
        self.rate = len(delays) / seconds
        self.delay = statistics.median(delays) if delays else float("inf")
        self.failures = failures

    def __repr__(self):
        return f"{self.rate:.0f}/s, {1000 * self.delay:.1f} ms, {self.failures} failed"


def good_clients(address, seconds, count=4, pace=0.05, source="127.0.9.9", fresh=False, to="user@t1.example", body=b"x" * 3000):
    """A message each `pace` seconds from each of `count` clients; fresh: on a connection of its own."""
    delays, failures, end = [], [0], time.monotonic() + seconds

    def one(c):
        content = b"Subject: good\r\n\r\n" + body + b"\r\n"
        replies = c.flight("MAIL FROM:<good@sender.example>", f"RCPT TO:<{to}>", f"BDAT {len(content)} LAST", content, replies=3)
        return all(r.code == 250 for r in replies)

    def run():
        c, due = None, time.monotonic()
        while due < end:
            time.sleep(max(0, due - time.monotonic()))
            begun = time.monotonic()
            try:
                c = c or Smtp(*address, source=source)
                if one(c):
                    delays.append(time.monotonic() - begun)
                else:
                    failures[0] += 1
                    c.close()
                    c = None
            except (OSError, EOFError, AttributeError):
                failures[0] += 1
                c = None
            if fresh and c:
                c.close()
                c = None
            due = max(due + pace, time.monotonic() - pace)
        if c:
            c.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return Rate(seconds, delays, failures[0])


class Holders:
    """Many connections that do something and then say no more, but for a byte now and then."""

    def __init__(self, address, count, sources, begin=None, drip=None):
        self.address, self.count, self.sources, self.begin, self.drip = address, count, sources, begin, drip
        self.sockets, self.stop = [], threading.Event()

    def __enter__(self):
        for n in range(self.count):
            s = None
            try:
                source = self.sources[n % len(self.sources)]
                if self.begin:
                    c = Smtp(*self.address, source=source)
                    self.begin(c)
                    s = c.socket
                else:
                    s = socket.create_connection(self.address, 5, (source, 0))
                self.sockets.append(s)
            except (OSError, EOFError):
                if s:
                    s.close()
        self.thread = threading.Thread(target=self._drip)
        self.thread.start()
        return self

    def _drip(self):
        while self.drip and not self.stop.wait(0.5):
            for s in self.sockets:
                with contextlib.suppress(OSError):
                    s.send(self.drip, socket.MSG_DONTWAIT)

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()
        for s in self.sockets:
            s.close()


def guess(address, source):
    n = 0
    while True:
        with contextlib.suppress(OSError, EOFError):
            with Smtp(*address, source=source) as c:
                while c.command("AUTH PLAIN " + base64.b64encode(f"\0app\0guess{n}".encode()).decode()).code == 535:
                    n += 1
        n += 1


if __name__ == "__main__":
    for where in sys.argv[3:]:
        threading.Thread(target=guess, args=((sys.argv[1], int(sys.argv[2])), where), daemon=True).start()
    time.sleep(3600)
