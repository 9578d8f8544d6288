"""One incident from its first refusal to its end, as those see it who look at the relay: a subnet is deferred at one cluster for more than
an hour. Page, metrics, log, transcripts and evidence name it, agree with each other and with the receiver's own ledger, and say so when
it is over. The relay goes by clocks of the test's own."""
import html
import json
import os
import re
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.clock import Clock  # noqa: E402
from lib.process import Deadline  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
cluster "EUR05" { form = "old"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-4"} }
tenant "t{0..99}.example" { cluster = {"EUR01"} }
tenant "u{0..99}.example" { cluster = {"EUR05"} }
rule "subnet-a" { source = {"127.0.1.0/24"}  cluster = {"EUR01"}  phase = "mail"
    reply = "451 4.4.4 Temporary server error. Please try again later ATTR3 {tail}" }
"""
A, B = "127.0.1.0/24", "127.0.2.0/24"
FAST = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}


class Story(RelayCase):
    def send(self, n=20):
        """Mail to tenants of both clusters; returns when none of it waits any more."""
        relay, first = self.relay_, self.sent
        self.sent += n
        relay.send_many((f"m{first + i}", f"user@{'tu'[i % 2]}{(first + i) % 100}.example") for i in range(n))
        relay.wait_event("delivered", count=self.sent)

    def until(self, what, good):
        deadline = Deadline()
        while not good(got := what()):
            self.assertFalse(deadline.passed, got)
            time.sleep(0.05)
        return got

    def page(self, path):
        return json.loads(self.relay_.get(path))

    def alarms(self):
        return [a for a in self.page("/now.json")["alarms"] if a["kind"] == "subnet" and a["state"] != "healthy"]

    def lanes_at_fault(self):
        """What the alert rule of a deferred subnet looks at."""
        return sum(v for k, v in self.relay_.metrics().items() if re.fullmatch(r'postern_policy_lanes\{.*cause="subnet".*\}', k))

    def agree(self):
        """The same numbers everywhere: the receiver's ledger, /metrics, the page, the history."""
        relay, ledger = self.relay_, len(self.sim.deliveries())
        refused = [r for r in self.sim.refusals() if "ATTR3" in r["reply"]]
        self.assertEqual(ledger, self.sent)
        self.wait_metric(relay, "postern_delivered_total", ledger)  # renewed once a second
        self.until(lambda: self.page("/now.json")["counts"]["delivered"], lambda n: n == ledger)
        total = relay.json("history", "--by", "total", "--sum", "--since", "24h")[1:]
        self.assertEqual(sum(line["delivered"] for line in total), ledger)
        cells = self.page("/heat.json?span=24h")["cells"]
        self.assertEqual(sum(c["delivered"] for c in cells), ledger)
        path = [line for line in relay.json("history", "--by", "path", "--sum", "--since", "24h")[1:] if (line["subnet"], line["cluster"]) == (A, "EUR01")]
        by_cause = len([e for e in relay.find(("deferred", "held"), source="a1", code=451)])
        self.assertEqual(sum(line["deferred"] for line in path), by_cause)
        self.assertEqual(len(refused), by_cause)
        evidence = relay.json("evidence", "--subnet", A, "--at", "EUR01")
        self.assertEqual(sum(h["ours"].get("deferred", 0) for h in evidence["counts"]), by_cause)
        return evidence

    def test_a_subnet_is_deferred_at_one_cluster(self):
        if not os.environ.get("CLOCK_LIBRARY"):
            self.skipTest("a preloaded library and a sanitizer's own get into each other's way")
        clock = self.clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-02 10:00")
        self.sim, self.relay_ = self.start(WORLD, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, env=clock.env(),
                                           providers={"microsoft365": FAST}, queue={"retry": ["4h"]})
        sim, relay, self.sent = self.sim, self.relay_, 0
        while not relay.find("health", subnet=A, cluster="EUR01", health="resting"):
            self.assertLess(self.sent, 2000, "the subnet was never found to be deferred")
            self.send()
            clock.elapse(seconds=30)
        found = relay.find("health", subnet=A, cluster="EUR01", health="resting")[0]
        self.assertEqual(found["cause"], "subnet")
        for _ in range(7):  # more than an hour
            clock.elapse(minutes=10)
            self.send(10)
        self.during()
        sim.disable_rule("subnet-a")
        for _ in range(60):
            if relay.find("health", subnet=A, cluster="EUR01", health="healthy"):
                break
            clock.elapse(minutes=10)
            self.send(10)
        self.after()

    def during(self):
        relay = self.relay_
        [alarm] = self.until(self.alarms, bool)
        self.assertEqual((alarm["subnet"], alarm["cluster"]), (A, "EUR01"))
        self.assertIn(f"EUR01 refuses the subnet {A}", html.unescape(relay.get("/")))
        self.until(self.lanes_at_fault, lambda n: n > 0)
        cells = {(c["subnet"], c["cluster"]): c for c in self.page("/heat.json")["cells"]}
        self.assertIn(cells[A, "EUR01"]["health"], ("resting", "probing"))
        for other in ((A, "EUR05"), (B, "EUR01"), (B, "EUR05")):
            self.assertIn(cells[other]["cause"], ("", "none"), other)
        evidence = self.agree()
        self.assertRegex(evidence["refusal"], "^451 4.4.4 .*ATTR3")
        self.assertEqual((evidence["refused"]["source"], evidence["good"]["source"]), ("a1", "b1"))
        self.assertGreaterEqual(len(evidence["counts"]), 2, "no second hour")
        self.assertTrue(relay.cli("transcript", "--source", "a1", "--at", "EUR01").stdout.startswith("refused: a1"))

    def after(self):
        relay = self.relay_
        self.assertTrue(relay.find("health", subnet=A, cluster="EUR01", health="healthy"), "it never recovered")
        self.until(self.alarms, lambda found: not found)
        for _ in range(60):  # a slow start, which ends with what is taken
            if not self.lanes_at_fault():
                break
            self.clock.elapse(minutes=2)
            self.send()
        self.assertEqual(self.lanes_at_fault(), 0)
        self.assertNotIn(f"EUR01 refuses the subnet {A}", html.unescape(relay.get("/")))
        evidence = self.agree()
        last = evidence["counts"][-1]
        self.assertGreater(last["ours"].get("delivered", 0), 0)
        self.assertRegex(evidence["refusal"], "ATTR3")  # what was is kept
        outcomes = {s["outcome"] for s in self.lines(relay, "transcript", "--source", "a1", "--at", "EUR01")}
        self.assertEqual(outcomes, {"good", "refused"})


if __name__ == "__main__":
    unittest.main()
