"""Warm-up end to end: what the receiver counts never passes an allowance, where the rest goes, and days by a clock of the test's own. The
arithmetic of ramps over months: tests/unit/policy."""
import collections
import datetime
import json
import os
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.clock import Clock  # noqa: E402
from lib.process import Deadline, Failed  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-4"} }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..99}.example" { cluster = {"EUR01"} }
tenant "u{0..99}.example" { cluster = {"EUR05"} }
"""
WARM, B1, B2 = "127.0.1.1", "127.0.2.1", "127.0.3.1"
SOURCES = {"a1": WARM, "b1": B1, "b2": B2}
FAST = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}


def plan(name="m365", sources="b1", daily="20, 40, 80", start="2020-01-01", **options):
    options = {"pace": "none", **options}
    names = ", ".join(f'"{s}"' for s in sources.split())
    more = "".join(f"  {k} = {v if str(v)[0] == '{' else json.dumps(v)}\n" for k, v in options.items())
    return f'warmup "{name}" {{\n  sources = {{{names}}}\n  start = "{start}"\n  daily = {{{daily}}}\n{more}}}\n'


def noon():
    """A time zone in which it is noon, so that no day ends while a test runs; and when it does."""
    hour = datetime.datetime.now(datetime.timezone.utc).replace(minute=0, second=0, microsecond=0)
    east = 12 - hour.hour
    return f"Etc/GMT{-east:+d}" if east else "UTC", hour + datetime.timedelta(hours=12)  # the sign is the other way round there


class Warmup(RelayCase):
    def world(self, warmup, *, pools, clock=None, **options):
        zone, self.midnight = noon()
        if clock:
            zone, self.midnight = "UTC", datetime.datetime.min
            options["env"] = clock.env()
        root = {"timezone": zone, **options.pop("root", {})}
        return self.start(WORLD, sources=SOURCES, pools=pools, providers={"microsoft365": {**FAST, **options.pop("provider", {})}},
                          extra=warmup, root=root, queue={"retry": ["1s", "2s"], **options.pop("queue", {})}, **options)

    def clock(self, start="2026-11-01 10:00"):
        if not os.environ.get("CLOCK_LIBRARY"):
            self.skipTest("a preloaded library and a sanitizer's own get into each other's way")
        return Clock(self.enterContext(tempfile.TemporaryDirectory()), start)

    def send(self, relay, n, first=0, clients=4, rcpts=1):
        """n messages to tenants in turn, from several sessions at once."""
        pairs = [(f"m{first + i}", [f"r{k}@{'tu'[i % 2]}{(first + i) % 50}.example" for k in range(rcpts)]) for i in range(n)]
        threads = [threading.Thread(target=relay.send_many, args=(pairs[k::clients],)) for k in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return pairs

    def from_source(self, sim, address):
        """Messages that the receiver saw from it: transactions that it accepted."""
        return sim.sources().get(address, {}).get("messages", 0)

    def ramp(self, relay, source="b1"):
        return {w["source"]: w for w in self.lines(relay, "warmup")}[source]

    def wait_ramp(self, relay, source="b1", **fields):
        deadline = Deadline()
        while True:
            got = self.ramp(relay, source)
            if all(got[k] == v for k, v in fields.items()):
                return got
            if deadline.passed:
                raise Failed(f"the ramp is {got}, not {fields}")

    @staticmethod
    def minute(until):
        """Of two clocks, each in whole milliseconds: it may be told as one less."""
        return (datetime.datetime.fromisoformat(until[:-1]) + datetime.timedelta(milliseconds=1)).isoformat()[:16] if until else ""

    def wait_waiting(self, relay, n=None):
        """Until n recipients (None: any number) wait for the allowance, and nothing else goes on: none of them is to be asked again soon."""
        deadline, midnight = Deadline(), f"{self.midnight:%H:%M}"
        while True:
            rows = self.waiting(relay)
            if n in (None, len(rows)) and {(r["reason"], self.minute(r["until"])[11:]) for r in rows} == {("warm-up allowance used", midnight)}:
                return rows
            if deadline.passed:
                raise Failed(f"{len(rows)} wait, not {n}: {rows[:3]}")

    # where the rest goes

    def test_overflow_to_the_pool(self):
        sim, relay = self.world(plan(), pools={"main": ["a1", "b1"]})
        n = 0
        while self.from_source(sim, B1) < 20 and n < 600:
            n += len(self.send(relay, 60, first=n, rcpts=3))
            self.wait_settled(relay)
        n += len(self.send(relay, 60, first=n, rcpts=3))
        self.wait_settled(relay)
        self.assertEqual(len({d["id"] for d in sim.deliveries()}), n)
        self.assertEqual(self.from_source(sim, B1), 20)
        got = self.ramp(relay)
        self.assertEqual((got["used"], got["allowance"], got["left_now"], got["rung"], got["rungs"]), (20, 20, 0, 1, 3))
        self.assertEqual((got["plan"], got["provider"], got["state"]), ("m365", "microsoft365", "ramping"))

    def test_overflow_waits(self):
        sim, relay = self.world(plan(overflow="wait"), pools={"main": ["b1"]})
        self.send(relay, 50)
        rows = self.wait_waiting(relay, 30)
        self.assertEqual(self.from_source(sim, B1), 20)
        self.assertEqual({self.minute(r["until"]) for r in rows}, {self.midnight.isoformat()[:16]})
        domains = [d["domain"] for d in self.lines(relay, "queue", "--domains")[1:]]
        self.assertIn("warm-up allowance used", {d["reason"] for d in domains})
        shown = relay.cli("show", rows[0]["id"]).stdout
        self.assertIn("warm-up allowance used", shown)

    def test_backlog_that_would_expire_is_an_alarm(self):
        """At two a day the last of 30 goes in a fortnight, and mail is kept for two days."""
        sim, relay = self.world(plan(daily="2, 4", overflow="wait"), pools={"main": ["b1"]})
        self.send(relay, 30)
        event = relay.wait_event("warmup-backlog", timeout=40)
        self.assertEqual((event["provider"], event["alarm"]), ("microsoft365", True))
        due = datetime.datetime.fromisoformat(event["until"].replace("Z", "+00:00")) - datetime.datetime.now(datetime.timezone.utc)
        self.assertTrue(12 <= due.days <= 15, event)
        self.assertIn("at 2 a day the last goes on ", event["message"])
        relay.cli("warmup", "set", "b1", "--rung", "3")
        self.wait_settled(relay)
        relay.wait_event("warmup-backlog-over", timeout=40)

    def test_overflow_to_another_pool(self):
        sim, relay = self.world(plan(overflow="pool:warm"), pools={"main": ["b1"], "warm": ["a1"], "third": ["b2"]})
        self.send(relay, 60)
        self.wait_settled(relay)
        self.assertEqual([self.from_source(sim, x) for x in (B1, WARM, B2)], [20, 40, 0])

    def test_before_the_start_nothing_goes(self):
        sim, relay = self.world(plan(start="2099-01-01"), pools={"main": ["a1", "b1"]})
        self.send(relay, 40)
        self.wait_settled(relay)
        self.assertEqual([self.from_source(sim, x) for x in (B1, WARM)], [0, 40])
        self.assertEqual(self.ramp(relay)["state"], "before start")

    def test_the_last_rung_is_warm(self):
        sim, relay = self.world(plan(daily="5"), pools={"main": ["b1"]})
        relay.cli("warmup", "set", "b1", "--rung", "2")
        self.send(relay, 30)
        self.wait_settled(relay)
        self.assertEqual(self.from_source(sim, B1), 30)
        got = self.ramp(relay)
        self.assertEqual((got["state"], got["allowance"], got["left_now"]), ("warm", None, None))

    def test_even_pace(self):
        """A burst cannot spend the day in a minute."""
        sim, relay = self.world(plan(daily="960", pace="even", overflow="pool"), pools={"main": ["a1", "b1"]})
        self.send(relay, 400)
        self.wait_settled(relay)
        self.assertLessEqual(self.from_source(sim, B1), 15)  # a 96th at once, and what minutes bring
        self.assertGreater(self.from_source(sim, B1), 0)

    # never passed

    def test_kill_and_restart(self):
        sim, relay = self.world(plan(daily="60", overflow="wait"), pools={"main": ["b1"]})
        before, sent = 0, []
        for _ in range(4):
            sent += self.send(relay, 25, first=len(sent))
            sim.wait(messages=min(before + 5, 55))
            relay.kill()
            before = self.from_source(sim, B1)
            relay.start()
        sent += self.send(relay, 25, first=len(sent))
        rows = self.wait_waiting(relay)
        # nothing is lost; what a kill kept from being recorded as delivered waits, too
        delivered = {d["id"] for d in sim.deliveries()}
        undelivered = [to[0] for id, to in sent if id not in delivered]
        waiting = collections.Counter(r["address"] for r in rows)
        self.assertEqual(collections.Counter(undelivered) - waiting, collections.Counter())
        self.assertLessEqual(self.from_source(sim, B1), 60)
        self.assertGreater(self.from_source(sim, B1), 20)
        self.assertLessEqual(self.ramp(relay)["used"], 60)

    def test_refused_for_the_source_counts(self):
        sim, relay = self.world(plan(daily="10", overflow="pool", pause_at="100%", step_back_at="90%"), pools={"main": ["a1", "b1"]})
        sim.add_rule('rule "cold" { source = {"127.0.2.0/24"}  phase = "mail"  every = 2\n'
                     '  reply = "451 4.7.650 The mail server [{ip}] has been temporarily rate limited due to IP reputation. (S775)" }')
        relay.cli("resume", "--source", "b1", "--at", "microsoft365", "--for", "1h")  # not rested, however often it is refused
        n = 0
        while self.ramp(relay)["used"] < 10 and n < 900:
            n += len(self.send(relay, 60, first=n))
            self.wait_settled(relay)
        self.send(relay, 60, first=n)
        self.wait_settled(relay)
        row = sim.sources()[B1]
        self.assertGreater(row["refused"], 0)
        self.assertEqual(row["messages"] + row["refused"], 10, f"after {n} messages: {self.ramp(relay)}")

    # days

    def test_a_new_day(self):
        clock = self.clock()
        sim, relay = self.world(plan(overflow="wait"), pools={"main": ["b1"]}, clock=clock)
        self.send(relay, 100)
        self.wait_waiting(relay, 80)
        relay.stop()
        clock.set("2026-11-01 23:59:56")
        relay.start()
        self.wait_waiting(relay, 80)  # not a second one by a restart
        relay.wait_event("warmup-day")  # midnight passes while it runs
        sim.wait(messages=60)
        self.wait_waiting(relay, 40)
        got = self.ramp(relay)
        self.assertEqual((got["day"], got["rung"], got["allowance"], got["used"], got["change"]), ("2026-11-02", 2, 40, 40, "advanced"))
        self.assertEqual((got["why"], got["deferral_share"]), ("advanced: 20 of 20 used, 0.00 % deferred; 40 a day now", 0))
        self.assertEqual((got["full"], got["full_volume"]), ("2026-11-04", 80))  # rung 3 on the 3rd, warm on the 4th
        self.assertEqual(self.from_source(sim, B1), 60)

    def test_a_clock_that_is_set(self):
        clock = self.clock()
        sim, relay = self.world(plan(overflow="wait"), pools={"main": ["b1"]}, clock=clock)
        self.send(relay, 60)
        self.wait_waiting(relay, 40)
        for step in ({"days": -1}, {"days": 1}, {"days": 1}, {"days": -2}, {"hours": 14}):
            clock.step(**step)
            relay.cli("retry", "--all")
            self.wait_ramp(relay, day=clock.date)
            self.wait_waiting(relay, 40)
        self.assertEqual(self.from_source(sim, B1), 20)

    def test_three_days_off(self):
        clock = self.clock()
        sim, relay = self.world(plan(overflow="wait"), pools={"main": ["b1"]}, clock=clock, queue={"expire": "20d"})
        self.send(relay, 60)
        self.wait_waiting(relay, 40)
        relay.stop()
        clock.set("2026-11-04 09:00")
        relay.start()
        relay.cli("retry", "--all")
        sim.wait(messages=60)
        self.wait_queue(relay, recipients=0)
        got = self.ramp(relay)
        # the one day that was used advanced it, those without mail did not
        self.assertEqual((got["day"], got["rung"], got["used"]), ("2026-11-04", 2, 40))

    # operators

    def test_reload_with_another_ladder(self):
        sim, relay = self.world(plan(overflow="wait"), pools={"main": ["b1"]})
        self.send(relay, 60)
        self.wait_waiting(relay, 40)
        relay.extra = plan(daily="30, 50", overflow="wait")
        self.assertEqual(relay.reload()["event"], "reloaded")
        self.wait_waiting(relay, 30)
        self.assertEqual(self.from_source(sim, B1), 30)
        relay.extra = plan(daily="10, 50", overflow="wait")
        relay.reload()
        self.assertEqual(self.ramp(relay)["left_now"], 0)
        relay.extra = ""
        relay.reload()
        self.wait_settled(relay)
        self.assertEqual(self.from_source(sim, B1), 60)

    def test_operations(self):
        sim, relay = self.world(plan(overflow="wait"), pools={"main": ["b1"]})
        self.send(relay, 100)
        self.wait_waiting(relay, 80)
        relay.cli("warmup", "skip", "b1")  # what waits goes without being told
        self.wait_waiting(relay, 60)
        self.assertEqual(self.from_source(sim, B1), 40)
        relay.cli("warmup", "set", "b1", "--rung", "3", "--provider", "microsoft365")
        self.wait_waiting(relay, 20)
        relay.cli("warmup", "hold", "b1", "--for", "4d")
        got = self.ramp(relay)
        self.assertTrue(got["operator_hold"])
        self.assertEqual(got["state"], "held")
        self.assertTrue(got["hold_until"])
        relay.restart()
        self.assertEqual((self.ramp(relay)["rung"], self.ramp(relay)["operator_hold"]), (3, True))
        relay.cli("warmup", "release", "b1")
        self.assertFalse(self.ramp(relay)["operator_hold"])
        relay.cli("warmup", "reset", "b1")
        got = self.ramp(relay)
        self.assertEqual((got["rung"], got["allowance"], got["used"], got["left_now"]), (1, 20, 80, 0))
        table = relay.cli("warmup").stdout
        self.assertIn("ALLOWANCE", table)
        self.assertIn("m365", table)

    def test_wrong_words(self):
        _, relay = self.world(plan(), pools={"main": ["a1", "b1"]})
        for words, status, said in (
                (("skip", "a1"), 65, "source 'a1' has no warm-up plan"),
                (("skip", "b1", "--provider", "outlook"), 65, "at provider outlook"),
                (("set", "b1", "--rung", "5"), 65, "no such rung"),
                (("set", "b1", "--rung", "0"), 64, "say which rung, from 1"),
                (("set", "b1", "--rung", "x"), 64, "not a whole number"),
                (("set", "b1"), 64, "say which rung"),
                (("hold", "b1", "--for", "soon"), 64, "is not a duration"),
                (("hold",), 64, "to which source"),
                (("hold", "b1", "--rung", "1"), 64, "--rung belongs to `postern warmup set`"),
                (("warm", "b1"), 64, "say set, hold, release, skip or reset"),
                (("--rung", "1"), 64, "say what to do")):
            done = relay.cli("warmup", *words, check=False)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(said, done.stderr)

    def test_metrics(self):
        sim, relay = self.world(plan() + plan("two", "b2", daily="5", start="2099-01-01"), pools={"main": ["a1", "b1", "b2"]})
        self.send(relay, 60)
        self.wait_settled(relay)
        got = relay.metrics()
        labels = '{source="b1",provider="microsoft365"}'
        self.assertEqual([got[f"postern_warmup_{k}{labels}"] for k in ("allowance", "used", "rung", "rungs", "paused", "left_now")],
                         [20, self.from_source(sim, B1), 1, 3, 0, 20 - self.from_source(sim, B1)])
        self.assertIn('postern_policy_events_total{event="warmup-backlog"}', got)
        relay.cli("warmup", "set", "b1", "--rung", "4")
        self.assertEqual(relay.metrics()[f"postern_warmup_allowance{labels}"], float("inf"))


if __name__ == "__main__":
    unittest.main()
