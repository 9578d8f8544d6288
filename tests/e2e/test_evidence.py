"""What support asks for: refusal in full, good session beside bad, counts, names; one text, and the same as JSON."""
import json
import os
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import Deadline  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-2"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
rule "subnet-a" { source = {"127.0.1.0/24"}  phase = "mail"
    reply = "451 4.4.4 Temporary server error. Please try again later ATTR3 {tail}" }
records = {"1.1.0.127.in-addr.arpa PTR a1.out.example", "a1.out.example A 127.0.1.1", "1.2.0.127.in-addr.arpa PTR other.example"}
"""


class Evidence(RelayCase):
    def world(self):
        sim, relay = self.start(WORLD, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, queue={"retry": ["4h"]},
                                pools={"first": ["a1"], "second": ["b1"]}, listeners={"in": {}, "other": {"pool": "second"}},
                                providers={"microsoft365": {"tls": "none"}})
        relay.send("a", "user@t1.example", sender="bob.smith@example.org")
        relay.wait_event("deferred", to="user@t1.example")
        relay.send("b", "user@t2.example", sender="bob.smith@example.org", listener="other")
        relay.wait_event("delivered", to="user@t2.example")
        deadline = Deadline()
        while len(relay.cli("transcript", "--json", check=False).stdout.splitlines()) < 2:
            self.assertFalse(deadline.passed)
            time.sleep(0.1)
        return sim, relay

    def test_pack(self):
        _, relay = self.world()
        e = relay.json("evidence", "--source", "a1", "--at", "EUR01")
        self.assertEqual((e["source"], e["subnet"], e["at"]), ("a1", "127.0.1.0/24", "EUR01"))
        self.assertRegex(e["refusal"], "^451 4.4.4 Temporary server error.*ATTR3")
        self.assertEqual([s["outcome"] for s in (e["refused"], e["good"])], ["refused", "good"])
        self.assertEqual([s["source"] for s in (e["refused"], e["good"])], ["a1", "b1"])
        [source] = e["sources"]
        self.assertEqual(source["ptr"], [{"name": "a1.out.example", "leads_back": True}])
        self.assertEqual((source["ehlo"], source["ehlo_leads_here"], source["ehlo_is_ptr"]), ("a1.out.example", True, True))
        rows = {r["what"]: r for r in e["comparison"]}
        self.assertTrue(rows["subnet"]["differs"] and rows["EHLO"]["differs"] and rows["refusal"]["differs"])
        self.assertFalse(rows["TLS"]["differs"])
        self.assertRegex(rows["greeting host"]["refused"], "^DB5EUR01")
        self.assertRegex(rows["offers"]["good"], "PIPELINING")
        # the same numbers as the history's
        for who, lines in (("ours", relay.json("history", "--by", "source", "--of", "a1")), ("others", relay.json("history", "--by", "source", "--of", "b1"))):
            for key in ("attempts", "delivered", "deferred", "bounced"):
                self.assertEqual(sum(h[who].get(key, 0) for h in e["counts"]), sum(line.get(key, 0) for line in lines[1:]), (who, key))
        text = relay.cli("evidence", "--subnet", "127.0.1.0/24", "--at", "EUR01").stdout
        for part in ("THE LAST REFUSAL, IN FULL\n451 4.4.4", "PTR: a1.out.example, leads back to the address: yes", "! EHLO ", "REFUSED SESSION: a1",
                     "GOOD SESSION: b1", "> EHLO a1.out.example", "Where to take it: a support request"):
            self.assertIn(part, text)
        self.assertNotIn("bob.smith", text + json.dumps(e))
        # a source that DNS knows under another name
        text = relay.cli("evidence", "--source", "b1", "--at", "EUR01").stdout
        self.assertIn("PTR: other.example, leads back to the address: no", text)
        self.assertIn("No refused session is kept", text)

    def test_into_files(self):
        _, relay = self.world()
        out = relay.dir / "pack"
        relay.cli("evidence", "--source", "a1", "--at", "EUR01", "-o", out)
        self.assertEqual(json.loads((out / "evidence.json").read_text())["source"], "a1")
        self.assertIn("ATTR3", (out / "evidence.txt").read_text())
        self.assertEqual((out / "evidence.txt").stat().st_mode & 0o077 & ~0o044, 0)
        again = relay.cli("evidence", "--source", "a1", "--at", "EUR01", "-o", out, check=False)
        self.assertEqual(again.returncode, 73)
        # it is there after a restart, too
        relay.restart()
        e = relay.json("evidence", "--source", "a1", "--at", "EUR01")
        self.assertRegex(e["refusal"], "ATTR3")
        self.assertGreater(sum(h["ours"].get("deferred", 0) for h in e["counts"]), 0)

    def test_errors(self):
        _, relay = self.world()
        for args, status in (((), 64), (("--source", "a1"), 64), (("--source", "a1", "--subnet", "127.0.1.0/24", "--at", "EUR01"), 64),
                             (("--source", "nobody", "--at", "EUR01"), 66), (("--source", "a1", "--at", "NAM09"), 66)):
            done = relay.cli("evidence", *args, check=False)
            self.assertEqual(done.returncode, status, done)
            self.assertTrue(re.search(r"\w", done.stderr))


if __name__ == "__main__":
    unittest.main()
