"""A rehearsal agrees with reality: the same minute with the relay and the simulator, and in `postern rehearse`. And the command's outputs. What
a rehearsal says of days: tests/unit/rehearse."""
import datetime
import json
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.clock import Clock  # noqa: E402
from lib.process import Deadline, Failed  # noqa: E402
from lib.relay import Relay, message  # noqa: E402

SECONDS, RATE, CLIENTS = 70, 60, 8  # messages a second, from as many clients
THROTTLED = (15, 45)
SOURCES = {"a1": "127.0.1.1", "a2": "127.0.1.2", "b1": "127.0.2.1", "b2": "127.0.2.2"}
DAILY = 400  # of b2, which is cold
SEEDS = range(1, 21)
GREY, GREY_EVERY = "450 4.7.1 Greylisted, please try again later", 10
SUBNET = "451 4.4.4 Temporary server error. Please try again later ATTR3"
START = "2026-11-03 10:00"

# what a lane's throughput is bound by: about eight messages a second either way
WORLDS = {
    "rate": ("40ms", {"lane_message_rate": "480/1m"}),
    "connections": ("240ms", {"lane_message_rate": "none", "connections_per_lane": 2}),
}


def world(latency):
    return f"""
defaults {{ latency = "{latency}" }}
cluster "EUR01" {{ form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {{"127.1.1.1-4"}} }}
cluster "EUR02" {{ form = "old"  site = "AM5"  forest = "eurprd02"  addresses = {{"127.1.2.1-4"}} }}
tenant "t{{0..99}}.example" {{ cluster = {{"EUR01"}} }}
tenant "u{{0..99}}.example" {{ cluster = {{"EUR02"}} }}
rule "subnet" {{ enabled = no  source = {{"127.0.2.0/24"}}  cluster = {{"EUR01"}}  phase = "mail"  reply = "{SUBNET} {{tail}}" }}
rule "grey" {{ cluster = {{"EUR02"}}  phase = "rcpt"  every = {GREY_EVERY}  reply = "{GREY} {{tail}}" }}
"""


WARMUP = f'warmup "cold" {{ sources = {{"b2"}}  start = "2026-11-01"  daily = {{{DAILY}}}  pace = "none" }}\n'


def clock_of(second):
    return (datetime.datetime.fromisoformat(START) + datetime.timedelta(seconds=second)).time().isoformat()


def scenario(latency, seed):
    """The same world and what happens in it, for the rehearsal. A connection is a flight of the simulator for itself, one for the banner, one for EHLO."""
    cluster = f'share = 1  tenants = 100  hosts = 4  connect_time = "{3 * int(latency[:-2])}ms"  message_time = "{latency}"  noise = 0.0  invalid = 0.0'
    return f"""start = "{START}"  duration = "{SECONDS}s"  seed = {seed}
traffic "all" {{ pool = "main"  daily = {RATE * 86400}  shape = "even" }}
cluster "EUR01" {{ {cluster} }}
cluster "EUR02" {{ {cluster} }}
incident "subnet" {{ kind = "throttle"  subnet = "127.0.2.0/24"  cluster = "EUR01"  reply = "{SUBNET}"
    from = "day 1 {clock_of(THROTTLED[0])}"  until = "day 1 {clock_of(THROTTLED[1])}" }}
incident "grey" {{ kind = "busy"  cluster = "EUR02"  share = {1 / GREY_EVERY}  reply = "{GREY}"
    from = "day 1"  until = "day 2" }}
"""


