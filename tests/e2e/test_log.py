"""The delivery log says whose message it was and what it was about; what programs join it with is in each line of an outcome."""
import json
import os
import re
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.relay import message  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
tenant "back.example" { cluster = {"EUR01"} }
rule "dead" { recipient = {"dead@*"}  phase = "rcpt"  reply = "550 5.1.1 User unknown {tail}" }
rule "busy" { recipient = {"busy@*"}  phase = "rcpt"  reply = "451 4.3.2 Busy {tail}" }
"""


class Log(RelayCase):
    def world(self, **options):
        return self.start(WORLD, queue={"retry": ["1h"]}, log={"headers": ["X-Campaign", "x-tenant"], **options.pop("log", {})}, **options)

    def submit(self, relay, id, to, **options):
        text = message(id, headers=["X-Campaign: spring", "X-Tenant:", "\t7", "X-Campaign: other", "Message-ID: <%s@shop.example>" % id,
                                    "X-Postern-Tag: mail-" + id])
        relay.send(id, to, sender="sender@back.example", text=text, mail_options=["ENVID=job-" + id, "RET=HDRS"], **options)

    def outcome(self, relay, event, id, to):
        e = relay.wait_event(event, to=to)
        labels = {"X-Campaign": "spring", "x-tenant": "7"}
        self.assertEqual((e["message_id"], e["envelope_id"], e["headers"], e["tag"], e["pool"], e["client"]),
                         (f"<{id}@shop.example>", f"job-{id}", labels, "mail-" + id, "main", "127.0.0.1"))
        self.assertGreater(e["size"], 100)
        return e

    def test_outcomes(self):
        sim, relay = self.world()
        for id, to in (("one", "user@t1.example"), ("two", "busy@t2.example"), ("three", "dead@t3.example")):
            self.submit(relay, id, to)
            self.outcome(relay, "accepted", id, to)
        self.outcome(relay, "delivered", "one", "user@t1.example")
        self.outcome(relay, "deferred", "two", "busy@t2.example")
        bounced = self.outcome(relay, "bounced", "three", "dead@t3.example")
        for e in relay.find(("delivered", "deferred", "bounced"), domain=lambda d: d != "back.example"):
            self.assertEqual(e["source_address"], "127.0.1.1")
        # the notice, and its own line, name what they are about
        notice = relay.wait_event("delivered", to="sender@back.example")
        self.assertEqual((notice["about"], notice["about_message_id"], notice["tag"]), (bounced["id"], "<three@shop.example>", "mail-three"))
        self.assertNotIn("headers", notice)
        # what the queue gives back is as it was accepted
        relay.restart()
        since = relay.mark()
        relay.cli("retry", "--all")
        e = relay.wait_event("deferred", since=since, to="busy@t2.example")
        self.assertEqual((e["headers"], e["envelope_id"]), ({"X-Campaign": "spring", "x-tenant": "7"}, "job-two"))

    def test_hosts_are_the_recipients_own(self):
        """One connection carries mail of many tenants: each line names the host as its own recipient's MX calls it."""
        sim, relay = self.world()
        relay.send_many([(f"m{i}", f"user@t{i}.example") for i in range(10)])
        relay.wait_event("delivered", count=10)
        found = relay.find("delivered")
        self.assertLess(len({e["session"] for e in found}), 10, "no connection was shared")
        for e in found:
            self.assertTrue(e["host"].startswith(e["domain"].replace(".", "-") + "."), e)
        relay.send("x", "busy@t3.example")
        relay.wait_event("deferred", to="busy@t3.example")
        [row] = self.waiting(relay)
        self.assertTrue(row["host"].startswith("t3-example."), row)

    def test_reload_changes_the_names(self):
        sim, relay = self.world()
        relay.log["headers"] = ["Subject"]
        self.assertEqual(relay.reload()["event"], "reloaded")
        self.submit(relay, "r", "user@t1.example")
        self.assertEqual(relay.wait_event("delivered")["headers"], {"Subject": "r"})

    def test_names_are_checked(self):
        relay = self.relay(start=False, log={"headers": ["X Campaign", "a:", "B", "b"]})
        said = relay.cli("check", check=False)
        self.assertNotEqual(said.returncode, 0)
        for part in ('"X Campaign" is no name', '"a:" is no name', '"b" is there twice'):
            self.assertIn(part, said.stdout + said.stderr)


class Journal(RelayCase):
    def test_priorities(self):
        """Where standard output is the journal, each line is JSON behind its priority."""
        sim = self.simulator(WORLD)
        relay = self.relay(sim, start=False, queue={"retry": ["1h"]})
        out = relay.dir / "journal"
        # a shell between, so that the file's numbers are known before the relay starts
        relay.start(ready=False, wrapper=["/bin/sh", "-c", 'exec >"$0"; JOURNAL_STREAM=$(stat -L -c %d:%i "$0"); export JOURNAL_STREAM; exec "$@"', str(out)])
        lines = self.wait_lines(relay, out, "started")
        self.assertTrue(lines)
        relay.stop()
        lines = out.read_text().splitlines()
        self.assertIn("stopping", {json.loads(line[3:])["event"] for line in lines})
        for line in lines:
            self.assertRegex(line, r"^<[3-6]>\{")
            levels = {"error": "3", "warning": "4", "notice": "5", "info": "6"}
            self.assertEqual(line[1], levels[json.loads(line[3:]).get("level", "info")])

    def wait_lines(self, relay, out, event):
        changed = threading.Event()
        for _ in range(600):
            if out.exists() and re.search(f'"event":"{event}"', out.read_text()):
                return out.read_text().splitlines()
            changed.wait(0.05)
        self.fail(out.read_text() if out.exists() else relay.stderr())


if __name__ == "__main__":
    unittest.main()
