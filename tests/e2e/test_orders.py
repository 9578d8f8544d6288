"""Standing orders: what is held of mail that waits and that still comes, and what lets it go."""
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import Deadline, Failed  # noqa: E402

BASE = """
dns "ptr" { type = {"PTR"}  action = "nxdomain" }
cluster "A" { addresses = {"127.1.1.1-4"} }
tenant "t{0..99}.example" { cluster = {"A"} }
rule "busy" { phase = "rcpt"  recipient = {"busy*@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }
"""
FAST = {"microsoft365": {"lane_connect_rate": "none", "lane_message_rate": "none"}}
MAD, GOOD = "app@mad.example", "app@good.example"
# of each kind; the numbers of the specification are for an hour without others on the machine
MANY = 100 if os.environ.get("E2E_SANITIZED") else 1000


class OrdersCase(RelayCase):
    def begin(self, **options):
        sim = self.simulator(BASE)
        return sim, self.relay(sim, providers=FAST, **{"queue": {"retry": ["1h"]}, **options})

    def wait_orders(self, relay, *expected):
        """Until the orders hold so many recipients each."""
        deadline = Deadline()
        while True:
            orders = self.lines(relay, "orders")
            if tuple(o["recipients"] for o in orders) == expected:
                return orders
            if deadline.passed:
                raise Failed(f"{orders} do not hold {expected}")
            time.sleep(0.05)


