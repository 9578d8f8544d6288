"""Whose mail it is: what a message keeps of how it came, and what operators do to those that they choose by it."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.relay import message  # noqa: E402

BASE = """
dns "ptr" { type = {"PTR"}  action = "nxdomain" }
cluster "A" { addresses = {"127.1.1.1-4"} }
tenant "t{0..99}.example" { cluster = {"A"} }
rule "busy" { phase = "rcpt"  recipient = {"busy*@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }
"""
FAST = {"microsoft365": {"lane_connect_rate": "none", "lane_message_rate": "none"}}


class SelectCase(RelayCase):
    def begin(self, **options):
        sim = self.simulator(BASE, store=True)
        return sim, self.relay(sim, providers=FAST, **{"queue": {"retry": ["1h"]}, **options})


class Labels(SelectCase):
    def test_tag_and_from_domain_are_kept(self):
        sim, relay = self.begin()
        hostile = "X-Postern-Tag: \x1b]0;owned\x07-\u202e"
        relay.send("one", ["busy@t1.example", "fine@t2.example"], text=message("one", headers=["X-Postern-Tag: spring sale"]))
        relay.send("two", "busy@t1.example", text=message("two", headers=[hostile]).encode(), mail_options=["BODY=8BITMIME"])
        accepted = relay.wait_event("accepted", count=2)
        first, = (e for e in relay.find("accepted") if e.get("tag") == "spring sale")
        self.assertEqual((first["from_domain"], first["pool"]), ("example.org", "main"))
        self.assertEqual(relay.wait_event("delivered")["tag"], "spring sale")
        relay.wait_event("deferred", count=2)
        self.assertEqual(relay.find("deferred", id=first["id"])[0]["tag"], "spring sale")
        relay.restart()
        shown = relay.json("show", first["id"])
        self.assertEqual((shown["tag"], shown["from_domain"], shown["class"]), ("spring sale", "example.org", None))
        self.assertIn("tag spring sale", relay.cli("show", first["id"]).stdout)
        text = relay.cli("show", accepted["id"]).stdout
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\u202e", text)
        self.assertNotIn("X-Postern-Tag", "".join(open(d["file"]).read() for d in sim.deliveries()))


if __name__ == "__main__":
    unittest.main()
