"""Whose words a refusal is made of, and how far they reach: a tenant's own rule, a small receiver that does not want one of our addresses, a
provider that refuses what one domain sends; and that held mail goes when what held it ends."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import DEADLINE, Deadline  # noqa: E402

WORLD = """
defaults { latency = "5ms" }
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..99}.example" { cluster = {"EUR01"} }
tenant "u{0..99}.example" { cluster = {"EUR05"} }
"""
SOURCES = {"a1": "127.0.1.1", "b1": "127.0.2.1"}
FAST = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}
NOWHERE = {**FAST, "mx": ["*.nowhere.invalid"]}  # then the same hosts are everybody else's
OWN_RULES = (
    "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy: your IP address is on our blacklist",
    "550 5.7.950 your sending IP is banned here",
)


class Words(RelayCase):
    def world(self, rule, **options):
        provider = options.pop("provider", FAST)
        return self.start(WORLD + rule, sources=options.pop("sources", SOURCES), providers={"microsoft365": provider, "default": FAST},
                          queue={"retry": ["1h"]}, **options)

    def no_source_is_meant(self, relay):
        self.assertEqual(relay.find(("source-blocked", "all-sources-blocked", "source-unwelcome", "health", "cluster-defers")), [])

    def wait_reasons(self, relay, word):
        """All that waits says so."""
        deadline = Deadline(DEADLINE)
        while not all(word in r["reason"] for r in self.waiting(relay)):
            self.assertFalse(deadline.passed, {r["reason"] for r in self.waiting(relay)})
            time.sleep(0.05)

    def test_a_tenants_own_rule(self):
        """It is returned at once, and that is all; in any phase."""
        for reply in OWN_RULES:
            for phase in ("mail", "rcpt", "eod"):
                with self.subTest(reply=reply[:12], phase=phase):
                    sim, relay = self.world(f'rule "own" {{ tenant = {{"t7.example"}}  phase = "{phase}"  reply = "{reply} {{tail}}" }}'
                                            if phase != "mail" else
                                            f'rule "own" {{ cluster = {{"EUR01"}}  phase = "mail"  reply = "{reply} {{tail}}" }}')
                    pairs = [(f"m{i}", f"x@u{i}.example") for i in range(20)]
                    relay.send_many(pairs)
                    self.wait_settled(relay)
                    for i in range(2):
                        relay.send(f"r{i}", "x@t7.example")
                    relay.wait_event("bounced", to="x@t7.example", count=2)
                    more = [(f"n{i}", f"x@u{i}.example") for i in range(20)]
                    relay.send_many(more)
                    self.wait_settled(relay)
                    sim.check_once(pairs + more)
                    self.no_source_is_meant(relay)
                    self.assertTrue(self.doCleanups())

    def test_a_receiver_that_does_not_want_us(self):
        """At a provider, and among everybody else: its mail is held, that of others goes, over a restart as well; resume ends it at once."""
        for provider in (FAST, NOWHERE):
            for phase, reply in (("rcpt", "554 5.7.1 Service unavailable; Client host [{ip}] blocked using zen.spamhaus.example"),
                                 ("rcpt", "550 5.7.25 your IP has no reverse DNS"), ("eod", "550 5.7.1 your ip address is on our blacklist")):
                with self.subTest(provider=len(provider), reply=reply[:30]):
                    rule = f'rule "own" {{ recipient = {{"*@t7.example"}}  phase = "{phase}"  reply = "{reply}" }}'
                    sim, relay = self.world(rule, provider=provider)
                    first = [(f"m{i}", f"x@t{i}.example") for i in range(6)]
                    relay.send_many(first)
                    self.wait_settled(relay)
                    for i in range(3):
                        relay.send(f"r{i}", "x@t7.example")
                    relay.wait_event("held", to="x@t7.example")
                    relay.restart()
                    pairs = [(f"n{i}", f"x@t{i + 10}.example") for i in range(20)]
                    relay.send_many(pairs)
                    relay.wait_event("delivered", to="x@t29.example")
                    self.assertEqual(relay.find(("bounced", "source-blocked", "expired")), [])
                    refused = sim.rules()["own"]
                    self.assertLessEqual(refused, 6)
                    rows = [x for x in self.lines(relay, "lanes") if x.get("domain") == "t7.example"]
                    self.assertEqual({x["source"] for x in rows}, set(SOURCES))
                    self.assertTrue(all(x["health"] == "refused" and x["since"] and x["until"] for x in rows))
                    self.assertIn("is refused by t7.example", relay.cli("lanes").stdout)
                    sim.disable_rule("own")
                    relay.cli("resume", "--at", "t7.example")
                    relay.wait_event("delivered", to="x@t7.example", count=3)
                    sim.check_once(first + pairs + [(f"r{i}", "x@t7.example") for i in range(3)])
                    self.assertTrue(self.doCleanups())

    def test_refused_at_the_door(self):
        """Hosts of some receivers, among everybody else, do not let us in: those receivers' mail waits, that of others goes."""
        for phase in ("connect", "ehlo"):
            with self.subTest(phase=phase):
                sim, relay = self.world(f'rule "door" {{ cluster = {{"EUR05"}}  phase = "{phase}"  reply = "554 5.7.1 [{{ip}}] is not welcome here" }}',
                                        provider=NOWHERE)
                relay.send_many([(f"r{i}", f"x@u{i}.example") for i in range(12)])
                pairs = [(f"m{i}", f"x@t{i}.example") for i in range(20)]
                relay.send_many(pairs)
                relay.wait_event("delivered", count=20)
                sim.check_once(pairs)
                self.assertEqual(relay.find(("bounced", "source-blocked", "all-sources-blocked")), [])
                self.wait_reasons(relay, "blocked")
                asked = sim.rules()["door"]  # by each source at each host, and then they are left alone
                self.assertLessEqual(asked, 100)
                relay.send("more", "x@t30.example")
                relay.wait_event("delivered", to="x@t30.example")
                self.assertEqual(sim.rules()["door"], asked)
                self.assertTrue(self.doCleanups())

    def test_many_of_a_refused_sender(self):
        """More than memory is for: they wait in the queue, and others' mail for the same receivers goes all the same."""
        sim, relay = self.world('rule "limit" { sender = {"*@shop.example"}  phase = "mail"  reply = "550 5.7.705 tenant has exceeded threshold" }',
                                extra="dispatch { work_max = 100 }\n")
        relay.send_many([(f"s{i}", f"x@t{i % 4}.example") for i in range(400)], sender="app@shop.example")
        pairs = [(f"m{i}", f"x@t{i % 4}.example") for i in range(40)]
        relay.send_many(pairs, sender="app@other.example")
        relay.wait_event("delivered", count=40)
        sim.check_once(pairs)
        self.assertLessEqual(sim.rules()["limit"], 12)  # some are under way together
        self.assertEqual(relay.find(("bounced", "expired")), [])

    def test_a_sender_that_is_refused(self):
        """Its mail waits, with an alarm that names it; mail of others to the same receivers goes; nothing is returned; resume lets it go."""
        for code in ("550 5.7.705 Access denied, tenant has exceeded threshold", "550 5.7.708 Service unavailable. Access denied, traffic not accepted "
                     "from this IP", "550 5.7.750 Client blocked from sending from unregistered domain", "451 4.7.233 tenant limit exceeded"):
            with self.subTest(code=code[:12]):
                sim, relay = self.world(f'rule "limit" {{ sender = {{"*@shop.example"}}  phase = "mail"  reply = "{code} {{tail}}" }}')
                held = [(f"s{i}", f"x@t{i % 4}.example") for i in range(24)]
                relay.send_many(held[:1], sender="app@shop.example")
                event = relay.wait_event("sender-held", alarm=True)
                self.assertEqual((event["sender"], event["provider"]), ("shop.example", "microsoft365"))
                self.assertEqual(sim.rules()["limit"], 1)  # no other source was tried
                relay.send_many(held[1:], sender="app@shop.example")
                pairs = [(f"m{i}", f"x@t{i % 4}.example") for i in range(40)]
                relay.send_many(pairs, sender="app@other.example")
                relay.wait_event("delivered", count=40)
                sim.check_once(pairs)
                self.assertLessEqual(sim.rules()["limit"], 3)
                self.assertEqual(relay.find(("bounced", "expired")), [])
                self.no_source_is_meant(relay)
                self.assertTrue(all("sender" in r["reason"] for r in self.waiting(relay)))
                relay.restart()
                self.assertLessEqual(sim.rules()["limit"], 3)
                sim.disable_rule("limit")
                relay.cli("resume", "--at", "shop.example")
                relay.wait_event("delivered", count=64)
                sim.check_once(pairs + held)
                self.assertTrue(self.doCleanups())

    def test_held_mail_goes_when_the_block_ends(self):
        sim, relay = self.world('rule "banned" { phase = "mail"  reply = "550 5.7.606 Access denied, banned sending IP [{ip}]. {tail}" }')
        pairs = [(f"m{i}", f"x@t{i}.example") for i in range(30)]
        relay.send_many(pairs)
        relay.wait_event("all-sources-blocked", alarm=True)
        self.assertLessEqual(sim.rules()["banned"], 12)
        sim.disable_rule("banned")
        relay.cli("resume", "--at", "microsoft365")
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertEqual(relay.find(("bounced", "expired")), [])


if __name__ == "__main__":
    unittest.main()
