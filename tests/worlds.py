#!/usr/bin/env python3
"""Runs the worlds beside the checkout (../shared/worlds) against it, one at a time, and prints a table: world, seconds, figure, holds.

Usage: worlds.py [--only NAME…] [--tries N] [--worlds DIR]. Exits 77 when there are none, 1 when one does not hold.
"""
import argparse
import os
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def free_ports(n):
    held = [socket.socket() for _ in range(n)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def run(path, seconds):
    ports = dict(zip(("JUDGE_SMTP_PORT", "JUDGE_DNS_PORT", "JUDGE_RELAY_PORT"), map(str, free_ports(3))))
    env = {**os.environ, **ports, "JUDGE_REPO": ROOT}
    try:
        r = subprocess.run([sys.executable, path], cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False, f"no end in {seconds} s"
    lines = (r.stdout.strip() or r.stderr.strip()).splitlines()
    return r.returncode == 0, lines[-1] if lines else ""


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--only", nargs="+", default=[], metavar="NAME")
    a.add_argument("--tries", type=int, default=1)
    a.add_argument("--timeout", type=int, default=300)
    a.add_argument("--worlds", default=os.path.join(os.path.dirname(ROOT), "shared", "worlds"))
    a = a.parse_args()
    names = sorted(n for n in os.listdir(a.worlds) if n[:1].isdigit()) if os.path.isdir(a.worlds) else []
    names = [n for n in names if not a.only or n in a.only]
    if not names:
        print(f"no worlds in {a.worlds}")
        return 77
    failed = 0
    for name in names:
        for _ in range(a.tries):
            began = time.monotonic()
            holds, figure = run(os.path.join(a.worlds, name), a.timeout)
            failed += not holds
            print(f"{name:28} {time.monotonic() - began:5.0f} s  {'holds' if holds else 'FAILS':6} {figure[:160]}", flush=True)
    print(f"{failed} of {len(names) * a.tries} did not hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
