"""Whose mail it is: what a message keeps of how it came, and what operators do to those that they choose by it."""
import json
import os
import pathlib
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import Deadline, Failed  # noqa: E402
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


    def wait_put_off(self, relay, n):
        """Until n recipients back off after their attempt, by the queue's own records."""
        deadline = Deadline()
        while len([r for r in self.waiting(relay) if r["attempts"] and r["reason"].startswith("backing off")]) < n:
            if deadline.passed:
                raise Failed(f"they are not put off: {self.waiting(relay)}")
            time.sleep(0.05)


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
        for d in sim.deliveries():
            self.assertNotIn("X-Postern-Tag", pathlib.Path(d["file"]).read_text())


class Groups(SelectCase):
    def groups(self, relay, *args):
        rows = [l["group"] for l in self.lines(relay, "queue", *args) if "group" in l]
        return [(g["name"], g["recipients"], g["messages"]) for g in rows]

    def test_by(self):
        sim, relay = self.begin(pools={"main": ["a1"], "bulk": ["a1"]}, listeners={"in": {"pool_header": True}})
        relay.send("m0", ["busy0@t1.example", "busy1@t1.example", "busy2@t2.example"], sender="a@one.example",
                   text=message("m0", headers=["X-Postern-Pool: bulk", "X-Postern-Tag: \u00e4"]).encode(), mail_options=["BODY=8BITMIME"])
        relay.send("m1", "busy0@t2.example", sender="b@two.example")
        relay.send("m2", "busy1@t2.example", sender="")
        self.wait_put_off(relay, 5)
        rows = {
            "domain": [("t2.example", 3, 3), ("t1.example", 2, 1)], "pool": [("bulk", 3, 1), ("main", 2, 2)], "user": [("", 5, 3)],
            "from": [("one.example", 3, 1), ("<>", 1, 1), ("two.example", 1, 1)], "class": [("", 5, 3)],
            "tag": [("\u00e4", 3, 1), ("", 2, 2)], "reason": [("backing off after", 5, 3)], "provider": [("microsoft365", 5, 3)],
            "cluster": [("127.1.1.0/24", 5, 3)], "client": [("127.0.0.1", 5, 3)], "listener": [("in", 5, 3)], "source": [("a1", 5, 3)],
        }
        for by, expected in rows.items():
            with self.subTest(by):
                self.assertEqual(self.groups(relay, "--by", by), expected)
        self.assertEqual(self.groups(relay, "--by", "domain", "--limit", "1"), rows["domain"][:1])
        self.assertEqual(self.groups(relay, "--by", "domain", "--pool", "bulk"), [("t1.example", 2, 1), ("t2.example", 1, 1)])
        self.assertEqual(self.groups(relay, "--by", "pool", "--reason", "busy2@"), [("bulk", 1, 1)])
        group = next(l["group"] for l in self.lines(relay, "queue", "--by", "pool") if "group" in l)
        self.assertEqual(list(group["ages"]), ["5m", "10m", "20m", "40m", "80m", "160m", "320m", "640m", "1280m", "older"])
        self.assertEqual((group["ages"]["5m"], sum(group["ages"].values())), (3, 3))
        self.assertLessEqual(group["oldest"], group["youngest"])
        self.assertRegex(relay.cli("queue", "--by", "domain").stdout, r"(?s)5m +10m.*t2\.example +3 +3 +3 +0")
        done = relay.cli("queue", "--by", "colour", check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("domain, pool, user", done.stderr)


class Select(SelectCase):
    ROWS = [  # address of the recipient, sender, more header lines
        ("busy0@t1.example", "a@one.example", ["X-Postern-Tag: spring-1", "X-Postern-Pool: bulk"]),
        ("busy1@t2.example", "b@one.example", ["X-Postern-Tag: spring-2"]),
        ("busy2@t1.example", "c@two.example", ["X-Postern-Pool: bulk"]),
        ("busy3@t3.example", "", []),
    ]

    def put_off(self):
        sim, relay = self.begin(pools={"main": ["a1"], "bulk": ["a1"]}, listeners={"in": {"pool_header": True}})
        for i, (to, sender, headers) in enumerate(self.ROWS):
            relay.send(f"m{i}", to, sender=sender, text=message(f"m{i}", headers=headers))
        self.wait_put_off(relay, len(self.ROWS))
        return sim, relay

    def chosen(self, relay, *selectors):
        """The numbers of the messages whose recipient is listed."""
        lines = self.lines(relay, "queue", "--list", *selectors)[1:]
        return sorted(int(r["address"][4]) for m in lines for r in m["recipients"])

    def test_words(self):
        sim, relay = self.put_off()
        ids = {r["address"]: r["id"] for r in self.waiting(relay)}
        rows = [
            (["--from", "@one.example"], [0, 1]), (["--from", "A@One.example"], [0]), (["--from", "<>"], [3]),
            (["--from", "@example.org"], [0, 1, 2, 3]),  # the From field's
            (["--pool", "bulk"], [0, 2]), (["--tag", "spring-*"], [0, 1]), (["--tag", "spring-2"], [1]),
            (["--pool", "bulk", "--from", "@one.example"], [0]), (["--from", "@one.example", "--from", "@two.example"], [0, 1, 2]),
            (["--client", "127.0.0.0/8"], [0, 1, 2, 3]), (["--client", "10.0.0.0/8"], []), (["--listener", "in"], [0, 1, 2, 3]),
            (["--to", "@t1.example"], [0, 2]), (["--domain", "t1.example"], [0, 2]), (["--to", "busy3@t3.example"], [3]),
            (["--source", "a1"], [0, 1, 2, 3]), (["--source", "b1"], []), (["--attempts", "1"], [0, 1, 2, 3]), (["--attempts", "2"], []),
            (["--older-than", "0s"], [0, 1, 2, 3]), (["--older-than", "1h"], []), (["--user", "nobody"], []), (["--class", "x"], []),
            (["--reason", "MAILBOX busy"], [0, 1, 2, 3]), (["--reason", "busy1@*mailbox"], [1]), (["--reason", "suspended"], []),
            (["--cluster", "127.1.1.0/24"], [0, 1, 2, 3]), (["--cluster", "EUR01"], []),
            ([ids["busy1@t2.example"], "--id", ids["busy3@t3.example"]], [1, 3]),
        ]
        for selectors, expected in rows:
            with self.subTest(selectors):
                self.assertEqual(self.chosen(relay, *selectors), expected)
        for selectors, expected in rows[-5:]:
            self.assertEqual(relay.json("retry", "--dry-run", *selectors), {"selected": len(expected), "dry_run": True})
        self.assertEqual(len(relay.find("deferred")), len(self.ROWS))

    def test_what_is_wrong_is_named(self):
        sim, relay = self.begin()
        hostile = "a\x1b]0;x\x07"
        rows = [(["--client", "here"], "neither an address nor a network"), (["--from", "one.example"], "neither an address nor @DOMAIN"),
                (["--older-than", "soon"], "not a duration"), (["--attempts", "x"], "not a number"), (["--id", "12"], "not a queue id"),
                (["--usr", "x"], "--help"), (["--tag", ""], "needs a value"), (["--tag", hostile], "control characters"),
                (["--all", "--pool", "main"], "say which"), ([], "say which")]
        for selectors, says in rows:
            with self.subTest(selectors):
                done = relay.cli("hold", *selectors, check=False)
                self.assertEqual((done.returncode, done.stdout), (64, ""))
                self.assertIn(says, done.stderr)
                self.assertNotIn("\x1b", done.stderr)
        self.assertIn("--from ADDR|@DOMAIN", relay.cli("hold", "--help").stdout)

    def test_only_what_is_meant_is_changed(self):
        sim, relay = self.put_off()
        sim.remove_rule("busy")
        self.assertEqual(relay.json("hold", "--tag", "spring-2", "--attempts", "1")["changed"], 1)
        self.assertEqual(relay.json("retry", "--from", "@one.example")["changed"], 1)  # the other one is held
        self.assertEqual(relay.wait_event("delivered")["to"], "busy0@t1.example")
        relay.json("remove", "--pool", "bulk")
        self.assertEqual(relay.wait_event("removed")["to"], "busy2@t1.example")
        relay.json("bounce", "--from", "<>")
        self.assertEqual(relay.wait_event("bounced")["to"], "busy3@t3.example")
        self.assertEqual([(r["address"], r["reason"]) for r in self.waiting(relay)],
                         [("busy1@t2.example", "held by the operator until it is released")])
        self.assertEqual(relay.json("release", "--tag", "spring-*")["changed"], 1)
        relay.wait_event("delivered", to="busy1@t2.example")
        self.wait_queue(relay, messages=0)

    def test_recipients_of_one_message(self):
        sim, relay = self.begin()
        relay.send("m", ["busy1@t1.example", "busy2@t1.example", "busy1@t2.example"])
        self.wait_put_off(relay, 3)
        sim.remove_rule("busy")
        self.assertEqual(relay.json("retry", "--to", "busy1@t1.example", "--to", "@t2.example")["changed"], 2)
        relay.wait_event("delivered", to="busy1@t1.example")
        relay.wait_event("delivered", to="busy1@t2.example")
        self.assertEqual([r["address"] for r in self.waiting(relay)], ["busy2@t1.example"])
        relay.json("remove", "--to", "busy2@t1.example")
        self.wait_queue(relay, messages=0)

    def test_ids_from_standard_input(self):
        sim, relay = self.put_off()
        ids = [r["id"] for r in self.waiting(relay)]
        text = f"{ids[0]}  and more of the line\n\n{ids[2]}\n0000000000001\n"
        self.assertEqual(json.loads(relay.cli("hold", "--id", "-", "--json", input=text).stdout)["changed"], 2)
        self.assertEqual({r["id"] for r in self.waiting(relay, held=True)}, {ids[0], ids[2]})
        many = "".join(f"{i:013d}\n" for i in range(1, 5000)) + ids[0] + "\n"
        self.assertEqual(json.loads(relay.cli("release", "-", "--json", input=many).stdout)["changed"], 1)
        self.assertEqual(relay.cli("release", "--id", "-", input="0000000000001\n", check=False).returncode, 65)

    def test_everything_is_not_destroyed_by_mistake(self):
        sim, relay = self.put_off()
        for verb in ("remove", "bounce"):
            done = relay.cli(verb, "--all", check=False)
            self.assertEqual(done.returncode, 64)
            self.assertIn("--yes", done.stderr)
            self.assertIn("4 recipients", relay.cli(verb, "--all", "--dry-run").stdout)
        self.wait_queue(relay, messages=4)
        relay.cli("remove", "--all", "--yes")
        self.wait_queue(relay, messages=0)


if __name__ == "__main__":
    unittest.main()
