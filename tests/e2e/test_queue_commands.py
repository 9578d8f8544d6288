"""The operator's commands on mail and traffic: what they show, and what they change."""
import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import find_program  # noqa: E402

# without names for addresses the hosts stay in the clusters of their networks
BASE = """
dns "ptr" { type = {"PTR"}  action = "nxdomain" }
cluster "A" { addresses = {"127.1.1.1-4"} }
cluster "B" { addresses = {"127.1.2.1-4"} }
tenant "t{0..99}.example" { cluster = {"A"} }
tenant "b{0..99}.example" { cluster = {"B"} }
tenant "back.example" { cluster = {"A"} }
"""
BUSY = 'rule "busy" { phase = "rcpt"  recipient = {"busy*@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }\n'
FAST = {"microsoft365": {"lane_connect_rate": "none", "lane_message_rate": "none"}}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class QueueCase(RelayCase):
    def begin(self, **options):
        return self.start(BASE + BUSY, providers=FAST, **{"queue": {"retry": ["1h"]}, **options})

    def put_off(self, relay, n=6, prefix="busy"):
        """n messages for each of two domains, all deferred; their ids by domain."""
        before = len(relay.find("deferred"))
        relay.send_many((f"{prefix}{i}-{k}", f"{prefix}{i}@t{k}.example") for k in (1, 2) for i in range(n))
        relay.wait_event("deferred", count=before + 2 * n)
        ids = {}
        for r in self.waiting(relay):
            ids.setdefault(r["domain"], []).append(r["id"])
        return ids


