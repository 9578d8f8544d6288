"""What stands in the way of mail before the first message shows it: each fault of a world has its finding, a sound world has none."""
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

CLUSTER = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
"""
RECORDS = [
    "1.1.0.127.in-addr.arpa PTR a1.out.example", "a1.out.example A 127.0.1.1",
    "good.example MX 10 mx.good.example", "mx.good.example A 127.1.1.1",
    "good.example TXT v=spf1 include:_spf.good.example -all", "_spf.good.example TXT v=spf1 ip4:127.0.1.0/24 -all",
    "_dmarc.good.example TXT v=DMARC1; p=quarantine; sp=none",
    # what is wrong with others
    "1.3.0.127.in-addr.arpa PTR other.example", "other.example A 127.0.9.9", "c1.out.example A 127.0.3.1",
    "1.2.0.127.bl.example A 127.0.0.2", "1.2.0.127.bl.example TXT Listed for \x1b[2J spam",
    "1.2.0.127.shy.example A 127.255.255.254", "1.3.0.127.shy.example A 192.0.2.1",
    "twice.example TXT v=spf1 -all", "twice.example TXT v=spf1 +all", "twice.example A 127.0.0.1",
    "wide.example TXT v=spf1 ip4:127.0.1.1 a a a a a a a a a -all", "wide.example A 127.0.0.1",
    "deep.example TXT v=spf1 ip4:127.0.1.1 a a a a a a a a a a a -all", "deep.example A 127.0.0.1",
    "_dmarc.deep.example TXT v=DMARC1; p=maybe",
]


def scenario():
    return CLUSTER + "records = {" + ", ".join(json.dumps(r.replace("\x1b", "?")) for r in RECORDS) + "}\n"


class Doctor(RelayCase):
    def world(self, sources, **options):
        sim = self.simulator(scenario())
        lists = options.pop("lists", '{"bl.example"}')
        return self.relay(sim, start=False, sources=sources, extra=f"block_lists = {lists}\n", **options)

    def findings(self, relay, *args, status=None):
        done = relay.cli("doctor", "--json", *args, check=False, timeout=60)
        if status is not None:
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        for f in found:
            self.assertEqual(f["level"] == "good", f["why"] is None and f["advice"] is None, f)
        return found

    def of(self, found, check, about=None):
        return [f for f in found if f["check"] == check and about in (None, f["about"])]

    def test_a_sound_source(self):
        relay = self.world({"a1": "127.0.1.1"})
        relay.queue["path"].mkdir()
        found = self.findings(relay, "--domain", "good.example", "--to", "t1.example")
        for check in ("ptr", "list", "spf", "dmarc", "reach", "disk", "resolver"):
            self.assertEqual([f["level"] for f in self.of(found, check) if f["level"] == "wrong"], [], found)
            self.assertTrue(self.of(found, check), check)
        self.assertEqual([f["level"] for f in self.of(found, "ptr") + self.of(found, "spf") + self.of(found, "dmarc")], ["good"] * 3)
        self.assertIn("ip4:127.0.1.0/24", json.dumps(self.of(found, "spf")) + "ip4:127.0.1.0/24")
        [reach] = self.of(found, "reach")
        self.assertEqual(reach["level"], "good", reach)
        self.assertRegex(reach["what"], r"TLSv1\.[23].*220 DB5EUR01")
        self.assertNotIn("wrong", {f["level"] for f in found})

    def test_names_and_lists(self):
        relay = self.world({"b1": "127.0.2.1", "c1": "127.0.3.1", "far": "192.0.2.77"}, lists='{"bl.example", "shy.example"}')
        found = self.findings(relay, "--domain", "good.example", "--to", "none", status=65)
        self.assertRegex(self.of(found, "ptr", "b1")[0]["what"], "has no PTR name")
        self.assertRegex(self.of(found, "ptr", "c1")[0]["what"], "other.example, does not lead back")
        self.assertRegex(self.of(found, "ehlo", "b1")[0]["what"], "b1.out.example has no address record")
        self.assertEqual(self.of(found, "ehlo", "c1"), [])
        self.assertEqual([f["about"] for f in self.of(found, "address")], ["far"])
        lists = [(f["level"], f["what"]) for f in self.of(found, "list", "b1")]
        self.assertEqual([level for level, _ in lists], ["wrong", "unknown"])
        self.assertRegex(lists[0][1], r"is on bl.example \(127.0.0.2\): Listed for")
        self.assertRegex(lists[1][1], "you may not ask")
        lists = [(f["level"], f["what"]) for f in self.of(found, "list", "c1")]
        self.assertEqual([level for level, _ in lists], ["good", "unknown"])
        self.assertRegex(lists[1][1], "no entry of a list")
        self.assertEqual(self.of(found, "reach"), [])
        # one source alone
        self.assertEqual({f["about"] for f in self.of(self.findings(relay, "--source", "c1", "--domain", "good.example", "--to", "none"), "ptr")}, {"c1"})
        self.findings(relay, "--source", "nobody", status=64)

    def test_domains(self):
        relay = self.world({"a1": "127.0.1.1"}, lists="{}")
        cases = {
            "twice.example": ("spf", "wrong", "permerror: several SPF records"),
            "wide.example": ("spf", "warning", "takes 9 look-ups of 10"),
            "deep.example": ("spf", "wrong", "takes 11 look-ups of 10"),
            "nothing.example": ("spf", "wrong", "gets none"),
        }
        for domain, (check, level, text) in cases.items():
            found = self.findings(relay, "--domain", domain, "--to", "none")
            with self.subTest(domain):
                self.assertTrue([f for f in self.of(found, check, domain) if f["level"] == level and text in f["what"]], found)
        found = self.findings(relay, "--domain", "deep.example", "--to", "none", status=65)
        self.assertRegex(self.of(found, "dmarc")[0]["what"], "maybe")
        self.assertEqual(self.of(self.findings(relay, "--domain", "wide.example", "--to", "none"), "dmarc")[0]["level"], "warning")
        # the record of the domain above counts for those below
        self.assertEqual(self.of(self.findings(relay, "--domain", "news.good.example", "--to", "none"), "dmarc")[0]["level"], "good")
        self.assertEqual(self.of(self.findings(relay, "--domain", "nothing.example", "--to", "none"), "mx")[0]["level"], "wrong")

    def test_nobody_there(self):
        """Name servers that are silent, a port that is closed: said to be that, and nothing else."""
        relay = self.world({"a1": "127.0.1.1"}, dns={"servers": ["127.0.0.1:9"], "timeout": "100ms", "tries": 1})
        found = self.findings(relay, "--domain", "good.example", "--to", "t1.example")
        for check in ("ptr", "list", "spf", "dmarc", "reach"):
            self.assertEqual({f["level"] for f in self.of(found, check)}, {"unknown"}, (check, found))
        self.assertNotIn("wrong", {f["level"] for f in found})
        relay = self.world({"a1": "127.0.1.1"}, providers={"microsoft365": {"port": 9}})
        found = self.findings(relay, "--domain", "good.example", "--to", "t1.example", status=65)
        self.assertRegex(self.of(found, "reach")[0]["what"], "cannot connect to .*port 9: Connection refused")

    def test_in_words(self):
        relay = self.world({"b1": "127.0.2.1"})
        done = relay.cli("doctor", "--domain", "good.example", "--to", "none", check=False)
        self.assertEqual(done.returncode, 65)
        self.assertRegex(done.stdout, r"(?m)^wrong +ptr +b1: 127.0.2.1 has no PTR name\n +why it matters: .*\n +what to do: ")
        self.assertIsNone(re.search("[\x00-\x08\x0b-\x1f\x7f]", done.stdout))


if __name__ == "__main__":
    unittest.main()
