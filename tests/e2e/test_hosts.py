"""Hosts that fail on their own, what receivers take, and the same source again."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

PAIR = """
cluster "FIRST" { addresses = {"127.1.1.1"}  without = {"CHUNKING", "BINARYMIME"} }
cluster "SECOND" { addresses = {"127.1.2.1"} }
tenant "t.example" { cluster = {"SECOND"}  mx = {"10 mx1.{domain} @FIRST", "20 mx2.{domain} @SECOND"} }
"""
CLEAR = {"default": {"tls": "none"}, "microsoft365": {"tls": "none"}}


class NextHost(RelayCase):
    def test_session_that_fails_goes_on_at_the_next_host(self):
        """Words of a system's trouble, and hang-ups, in each phase before the content: no retry is used up, nothing is in doubt."""
        trouble = [('reply = "452 4.3.1 Insufficient system storage"', p) for p in ("mail", "rcpt", "data")] + \
            [('action = "drop"', p) for p in ("mail", "rcpt")]
        for what, phase in trouble:
            with self.subTest(f"{what} at {phase}"):
                sim, relay = self.start(PAIR + f'rule "no" {{ cluster = {{"FIRST"}}  phase = "{phase}"  {what} }}',
                                        providers=CLEAR, queue={"retry": ["10m"]})
                pairs = [(f"m{i}", "u@t.example") for i in range(3)]
                relay.send_many(pairs)
                relay.wait_event("delivered", count=3)
                self.assertEqual({(e["host"], e["attempt"]) for e in relay.find("delivered")}, {("mx2.t.example[127.1.2.1]", 1)})
                self.assertEqual(relay.metrics()["postern_in_doubt_total"], 0)
                sim.check_once(pairs)

    def test_refused_greeting_is_asked_elsewhere_first(self):
        sim, relay = self.start(PAIR + 'rule "no" { cluster = {"FIRST"}  phase = "connect"  reply = "554 5.7.1 Your address is blocked here" }',
                                providers=CLEAR, queue={"retry": ["10m"]})
        relay.send("m", "u@t.example")
        e = relay.wait_event("delivered")
        self.assertEqual((e["host"], e["attempt"]), ("mx2.t.example[127.1.2.1]", 1))
        self.assertEqual(relay.find(("held", "bounced", "source-blocked", "source-unwelcome")), [])


class FrontEnds(RelayCase):
    def test_one_bad_front_end(self):
        """It is left alone; the others carry on, and neither cluster nor subnet is blamed."""
        for reply, phase in (("421 4.3.2 Service not available", "connect"), ("451 4.3.2 System not accepting network messages", "mail")):
            with self.subTest(phase):
                sim, relay = self.start(f"""
                    cluster "GOOD" {{ addresses = {{"127.1.1.1-3"}} }}
                    cluster "BAD" {{ addresses = {{"127.1.1.4"}} }}
                    tenant "t{{0..99}}.example" {{ cluster = {{"GOOD"}}  mx = {{"10 mx1.{{domain}} @GOOD", "10 mx2.{{domain}} @BAD"}} }}
                    rule "bad" {{ cluster = {{"BAD"}}  phase = "{phase}"  reply = "{reply}" }}
                    """, queue={"retry": ["10m"]}, providers={"default": {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}})
                pairs = [(f"m{i}", f"u@t{i % 100}.example") for i in range(300)]
                relay.send_many(pairs)
                relay.wait_event("delivered", count=300)
                sim.check_once(pairs)
                self.assertLessEqual(sim.rules()["bad"], 40)
                self.assertEqual(relay.find(("health", "cluster-defers")), [])


class Limits(RelayCase):
    def recipients(self, relay):
        rows = [json.loads(line) for line in relay.cli("clusters", "--json").stdout.splitlines()]
        return {row["transaction_max"] for row in rows}

    def test_recipients_a_transaction(self):
        """Three are taken; the rest goes in threes, and so does all that comes after, over a restart, too."""
        sim, relay = self.start("""
            cluster "A" { addresses = {"127.1.1.1"}  recipients = 3 }
            tenant "t.example" { cluster = {"A"}  mx = {"10 mx.{domain} @A"} }
            """, queue={"retry": ["10m"]}, providers={"default": {"tls": "none", "connections_per_lane": 1}})
        to = [f"u{i}@t.example" for i in range(9)]
        relay.send("a", to)
        relay.wait_event("delivered", count=9)
        self.assertEqual({e["reason"] for e in relay.find("deferred")}, {"fewer recipients a transaction next"})
        self.assertEqual(self.recipients(relay), {3})
        self.assertEqual(len({(e["session"], e["reply"]) for e in relay.find("delivered")}), 3)
        relay.restart()
        self.assertEqual(self.recipients(relay), {3})
        before = len(relay.find("deferred"))
        relay.send("b", to)
        relay.wait_event("delivered", count=18)
        self.assertEqual(len(relay.find("deferred")), before)
        sim.check_once((m, r) for m in "ab" for r in to)


class SameSource(RelayCase):
    def test_greylisted_mail_comes_from_the_same_source_again(self):
        sim, relay = self.start("""
            cluster "A" { addresses = {"127.1.1.1"} }
            tenant "t{0..9}.example" { cluster = {"A"} }
            rule "grey" { phase = "rcpt"  limit = 40  reply = "451 4.7.1 Greylisted, please try again in 60 seconds" }
            """, sources={f"s{i}": f"127.0.{10 + i}.1" for i in range(4)}, queue={"retry": ["1s"]})
        relay.send_many((f"m{i}", f"u{i}@t{i % 10}.example") for i in range(40))
        relay.wait_event("delivered", count=40)
        for i in range(40):
            self.assertEqual(len({e["source"] for e in relay.find(("deferred", "delivered"), to=f"u{i}@t{i % 10}.example")}), 1)


if __name__ == "__main__":
    unittest.main()