class Shown(QueueCase):
    def test_queue_and_show(self):
        sim, relay = self.begin()
        relay.send("one", ["busy1@t1.example", "fine@t1.example", "busy2@t2.example"], sender="s@back.example")
        relay.wait_event("delivered")
        relay.wait_event("deferred", count=2)
        self.wait_queue(relay, messages=1, recipients=2, full=False)
        m = self.lines(relay, "queue", "--list")[1]
        self.assertEqual({r["address"] for r in m["recipients"]}, {"busy1@t1.example", "busy2@t2.example"})
        for r in m["recipients"]:
            self.assertEqual((r["attempts"], r["code"], r["source"]), (1, 450, "a1"))
            self.assertIn("mailbox busy", r["reply"])
            self.assertIn("backing off", r["reason"])
            self.assertRegex(r["until"], TIME)
            self.assertIn("127.1.1.", r["host"])
        shown = relay.json("show", m["id"])
        self.assertEqual({**shown, "recipients": None}, {**m, "recipients": None})
        self.assertEqual((shown["from"], shown["pool"], shown["listener"], shown["client"]), ("s@back.example", "main", "in", "127.0.0.1"))
        text = relay.cli("show", m["id"]).stdout
        self.assertIn("mailbox busy", text)
        self.assertIn("until", text)
        content = relay.cli("show", "--content", m["id"]).stdout
        self.assertIn("X-Test-Id: one", content)
        self.assertIn("Received: ", content)
        self.assertIn(m["id"], relay.cli("queue", "--list").stdout)

    def test_queue_by_domain_and_limit(self):
        sim, relay = self.begin()
        self.put_off(relay)
        self.assertEqual({r["domain"] for m in self.lines(relay, "queue", "--list", "--domain", "t2.example")[1:] for r in m["recipients"]},
                         {"t2.example"})
        self.assertEqual(len(self.lines(relay, "queue", "--list", "--limit", "5")), 6)
        domains = {d["domain"]["domain"]: d["domain"] for d in self.lines(relay, "queue", "--domains")[1:]}
        self.assertLessEqual({"t1.example", "t2.example"}, domains.keys())
        self.assertRegex(domains["t1.example"]["next_due"], TIME)
        self.assertEqual([(d["recipients"], d["messages"], d["held"]) for d in domains.values()], [(6, 6, 0)] * 2)
        relay.send("more", ["busy1@t3.example", "busy2@t3.example"])
        relay.wait_event("deferred", count=14)
        relay.cli("hold", "--domain", "t1.example")
        listed = [d["domain"] for d in self.lines(relay, "queue", "--domains")[1:]]
        self.assertEqual([(d["domain"], d["recipients"], d["messages"], d["held"]) for d in listed],
                         [("t1.example", 6, 6, 6), ("t2.example", 6, 6, 0), ("t3.example", 2, 1, 0)])
        self.assertIn("held", listed[0]["reason"])
        self.assertIn("backing off", listed[1]["reason"])
        self.assertEqual(len(self.lines(relay, "queue", "--domains", "--limit", "2")), 3)
        one = self.lines(relay, "queue", "--domain", "T3.example")[1]["domain"]
        self.assertEqual((one["recipients"], one["messages"]), (2, 1))
        text = relay.cli("queue", "--domain", "t3.example").stdout
        self.assertRegex(text, r"t3\.example +2 waiting")
        self.assertEqual(len(text.splitlines()), 1)
        self.assertRegex(relay.cli("queue", "--domain", "nowhere.example").stdout, r"nowhere\.example +0 waiting")
        self.assertIn("t1.example", relay.cli("queue", "--domains").stdout)

    def test_reason_while_nothing_can_go(self):
        sim, relay = self.begin()
        relay.cli("suspend", "--source", "a1", "--for", "1h")
        relay.send("held", "u@t1.example")
        relay.wait_event("held")
        row, = self.waiting(relay)
        self.assertIn("suspend", row["reason"])
        self.assertRegex(row["until"], TIME)
        self.assertEqual(row["attempts"], 0)

    def test_errors(self):
        sim, relay = self.begin()
        rows = [(64, "show"), (65, "show", "0000000000000"), (64, "show", "not-an-id"), (64, "retry"), (64, "retry", "--all", "--domain", "x"),
                (64, "hold", "?"), (64, "nonsense"), (64, "queue", "--nonsense"), (64, "suspend"), (65, "suspend", "--source", "nobody"),
                (64, "suspend", "--source", "a1", "--for", "soon"), (65, "resume", "--source", "a1"),
                (65, "suspend", "--at", "nowhere")]
        for status, *command in rows:
            with self.subTest(command):
                done = relay.cli(*command, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertTrue(done.stderr.strip())
                self.assertEqual(done.stdout, "")

    def test_no_relay_to_ask(self):
        relay = self.relay(start=False)
        done = relay.cli("queue", check=False)
        self.assertEqual(done.returncode, 69)
        self.assertIn("control.sock", done.stderr)


class Changed(QueueCase):
    def changed(self, relay, *command):
        return relay.json(*command)["changed"]

    def test_retry_by_id_domain_and_all(self):
        sim, relay = self.begin()
        ids = self.put_off(relay)
        sim.remove_rule("busy")
        self.assertEqual(self.changed(relay, "retry", ids["t1.example"][0]), 1)
        relay.wait_event("delivered", id=ids["t1.example"][0])
        self.assertEqual(len(relay.find("delivered")), 1)
        self.assertEqual(self.changed(relay, "retry", "--domain", "t2.example"), 6)
        relay.wait_event("delivered", domain="t2.example", count=6)
        self.assertEqual(len(relay.find("delivered")), 7)
        self.assertEqual(self.changed(relay, "retry", "--all"), 5)
        relay.wait_event("delivered", count=12)
        self.assertEqual(len({(d["id"], d["to"]) for d in sim.deliveries()}), 12)
        self.assertEqual(sim.summary()["messages"], 12)

    def test_retry_of_all_outlives_a_kill(self):
        """Whoever was told that it is due now finds it so after a kill, whether it was read into memory by then or not."""
        sim, relay = self.begin()
        self.put_off(relay)
        sim.remove_rule("busy")
        relay.cli("suspend", "--at", "microsoft365")
        self.assertEqual(self.changed(relay, "retry", "--all"), 12)
        for _ in range(2):
            relay.kill()
            relay.start()
        self.assertEqual(relay.find("delivered"), [])
        relay.cli("resume", "--at", "microsoft365")
        relay.wait_event("delivered", count=12)
        self.assertEqual(sim.summary()["messages"], 12)

    def test_hold_of_a_domain_holds_what_comes(self):
        sim, relay = self.begin()
        ids = self.put_off(relay, n=2)
        sim.remove_rule("busy")
        self.assertEqual(self.changed(relay, "hold", "--domain", "T1.example"), 2)
        self.changed(relay, "hold", "--domain", "t9.example")  # nothing waits for it yet
        relay.send("later", ["new@t1.example", "new@t9.example", "new@t2.example"])
        relay.wait_event("delivered", to="new@t2.example")
        relay.cli("retry", "--all")
        relay.wait_event("delivered", domain="t2.example", count=3)
        relay.restart()
        relay.send("again", ["again@t1.example", "again@t3.example"])
        relay.wait_event("delivered", to="again@t3.example")
        self.assertEqual({d["to"].split("@")[1] for d in sim.deliveries()}, {"t2.example", "t3.example"})
        rows = self.waiting(relay)
        self.assertEqual(sorted(r["address"] for r in rows), ["again@t1.example", "busy0@t1.example", "busy1@t1.example", "new@t1.example",
                                                              "new@t9.example"])
        self.assertEqual({r["reason"].split(" until")[0] for r in rows}, {"held by the operator"})
        self.assertEqual({r["until"] for r in rows}, {None})
        relay.cli("hold", "--domain", "empty.example")
        domains = {d["domain"]["domain"]: d["domain"] for d in self.lines(relay, "queue", "--domains")[1:]}
        self.assertEqual({n: (d["recipients"], d["holds"]) for n, d in domains.items()},
                         {"t1.example": (4, True), "t9.example": (1, True), "empty.example": (0, True)})
        relay.cli("release", "--domain", "t1.example")
        relay.wait_event("delivered", domain="t1.example", count=4)
        self.assertEqual(relay.find("delivered", domain="t9.example"), [])
        relay.cli("release", "--all")
        relay.wait_event("delivered", domain="t9.example")
        relay.restart()
        relay.send("free", ["free@t1.example", "free@t9.example", "free@empty.example"])
        relay.wait_event("delivered", to="free@t9.example")
        relay.wait_event("delivered", to="free@t1.example")
        self.assertEqual(ids.keys(), {"t1.example", "t2.example"})

    def test_remove_by_id_domain_and_all(self):
        sim, relay = self.begin()
        ids = self.put_off(relay)
        relay.cli("remove", ids["t1.example"][0])
        e = relay.wait_event("removed")
        self.assertEqual((e["id"], e["domain"]), (ids["t1.example"][0], "t1.example"))
        relay.cli("remove", "--domain", "t2.example")
        relay.wait_event("removed", count=7)
        self.wait_queue(relay, messages=5)
        relay.cli("remove", "--all", "--yes")
        relay.wait_event("removed", count=12)
        self.wait_queue(relay, messages=0)
        self.assertEqual(relay.find("bounced"), [])
        self.assertEqual(self.wait_metric(relay, "postern_dsns_total", 0), 0)
        self.assertEqual(relay.cli("remove", ids["t1.example"][0], check=False).returncode, 65)

    def test_bounce_by_id_and_domain(self):
        sim = self.simulator(BASE + BUSY, store=True)
        relay = self.relay(sim, providers=FAST, queue={"retry": ["1h"]})
        for i in range(4):
            relay.send(f"m{i}", f"busy{i}@t{1 + i % 2}.example", sender="s@back.example", rcpt_options=["NOTIFY=NEVER"] if i == 2 else [])
        relay.wait_event("deferred", count=4)
        rows = {r["address"]: r["id"] for r in self.waiting(relay)}
        relay.cli("bounce", rows["busy1@t2.example"])
        e = relay.wait_event("bounced")
        # the operator made no attempt
        self.assertEqual(e["attempt"], len(relay.find("deferred", to="busy1@t2.example")))
        self.assertEqual(e["to"], "busy1@t2.example")
        sim.wait(deliveries=1)
        self.assertEqual(self.changed(relay, "bounce", "--all", "--yes"), 3)
        relay.wait_event("bounced", count=4)
        sim.wait(deliveries=3)
        text = "".join(open(d["file"]).read() for d in sim.deliveries())
        for to, told in (("busy0@t1.example", 1), ("busy1@t2.example", 1), ("busy2@t1.example", 0), ("busy3@t2.example", 1)):
            self.assertEqual(text.count(f"Final-Recipient: rfc822; {to}"), told)
        self.wait_queue(relay, messages=0)

    def test_hold_and_release(self):
        sim, relay = self.begin()
        ids = self.put_off(relay)
        self.assertEqual(self.changed(relay, "hold", ids["t1.example"][0]), 1)
        self.assertEqual(self.changed(relay, "hold", "--domain", "t2.example"), 6)
        held = {r["id"] for r in self.waiting(relay, held=True)}
        self.assertEqual(held, {ids["t1.example"][0], *ids["t2.example"]})
        sim.remove_rule("busy")
        relay.cli("retry", "--all")
        relay.wait_event("delivered", count=5)
        self.assertEqual({e["domain"] for e in relay.find("delivered")}, {"t1.example"})
        self.assertEqual(relay.stop(), 0)
        relay.start()
        self.assertEqual({r["id"] for r in self.waiting(relay, held=True)}, held)
        self.assertIn("held", self.waiting(relay)[0]["reason"])
        self.assertEqual(self.changed(relay, "release", ids["t1.example"][0]), 1)
        relay.wait_event("delivered", id=ids["t1.example"][0])
        self.assertEqual(self.changed(relay, "release", "--all"), 6)
        relay.wait_event("delivered", count=12)
        self.wait_queue(relay, messages=0)
        self.assertEqual(sim.summary()["messages"], 12)

    def test_large_queue_is_listed_and_emptied(self):
        sim, relay = self.begin()
        relay.cli("suspend", "--source", "a1")
        relay.send_many((f"m{i}", f"u@t{i % 50}.example") for i in range(500))
        rows = self.waiting(relay)
        self.assertEqual(len({r["id"] for r in rows}), 500)
        self.assertEqual(self.changed(relay, "remove", "--all", "--yes"), 500)
        self.wait_queue(relay, recipients=0)
        self.assertEqual(sim.summary()["messages"], 0)


class Traffic(QueueCase):
    def test_lanes_and_clusters(self):
        sim, relay = self.begin(sources={"a1": "127.0.11.1", "b1": "127.0.12.1"})
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(20))
        relay.send_many((f"n{i}", f"u@b{i}.example") for i in range(10))
        self.wait_settled(relay)
        lanes = self.lines(relay, "lanes")
        counted = sim.lanes()
        self.assertEqual(sum(l["delivered"] for l in lanes), 30)
        names = {"127.1.1.0/24": "A", "127.1.2.0/24": "B"}
        for l in lanes:
            address = {"a1": "127.0.11.1", "b1": "127.0.12.1"}[l["source"]]
            self.assertEqual(l["delivered"], counted.get((address, names[l["cluster"]]), {"messages": 0})["messages"])
            self.assertEqual((l["health"], l["provider"]), ("healthy", "microsoft365"))
        clusters = {c["cluster"]: c for c in self.lines(relay, "clusters")}
        self.assertEqual(set(clusters), set(names))
        self.assertEqual(clusters["127.1.1.0/24"]["cap"], 20)
        self.assertIn("a1", relay.cli("lanes").stdout)
        self.assertIn("127.1.2.0/24", relay.cli("clusters").stdout)

    def test_suspend_and_resume_a_source(self):
        sim, relay = self.begin(sources={"a1": "127.0.11.1", "b1": "127.0.12.1"})
        relay.cli("suspend", "--source", "a1")
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(10))
        self.wait_settled(relay)
        self.assertEqual({d["source"] for d in sim.deliveries()}, {"127.0.12.1"})
        relay.cli("resume", "--source", "a1")
        relay.cli("suspend", "--source", "b1")
        sim.reset()
        relay.send_many((f"n{i}", f"u@t{i}.example") for i in range(10))
        self.wait_settled(relay)
        self.assertEqual({d["source"] for d in sim.deliveries()}, {"127.0.11.1"})

    def test_suspend_a_cluster(self):
        sim, relay = self.begin()
        relay.send("warm", "u@t1.example")
        relay.wait_event("delivered")
        relay.cli("suspend", "--at", "127.1.1.0/24")
        relay.send("held", "u@t1.example")
        relay.send("free", "u@b1.example")
        relay.wait_event("delivered", to="u@b1.example")
        self.assertEqual([r["address"] for r in self.waiting(relay)], ["u@t1.example"])
        suspended = [l for l in self.lines(relay, "lanes") if l["health"] == "suspended"]
        self.assertEqual({l["cluster"] for l in suspended}, {"127.1.1.0/24"})
        relay.cli("resume", "--at", "127.1.1.0/24")
        relay.wait_event("delivered", to="u@t1.example", count=2)

    def test_suspension_survives_a_restart_and_ends_by_itself(self):
        sim, relay = self.begin()
        relay.cli("suspend", "--source", "a1", "--at", "microsoft365", "--for", "4s")
        self.assertEqual(relay.stop(), 0)
        relay.start()
        relay.send("m", "u@t1.example")
        relay.wait_event("held")
        relay.wait_event("delivered", timeout=20)
        self.assertEqual(sim.summary()["messages"], 1)
        self.assertEqual(relay.find("deferred"), [])


