#!/usr/bin/env python3
"""Compares Postern with Postfix on this machine, in one run, in turn: messages a second from the first send until the sink has the
last, CPU seconds per 1,000 messages of everything the relay started, memory, syncs; and prints the ratios of the medians.

Usage: bench/compare.py --build DIRECTORY [--messages N] [--sessions N] [--size BYTES] [--rounds N] [--chunking] [--json]

Both relays send to the same sink on 127.0.0.9 over at most 20 connections, sync on, logging to a file. Needs root (for Postfix).
"""
import argparse
import ctypes
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
from lib.postfix import Postfix, free_port  # noqa: E402

SINK = "127.0.0.9"
WARM = 500
POSTFIX = {  # tuned for throughput: the settings that peer measurements found best
    "default_process_limit": 200, "default_destination_concurrency_limit": 20, "initial_destination_concurrency": 20, "in_flow_delay": 0,
    "qmgr_message_active_limit": 50000, "qmgr_message_recipient_limit": 50000, "smtp_connection_cache_time_limit": "300s",
    "smtp_connection_reuse_time_limit": "300s", "smtp_connection_reuse_count_limit": 0, "smtpd_client_connection_count_limit": 0,
    "smtpd_client_connection_rate_limit": 0, "smtpd_client_event_limit_exceptions": "127.0.0.0/8", "max_use": 10000,
    "canonical_maps": "", "receive_override_options": "no_address_mappings", "smtpd_recipient_restrictions": "permit_mynetworks,reject",
    "smtputf8_enable": "no", "smtpd_error_sleep_time": 0,
}
POSTERN = """
hostname = "relay.example.net"
queue {{ path = "{dir}/queue" max_size = "4GiB" }}
control {{ socket = "{dir}/control.sock" }}
log {{ file = "{dir}/log" }}
listener "in" {{ address = {{"127.0.0.1:{port}"}} allow = {{"127.0.0.0/8"}} pool = "main" sessions_per_client = 1000 }}
source "a1" {{ address = "127.0.0.10" ehlo = "a1.relay.example.net" }}
pool "main" {{ sources = {{"a1"}} }}
provider "default" {{ port = {sink} tls = "none" connections_per_cluster = 20 connections_per_lane = 20 connections_per_cluster_subnet = 20
  messages_per_connection = 100000 lane_message_rate = "10000000/1m" lane_connect_rate = "100000/1m" }}
"""