class Minute:
    """The real one: steady mail in, the throttle on and off, the queue's depth by the clock."""

    def __init__(self, sim, relay):
        self.sim, self.relay = sim, relay
        self.depths, self.late, self.errors = [], 0.0, []
        self.got = None

    def sleep_until(self, second):
        left = self.begin + second - time.monotonic()
        if left > 0:
            time.sleep(left)
        return -left

    def send(self, k):
        try:
            with self.relay.client() as client:
                for i in range(k, SECONDS * RATE, CLIENTS):
                    self.late = max(self.late, self.sleep_until(i / RATE))
                    client.sendmail("sender@example.org", [f"u@{'tu'[i % 2]}{i // 2 % 100}.example"], message(f"m{i}"))
        except Exception as e:  # told by the test's own thread
            self.errors.append(e)

    def sample(self):
        second = 0.5
        while second < SECONDS:
            self.sleep_until(second)
            self.depths.append(self.relay.metrics()["postern_queue_messages"])
            second += 0.5

    def run(self):
        self.begin = time.monotonic() + 0.5
        threads = [threading.Thread(target=self.send, args=(k,)) for k in range(CLIENTS)] + [threading.Thread(target=self.sample)]
        for t in threads:
            t.start()
        self.sleep_until(THROTTLED[0])
        self.sim.enable_rule("subnet")
        self.sleep_until(THROTTLED[1])
        self.sim.disable_rule("subnet")
        self.sleep_until(SECONDS)
        sources, rules = self.sim.sources(), self.sim.rules()
        for t in threads:
            t.join()
        self.got = {f"from {name}": sources.get(address, {}).get("messages", 0) for name, address in SOURCES.items()}
        self.got.update({"deferred": rules["grey"] + rules["subnet"], "throttled": rules["subnet"],
                         "queue mean": statistics.fmean(self.depths), "queue peak": max(self.depths)})


class Agrees(RelayCase):
    def setUp(self):
        if os.environ.get("E2E_SANITIZED") or not os.environ.get("CLOCK_LIBRARY"):
            self.skipTest("a sanitizer's slowness is not rehearsed")

    def rehearsed(self, relay, latency):
        """What some seeds make of it, by measure."""
        runs = []
        for seed in SEEDS:
            path = relay.dir / f"minute-{seed}.scenario"
            path.write_text(scenario(latency, seed))
            r = json.loads(relay.cli("rehearse", "--json", path).stdout)
            run = {f"from {s}": sum(row["sources"][s]["delivered"] for row in r["rows"]) for s in SOURCES}
            run["throttled"] = sum(p["deferred"] for row in r["rows"] for p in row["paths"]
                                   if (p["subnet"], p["cluster"]) == ("127.0.2.0/24", "EUR01"))
            runs.append({**run, "deferred": r["deferred"], "queue mean": r["queue_mean"], "queue peak": r["queue_max"]})
        return {key: [r[key] for r in runs] for key in runs[0]}

    def compare(self, name, real, expected):
        lines, off = [], {}
        for key, values in expected.items():
            mean = statistics.fmean(values)
            off[key] = real.got[key] / mean - 1
            lines.append(f"{name:12} {key:12} {real.got[key]:8.1f} {mean:8.1f} ±{statistics.pstdev(values):5.1f} {100 * off[key]:+6.1f} %")
        print("\n".join(lines), f"late {real.late:.2f} {real.depths[::10]} {real.depths[-1]}", file=sys.stderr)

    def test_agrees(self):
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), START)
        minutes = {}
        for name, (latency, provider) in WORLDS.items():
            sim, relay = self.start(world(latency), sources=SOURCES, extra=WARMUP, root={"timezone": "UTC"},
                                    queue={"retry": ["4s", "8s", "16s"]}, env=clock.env(),
                                    providers={"microsoft365": {"tls": "none", "lane_connect_rate": "none", **provider}})
            minutes[name] = Minute(sim, relay), self.rehearsed(relay, latency)
        clock.set(START)
        threads = [threading.Thread(target=m.run) for m, _ in minutes.values()]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for name, (real, expected) in minutes.items():
            with self.subTest(bound_by=name):
                if real.errors:
                    raise real.errors[0]
                self.compare(name, real, expected)


if __name__ == "__main__":
    unittest.main()
