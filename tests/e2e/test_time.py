"""The wall clock is set while mail waits, or while the relay is stopped. It goes by clocks of the test's own."""
import email
import email.policy
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.clock import Clock  # noqa: E402

WORLD = """
cluster "A" { addresses = {"127.1.1.1-4"} }
tenant "t{0..9}.example" { cluster = {"A"} }
rule "busy" { phase = "rcpt"  recipient = {"late*@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }
"""


@unittest.skipUnless("CLOCK_LIBRARY" in os.environ, "a sanitizer and a preloaded clock do not go together")
class Steps(RelayCase):
    def world(self, **queue):
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-10 12:00")
        sim, relay = self.start(WORLD, env=clock.env(), queue={"retry": ["1h"], "expire": "20d", **queue})
        relay.send("m", "late@t1.example", sender="")
        relay.wait_event("deferred")
        self.wait_queue(relay, recipients=1)
        return sim, relay, clock

    def goes(self, sim, relay):
        sim.remove_rule("busy")

    def test_set_back_while_it_runs(self):
        for days in (1, 3650):
            with self.subTest(days):
                sim, relay, clock = self.world()
                self.goes(sim, relay)
                clock.step(days=-days)
                self.assertIn("back by", relay.wait_event("clock-set")["message"])
                relay.wait_event("delivered", to="late@t1.example")
                relay.send("new", "u@t1.example")
                relay.wait_event("delivered", to="u@t1.example")

    def test_set_back_behind_other_mail(self):
        """Entries of the new clock stand before those of the old one, and always will."""
        sim, relay, clock = self.world(retry=["20m"])
        clock.step(days=-2)
        relay.send("other", "later@t1.example", sender="")
        relay.wait_event("deferred", to="later@t1.example")
        sim.remove_rule("busy")
        sim.add_rule('rule "busy" { phase = "rcpt"  recipient = {"later@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }')
        clock.step(minutes=-2)  # seen once more, now that the other waits, too
        relay.wait_event("delivered", to="late@t1.example")

    def test_set_back_while_it_is_stopped(self):
        sim, relay, clock = self.world()
        relay.stop()
        self.goes(sim, relay)
        clock.step(days=-3650)
        relay.start()
        relay.wait_event("delivered", to="late@t1.example")

    def test_set_back_a_little_is_waited_for(self):
        """What is within the longest retry stays as it is: no burst at each correction."""
        sim, relay, clock = self.world(retry=["2h"])
        clock.step(seconds=-30)
        relay.wait_event("clock-set")
        relay.send("new", "u@t1.example")
        relay.wait_event("delivered", to="u@t1.example")
        self.assertEqual(len(relay.find("deferred")), 1)

    def test_mail_that_came_while_the_clock_was_ahead_ends_in_its_time(self):
        """Its life begins when that is seen, once, whatever is restarted meanwhile."""
        for running in (True, False):
            with self.subTest(running=running):
                sim, relay, clock = self.world(retry=["20m"], expire="1h", delay_notice="0")
                since = relay.mark()
                if not running:
                    relay.stop()
                clock.step(days=-3650)
                if not running:
                    relay.start()
                relay.wait_event("deferred", since=since)
                for rounds in range(6):
                    if relay.find("expired"):
                        break
                    since = relay.mark()
                    clock.elapse(minutes=25)  # a retry of 20 minutes comes after up to 24
                    relay.restart()
                    relay.wait_event(("deferred", "expired"), since=since)
                relay.wait_event("expired", to="late@t1.example", timeout=5)
                self.assertGreater(rounds, 1)

    def test_set_forward(self):
        sim, relay, clock = self.world()
        self.goes(sim, relay)
        clock.step(days=3)
        self.assertIn("forward by", relay.wait_event("clock-set")["message"])
        relay.wait_event("delivered", to="late@t1.example")

    def test_retry_after_a_step(self):
        for days in (3, -3):
            with self.subTest(days):
                sim, relay, clock = self.world()
                clock.step(days=days)
                relay.wait_event("deferred", count=2)
                self.goes(sim, relay)
                relay.cli("retry", "--all")
                relay.wait_event("delivered", to="late@t1.example")

    def test_rests_do_not_last_for_years(self):
        sim = self.simulator(WORLD + 'rule "no" { phase = "rcpt"  recipient = {"u@*"}  reply = '
                             '"550 5.7.606 Access denied, banned sending IP [127.0.1.1]. To request removal from this list please visit '
                             'https://sender.office.com/ and follow the directions." }')
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-10 12:00")
        relay = self.relay(sim, env=clock.env(), queue={"retry": ["1m"], "expire": "20d"})
        relay.send("m", "u@t1.example", sender="")
        relay.wait_event("held")
        relay.stop()
        sim.remove_rule("no")
        clock.step(days=-3650)
        relay.start()
        for _ in range(40):  # no block is that long
            if relay.find("delivered", to="u@t1.example"):
                break
            clock.elapse(hours=1)
            relay.cli("retry", "--all")
            try:
                relay.wait_event("delivered", to="u@t1.example", timeout=2)
            except Exception:
                continue
        relay.wait_event("delivered", to="u@t1.example", timeout=1)