def become_subreaper():
    """Children of children come to us when their parent ends: their CPU time is counted too."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def cpu_of_children():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def tree(pid):
    """pid and all its descendants."""
    parents = {}
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit():
            try:
                parents.setdefault(int((p / "stat").read_text().rsplit(")", 1)[1].split()[1]), []).append(int(p.name))
            except OSError:
                pass
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue += parents.get(found[-1], [])
    return found


def memory_kib(pid):
    total = 0
    for p in tree(pid):
        try:
            for line in pathlib.Path(f"/proc/{p}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


class PeakMemory(threading.Thread):
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.stop = pid, 0, threading.Event()

    def run(self):
        while not self.stop.wait(0.2):
            self.peak = max(self.peak, memory_kib(self.pid))


class PosternRelay:
    name = "Postern"

    def __init__(self, args, directory, sink_port):
        self.dir = pathlib.Path(directory)
        self.port = free_port()
        self.conf = self.dir / "postern.conf"
        self.conf.write_text(POSTERN.format(dir=directory, port=self.port, sink=sink_port))
        self.binary = args.build / "relay/cli/postern"
        self.process = subprocess.Popen([self.binary, "run", "-c", self.conf])
        deadline = time.monotonic() + 10
        while not (self.dir / "control.sock").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Postern did not start")
            time.sleep(0.02)

    def pid(self):
        return self.process.pid

    def extra(self):
        out = json.loads(subprocess.run([self.binary, "stats", "--json", "-c", self.conf], check=True, capture_output=True).stdout)
        return {"commits": out["queue"]["commits"], "syncs": out["queue"]["syncs"]}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class PostfixRelay:
    name = "Postfix"

    def __init__(self, args, directory, sink_port):
        self.postfix = Postfix(args.peers, directory, relay_to=f"{SINK}:{sink_port}", settings=POSTFIX, processes="200").start()
        self.port = self.postfix.port

    def pid(self):
        return self.postfix.process.pid

    def extra(self):
        return {}

    def stop(self):
        self.postfix.stop()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # adopted grandchildren
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.05)
            except ChildProcessError:
                return


def load(args, port, messages):
    out = subprocess.run([args.build / "bench/smtpload", "--to", f"127.0.0.1:{port}", "--messages", str(messages), "--sessions",
                          str(args.sessions), "--size", str(args.size), "--rcpt", f"user@[{SINK}]", "--json"], capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(f"load generator: {out.stdout}{out.stderr}")
    return json.loads(out.stdout)


def one_run(args, kind):
    command = [args.build / "bench/smtpsink", "--listen", f"{SINK}:0", "--expect", str(WARM + args.messages)]
    if args.chunking:
        command.append("--chunking")
    with tempfile.TemporaryDirectory(dir=args.dir) as directory:
        os.chmod(directory, 0o755)
        sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        sink_port = json.loads(sink.stdout.readline())["port"]
        cpu_before = cpu_of_children()
        relay = kind(args, directory, sink_port)
        try:
            memory = PeakMemory(relay.pid())
            memory.start()
            load(args, relay.port, WARM)
            before = relay.extra()
            start = time.monotonic()
            accepted = load(args, relay.port, args.messages)
            sink_result = json.loads(sink.stdout.readline())
            seconds = sink_result["last_us"] / 1e6 - start
            after = relay.extra()
            memory.stop.set()
            memory.join()
            _, _, usage = os.wait4(sink.pid, 0)
            sink.returncode = 0
        finally:
            if sink.returncode is None:
                sink.kill()
            relay.stop()
        relay_cpu = cpu_of_children() - cpu_before - (usage.ru_utime + usage.ru_stime)
    result = {"relay": kind.name, "end_to_end_per_s": args.messages / seconds, "accept_per_s": accepted["per_second"],
              "p99_ms": accepted["p99_ms"], "rss_mib": memory.peak / 1024}
    # the load generators were children too: their share is measured by a run against nothing but the sink
    result["cpu_s_per_1000"] = (relay_cpu - args.load_cpu * (WARM + args.messages)) / (WARM + args.messages) * 1000
    for key in after:
        result[key + "_per_message"] = (after[key] - before[key]) / args.messages
    return result


def load_cost(args):
    """CPU seconds a message of the load generator alone, sending straight to a sink."""
    n = 20000
    sink = subprocess.Popen([args.build / "bench/smtpsink", "--listen", f"{SINK}:0", "--expect", str(n)], stdout=subprocess.PIPE, text=True)
    port = json.loads(sink.stdout.readline())["port"]
    child = subprocess.Popen([args.build / "bench/smtpload", "--to", f"{SINK}:{port}", "--messages", str(n), "--sessions", str(args.sessions),
                              "--size", str(args.size), "--rcpt", f"user@[{SINK}]", "--json"], stdout=subprocess.PIPE)
    child.stdout.read()
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    sink.wait()
    return (usage.ru_utime + usage.ru_stime) / n


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--peers", type=pathlib.Path, help="unpacked Postfix (tests/peers.sh); default: unpacked into a temporary directory")
    p.add_argument("--dir", help="where the queues lie (default: the system's temporary directory)")
    p.add_argument("--messages", type=int, default=20000)
    p.add_argument("--sessions", type=int, default=20)
    p.add_argument("--size", type=int, default=4096)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--chunking", action="store_true", help="the sink offers CHUNKING (Postfix does not use it)")
    p.add_argument("--only", choices=["postern", "postfix"])
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    args.build = args.build.resolve()
    keep = None
    if not args.peers:
        keep = tempfile.TemporaryDirectory()
        args.peers = pathlib.Path(keep.name)
    subprocess.run(["sh", ROOT / "tests/peers.sh", args.peers], check=True, stderr=subprocess.DEVNULL)
    become_subreaper()
    args.load_cpu = load_cost(args)
    kinds = [k for k in (PosternRelay, PostfixRelay) if args.only in (None, k.name.lower())]
    results = {k.name: [] for k in kinds}
    for n in range(args.rounds):
        for kind in kinds if n % 2 == 0 else reversed(kinds):
            r = one_run(args, kind)
            results[kind.name].append(r)
            if not args.json:
                print(f"round {n + 1}: " + "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in r.items()), flush=True)
    medians = {name: {k: statistics.median(r[k] for r in rs) for k in rs[0] if k != "relay"} for name, rs in results.items()}
    ratios = {}
    if len(kinds) == 2:
        a, b = medians["Postern"], medians["Postfix"]
        ratios = {"end_to_end": a["end_to_end_per_s"] / b["end_to_end_per_s"], "cpu": a["cpu_s_per_1000"] / b["cpu_s_per_1000"]}
    if args.json:
        print(json.dumps({"settings": {"messages": args.messages, "sessions": args.sessions, "size": args.size, "chunking": args.chunking},
                          "runs": results, "medians": medians, "ratios": ratios}))
        return
    for name, m in medians.items():
        print(f"median {name}: " + "  ".join(f"{k} {v:.4g}" for k, v in m.items()))
    if ratios:
        print(f"Postern relays {ratios['end_to_end']:.2f} times as many messages a second, at {ratios['cpu']:.3f} of the CPU a message")


if __name__ == "__main__":
    main()
