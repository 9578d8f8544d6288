"""One recipient that takes no more waits alone, with its reason, and is tried by one message; waves of recipients that do not exist are told."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.clock import Clock  # noqa: E402

WORLD = """
cluster "EUR05" { form = "old"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..99}.example" { cluster = {"EUR05"} }
"""
MUCH = """rule "much" { recipient = {"all@t1.example"}  phase = "rcpt"
    reply = "550 5.2.122 The recipient has exceeded their limit for the number of messages they can receive per hour" }"""
GONE = 'rule "gone" { recipient = {"gone*"}  phase = "rcpt"  reply = "550 5.4.1 Recipient address rejected: Access denied. {tail}" }'
REASON = "rate that the recipient takes"


class Recipients(RelayCase):
    def world(self, rules, provider=None, **options):
        if not os.environ.get("CLOCK_LIBRARY"):
            self.skipTest("a preloaded library and a sanitizer's own get into each other's way")
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-02 10:00")
        provider = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none", **(provider or {})}
        sim, relay = self.start(WORLD + rules, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, env=clock.env(),
                                providers={"microsoft365": provider}, queue={"retry": ["10m"], "retry_jitter": "0.0"}, **options)
        return sim, relay, clock

    def waiting(self, relay):
        """(recipient, reason) of all that waits."""
        return [(r["address"], r["reason"]) for m in self.lines(relay, "queue", "--list") for r in m.get("recipients", [])]

    def test_a_recipient_that_gets_too_much_waits_alone(self):
        sim, relay, clock = self.world(MUCH)
        relay.send_many([("first", "all@t1.example")])
        relay.wait_event("deferred", to="all@t1.example", verdict="destination-busy")
        # others of the domain go; what is for it waits, untried, also of a message with several recipients
        relay.send_many([(f"m{i}", "all@t1.example") for i in range(4)] + [(f"o{i}", f"u{i}@t1.example") for i in range(3)] +
                        [("several", ["u3@t1.example", "ALL@t1.example", "u4@t1.example"])])
        relay.wait_event("delivered", count=5, domain="t1.example")
        row = [r for r in self.lines(relay, "why") if r.get("reason") == REASON]
        self.assertEqual([r["recipients"] for r in row], [5])
        waiting = [reason for address, reason in self.waiting(relay) if address.lower() == "all@t1.example"]
        self.assertEqual(waiting.count(REASON), 5, waiting)
        self.assertEqual(len(relay.find("deferred")), 1)
        self.wait_metric(relay, "postern_policy_recipients_waiting", 1)
        # one message finds out by the schedule, and is refused: an hour
        clock.elapse(minutes=11)
        relay.wait_event("deferred", count=2)
        clock.elapse(minutes=45)
        self.assertEqual(len(relay.find("deferred")), 2)
        sim.disable_rule("much")
        clock.elapse(minutes=16)
        relay.wait_event("delivered", count=11)
        self.assertEqual(relay.find(("health", "cluster-defers", "deferrals-high", "source-blocked")), [])
        self.wait_metric(relay, "postern_policy_recipients_waiting", 0)

    def test_a_recipient_is_paced_before_it_refuses(self):
        _, relay, clock = self.world("", provider={"recipient_message_rate": "120/1h"})
        relay.send_many([(f"m{i}", "all@t1.example") for i in range(60)] + [(f"o{i}", f"u{i}@t1.example") for i in range(10)])
        relay.wait_event("delivered", count=10, to=lambda to: to != "all@t1.example")
        relay.wait_event("delivered", count=38, to="all@t1.example")  # a third of 120 from one sender, less a little
        self.assertIn(("all@t1.example", REASON), self.waiting(relay))
        self.assertLessEqual(len(relay.find("delivered", to="all@t1.example")), 60 - 15)
        self.assertEqual(relay.find("deferred"), [])
        clock.elapse(minutes=66)
        relay.wait_event("delivered", count=60, to="all@t1.example")

    def test_a_wave_of_unknown_recipients_is_told(self):
        _, relay, _ = self.world(GONE)
        relay.send_many([(f"g{i}", f"{'gone' if i % 3 else 'u'}{i}@t2.example") for i in range(60)])
        domain = relay.wait_event("unknown-recipients-high", domain="t2.example")
        self.assertEqual((domain["alarm"], domain["level"], domain["provider"]), (True, "warning", "microsoft365"))
        client = relay.wait_event("unknown-recipients-high", client="127.0.0.1")
        self.assertRegex(client["message"], r"^\d+ of \d+ recipients of this client's mail lately do not exist$")
        self.wait_metric(relay, "postern_policy_unknown_recipients_high", 2)
        self.wait_metric(relay, 'postern_policy_events_total{event="unknown-recipients-high"}', 2)


if __name__ == "__main__":
    unittest.main()
