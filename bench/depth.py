#!/usr/bin/env python3
"""What the queue costs, and what of that depends on its depth. Prints each figure with its target beside it.

Usage: depth.py --build DIRECTORY [--depth N ...] [--parts depth,syncs,slow,huge,steady,large] [--dir DIRECTORY] [--json] [--short]

depth   the queue is filled with N messages of 4 KiB for 20,000 domains of a cluster that accepts nothing; then: start, memory, accepting,
        delivery to another cluster, commands, disk use; at last the cluster accepts, and the backlog is worked off under load.
syncs   syncs and bytes written a message, with 20 and 100 sessions (counted in the process by tests/crash/faults.c).
slow    messages a second with each sync made 10 ms slow.
huge    one domain with N messages that are being delivered: messages for other domains at its cluster, meanwhile.
steady  relaying in four parts, one after the other: no slowing down.
large   messages of 25 MB: resident memory.
--short: 20,000 deep, as a test: exit status 1 when a target is missed that does not depend on the machine's speed.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/crash")]
from lib.relay import Relay  # noqa: E402
from lib.sim import Simulator  # noqa: E402
from faults import Faults  # noqa: E402

MIB = 1 << 20
SINK = "127.0.0.9"
DOMAINS = 20000
SCENARIO = """
cluster "DEAD" {{ form = "new"  site = "CH3"  forest = "namprd04"  addresses = {{"127.2.4.1-8"}} }}
cluster "EUR01" {{ form = "old"  site = "DB5"  addresses = {{"127.1.1.1-8"}} }}
tenant "tenant{{00000..{last:05}}}.example.com" {{ cluster = {{"DEAD"}} }}
tenant "t{{0..999}}.example" {{ cluster = {{"EUR01"}} }}
rule "nothing" {{ cluster = {{"DEAD"}}  phase = "mail"  reply = "451 4.7.0 Temporary server error. Please try again later. PRX4 {{tail}}" }}
"""
UNCAPPED = {"tls": "none", "connections_per_cluster": 40, "connections_per_lane": 40, "connections_per_cluster_subnet": 40,
            "messages_per_connection": 100000, "lane_message_rate": "10000000/1m", "lane_connect_rate": "1000000/1m"}


class Figures:
    def __init__(self):
        self.rows = []

    def add(self, name, value, unit, target=None, below=True, hard=False):
        """hard: missing it (True), or that value, is a failure on any machine."""
        met = None if target is None else (value <= target if below else value >= target)
        failed = met is False if hard is True else bool(hard) and value > hard
        self.rows.append({"name": name, "value": value, "unit": unit, "target": target, "met": met, "failed": failed})
        want = "" if target is None else f"   target {'<=' if below else '>='} {target:g} {unit}{'' if met else '   MISSED'}"
        print(f"{name:66} {value:12,.4g} {unit}{want}", flush=True)

    def failed(self):
        return [r for r in self.rows if r["failed"]]


class Bench:
    def __init__(self, args):
        self.args = args
        self.figures = Figures()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postern-depth-", dir=args.dir))
        for variable, name in (("POSTERN", "relay/cli/postern"), ("M365SIM", "tests/sim/m365sim"), ("FAULTS_LIBRARY", "tests/crash/faults.so")):
            os.environ.setdefault(variable, str(args.build / name))

    # programs

    def fill(self, n, queue, domains=DOMAINS):
        out = subprocess.run([self.args.build / "bench/queue_bench", "-d", queue, "-m", "accept", "-n", str(n), "-s", "4096", "-c", "256", "-t", str(domains),
                              "--json"], check=True, capture_output=True, text=True).stdout
        return json.loads(out)

    def relay(self, sim, queue, faults=None, **options):
        listeners = {"in": {"sessions_per_client": 1000}}
        relay = Relay(sim, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, listeners=listeners, queue={"path": queue, "max_size": "64GiB", "retry": ["5m"]},
                      log={"file": str(self.dir / "log")}, providers={"microsoft365": UNCAPPED, "default": options.pop("default", {})}, http=False, **options)
        relay.env = faults.env() if faults else None
        return relay

    def start(self, relay):
        """Seconds until it listens, and its address; the log goes to a file, and is read there."""
        log = self.dir / "log"
        log.write_text("")
        began = time.monotonic()
        relay.start(ready=False)
        while True:
            text = log.read_text()
            if '"event":"listening"' in text and text.endswith("\n"):
                break
            if not relay.running:
                raise RuntimeError(relay.stderr())
            time.sleep(0.002)
        seconds = time.monotonic() - began
        for line in text.splitlines():
            e = json.loads(line)
            if e["event"] == "listening":
                host, port = e["address"].rsplit(":", 1)
                relay.addresses["in"] = [(host, int(port))]
        return seconds

    def load(self, relay, messages, sessions, rcpt, domains=1, size=4096, prefix="load", background=False):
        host, port = relay.address()
        command = [self.args.build / "bench/smtpload", "--to", f"{host}:{port}", "--messages", messages, "--sessions", sessions, "--size", size, "--rcpt", rcpt,
                   "--domains", domains, "--prefix", prefix, "--json"]
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return process if background else self.loaded(process)

    def loaded(self, process):
        out, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"load generator: {out}{err}")
        return json.loads(out)

    def sink(self, expect, *options):
        process = subprocess.Popen([str(self.args.build / "bench/smtpsink"), "--listen", f"{SINK}:0", "--expect", str(expect), *options], stdout=subprocess.PIPE, text=True)
        return process, json.loads(process.stdout.readline())["port"]

    def stats(self, relay):
        return relay.json("stats")["queue"]

    # depth

    def latency(self, sim, relay, n, prefix, domain="t{}.example"):
        """Median and 90th percentile of the seconds from a message's arrival to its delivery, as the delivery log has them (in whole
        milliseconds), of messages sent one after the other."""
        log = self.dir / "log"
        start = log.stat().st_size
        for i in range(n):
            relay.send(f"{prefix}-{i}", "latency@" + domain.format(i % 100))
        found = []
        while len(found) < n:
            time.sleep(0.02)
            with open(log) as file:
                file.seek(start)
                found = [sum(json.loads(line)["delays"]) for line in file if '"event":"delivered"' in line and '"to":"latency@' in line and line.endswith("\n")]
        found.sort()
        return max(found[n // 2], 0.001), max(found[n * 9 // 10], 0.001)

    def at_depth(self, sim, depth):
        queue = self.dir / f"queue-{depth}"
        found = {}
        if depth:
            filled = self.fill(depth, queue)
            found["fill_per_s"] = filled["messages_per_second"]
            found["used"] = filled["used_bytes"]
            blocks = (queue / "data.mdb").stat().st_blocks * 512
            found["disk_share"] = blocks / (depth * 4096)
        relay = self.relay(sim, queue)
        try:
            found["start"] = self.start(relay)
            began = time.monotonic()
            relay.send("first", "u@t1.example")
            sim.wait_delivered("first")
            found["first"] = time.monotonic() - began + found["start"]
            began = time.monotonic()
            relay.cli("queue")
            found["summary"] = time.monotonic() - began
            if depth:
                found["listing"] = self.first_line(relay)
            self.load(relay, 2000, 20, "u@t1.example", prefix=f"warm-{depth}")
            rates = [self.load(relay, self.args.messages, 20, "%.example", domains=1000, prefix=f"a{depth}-{k}") for k in range(3)]
            found["accept"] = sorted(r["per_second"] for r in rates)[1]
            found["p99"] = sorted(r["p99_ms"] for r in rates)[1]
            found["latency"], found["latency90"] = self.latency(sim, relay, 200, f"l{depth}")
            found["memory"] = relay.memory()
            found["own"], found["mapped"] = relay.memory_parts()
            if depth:
                self.drain(sim, relay, depth, found)
            relay.stop(timeout=60)
        finally:
            relay.close()
            shutil.rmtree(queue, ignore_errors=True)
        return found

    def first_line(self, relay):
        began = time.monotonic()
        process = subprocess.Popen([os.environ["POSTERN"], "queue", "-c", str(relay.config_path), "--list"], stdout=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.readline()
        seconds = time.monotonic() - began
        process.kill()
        process.wait()
        process.stdout.close()
        return seconds

    def drain(self, sim, relay, depth, found):
        """All of it becomes due and is accepted, while mail for others comes in."""
        sim.disable_rule("nothing")
        before, began = sim.summary()["recipients"], time.monotonic()
        relay.cli("retry", "--all", timeout=600)
        found["retry_all"] = time.monotonic() - began
        accepted = self.loaded(self.load(relay, self.args.messages, 20, "%.example", domains=1000, prefix=f"d{depth}", background=True))
        found["drain_accept"], found["drain_p99"] = accepted["per_second"], accepted["p99_ms"]
        sim.wait(timeout=600 + depth / 500, deliveries=before + depth + self.args.messages)
        found["drain_per_s"] = (depth + self.args.messages) / (time.monotonic() - began)
        found["drain_memory"] = relay.memory()
        sim.enable_rule("nothing")
        size = (self.dir / f"queue-{depth}" / "data.mdb").stat().st_blocks
        self.load(relay, self.args.messages, 20, f"u@tenant00001.example.com", prefix=f"again-{depth}")
        found["grown"] = ((self.dir / f"queue-{depth}" / "data.mdb").stat().st_blocks - size) * 512

    def depth(self):
        f = self.figures
        with Simulator(SCENARIO.format(last=DOMAINS - 1), detail=False, hash=False, args=["--quiet"]) as sim:
            empty = self.at_depth(sim, 0)
            f.add("empty queue: start until listening", empty["start"], "s")
            f.add("empty queue: accepted, 20 sessions", empty["accept"], "/s")
            f.add("empty queue: from 250 to delivery, median", empty["latency"] * 1000, "ms")
            f.add("empty queue: resident", empty["memory"] / MIB, "MiB")
            first = None
            for depth in self.args.depth:
                d = self.at_depth(sim, depth)
                p = f"{depth:,} deep: "
                f.add(p + "put in, store alone, 256 in flight", d["fill_per_s"], "/s")
                f.add(p + "disk used, of the mail's size", d["disk_share"], "times", 1.4 if depth >= 10000 else None, hard=True)
                f.add(p + "start until listening", d["start"], "s", 1, hard=True)
                f.add(p + "first delivery after the start", d["first"], "s", 2, hard=True)
                first = first or d
                f.add(p + "resident memory more than empty", (d["memory"] - empty["memory"]) / MIB, "MiB")
                # what is read of the file stays mapped until it is 16 MiB (queue/store.c): a saw-tooth, looked at apart
                # with the memory that a count of what waits has while it runs: 160 bytes a domain and pool
                f.add(p + "of it the relay's own", (d["own"] - empty["own"]) / MIB, "MiB", 48, hard=True)
                f.add(p + "of it the queue's file, mapped", (d["mapped"] - empty["mapped"]) / MIB, "MiB", 20, hard=True)
                if d is not first:
                    f.add(p + f"resident memory more than {self.args.depth[0]:,} deep", (d["memory"] - first["memory"]) / MIB, "MiB", 16)
                f.add(p + "accepted, of the empty queue's rate", 100 * d["accept"] / empty["accept"], "%", 80, below=False)
                f.add(p + "end of data to 250, p99 (empty: %.1f)" % empty["p99"], d["p99"], "ms")
                f.add(p + "250 to delivery elsewhere, median, of the empty queue's", d["latency"] / empty["latency"], "times", 2)
                f.add(p + "250 to delivery elsewhere, p90, of the empty queue's", d["latency90"] / empty["latency90"], "times", 2)
                f.add(p + "postern queue", d["summary"], "s", 0.5, hard=True)
                f.add(p + "postern queue --list, first line", d["listing"], "s", 0.5, hard=True)
                f.add(p + "retry --all", d["retry_all"], "s")
                f.add(p + "backlog worked off under load", d["drain_per_s"], "/s")
                f.add(p + "accepted meanwhile", d["drain_accept"], "/s")
                f.add(p + "end of data to 250 meanwhile, p99", d["drain_p99"], "ms")
                f.add(p + "resident memory meanwhile, more than empty", (d["drain_memory"] - empty["memory"]) / MIB, "MiB")
                f.add(p + "file grown by as much mail again after draining", d["grown"] / MIB, "MiB", 1 if depth >= self.args.messages else None, hard=True)

    def clear_away(self, relay, sink, queue):
        sink.kill()
        sink.wait()
        sink.stdout.close()
        relay.close()
        shutil.rmtree(queue, ignore_errors=True)

    # syncs

    def relayed(self, sessions, messages, **faults_set):
        """One run to a sink: messages a second end to end, and what faults.c counted."""
        queue = self.dir / "queue-syncs"
        sink, port = self.sink(messages)
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.dir))
        faults = Faults(directory)
        relay = self.relay(None, queue, faults=faults, default={**UNCAPPED, "port": port, "connections_per_cluster": sessions, "connections_per_lane": sessions,
                                                              "connections_per_cluster_subnet": sessions})
        try:
            self.start(relay)
            faults.set(**faults_set)
            before = {name: getattr(faults, name) for name in ("syncs", "sync_writes", "bytes")}
            began = time.monotonic()
            accepted = self.load(relay, messages, sessions, f"u@[{SINK}]")
            last = json.loads(sink.stdout.readline())["last_us"] / 1e6
            self.wait_empty(relay)
            counted = {name: (getattr(faults, name) - before[name]) / messages for name in before}
            faults.clear()
            relay.stop(timeout=60)
        finally:
            self.clear_away(relay, sink, queue)
        return {"per_second": messages / (last - began), "accept": accepted, **counted}

    def wait_empty(self, relay):
        while self.stats(relay)["messages"]:
            time.sleep(0.05)

    def syncs(self):
        for sessions, target in ((20, 0.15), (100, 0.05)):
            r = self.relayed(sessions, self.args.messages * 2)
            p = f"{sessions} sessions: "
            self.figures.add(p + "relayed", r["per_second"], "/s")
            # how many share a commit depends a little on what else the machine does
            self.figures.add(p + "syncs (data and meta page) a message", r["syncs"] + r["sync_writes"], "", target,
                             hard=1.5 * target if self.args.short else False)
            self.figures.add(p + "written to the queue's file a message", r["bytes"] / 1024, "KiB", 10, hard=True)
            self.figures.add(p + "end of data to 250, p99", r["accept"]["p99_ms"], "ms")

    def slow(self):
        r = self.relayed(100, self.args.messages, sync_delay_us=10000)
        self.figures.add("100 sessions, fsync and fdatasync 10 ms slow: relayed", r["per_second"], "/s", 4000, below=False)
        r = self.relayed(100, self.args.messages, sync_delay_us=10000, write_delay_us=10000)
        self.figures.add("100 sessions, synchronous writes 10 ms slow as well: relayed", r["per_second"], "/s")

    # huge, steady

    def huge(self):
        """One domain has all of the backlog and takes it; messages for others at the same cluster, meanwhile."""
        found, n = {}, max(self.args.depth)
        scenario = f'defaults {{ latency = "{self.args.latency}" }}' + SCENARIO.format(last=DOMAINS - 1)
        with Simulator(scenario, detail=False, hash=False, args=["--quiet"]) as sim:
            sim.disable_rule("nothing")
            for name, fill in (("empty", 0), ("huge", n)):
                queue = self.dir / f"queue-{name}"
                if fill:
                    self.fill(fill, queue, domains=1)
                relay = self.relay(sim, queue)
                try:
                    self.start(relay)
                    found[name] = self.latency(sim, relay, 200, name, "tenant1{:04}.example.com")
                    left = self.stats(relay)["messages"]
                    relay.stop(timeout=60)
                finally:
                    relay.close()
                    shutil.rmtree(queue, ignore_errors=True)
        p = f"one domain with {n:,} that are being delivered, {self.args.latency}: "
        self.figures.add(p + "left at the end", left, "messages", 1, below=False)
        for k, which in enumerate(("median", "p90")):
            self.figures.add(p + f"250 to delivery of others there, {which} (empty: {found['empty'][k] * 1000:.0f} ms)", found["huge"][k] * 1000, "ms",
                             2000 * found["empty"][k])

    def steady(self):
        n = self.args.messages // 2
        sink, port = self.sink(4 * n)
        queue = self.dir / "queue-steady"
        relay = self.relay(None, queue, default={**UNCAPPED, "port": port})
        try:
            self.start(relay)
            rates = []
            for k in range(4):
                began = time.monotonic()
                self.load(relay, n, 20, f"u@[{SINK}]", prefix=f"s{k}")
                self.wait_empty(relay)
                rates.append(n / (time.monotonic() - began))
            relay.stop(timeout=60)
        finally:
            self.clear_away(relay, sink, queue)
        for k, rate in enumerate(rates):
            self.figures.add(f"{4 * n:,} messages, 20 sessions, quarter {k + 1}: relayed", rate, "/s")
        self.figures.add(f"{4 * n:,} messages: the last quarter's rate, of the first one's", 100 * rates[3] / rates[0], "%", 90, below=False)

    # large

    def large(self):
        n = self.args.large
        queue = self.dir / "queue-large"
        sink, port = self.sink(n)
        relay = self.relay(None, queue, default={**UNCAPPED, "port": port})
        peak = [0]
        done = threading.Event()

        def watch():
            while not done.wait(0.05):
                if relay.running:
                    peak[0] = max(peak[0], relay.memory())

        try:
            self.start(relay)
            watcher = threading.Thread(target=watch)
            watcher.start()
            began = time.monotonic()
            self.load(relay, n, 20, f"u@[{SINK}]", size=25 * 1000 * 1000)
            sink.stdout.readline()
            seconds = time.monotonic() - began
            done.set()
            watcher.join()
            relay.stop(timeout=60)
        finally:
            done.set()
            sink.kill()
            sink.wait()
            sink.stdout.close()
            relay.close()
            shutil.rmtree(queue, ignore_errors=True)
        self.figures.add(f"{n:,} messages of 25 MB, 20 sessions: resident, peak", peak[0] / MIB, "MiB", 128, hard=True)
        self.figures.add(f"{n:,} messages of 25 MB: relayed", n * 25 / seconds, "MB/s")

    def run(self):
        try:
            for part in self.args.parts.split(","):
                {"depth": self.depth, "syncs": self.syncs, "slow": self.slow, "large": self.large, "huge": self.huge,
                 "steady": self.steady}[part]()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
        return self.figures


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--depth", type=int, nargs="*", default=[10000, 100000, 1000000])
    p.add_argument("--parts", default="syncs,slow,large,depth")
    p.add_argument("--messages", type=int, default=20000)
    p.add_argument("--large", type=int, default=1000)
    p.add_argument("--latency", default="10ms", help="of the receiver, for the part `huge`; with 0ms both cores are busy, and everything waits for them")
    p.add_argument("--dir", help="where the queues lie (default: the system's temporary directory)")
    p.add_argument("--json", action="store_true")
    p.add_argument("--short", action="store_true")
    args = p.parse_args()
    args.build = args.build.resolve()
    if args.short:
        args.depth, args.messages, args.large, args.parts = [20000], 3000, 20, "depth,syncs,large"
    figures = Bench(args).run()
    if args.json:
        print(json.dumps(figures.rows))
    return 1 if args.short and figures.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
