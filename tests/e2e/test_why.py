"""`postern why`: what is held against whom, by which figures, and what a pool's mail waits for, from the running relay."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import Deadline  # noqa: E402

WORLD = """
defaults { latency = "5ms" }
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..999}.example" { cluster = {"EUR01"} }
tenant "u{0..999}.example" { cluster = {"EUR05"} }
"""
BUSY = "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77719) {tail}"
SUBNET = f'rule "subnet" {{ source = {{"127.0.2.0/24"}}  cluster = {{"EUR01"}}  phase = "mail"  reply = "{BUSY}" }}'
TENANT = f'rule "tenant" {{ recipient = {{"*@t7.example"}}  phase = "rcpt"  reply = "{BUSY}" }}'
LIMIT = f'limit "limit" {{ per = "source"  cluster = {{"EUR01"}}  messages = "20/60s"  phase = "mail"  reply = "{BUSY}" }}'
SENDER = f'rule "sender" {{ sender = {{"*@bad.example"}}  phase = "rcpt"  reply = "{BUSY}" }}'
TWO = {"a1": "127.0.1.1", "b1": "127.0.2.1"}
FREE = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}


class Why(RelayCase):
    def world(self, *rules, sources=TWO, provider=None, **options):
        return self.start(WORLD + "".join(rules), sources=sources, providers={"microsoft365": {**FREE, **(provider or {})}},
                          queue={"retry": ["1h"]}, **options)

    def pairs(self, n, tenants="t", first=0):
        return [(f"{tenants}{first + i}-m", f"u@{tenants}{(first + i) % 100}.example") for i in range(n)]

    def wait_why(self, relay, *args, least=0, **fields):
        """The first row with these fields, of so many recipients at least where it counts some, and all rows."""
        deadline = Deadline()
        while True:
            rows = self.lines(relay, "why", *args)
            said = [r for r in rows if all(r.get(k) == v for k, v in fields.items()) and r.get("recipients", least) >= least]
            if said or deadline.passed:
                self.assertTrue(said, (fields, rows))
                return said[0], rows
            time.sleep(0.1)

    def figures(self, row):
        return {c["what"]: (c["accepted"], c["refused"], c["ratio"]) for c in row["contrast"]}

    def test_subnet_at_one_cluster(self):
        sim, relay = self.world(SUBNET)
        sent = 0
        while not relay.find("health", cause="subnet"):
            self.assertLess(sent, 2000)
            relay.send_many(self.pairs(40, "u", first=sent) + self.pairs(40, "t", first=sent))
            self.wait_settled(relay)
            sent += 40
        row, rows = self.wait_why(relay, row="diagnosis", kind="subnet", state="resting")
        self.assertEqual((row["subnet"], row["cluster"], row["provider"]), ("127.0.2.0/24", "EUR01", "microsoft365"))
        self.assertTrue(row["until"] and row["since"] and row["counted"])
        self.assertGreaterEqual(row["score"], row["needed"])
        seen = self.figures(row)
        accepted, refused, ratio = seen["subnet 127.0.2.0/24 at EUR01"]
        self.assertGreater(refused, 4)
        self.assertGreater(ratio, 3)
        accepted, refused, ratio = seen["subnet 127.0.1.0/24 at EUR01"]
        self.assertGreater(accepted, 2)
        self.assertLess(refused, 1)
        accepted, refused, ratio = seen["subnet 127.0.2.0/24 at other clusters"]
        self.assertGreater(accepted, 2)
        self.assertIn("EUR01 refuses the subnet 127.0.2.0/24; meanwhile ", row["text"])
        # asked by name, and not for others
        for yes in (["--source", "b1"], ["--at", "EUR01"], ["--at", "microsoft365"], ["--pool", "main"]):
            self.assertEqual([r["subnet"] for r in self.lines(relay, "why", *yes) if r.get("kind") == "subnet"], ["127.0.2.0/24"], yes)
        for no in (["--source", "a1"], ["--at", "EUR05"]):
            self.assertEqual([r for r in self.lines(relay, "why", *no) if r.get("kind") == "subnet"], [], no)
        text = relay.cli("why").stdout
        self.assertIn("127.0.2.0/24 at EUR01: resting", text)
        self.assertIn("ACCEPTED   REFUSED   RATIO", text)
        self.assertIn("it is believed from ", text)

    def test_limit_and_what_waits_for_it(self):
        sim, relay = self.world(LIMIT, sources={"a1": "127.0.1.1"})
        relay.send_many(self.pairs(300))
        row, rows = self.wait_why(relay, row="diagnosis", state="limited", source="a1")
        self.assertIn("EUR01 takes about ", row["text"])
        self.assertIn(" messages a minute of a1", row["text"])
        wait, rows = self.wait_why(relay, "--pool", "main", row="bottleneck", limit="messages a minute that the receiver takes", least=101)
        self.assertEqual((wait["pool"], wait["cluster"], wait["provider"]), ("main", "EUR01", "microsoft365"))
        self.assertGreater(wait["lasts_ms"], 60000)
        self.assertIn("the receiver takes about ", wait["text"])
        self.assertIn(f"{wait['recipients']} wait: at this pace (", wait["text"])
        # the widest is told first
        counts = [r["recipients"] for r in rows if r["row"] == "bottleneck"]
        self.assertEqual(counts, sorted(counts, reverse=True))
        text = relay.cli("why", "--at", "EUR01").stdout
        self.assertIn("pool main:", text)
        self.assertIn("what would lift it:", text)

    def test_a_tenants_own(self):
        sim, relay = self.world(TENANT)
        relay.send_many([(f"m{i}", f"u{i}@t{7 if i % 2 else i % 100}.example") for i in range(80)])
        deadline = Deadline()
        while not [r for r in self.lines(relay, "why", "--at", "t7.example") if r.get("kind") == "domain"]:
            self.assertFalse(deadline.passed)
            time.sleep(0.1)
        [row] = [r for r in self.lines(relay, "why", "--at", "t7.example") if r.get("kind") == "domain"]
        self.assertEqual(row["domain"], "t7.example")
        seen = self.figures(row)
        self.assertGreater(seen["mail for t7.example"][1], 3)
        self.assertGreater(seen["mail for others at EUR01"][0], 2)
        wait, rows = self.wait_why(relay, "--at", "t7.example", row="bottleneck")
        self.assertEqual(wait["domain"], "t7.example")
        # a subnet may be suspected meanwhile, and is not found guilty
        self.assertNotIn(("subnet", "resting"), {(r.get("kind"), r.get("state")) for r in self.lines(relay, "why")})

    def test_a_sender(self):
        sim, relay = self.world(SENDER)
        for k in range(20):
            relay.send_many([(f"g{k}-{i}", f"u@t{k + i}.example") for i in range(6)], sender="x@good.example")
            relay.send_many([(f"b{k}-{i}", f"u@t{k + i}.example") for i in range(3)], sender="x@bad.example")
        row, rows = self.wait_why(relay, row="diagnosis", kind="sender")
        self.assertEqual((row["sender"], row["state"]), ("bad.example", "held"))
        self.assertGreater(self.figures(row)["mail sent by bad.example"][1], 2)
        self.assertIn("what is sent by bad.example", row["text"])

    def test_what_the_operator_holds(self):
        sim, relay = self.world()
        relay.cli("suspend", "--at", "microsoft365", "--for", "1h")
        relay.send_many(self.pairs(30))
        wait, rows = self.wait_why(relay, row="bottleneck", reason="suspended by operator")
        self.assertIn("a1 is suspended by the operator", wait["text"])
        self.assertIn("postern resume", wait["lift"])
        relay.cli("hold", "--all")
        wait, rows = self.wait_why(relay, row="bottleneck", reason="held by operator")
        self.assertEqual(wait["recipients"], 30)
        self.assertIn("postern release", wait["lift"])

    def test_nothing_and_nonsense(self):
        sim, relay = self.world()
        relay.send_many(self.pairs(10))
        self.wait_settled(relay)
        self.wait_queue(relay, messages=0)
        self.assertEqual(self.lines(relay, "why"), [])
        self.assertIn("nothing is held against anybody", relay.cli("why").stdout)
        for args, word in ((["--source", "zz"], "source"), (["--pool", "zz"], "pool")):
            r = relay.cli("why", *args, check=False)
            self.assertEqual(r.returncode, 65)
            self.assertIn(f"there is no {word} 'zz'", r.stderr)


if __name__ == "__main__":
    unittest.main()
