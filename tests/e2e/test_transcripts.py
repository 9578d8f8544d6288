"""What was said in the last good and the last refused session of a lane: whole, with times, without content or addresses."""
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import Deadline  # noqa: E402
from lib.relay import message  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-2"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
rule "subnet-a" { source = {"127.0.1.0/24"}  phase = "mail"
    reply = "451 4.4.4 Temporary server error. Please try again later ATTR3 {tail}" }
rule "evil" { recipient = {"evil@*"}  phase = "rcpt"  reply = "550 5.1.1 <script>alert(1)</script> no evil@t1.example" }
"""
SECRET = "the content is nobody's business"


class Transcripts(RelayCase):
    def world(self, sources=None, tls="none", **options):
        return self.start(WORLD, sources=sources or {"a1": "127.0.1.1", "b1": "127.0.2.1"},
                          pools={"first": ["a1"], "second": ["b1"]} if not sources else None,
                          listeners={"in": {}, "other": {"pool": "second"}} if not sources else None,
                          providers={"microsoft365": {"tls": tls}}, queue={"retry": ["4h"]}, **options)

    def kept(self, relay, *args, count=1):
        deadline = Deadline()
        while True:
            done = relay.cli("transcript", "--json", *args, check=False)
            found = [json.loads(line) for line in done.stdout.splitlines()]
            if len(found) >= count:
                return found
            self.assertFalse(deadline.passed, done)
            time.sleep(0.1)

    def said(self, session, who):
        return [line["line"] for line in session["lines"] if line["who"] == who]

    def test_good_beside_refused(self):
        sim, relay = self.world(tls="opportunistic")
        relay.send("a", "user@t1.example", sender="bob.smith@example.org", text=message("x", body=SECRET + "\r\n"))
        relay.wait_event("deferred", to="user@t1.example")
        relay.send("b", "user@t1.example", sender="bob.smith@example.org", listener="other", text=message("x", body=SECRET + "\r\n"))
        relay.wait_event("delivered", to="user@t1.example")
        both = {s["outcome"]: s for s in self.kept(relay, "--at", "EUR01", count=2)}
        self.assertEqual({k: s["source"] for k, s in both.items()}, {"good": "b1", "refused": "a1"})
        for session in both.values():
            self.assertEqual((session["cluster"], session["provider"], session["cut"]), ("EUR01", "microsoft365", False))
            us, them, notes = (self.said(session, who) for who in ("us", "them", "note"))
            self.assertEqual(us[:2], [f"EHLO {session['source']}.out.example", "STARTTLS"])
            self.assertRegex(them[0], "^220 DB5EUR01")
            self.assertTrue(any("STARTTLS" in line for line in them))
            self.assertRegex(notes[0], f"connecting from {session['subnet'][:7]}.*127.1.1")
            self.assertRegex(notes[1], "TLS1.*certificate .*issued by .*until")
            [mail] = [line for line in us if line.startswith("MAIL FROM:")]
            self.assertRegex(mail, r"MAIL FROM:<#[0-9a-f]{8}@example\.org>")
            times = [line["ms"] for line in session["lines"]]
            self.assertEqual(times, sorted(times))
            self.assertNotIn("bob.smith", json.dumps(session))
            self.assertNotIn("nobody", json.dumps(session))
        self.assertRegex(self.said(both["refused"], "them")[-1], "503|451 4.4.4 Temporary server error.*ATTR3")
        self.assertTrue(any("ATTR3" in line for line in self.said(both["refused"], "them")))
        self.assertIn("250 2.6.0", self.said(both["good"], "them")[-1])
        # by message, by session, by source
        log = relay.wait_event("deferred", to="user@t1.example")
        for args in ((log["id"],), (log["session"],), ("--source", "a1")):
            [found] = self.kept(relay, *args)
            self.assertEqual((found["source"], found["id"], found["session"]), ("a1", log["id"], log["session"]))
        self.assertEqual(relay.cli("transcript", "--source", "nobody", check=False).returncode, 66)
        # at the lane's page, and in words
        lane = json.loads(relay.get("/lane.json?subnet=127.0.1.0/24&cluster=EUR01"))
        self.assertEqual([s["source"] for s in lane["transcripts"]], ["a1"])
        self.assertIn("ATTR3", relay.get("/lane?subnet=127.0.1.0/24&cluster=EUR01"))
        self.assertIn("> EHLO a1.out.example", relay.cli("transcript", "--source", "a1").stdout)

    def test_text_of_others(self):
        _, relay = self.world()
        relay.send("e", "evil@t1.example", sender="", listener="other")
        relay.wait_event("bounced", to="evil@t1.example")
        [session] = self.kept(relay, "--source", "b1")
        self.assertRegex(self.said(session, "them")[-1] + "".join(self.said(session, "them")), r"<script>.*no #[0-9a-f]{8}@t1.example")
        page = relay.get("/lane?subnet=127.0.2.0/24&cluster=EUR01")
        self.assertNotIn("<script>alert", page)
        self.assertIn("&#60;script&#62;", page)

    def test_in_clear_and_none(self):
        _, relay = self.world(extra="dispatch { transcript_addresses = true }\n")
        relay.send("c", "user@t1.example", sender="bob.smith@example.org", listener="other")
        relay.wait_event("delivered")
        [session] = self.kept(relay)
        self.assertIn("bob.smith@example.org", json.dumps(session))
        _, relay = self.world(extra='dispatch { transcript_memory = "0" }\n')
        relay.send("c", "user@t1.example", sender="", listener="other")
        relay.wait_event("delivered")
        self.assertEqual(relay.cli("transcript", check=False).returncode, 66)

    def test_kept_over_restarts(self):
        """The newest are in the queue's file, hidden as they are shown, and hidden no second time."""
        _, relay = self.world()
        relay.send("a", "user@t1.example", sender="bob.smith@example.org")
        relay.wait_event("deferred", to="user@t1.example")
        relay.send("b", "user@t1.example", sender="bob.smith@example.org", listener="other")
        relay.wait_event("delivered", to="user@t1.example")
        before = {s["outcome"]: s for s in self.kept(relay, count=2)}
        relay.restart()
        after = {s["outcome"]: s for s in self.kept(relay, count=2)}
        self.assertEqual(after, before)
        self.assertNotIn(b"bob.smith", self.on_disk(relay))
        # one that comes later takes the place of its lane's last
        relay.send("c", "user@t2.example", sender="", listener="other")
        relay.wait_event("delivered", to="user@t2.example")
        relay.restart()
        again = {s["outcome"]: s for s in self.kept(relay, count=2)}
        self.assertEqual(again["refused"], before["refused"])
        self.assertNotEqual(again["good"]["session"] + again["good"]["id"], before["good"]["session"] + before["good"]["id"])

    def on_disk(self, relay):
        """The pages of the file in which transcripts are."""
        data = (relay.queue["path"] / "data.mdb").read_bytes()
        pages = [data[i:i + 4096] for i in range(0, len(data), 4096)]
        found = b"".join(p for p in pages if b"EHLO " in p)
        self.assertIn(b"EHLO ", found)
        return found

    def test_disk_is_bounded(self):
        sources = {f"s{i}": f"127.0.{10 + i}.1" for i in range(12)}
        _, relay = self.world(sources, extra='dispatch { transcript_disk = "2KiB" }\n')
        relay.send_many([(f"m{i}", f"u{i}@t{i % 10}.example") for i in range(120)], sender="")
        relay.wait_event("delivered", count=120)
        all_of_them = len(self.kept(relay))
        relay.restart()
        some = len(self.kept(relay))
        self.assertTrue(1 <= some < all_of_them, (some, all_of_them))
        relay.extra = 'dispatch { transcript_disk = "0" }\n'
        relay.write_config()
        relay.restart()
        relay.restart()
        self.assertEqual(relay.cli("transcript", check=False).returncode, 66)

    def test_bounded(self):
        sources = {f"s{i}": f"127.0.{10 + i}.1" for i in range(12)}
        _, relay = self.world(sources, extra='dispatch { transcript_memory = "8KiB" }\n')
        relay.send_many([(f"m{i}", f"u{i}@t{i % 10}.example") for i in range(120)], sender="")
        relay.wait_event("delivered", count=120)
        sessions = self.kept(relay)
        self.assertTrue(1 <= len(sessions) < 12, len(sessions))
        self.assertLess(sum(len(line["line"]) for s in sessions for line in s["lines"]), 8192)


if __name__ == "__main__":
    unittest.main()