ENDS = """
cluster "A" { addresses = {"127.1.1.1-4"} }
cluster "BACK" { addresses = {"127.1.3.1"}  region_check = "no" }
tenant "t1.example" { cluster = {"A"} }
tenant "back.example" { cluster = {"BACK"}  mx = {"10 mx.{domain} @BACK"} }
"""
BANNED = ("550 5.7.606 Access denied, banned sending IP [127.0.1.1]. To request removal from this list please visit "
          "https://sender.office.com/ and follow the directions.")


@unittest.skipUnless("CLOCK_LIBRARY" in os.environ, "a sanitizer and a preloaded clock do not go together")
class Ends(RelayCase):
    """Mail that waits beyond its life ends, and its sender is told why: what we did, and what is said of our addresses, is nobody else's fault."""
    OURS, THEIRS = "The recipient's address may be right", "The recipient's mail system did not accept the message in time"

    def ends(self, reply, restarted):
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-10 12:00")
        sim, relay = self.start(ENDS, env=clock.env(), sim_options={"store": True}, queue={"retry": ["10m"], "expire": "1h", "delay_notice": "0"})
        if reply:
            sim.add_rule(f'rule "r" {{ phase = "rcpt"  recipient = {{"u@*"}}  reply = "{reply}" }}')
        else:
            relay.cli("suspend", "--at", "microsoft365")
        relay.send("m", "u@t1.example", sender="s@back.example")
        relay.wait_event(("held", "deferred"), to="u@t1.example")
        if restarted:
            relay.stop()
            since = relay.mark()
            clock.elapse(hours=3)
            relay.start()
            relay.wait_event(("held", "deferred", "expired"), since=since, to="u@t1.example")
        clock.elapse(hours=1)
        for _ in range(12):  # of each, one attempt at the end may be owed, which has a time of its own
            clock.elapse(minutes=15)
            try:
                event = relay.wait_event("expired", to="u@t1.example", timeout=3)
                break
            except Exception:
                continue
        else:
            self.fail("it does not end")
        relay.wait_event("delivered", to="s@back.example")
        [d] = [d for d in sim.deliveries() if d["to"] == "s@back.example"]
        with open(d["file"], "rb") as file:
            text, status, _ = email.message_from_bytes(file.read(), policy=email.policy.default).get_payload()
        return event, " ".join(text.get_content().split()), status.get_payload()[1]

    def test_reason(self):
        busy = "451 4.2.1 mailbox busy"
        # a block is tried at the end, or not
        for reply, log, said in ((None, "^suspended by operator$", "The operator of the sending system had suspended delivery there[.]"),
                                 (BANNED, "^all sources blocked$|^550 5.7.606", "The receiving system refuses the addresses that the sending system "
                                  "sends from[.]|What the receiving host said is about the system that sends, not about the recipient"),
                                 (busy, "^451 4.2.1 mailbox busy$", None)):
            for restarted in (False, True):
                with self.subTest(log, restarted=restarted):
                    event, text, fields = self.ends(reply, restarted)
                    self.assertRegex(event["reason"], log)
                    self.assertEqual((fields["action"], fields["status"]), ("failed", "4.4.7"))
                    self.assertIn("could not be delivered in time, and is given up.", text)
                    self.assertIn(self.OURS if said else self.THEIRS, text)
                    self.assertNotIn(self.THEIRS if said else self.OURS, text)
                    self.assertRegex(text, said or "451 4.2.1 mailbox busy")
                    self.assertEqual(fields["diagnostic-code"] is None, reply is None)
                    if not said:
                        self.assertNotIn("sending system", text)

    def test_parked(self):
        """Memory is for few of it, and what it waits for is days away: it ends in its time all the same, the delay told before that."""
        clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-10 12:00")
        sim, relay = self.start(ENDS.replace('"t1.example"', '"t{0..39}.example"'), env=clock.env(), sim_options={"store": True},
                                queue={"retry": ["10m"], "expire": "8h", "delay_notice": "4h"}, extra="dispatch { work_max = 100  window = 20 }\n")
        relay.cli("suspend", "--at", "microsoft365", "--for", "10d")
        for i in range(400):
            relay.send(f"m{i}", f"u{i}@t{i % 40}.example", sender="s@back.example")
        self.wait_queue(relay, recipients=400)
        self.assertFalse(relay.find("expired"))

        def told(action):
            n = 0
            for d in sim.deliveries():
                with open(d["file"], "rb") as file:
                    _, status, _ = email.message_from_bytes(file.read(), policy=email.policy.default).get_payload()
                    n += sum(part["action"] == action for part in status.get_payload()[1:])
            return n
        # what its domain is read for just then may be passed over, and is looked at again after a minute
        clock.elapse(hours=4, minutes=2)
        relay.wait_event("delivered", to="s@back.example", count=400, timeout=150)
        self.assertEqual(told("delayed"), 400)
        self.assertFalse(relay.find("expired"))
        clock.elapse(hours=5, minutes=2)  # its life, and the time in which it may be tried at last
        relay.wait_event("delivered", to="s@back.example", count=800, timeout=150)
        self.assertEqual((told("delayed"), told("failed")), (400, 400))
        self.assertEqual({e["reason"] for e in relay.find("expired")}, {"suspended by operator"})


if __name__ == "__main__":
    unittest.main()