class Classify(RelayCase):
    def test_a_line_a_line(self):
        rows = [("microsoft365\tmail\t451 4.7.500 Server busy. Please try again later from [1.2.3.4]. (S77719)", "source-throttle"),
                ("microsoft365\trcpt\t550 5.4.1 Recipient address rejected: Access denied", "recipient-invalid"),
                ("outlook\tmail\t550 5.7.606 Access denied, banned sending IP [1.2.3.4]", "source-block"),
                ("default\teod\t250 2.0.0 Ok", "delivered"),
                ("default\trcpt\t550 5.1.1 no such user", "recipient-invalid"),
                ("nonsense", "?")]
        text = "".join(r + "\n" for r, _ in rows)
        self.assertEqual(self.classify(text).splitlines(), [v for _, v in rows])
        objects = [json.loads(line) for line in self.classify(text, "--json").splitlines()]
        self.assertEqual([o.get("verdict") for o in objects], [v if v != "?" else None for _, v in rows])

    def test_which_rule_decided(self):
        rules = self.relay(start=False).dir / "mine.rules"
        rules.write_text('dated 2026-10-01\n* * 550 * * "purple" -> source-block subnet 10m\n')
        text = "default\trcpt\t550 purple\nmicrosoft365\trcpt\t451 4.7.500 Server busy (S77719)\ndefault\trcpt\t450 4.9.9 x\n"
        own, built_in, none = self.classify(text, "--explain", "--rules", rules).splitlines()
        self.assertEqual(own, f"source-block subnet 600s: rule {rules}:2, dated 2026-10-01")
        self.assertRegex(built_in, r"^source-throttle subnet voice=provider token S77719: rule built-in replies\.rules:\d+, dated 20\d\d-")
        self.assertEqual(none, "transient-other: no rule fits, by code and phase")
        first = json.loads(self.classify(text, "--json", "--rules", rules).splitlines()[0])
        self.assertEqual((first["rule_file"], first["rule_line"], first["rules_dated"], first["scope"]),
                         (str(rules), 2, "2026-10-01", "subnet"))

    def classify(self, text, *options):
        return subprocess.run([find_program("POSTERN", "postern"), "classify", *options], input=text, capture_output=True, text=True,
                              check=True).stdout


if __name__ == "__main__":
    unittest.main()
