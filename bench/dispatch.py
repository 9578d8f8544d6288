#!/usr/bin/env python3
"""What the dispatcher's thread costs a message, and its share of a core at 5,000 messages a second, where it has everything to do at once:
a deep queue of messages that are due, spread over many tenants (so DNS for each, with addresses whose time runs out), 40 clusters and 20
sources in 10 subnets. The queue is filled first; then the relay starts and works it off against the simulator.

Usage: bench/dispatch.py --build DIRECTORY [--messages N] [--tenants N] [--latency 1ms] [--dir DIRECTORY] [--calls] [--known] [--json]

--calls  counts the thread's system calls (needs strace, and slows it down: no figure of processor time is printed then).
--known  instead: mail comes in for 300 tenants whose routes are known, in one cluster, over 20 connections.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tenants import Relay, Simulator, scenario, send_all, threads_cpu

CLUSTERS, SOURCES, SUBNETS = 40, 20, 10
FREE = {"lane_message_rate": "none", "lane_connect_rate": "none", "tls": "none"}
KNOWN = {"connections_per_cluster": 20, "connections_per_lane": 20, "connections_per_cluster_subnet": 20, "messages_per_connection": 50, **FREE}
DEEP = {"connections": 200, "connections_per_geography": 200, "connections_per_cluster": 20, "connections_per_lane": 2,
        "connections_per_cluster_subnet": 4, "messages_per_connection": 50, **FREE}
WARM_SHARE = 0.1  # of the messages, delivered before measuring begins: windows have grown and caches are in use
AT = 5000         # messages a second


def deep_scenario(args):
    text = f'defaults {{ latency = "{args.latency}" }}\n'
    for c in range(CLUSTERS):
        text += (f'cluster "C{c:02}" {{ form = "new"  site = "DB5"  forest = "eurprd{c:02}"  addresses = {{"127.1.{c + 1}.1-8"}}\n'
                 f'  addresses_per_tenant = 4  tls = "refused"  without = {{"STARTTLS"}} }}\n')
    for c in range(CLUSTERS):
        first, last = args.tenants * c // CLUSTERS, args.tenants * (c + 1) // CLUSTERS - 1
        text += f'tenant "tenant{{{first:05}..{last:05}}}.example.com" {{ cluster = {{"C{c:02}"}} }}\n'
    return text


def thread_of(relay, name):
    for task in pathlib.Path(f"/proc/{relay.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise RuntimeError(f"no thread {name}")


class Calls:
    """System calls of a thread by name, from now until stop()."""
    def __init__(self, thread, directory):
        self.file = pathlib.Path(directory) / "calls"
        self.process = subprocess.Popen(["strace", "-c", "-p", str(thread), "-o", str(self.file)], stderr=subprocess.PIPE, text=True)
        self.process.stderr.readline()  # attached

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()
        rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$", self.file.read_text(), re.M)
        return {name: int(n) for n, name in rows if name != "total"}


def measure(args, sim, relay, before, total, feed=lambda: None):
    """CPU seconds of the dispatcher a message, messages a second, and system calls, from `before` deliveries until `total`."""
    calls = Calls(thread_of(relay, "dispatch"), args.work) if args.calls else None
    cpu, began, seen = threads_cpu(relay.pid), time.monotonic(), sim.summary()["recipients"]
    feed()
    sim.wait(deliveries=total, timeout=3600)
    took, n, after = time.monotonic() - began, total - seen, threads_cpu(relay.pid)
    result = {"messages": n, "per_second": round(n / took)}
    if calls:
        result["calls"] = {k: round(v / n, 3) for k, v in sorted(calls.stop().items(), key=lambda kv: -kv[1]) if v / n >= 0.001}
        return result
    cost = (after["dispatch"] - cpu["dispatch"]) / n
    result.update(us_a_message=round(cost * 1e6, 1), core_at_5000=round(cost * AT, 3),
                  all_threads_us={k: round((v - cpu.get(k, 0)) / n * 1e6, 1) for k, v in after.items()})
    return result


def known(args):
    args.tenants, args.tls = 300, False
    rounds = args.messages // args.tenants
    with Simulator(scenario(args), hash=False) as sim:
        relay = Relay(sim, sources={"a1": "127.0.1.1"}, queue={"max_size": "1GiB"}, log={"level": "notice"}, http=False,
                      providers={"microsoft365": KNOWN})
        with relay:
            for _ in range(3):
                send_all(relay.address(), args)
            sim.wait(deliveries=3 * args.tenants, timeout=60)

            def feed():
                for _ in range(rounds):
                    send_all(relay.address(), args)
            return measure(args, sim, relay, 3 * args.tenants, (3 + rounds) * args.tenants, feed)


def deep(args):
    queue = pathlib.Path(args.work) / "queue"
    subprocess.run([args.build / "bench/queue_bench", "-d", queue, "-m", "accept", "-n", str(args.messages), "-s", "1024", "-c", "256", "-t", str(args.tenants)],
                   check=True, capture_output=True)
    sources = {f"s{i:02}": f"127.0.{1 + i * SUBNETS // SOURCES}.{1 + i}" for i in range(SOURCES)}
    with Simulator(deep_scenario(args), hash=False, detail=False, args=["--quiet"]) as sim:
        relay = Relay(sim, sources=sources, queue={"path": queue, "max_size": "64GiB"}, log={"level": "notice"}, http=False,
                      dns={"cache_max": 2 * args.tenants + 1000}, providers={"microsoft365": DEEP})
        with relay:
            warm = int(args.messages * WARM_SHARE)
            sim.wait(deliveries=warm, timeout=600)
            result = measure(args, sim, relay, warm, args.messages)
            result["dns_queries"] = relay.json("stats").get("dns", {}).get("queries")
            result["connections"] = sim.summary()["connections"]["opened"]
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--messages", type=int, help="1,000,000; with --known 12,000")
    p.add_argument("--tenants", type=int, default=100000)
    p.add_argument("--latency", default="1ms")
    p.add_argument("--dir", type=pathlib.Path, help="where the queue is put for the time of the run")
    p.add_argument("--calls", action="store_true")
    p.add_argument("--known", action="store_true")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    args.messages = args.messages or (12000 if args.known else 1000000)
    if not 40 <= args.tenants <= 100000:
        p.error("--tenants: 40 to 100000")
    args.work = tempfile.mkdtemp(prefix="postern-dispatch-", dir=args.dir)
    os.environ.setdefault("POSTERN", str(args.build.resolve() / "relay/cli/postern"))
    os.environ.setdefault("M365SIM", str(args.build.resolve() / "tests/sim/m365sim"))
    try:
        result = known(args) if args.known else deep(args)
    finally:
        shutil.rmtree(args.work, ignore_errors=True)
    if args.json:
        print(json.dumps(result))
    elif args.calls:
        print(f"dispatcher, system calls a message at {result['per_second']:,} messages/s: "
              + ", ".join(f"{k} {v}" for k, v in result["calls"].items()))
    else:
        print(f"dispatcher: {result['us_a_message']} µs a message at {result['per_second']:,} messages/s; {100 * result['core_at_5000']:.1f} % of a core at "
              f"{AT:,}/s")
        print("all threads, µs a message: " + ", ".join(f"{k} {v}" for k, v in result["all_threads_us"].items()))


if __name__ == "__main__":
    sys.exit(main())
