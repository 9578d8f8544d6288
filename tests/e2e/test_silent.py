"""What never answers costs nobody else: name servers that are silent, hosts that accept and do not greet. The rate and delay of
unrelated mail are measured with and without them, in one run."""
import os
import statistics
import sys
import threading
import time
import unittest
from datetime import datetime

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

BASE = """
cluster "A" { addresses = {"127.1.1.1-2"} }
tenant "good{0..39}.example" { cluster = {"A"}  ttl = 2  mx_ttl = 2 }
tenant "new{0..999}.example" { cluster = {"A"} }
tenant "dead{0..2999}.example" { cluster = {"A"}  dns = "drop" }
tenant "d{0..2999}.silent.example" { cluster = {"A"}  dns = "drop" }
"""


WIDE = {"microsoft365": {"lane_connect_rate": "none", "lane_message_rate": "none", "connections_per_lane": 40,
                         "connections_per_cluster": 0}}
# The same hosts are everybody else's then: at a provider those whose cluster is not known yet have eight connections by themselves.
NOBODYS = {"microsoft365": {**WIDE["microsoft365"], "mx": ["*.nowhere.invalid"]}, "default": {**WIDE["microsoft365"], "tls": "none"}}


def at(event):
    return datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


class Traffic:
    """Unrelated mail at an even pace, to domains that are known and to new ones; the delays by kind."""

    def __init__(self, relay, name):
        self.relay, self.name, self.sent, self.stop = relay, name, [], threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.mark = relay.mark()

    new = 0

    def _run(self):
        with self.relay.client() as c:
            n = 0
            while not self.stop.is_set():
                kind = n % 4 == 3
                to = f"u@new{Traffic.new}.example" if kind else f"u@good{n % 40}.example"
                Traffic.new += kind
                id = f"{self.name}-{n}"
                begun = time.time()
                c.sendmail("s@example.org", [to], f"X-Test-Id: {id}\r\n\r\nx\r\n")
                self.sent.append((to, kind, begun))
                n += 1
                self.stop.wait(0.02)

    def run(self, seconds):
        self.thread.start()
        time.sleep(seconds)  # the pace of the traffic, not a wait for anything
        self.stop.set()
        self.thread.join()
        ends = {}
        for to, _, _ in self.sent:
            ends[to] = ends.get(to, 0) + 1
        for to, n in ends.items():
            self.relay.wait_event("delivered", since=self.mark, to=to, count=n)
        delays = {False: [], True: []}
        seen = {to: [at(e) for e in self.relay.find("delivered", since=self.mark, to=to)] for to in ends}
        for to, kind, begun in self.sent:
            delays[kind].append(seen[to].pop(0) - begun)
        return len(self.sent) / seconds, delays


def show(what, rate, delays):
    parts = [f"{k}: median {statistics.median(d) * 1000:.0f} ms, worst {max(d) * 1000:.0f} ms" for k, d in
             (("known", delays[False]), ("new", delays[True]))]
    print(f"{what}: {rate:.1f} messages a second; {'; '.join(parts)}", file=sys.stderr)


