"""Classes of mail: which one a message has, what goes first where a receiver takes only so much, and lives of their own."""
import os
import smtplib
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.relay import message  # noqa: E402

WORLD = """
cluster "C1" { addresses = {"127.1.1.1-2"}  latency = "100ms" }
tenant "t{0..99}.example" { cluster = {"C1"} }
rule "busy" { phase = "rcpt"  recipient = {"busy*@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }
"""
FREE = {"lane_connect_rate": "none", "lane_message_rate": "none", "tls": "none"}
CODES = 'class "codes" { priority = 1 }\n'
BULK = 400


class Classes(RelayCase):
    def test_which(self):
        """By the header, which is taken out, or by the first section that fits; where the listener does not have it nobody is asked."""
        listeners = {"in": {"class_header": True}, "other": {"address": ["127.0.0.1:0"], "allow": ["127.0.0.0/8"], "pool": "main"}}
        sim = self.simulator(WORLD, store=True)
        relay = self.relay(sim, listeners=listeners, extra=CODES + 'class "news" { from = {"news@*"}  listener = {"in"} }\n')
        sent = [("m0", "a@one.example", ["X-Postern-Class: codes"], "in", "codes"), ("m1", "news@one.example", [], "in", "news"),
                ("m2", "news@one.example", ["X-Postern-Class: codes"], "in", "codes"), ("m3", "a@one.example", [], "in", None),
                ("m4", "news@one.example", ["X-Postern-Class: none"], "other", None)]
        for name, sender, headers, listener, _ in sent:
            relay.send(name, f"{name}@t1.example", sender=sender, text=message(name, headers=headers), listener=listener)
        relay.wait_event("delivered", count=len(sent))
        relay.wait_event("accepted", count=len(sent))
        for name, _, _, _, expected in sent:
            self.assertEqual(relay.find("accepted", to=f"{name}@t1.example")[0].get("class"), expected, name)
        with self.assertRaises(smtplib.SMTPDataError) as refused:
            relay.send("no", "x@t1.example", text=message("no", headers=["X-Postern-Class: none"]), listener="in")
        self.assertEqual(refused.exception.smtp_code, 550)
        self.assertIn(b"5.7.1 X-Postern-Class names no class", refused.exception.smtp_error)
        relay.wait_event("rejected", reason="class")

    def test_first(self):
        """A code of the same pool, sender and tenant as hundreds that wait at a receiver that takes two connections: the transactions
        that were given away already go before it, and no more. What has a lower rank goes, too."""
        _, relay = self.start(WORLD, listeners={"in": {"class_header": True}}, extra=CODES + "dispatch { work_max = 200  window = 40 }\n",
                              providers={"microsoft365": {**FREE, "connections_per_cluster": 2}})
        relay.send_many((f"n{i}", f"u{i}@t0.example") for i in range(BULK))
        for tenant in ("t0", "t50"):
            mark = relay.mark()
            to = f"x@{tenant}.example"
            relay.send("code", to, text=message("code", headers=["X-Postern-Class: codes"]))
            relay.wait_event("delivered", since=mark, to=to)
            self.assertLessEqual(len(relay.find("delivered", since=mark)) - 1, 24)
        self.assertGreater(BULK - len(relay.find("delivered")), 100, "nothing waited any more")
        relay.wait_event("delivered", since=relay.mark(), count=5)

    def test_life(self):
        """Retries and end by class; a class that is no longer configured goes as all other mail."""
        sim, relay = self.start(WORLD, queue={"retry": ["1h"], "retry_jitter": 0}, listeners={"in": {"class_header": True}},
                                extra='class "short" { expire = "10s"  retry = {"1s"} }\n' + CODES)
        for to, headers in (("busy1", ["X-Postern-Class: short"]), ("busy2", []), ("busy3", ["X-Postern-Class: codes"])):
            relay.send(to, f"{to}@t1.example", text=message(to, headers=headers))
        for to in ("busy2", "busy3"):
            relay.wait_event("deferred", to=f"{to}@t1.example")
        relay.wait_event("deferred", to="busy1@t1.example", count=3)
        relay.wait_event("expired", to="busy1@t1.example")
        self.assertEqual(len(relay.find("deferred", to="busy2@t1.example")), 1)
        relay.extra = ""
        relay.reload()
        sim.disable_rule("busy")
        relay.cli("retry", "--all")
        for to in ("busy2", "busy3"):
            relay.wait_event("delivered", to=f"{to}@t1.example")


if __name__ == "__main__":
    unittest.main()