class Orders(OrdersCase):
    def test_one_of_many_is_stopped(self):
        """What one sender has waiting is held by one command, others flow, what comes later stays held, over a kill."""
        sim, relay = self.begin()
        relay.cli("suspend", "--source", "a1")
        for sender in (MAD, GOOD):
            relay.send_many(((f"{sender}-{i}", f"u{i}@t{i % 50}.example") for i in range(MANY)), sender=sender)
        held = relay.json("hold", "--from", "@mad.example", "--reason", "runaway job")
        self.assertEqual(held["changed"], MANY)
        relay.cli("resume", "--source", "a1")
        relay.wait_event("delivered", count=MANY, timeout=120)
        self.assertEqual({d["from"] for d in sim.deliveries()}, {GOOD})
        order, = self.wait_orders(relay, MANY)
        self.assertEqual((order["selector"], order["messages"], order["reason"], order["until"]), (["from=@mad.example"], MANY, "runaway job", None))
        relay.kill()
        relay.start()
        relay.send("later", ["v@t1.example", "v@t2.example"], sender=MAD)
        relay.send("good", "v@t3.example", sender=GOOD)
        relay.wait_event("delivered", to="v@t3.example")
        self.wait_orders(relay, MANY + 2)
        row = next(r for r in self.waiting(relay) if r["address"] == "v@t1.example")
        self.assertRegex(row["reason"], r"^held by order 1 of \S.*: runaway job$")
        self.assertEqual((row["held"], row["order"], row["until"], row["attempts"]), (True, 1, None, 0))
        relay.cli("retry", "--all")  # which is no release
        self.assertEqual(relay.cli("check-queue").returncode, 0)
        self.assertEqual({d["from"] for d in sim.deliveries()}, {GOOD})
        relay.cli("release", "--from", "@mad.example")
        self.wait_queue(relay, timeout=120, messages=0)
        self.assertEqual(sim.summary()["messages"], 2 * MANY + 3)
        self.assertEqual(self.lines(relay, "orders"), [])

    def test_listed_and_ended_by_number(self):
        sim, relay = self.begin()
        relay.cli("hold", "--pool", "main", "--to", "u*@t1.example", "--for", "2h", "--reason", "asked by the receiver")
        relay.cli("hold", "--domain", "t2.example")
        relay.cli("hold", "--pool", "main", "--to", "u*@t1.example", "--reason", "said again")
        relay.send("m", ["u1@t1.example", "v@t1.example", "u1@t2.example"])
        relay.wait_event("delivered", to="v@t1.example")
        first, second = self.wait_orders(relay, 1, 1)
        self.assertEqual((first["selector"], first["reason"], first["until"]), (["pool=main", "to=u*@t1.example"], "said again", None))
        self.assertEqual((second["selector"], second["messages"]), (["to=@t2.example"], 1))
        text = relay.cli("orders").stdout
        self.assertIn("--to=u*@t1.example", text)
        self.assertIn("1 messages for 1 recipients", text)
        self.assertEqual(relay.cli("release", "--order", "9", check=False).returncode, 65)
        self.assertEqual(relay.json("release", "--order", str(first["order"]))["changed"], 1)
        relay.wait_event("delivered", to="u1@t1.example")
        relay.cli("release", "--all")
        relay.wait_event("delivered", to="u1@t2.example")
        self.assertIn("no orders", relay.cli("orders").stdout)

    def test_ends_by_itself(self):
        sim, relay = self.begin()
        relay.cli("hold", "--from", MAD, "--for", "4s")
        relay.cli("hold", "--client", "127.0.0.0/8", "--from", GOOD, "--for", "1h")
        relay.send("m", "u@t1.example", sender=MAD)
        relay.send("g", "g@t1.example", sender=GOOD)
        relay.wait_event("held", reason="order 1")
        relay.wait_event("held", reason="order 2")
        self.assertRegex(next(r for r in self.waiting(relay) if r["order"] == 2)["until"], "T")
        relay.wait_event("delivered", to="u@t1.example", timeout=60)
        self.wait_orders(relay, 1)
        self.assertEqual([d["to"] for d in sim.deliveries()], ["u@t1.example"])

    def test_what_waits_for_its_time_and_what_two_orders_hold(self):
        sim, relay = self.begin()
        relay.send("m", "busy1@t1.example", sender=MAD)
        relay.wait_event("deferred")
        sim.remove_rule("busy")
        relay.cli("hold", "--from", "@mad.example")
        relay.cli("hold", "--to", "busy1@t1.example")
        relay.cli("retry", "--all")
        relay.wait_event("held")
        relay.cli("release", "--from", "@mad.example")
        self.wait_orders(relay, 1)
        self.assertEqual(sim.summary()["messages"], 0)
        relay.cli("remove", "--to", "busy1@t1.example")
        self.wait_queue(relay, messages=0)
        self.assertEqual([o["recipients"] for o in self.lines(relay, "orders")], [0])

    def test_killed_while_letting_go(self):
        """Nothing is forgotten: after the kill the order stands as it stood, or all that it held goes."""
        sim, relay = self.begin()
        relay.cli("hold", "--from", MAD)
        relay.send_many(((f"m{i}", f"u{i}@t{i % 50}.example") for i in range(MANY // 5)), sender=MAD)
        relay.wait_event("held", count=MANY // 5)
        release = threading.Thread(target=relay.cli, args=("release", "--from", MAD), kwargs={"check": False})
        release.start()
        relay.kill()
        release.join()
        relay.start()
        deadline = Deadline(60)
        while any(o["ending"] for o in self.lines(relay, "orders")):
            self.assertFalse(deadline.passed)
            time.sleep(0.05)
        for order in self.lines(relay, "orders"):
            self.assertEqual(order["recipients"], MANY // 5)
            relay.cli("release", "--order", order["order"])
        self.wait_queue(relay, timeout=120, messages=0)
        self.assertEqual(len({d["to"] for d in sim.deliveries()}), MANY // 5)

    def test_wrong(self):
        sim, relay = self.begin()
        for args, says in ((["--from", MAD, "--for", "soon"], "not a duration"), (["--from", MAD, "--reason", "a\x1b[2J"], "control characters"),
                           (["--older-than", "1h", "--for", "1h"], "--for is for orders"), (["--from", MAD, "--reason", "x" * 300], "at most 200 bytes")):
            with self.subTest(args):
                done = relay.cli("hold", *args, check=False)
                self.assertEqual(done.returncode, 64)
                self.assertIn(says, done.stderr)
        self.assertEqual(self.lines(relay, "orders"), [])


if __name__ == "__main__":
    unittest.main()
