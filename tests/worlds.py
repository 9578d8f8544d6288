#!/usr/bin/env python3
"""Runs worlds against this checkout and prints a line for each: the world models receivers and senders, runs the real relay in time that
goes faster, prints its figure last and exits 0 when it holds. They lie beside the checkout (../shared/worlds); a world is a program
whose name begins with a number.

Usage: worlds.py [--only NAME…] [--short] [--again] [--seeds N] [--jobs N] [--timeout S] [--binary FILE] [--worlds DIR] [--tsv FILE]
--only takes the beginnings of names. --short: the few that a build runs. --seeds: each so many times; a world that looks at SEED gets
1, 2, 3 and so on, in all the hash seed differs and so does what chance and load do. Exits 77 when there are no worlds, 1 when one does
not hold. What a world started is ended with it, also when its time is over.
"""
import argparse
import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHORT = ("13-", "15-", "23-", "44-", "51-", "65-")
# what of a figure is which column; the first group is told
COLUMNS = (
    ("used", r"(\d+(?:\.\d+)?%) of it used|a (\d+ a minute of its \d+)|carries (\d+%)|the tenant (\d+ of \d+)"),
    ("refused", r"([\d.]+% of attempts) refused|(\d+) (?:attempts wasted|refused|refusals)|then (\d+ wasted an hour)|(\d+ attempts an hour)"),
    ("found", r"found after (\d+ attempts \(\d+ s\))"),
    ("back", r"back (\d+ s) after|first (?:mail|delivery) (\d+ (?:s|minutes)) after"),
    ("late", r"(\d+) (?:messages )?late|p99 (\d+ s)"),
)


def free_ports(n):
    held = [socket.socket() for _ in range(n)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def command(path):
    """By its first line, since files may have come without their permission to be run."""
    with open(path, encoding="utf8", errors="replace") as f:
        first = f.readline()
    return [sys.executable if "python" in first else "/bin/sh", path]


def end(group):
    for s in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, s)
            time.sleep(0.2)


def run(path, seconds, seed, binary):
    """(holds, its last line, seconds it took)"""
    ports = free_ports(3)
    env = {**os.environ, **dict(zip(("JUDGE_SMTP_PORT", "JUDGE_DNS_PORT", "JUDGE_RELAY_PORT"), map(str, ports))),
           "JUDGE_REPO": ROOT, "SEED": str(seed), "PYTHONHASHSEED": str(seed)}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="world-") as d, open(os.path.join(d, "out"), "w+", encoding="utf8", errors="replace") as out:
        cwd = at_commit(d, binary) if binary else ROOT
        env["JUDGE_REPO"] = cwd
        p = subprocess.Popen(command(path), cwd=cwd, env={**env, **({"TMPDIR": d} if binary else {})}, stdout=out,
                             stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = p.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        end(p.pid)
        p.wait()
        out.seek(0)
        lines = out.read().strip().splitlines()
    took = time.monotonic() - began
    if code is None:
        return False, f"no end in {seconds} s", took
    return code == 0, lines[-1] if lines else "", took


def at_commit(d, binary):
    """A world asks for the build of the commit it stands in: one without history, whose build is this file."""
    os.makedirs(os.path.join(d, "judge-build-none"))
    os.symlink(os.path.abspath(binary), os.path.join(d, "judge-build-none", "postern"))
    empty = os.path.join(d, "empty")
    os.makedirs(empty)
    return empty


def columns(figure):
    found = []
    for name, pattern in COLUMNS:
        m = re.search(pattern, figure)
        found.append(f"{name} {next(g for g in m.groups() if g)}" if m else "")
    return [f for f in found if f]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--only", nargs="+", default=[], metavar="NAME")
    a.add_argument("--short", action="store_true")
    a.add_argument("--again", action="store_true", help="one that does not hold is run once more: other work on the machine is in its time, too")
    a.add_argument("--seeds", type=int, default=1)
    a.add_argument("--jobs", type=int, default=1)
    a.add_argument("--timeout", type=int, default=300)
    a.add_argument("--binary", help="this relay, not the build of the checkout's commit")
    a.add_argument("--worlds", default=os.path.join(os.path.dirname(ROOT), "shared", "worlds"))
    a.add_argument("--tsv", help="a line for each run: world, seed, holds, seconds, figure")
    a = a.parse_args()
    only = tuple(a.only) or (SHORT if a.short else ("",))
    names = sorted(n for n in os.listdir(a.worlds) if n[:1].isdigit()) if os.path.isdir(a.worlds) else []
    names = [n for n in names if n.startswith(only)]
    if not names:
        print(f"no worlds in {a.worlds}")
        return 77
    runs = [(n, seed) for n in names for seed in range(1, a.seeds + 1)]
    failed = []
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        def once_or_twice(r):
            result = run(os.path.join(a.worlds, r[0]), a.timeout, r[1], a.binary)
            return run(os.path.join(a.worlds, r[0]), a.timeout, r[1], a.binary) if a.again and not result[0] else result

        results = pool.map(once_or_twice, runs)
        for (name, seed), (holds, figure, took) in zip(runs, results):
            failed += [] if holds else [f"{name} ({seed})"]
            told = "; ".join(columns(figure)) if holds else ""
            print(f"{name:28} {took:4.0f} s  {'holds' if holds else 'FAILS':6} {told or figure[:200]}", flush=True)
            if a.tsv:
                with open(a.tsv, "a", encoding="utf8") as f:
                    f.write(f"{name}\t{seed}\t{int(holds)}\t{took:.0f}\t{figure}\n")
    print(f"{len(failed)} of {len(runs)} did not hold" + (": " + ", ".join(failed) if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