class Silent(RelayCase):
    def attack(self, relay, recipients, size=1, at_once=100):
        since, content = relay.mark(), "x" * 70 + "\r\n"
        with relay.client() as c:
            for i in range(0, len(recipients), at_once):
                c.sendmail("spam@example.net", recipients[i:i + at_once], f"X-Test-Id: attack-{i}\r\n\r\n" + content * (1 + size // len(content)))
        relay.wait_event("accepted", since=since, count=(len(recipients) + at_once - 1) // at_once)

    def compare(self, relay, recipients, seconds=5, after=None, late_floor=3, **attack):
        Traffic(relay, "first").run(1.5)
        rate, delays = Traffic(relay, "before").run(seconds)
        if os.environ.get("V"):
            show("without", rate, delays)
        self.attack(relay, recipients, **attack)
        if after:
            after()
        rate2, delays2 = Traffic(relay, "while").run(seconds)
        if os.environ.get("V"):
            show("with", rate2, delays2)
        for i in range(3):  # the sender shares the machine with others: once more
            if rate2 < 0.8 * rate:
                rate2 = max(rate2, Traffic(relay, f"again{i}").run(seconds)[0])
        self.assertGreaterEqual(rate2, 0.8 * rate)
        for kind, floor in ((False, 0.1), (True, 0.7)):  # what 2 busy cores make of a few milliseconds
            self.assertLessEqual(statistics.median(delays2[kind]), max(2 * statistics.median(delays[kind]), floor))
        self.assertLessEqual(max(delays2[False]), max(2 * max(delays[False]), 1.5))
        late = sorted(delays2[True])[-1 - len(delays2[True]) // 10]
        self.assertLessEqual(late, max(2 * max(delays[True]), late_floor))

    def tarpits(self, phase, does='action = "stall"'):
        """Enough of them to take every place for two minutes. New mail is for hosts that nobody has seen before."""
        tar = f"""
            cluster "TAR{{1..120}}" {{ addresses = {{"127.2.{{n}}.1-2"}}  form = "plain" }}
            cluster "N{{1..250}}" {{ addresses = {{"127.3.{{n}}.1"}} }}
            tenant "tar{{0..479}}.example" {{ cluster = {{"TAR*"}} }}
            rule "silent" {{ phase = "{phase}"  cluster = {{"TAR*"}}  {does} }}
            """
        return self.start(BASE.replace('"new{0..999}.example" { cluster = {"A"} }', '"new{0..999}.example" { cluster = {"N*"} }') + tar,
                          root={"outbound_max": 100}, queue={"retry": ["5m"]}, providers=NOBODYS, sim_options={"detail": False})

    def test_hosts_that_accept_and_never_greet(self):
        """Who comes at the very moment of the flood waits for none of it: its sender has none of the places."""
        sim, relay = self.tarpits("connect")
        self.compare(relay, [f"u@tar{i}.example" for i in range(480)], after=lambda: sim.wait(rule={"silent": 38}), late_floor=0.7)

    def test_hosts_that_greet_and_never_answer(self):
        sim, relay = self.tarpits("mail")
        self.compare(relay, [f"u@tar{i}.example" for i in range(480)], after=lambda: sim.wait(rule={"silent": 30}), late_floor=0.7)

    def test_receivers_that_stop_reading(self):
        """Behind 354, with a large message."""
        sim, relay = self.tarpits("data")
        self.compare(relay, [f"u@tar{i}.example" for i in range(200)], after=lambda: sim.wait(rule={"silent": 8}), late_floor=0.7, seconds=3, size=2 << 20)

    def test_receivers_that_answer_byte_by_byte(self):
        sim, relay = self.tarpits("rcpt", 'action = "slow"  delay = "2s"')
        self.compare(relay, [f"u@tar{i}.example" for i in range(480)], after=lambda: sim.wait(rule={"silent": 30}), late_floor=0.7, seconds=3)

    def test_a_message_that_hundreds_of_domains_refuse(self):
        sim, relay = self.tarpits("rcpt", 'reply = "550 5.1.1 {rcpt}: no such user"')
        self.compare(relay, [f"u@tar{i}.example" for i in range(480)], after=lambda: sim.wait(rule={"silent": 40}), late_floor=0.7, seconds=3, at_once=480)

    def test_newcomers_of_the_same_sender(self):
        """Nobody can tell them from the others before they were tried: each host has its first try within moments, not minutes."""
        _, relay = self.tarpits("connect")
        relay.send("first", "u@new999.example", sender="spam@example.net")  # how long a greeting takes is known then
        relay.wait_event("delivered", to="u@new999.example")
        mark = relay.mark()
        self.attack(relay, [f"u@new{i // 10}.example" if i % 10 == 0 else f"u@tar{i}.example" for i in range(480)])
        relay.wait_event("delivered", since=mark, count=48)

    def test_more_of_them_than_memory_holds(self):
        sim, relay = self.start(BASE, dns={"ttl_min": "1s"}, queue={"retry": ["5m"]}, providers=WIDE, sim_options={"detail": False},
                                extra="dispatch { work_max = 400 }\n")
        self.compare(relay, [f"u@dead{i}.example" for i in range(3000)])

    def test_name_servers_that_never_answer(self):
        for name in ("dead{}.example", "d{}.silent.example"):
            with self.subTest(name):
                sim, relay = self.start(BASE, dns={"ttl_min": "1s"}, queue={"retry": ["5m"]}, providers=WIDE, sim_options={"detail": False})
                self.compare(relay, ["u@" + name.format(i) for i in range(3000)])


if __name__ == "__main__":
    unittest.main()
