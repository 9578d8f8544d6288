"""The history: `postern history` and /history.json say what the log and the simulator say, over restarts and kills."""
import collections
import itertools
import json
import os
import re
import sys
import tempfile
import unittest
import urllib.error

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.clock import Clock  # noqa: E402
from lib.process import Deadline  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
cluster "EUR05" { form = "old"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
tenant "u{0..9}.example" { cluster = {"EUR05"} }
rule "later" { recipient = {"later@*"}  phase = "rcpt"  reply = "452 4.2.2 The recipient's mailbox is full" }
rule "never" { recipient = {"never@*"}  phase = "rcpt"  reply = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found" }
"""
SOURCES = {"a1": "127.0.1.1", "b1": "127.0.2.1"}
SUBNETS = {"a1": "127.0.1.0/24", "b1": "127.0.2.0/24"}
COUNTS = ("delivered", "deferred", "bounced")


class History(RelayCase):
    def world(self, **options):
        return self.start(WORLD, sources=SOURCES, providers={"microsoft365": {"tls": "none"}}, queue={"retry": ["4h"]}, **options)

    def send(self, relay, name, n=20):
        words = ["u", "u", "later", "u", "never"]
        pairs = [(f"{name}-{i}", f"{words[i % 5]}@{'tu'[i // 5 % 2]}{i % 10}.example") for i in range(n)]
        before = relay.mark()
        relay.send_many(pairs, sender="")  # no notifications, whose ends would be taken for those waited for
        relay.wait_event(COUNTS, since=before, count=n)
        return pairs

    def history(self, relay, *args):
        about, *rows = self.lines(relay, "history", *args)
        return about, rows

    def minutes(self, relay):
        return {(r["start"], r["attempts"]) for r in self.history(relay, "--step", "minute")[1]}

    def logged(self, relay, key):
        """Of each of these by what the log says: attempts, delivered, deferred, bounced."""
        found = collections.defaultdict(lambda: dict.fromkeys(("attempts",) + COUNTS, 0))
        for e in relay.find(COUNTS):
            if "source" in e:
                found[key(e)]["attempts"] += 1
                found[key(e)][e["event"]] += 1
        return dict(found)

    def compare(self, relay, by, names, key, step="hour"):
        _, rows = self.history(relay, "--by", by, "--step", step, "--sum")
        told = {tuple(r[n] for n in names): {k: r[k] for k in ("attempts",) + COUNTS} for r in rows if r["attempts"]}
        self.assertEqual(told, self.logged(relay, key))

    def compare_all(self, relay):
        for step in ("minute", "hour", "day"):
            self.compare(relay, "lane", ("source", "cluster"), lambda e: (e["source"], e["cluster"]), step)
            self.compare(relay, "path", ("subnet", "cluster"), lambda e: (SUBNETS[e["source"]], e["cluster"]), step)
            self.compare(relay, "source", ("source",), lambda e: (e["source"],), step)
            self.compare(relay, "cluster", ("cluster",), lambda e: (e["cluster"],), step)
            self.compare(relay, "pool", ("pool",), lambda e: ("main",), step)
            self.compare(relay, "total", (), lambda e: (), step)

    def compare_metrics(self, relay):
        told = collections.defaultdict(dict)
        for name, value in relay.metrics().items():
            if name.startswith("postern_deliveries_total"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
                told[labels["source"], labels["cluster"]][labels["outcome"]] = value
            elif name.startswith("postern_lane_health"):
                self.assertEqual(value, 0, name)
        logged = self.logged(relay, lambda e: (e["source"], e["cluster"]))
        self.assertEqual(dict(told), {k: {o: v[o] for o in COUNTS if v[o]} for k, v in logged.items()})

    def test_the_same_numbers(self):
        sim, relay = self.world()
        self.send(relay, "m", 40)
        self.compare_all(relay)
        [total] = self.history(relay, "--sum")[1]
        self.assertEqual(total["delivered"], len(sim.deliveries()))
        self.assertEqual(sum(total["deferred_by_verdict"].values()), total["deferred"])
        self.assertGreater(total["bytes"], 0)
        self.assertTrue(0 < total["delay_p50"] <= total["delay_p95"] <= total["delay_p99"] < 600, total)
        self.compare_metrics(relay)
        about, rows = self.history(relay, "--by", "lane", "--step", "minute", "--of", "a1")
        self.assertIsNone(about["complete_since"])
        self.assertEqual({r["source"] for r in rows}, {"a1"})
        # HTTP has the same
        page = json.loads(relay.get("/history.json?by=lane&step=minute&of=a1"))
        self.assertEqual(page["rows"], rows)
        self.assertEqual({k: v for k, v in page["about"].items() if k not in ("from", "to")},
                         {k: v for k, v in about.items() if k not in ("from", "to")})  # a minute may have begun between
        self.assertIn("a1", relay.cli("history", "--by", "lane").stdout)
        self.assertIn("nothing happened", relay.cli("history", "--of", "nobody").stdout)
        # each line of the log says whose message it was
        accepted = {e["id"]: e for e in relay.find("accepted")}
        attempts = relay.find(COUNTS, source=lambda s: s)
        self.assertEqual(len(attempts), total["attempts"])
        for e in attempts:
            self.assertEqual((e["pool"], e["client"], e["source_address"]), ("main", "127.0.0.1", SOURCES[e["source"]]))
            self.assertEqual(e["size"], accepted[e["id"]]["size"])
            self.assertIn("@", e["message_id"])
        # it is kept when the relay ends in good order, in the same minute
        relay.stop()
        relay.start()
        self.compare_all(relay)
        self.send(relay, "n")
        self.compare_all(relay)

    def test_what_cannot_be_asked(self):
        _, relay = self.world()
        for args in (("--by", "moon"), ("--step", "week"), ("--since", "yesterday"), ("--since", "500d")):
            r = relay.cli("history", *args, check=False)
            self.assertEqual((r.returncode, r.stdout), (64, ""), args)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            relay.get("/history.json?by=moon")
        self.assertEqual(caught.exception.code, 400)
        caught.exception.close()

    def test_a_kill_loses_a_minute_at_most(self):
        if not os.environ.get("CLOCK_LIBRARY"):
            self.skipTest("a preloaded library and a sanitizer's own get into each other's way")
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-02 10:00")
        _, relay = self.world(env=clock.env())
        for name in ("m", "n", "o"):
            self.send(relay, name)
            clock.elapse(seconds=61)
            # saved with the commit that comes next: a minute that is there to be seen may not be there to stay
            deadline = Deadline()
            known = len(self.minutes(relay))
            for k in itertools.count():  # what comes before the relay has looked at the clock is still the old minute's
                self.send(relay, f"{name}x{k}", 5)
                if len(self.minutes(relay)) > known:
                    break
                self.assertFalse(deadline.passed)
            commits = relay.metrics()["postern_queue_commits_total"]
            self.send(relay, name + "y", 5)
            self.wait_metric(relay, "postern_queue_commits_total", lambda v: v > commits + 1)
            before = self.minutes(relay)
            relay.kill()
            relay.start()
            after = self.minutes(relay)
            lost = before - after
            self.assertLessEqual(len({start for start, _ in lost}), 1, (before, after))
            self.assertTrue(after)
            clock.elapse(hours=1)
        hours = self.history(relay, "--step", "hour")[1]
        self.assertEqual([r["start"][:13] for r in hours if r["delivered"]], ["2026-11-02T10", "2026-11-02T11", "2026-11-02T12"])
        self.assertEqual(sum(r["delivered"] for r in self.history(relay, "--step", "day")[1]), sum(r["delivered"] for r in hours))


if __name__ == "__main__":
    unittest.main()
