"""Alarms, from their cause at the receiver to the log and the metrics, and their ends: deferrals at a provider over a tenth for long, a
source that is blocked, all of them, a cluster that defers everyone, and a provider. Where a rest or a window of time would be waited for,
the relay goes by clocks of the test's own."""
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.clock import Clock  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
cluster "EUR05" { form = "old"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..99}.example" { cluster = {"EUR01"} }
tenant "u{0..99}.example" { cluster = {"EUR05"} }
"""
FULL = 'rule "full" { recipient = {"full@*"}  phase = "rcpt"  reply = "452 4.2.2 The recipient\'s mailbox is full" }'
LOADED = 'rule "loaded" { recipient = {"loaded@*"}  phase = "rcpt"  reply = "451 4.7.720 Agent busy, please try again later {tail}" }'
BUSY = """rule "busy" { phase = "mail"  reply = "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77719) {tail}" }"""
BANNED = """rule "banned" { source = {"127.0.1.1"}  phase = "mail"
    reply = "550 5.7.606 Access denied, banned sending IP [{ip}]. (AS16012609) {tail}" }"""
FAST = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}
BURST, SPAN, BURSTS = 20, 30, 6  # messages, seconds between bursts, and how many until it is called sustained


class Alarms(RelayCase):
    def world(self, rules, start="2026-11-02 10:00", sources=None, **options):
        if not os.environ.get("CLOCK_LIBRARY"):
            self.skipTest("a preloaded library and a sanitizer's own get into each other's way")
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), start)
        sim, relay = self.start(WORLD + rules, sources=sources or {"a1": "127.0.1.1", "b1": "127.0.2.1"}, env=clock.env(),
                                providers={"microsoft365": FAST}, queue={"retry": ["4h"], **options.pop("queue", {})}, **options)
        return sim, relay, clock

    def burst(self, relay, name, bad, n=BURST, user="loaded"):
        """n messages, of which so many are refused, one here and one there; returns when all are answered."""
        before, refused = relay.mark(), {k * n // bad + k % 2 for k in range(bad)}  # of both sources
        first = relay.metrics()["postern_accepted_messages_total"] // n * 7  # each time of other tenants
        relay.send_many((f"{name}-{i}", f"{user if i in refused else 'u'}@t{int(first + i) % 100}.example") for i in range(n))
        relay.wait_event(("delivered", "deferred"), since=before, count=n)
        self.assertEqual(len(relay.find("deferred", since=before)), bad)

    def bursts_until(self, relay, clock, event, bad):
        for k in range(1, 40):
            self.burst(relay, f"{event}{k}", bad)
            clock.elapse(seconds=SPAN)
            if relay.find(event):
                return k
        self.fail(f"no {event}")

    def causes(self, relay):
        """Lanes by cause, and changes by what to and by cause: those at the provider of the tests that are not 0."""
        found = {}
        for name, value in relay.metrics().items():
            m = re.fullmatch(r'postern_policy_(lanes|changes_total)\{provider="microsoft365",cause="(\w+)"(?:,to="(\w+)")?\}', name)
            if m and value:
                found[m[3] or m[1], m[2]] = value
        return found

    def test_deferrals_over_a_tenth_for_long(self):
        _, relay, clock = self.world(LOADED)
        self.assertEqual(relay.metrics()["postern_policy_deferrals_high"], 0)
        # more than a tenth of a half minute's is no alarm, nor are six half minutes at less than a tenth
        for k in range(12):
            self.burst(relay, f"fine{k}", bad=1 if k else 3)
            clock.elapse(seconds=SPAN)
        self.assertEqual(relay.find(("deferrals-high", "deferrals-normal")), [])
        self.bursts_until(relay, clock, "deferrals-high", bad=3)
        [event] = relay.find("deferrals-high")
        self.assertEqual((event["alarm"], event["level"], event["provider"]), (True, "warning", "microsoft365"))
        self.assertGreaterEqual(event["refused"], BURSTS * 3)
        self.assertGreaterEqual(event["accepted"], BURSTS * 15)
        self.assertRegex(event["message"], r"^\d+ of \d+ attempts in 5 minutes were deferred$")
        self.wait_metric(relay, "postern_policy_deferrals_high", 1)
        self.wait_metric(relay, 'postern_policy_events_total{event="deferrals-high"}', 1)
        self.bursts_until(relay, clock, "deferrals-normal", bad=0)
        [event] = relay.find("deferrals-normal")
        self.assertEqual((event["alarm"], event["level"], event["provider"]), (False, "notice", "microsoft365"))
        self.wait_metric(relay, "postern_policy_deferrals_high", 0)
        self.assertEqual(relay.find(("health", "cluster-defers", "source-blocked")), [])

    def test_full_mailboxes_are_no_alarm(self):
        _, relay, clock = self.world(FULL)
        for k in range(2 * BURSTS):
            self.burst(relay, f"full{k}", bad=5, user="full")
            clock.elapse(seconds=SPAN)
        self.assertEqual(relay.find(("deferrals-high", "health", "cluster-defers", "source-blocked")), [])
        self.assertEqual(relay.metrics()["postern_policy_deferrals_high"], 0)

    def test_a_blocked_source_and_its_return(self):
        sim, relay, clock = self.world(BANNED)
        pairs = [(f"m{i}", f"u@t{i}.example") for i in range(40)]
        relay.send_many(pairs)
        event = relay.wait_event("source-blocked")
        self.assertEqual((event["source"], event["alarm"], event["level"], event["health"], event["cause"]),
                         ("a1", True, "warning", "blocked", "source"))
        self.wait_settled(relay)
        self.wait_metric(relay, "postern_policy_sources_blocked", 1)
        causes = self.causes(relay)
        for cause in ("source", "none"):  # one may be left from before the cluster was known
            self.assertGreaterEqual(causes.pop(("lanes", cause)), 1)
        self.assertEqual(causes, {("resting", "source"): 1})
        sim.disable_rule("banned")
        clock.elapse(minutes=6)  # it rests for five
        more = []
        while not relay.find("source-unblocked"):  # two probes: connections of its own, when none to there is open
            self.assertLess(len(more), 40)
            clock.elapse(minutes=20)
            more += [(f"n{len(more) + i}", f"u@t{i}.example") for i in range(4)]
            relay.send_many(more[-4:])
            self.wait_settled(relay)
        [event] = relay.find("source-unblocked")
        self.assertEqual((event["source"], event["alarm"], event["health"]), ("a1", False, "healthy"))
        self.wait_metric(relay, "postern_policy_sources_blocked", 0)
        self.assertEqual({k: v for k, v in self.causes(relay).items() if k[0] != "lanes"}, {("resting", "source"): 1, ("healthy", "source"): 1})
        sim.check_once(pairs + more)

    def test_a_suspension_ends_by_itself(self):
        sim, relay, clock = self.world("")
        relay.cli("suspend", "--at", "microsoft365", "--for", "2h")
        event = relay.wait_event("suspended")
        self.assertEqual((event["provider"], event["cause"], event["until"][:16]), ("microsoft365", "operator", "2026-11-02T12:00"))
        pairs = [(f"m{i}", f"u@t{i}.example") for i in range(10)]
        relay.send_many(pairs)
        self.wait_accepted(relay)
        clock.elapse(minutes=110)
        relay.wait_event("held", reason="suspended by operator")
        self.assertEqual(sim.deliveries(), [])
        clock.elapse(minutes=10)
        event = relay.wait_event("resumed")
        self.assertEqual((event["provider"], event["message"]), ("microsoft365", "the suspension is over"))
        self.wait_settled(relay)
        sim.check_once(pairs)

    def test_all_sources_blocked(self):
        _, relay, _ = self.world(BANNED, sources={"a1": "127.0.1.1"})
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(10))
        event = relay.wait_event("all-sources-blocked")
        self.assertEqual((event["alarm"], event["level"], event["provider"]), (True, "warning", "microsoft365"))
        self.wait_metric(relay, 'postern_policy_events_total{event="all-sources-blocked"}', 1)
        self.assertFalse(relay.find("bounced"))

    def test_clusters_that_defer_and_then_the_provider(self):
        sim, relay, clock = self.world(BUSY, queue={"retry": ["1s"]})
        pairs = [(f"{tenant}{i}", f"u@{tenant}{i}.example") for i in range(100) for tenant in "tu"]
        relay.send_many(pairs)
        relay.wait_event("provider-defers", alarm=True, level="warning", provider="microsoft365", cause="provider")
        defers = relay.find("cluster-defers")
        self.assertEqual({(e["cluster"], e["alarm"], e["level"], e["cause"], e["health"]) for e in defers},
                         {(c, True, "warning", "cluster", "resting") for c in ("EUR01", "EUR05")})
        self.assertTrue(all(e["until"] and e["refused"] > 5 for e in defers), defers)
        self.wait_metric(relay, "postern_policy_clusters_deferring", 2)
        causes = self.causes(relay)
        self.assertGreaterEqual(causes["lanes", "cluster"], 2)
        self.assertEqual((causes["resting", "cluster"], causes["resting", "provider"]), (2, 1))
        self.assertEqual({e["cause"] for e in relay.find("health")}, set())
        sim.disable_rule("busy")
        clock.elapse(seconds=30)
        relay.wait_event("provider-well", alarm=False)
        relay.wait_event("cluster-well", count=2, alarm=False, health="healthy")
        self.wait_metric(relay, "postern_policy_clusters_deferring", 0)
        causes = self.causes(relay)
        self.assertEqual((causes["healthy", "cluster"], causes["healthy", "provider"]), (2, 1))
        self.assertNotIn(("lanes", "cluster"), causes)
        self.wait_settled(relay)
        sim.check_once(pairs)


if __name__ == "__main__":
    unittest.main()
