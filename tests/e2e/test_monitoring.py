"""Metrics of what waits, of files, and what is shipped to look at them with: alert rules and a dashboard."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.certs import Authority  # noqa: E402
from lib.peers import unpacked  # noqa: E402
from lib.process import Deadline  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "conf/monitoring"
WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
rule "later" { recipient = {"later@*"}  phase = "rcpt"  reply = "452 4.2.2 The recipient's mailbox is full" }
"""
# Samples that are there only once there is something to count
SOMETIMES = {"postern_warmup_paused", "postern_warmup_deferral_ratio", "postern_warmup_used", "postern_warmup_allowance", "postern_lane_health",
             "postern_rejected_total", "postern_policy_lanes", "postern_tls_certificate_expiry_seconds"}


def promtool(*args, **options):
    tool = unpacked() / "prometheus/usr/bin/promtool"
    return subprocess.run([tool, *args], capture_output=True, text=True, timeout=120, **options)


class Queue(RelayCase):
    def counted(self, relay, want):
        """Until the count of the queue says so: {(pool, provider, reason): recipients}."""
        deadline = Deadline()
        while True:
            found = {}
            metrics = relay.metrics()
            for name, value in metrics.items():
                if name.startswith("postern_queue_recipients{"):
                    labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
                    found[labels["pool"], labels["provider"], labels["reason"]] = value
            if found == want:
                return metrics
            if deadline.passed:
                self.fail(f"counted {found}, not {want}")
            time.sleep(0.1)

    def test_what_waits_by_reason(self):
        sim, relay = self.start(WORLD, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, pools={"main": ["a1"], "other": ["b1"]},
                                listeners={"in": {}, "second": {"pool": "other"}}, queue={"retry": ["4h"]},
                                providers={"microsoft365": {"tls": "none"}})
        relay.send_many([(f"m{i}", f"later@t{i % 3}.example") for i in range(7)], sender="")
        relay.wait_event("deferred", count=7)
        key = ("main", "microsoft365", "backing off")
        metrics = self.counted(relay, {key: 7})
        self.assertTrue(0 <= metrics['postern_queue_oldest_seconds{pool="main"}'] < 300)
        self.assertLess(metrics["postern_queue_survey_age_seconds"], 120)
        # what an operator holds, in another pool
        relay.cli("hold", "--domain", "t9.example")
        relay.send("held", ["x@t9.example", "y@t9.example"], listener="second", sender="")
        metrics = self.counted(relay, {key: 7, ("other", "unknown", "held by operator"): 2})
        self.assertEqual(metrics["postern_queue_recipients_waiting"], 9)
        self.assertIn('postern_queue_oldest_seconds{pool="other"}', metrics)
        # the history samples the same, beside the sum under no name
        _, *rows = self.lines(relay, "history", "--by", "queue", "--step", "minute", "--sum")
        told = {(r["pool"], r["provider"], r["reason"]): r["recipients"] for r in rows}
        self.assertEqual(told[key], 7)
        # and nothing is told of what is gone
        relay.cli("remove", "--all", "--yes")
        self.counted(relay, {})


class Files(RelayCase):
    def test_certificates_and_reloads(self):
        relay = self.relay(start=False)
        authority = Authority(relay.dir / "ca")
        certificate, key = authority.certificate("in", "DNS:in.example")
        relay.listeners["in"].update(certificate=certificate, key=key)
        relay.write_config()
        relay.start()
        expiry = 'postern_tls_certificate_expiry_seconds{listener="in"}'
        metrics = relay.metrics()
        self.assertAlmostEqual(metrics[expiry], time.time() + 30 * 86400, delta=3600)
        self.assertEqual(metrics["postern_config_last_reload_success"], 1)
        began = metrics["postern_config_last_reload_success_timestamp_seconds"]
        relay.config_path.write_text("nonsense {")
        since = relay.mark()
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_event("reload-failed", since=since)
        metrics = relay.metrics()
        self.assertEqual(metrics["postern_config_last_reload_success"], 0)
        self.assertEqual(metrics["postern_config_last_reload_success_timestamp_seconds"], began)
        relay.write_config()
        relay.cli("reload")
        metrics = relay.metrics()
        self.assertEqual(metrics["postern_config_last_reload_success"], 1)
        self.assertGreater(metrics["postern_config_last_reload_success_timestamp_seconds"], began)


class Shipped(RelayCase):
    def names_used(self):
        dashboard = json.loads((SHIPPED / "grafana.json").read_text())
        text = (SHIPPED / "postern.rules.yml").read_text() + " ".join(t["expr"] for p in dashboard["panels"] for t in p["targets"])
        return set(re.findall(r"\b(?:postern|process)_[a-z_]+", text))

    def test_promtool_takes_the_metrics(self):
        sim, relay = self.start(WORLD, sources={"a1": "127.0.1.1"}, queue={"retry": ["4h"]}, providers={"microsoft365": {"tls": "none"}})
        relay.send_many([(f"m{i}", f"{'later' if i % 3 else 'u'}@t{i}.example") for i in range(9)], sender="")
        relay.wait_event(("deferred", "delivered"), count=9)
        self.wait_metric(relay, "postern_lanes{health=\"other\"}", lambda n: n >= 1)
        deadline = Deadline()
        while "postern_queue_recipients{" not in (text := relay.get("/metrics")):
            self.assertFalse(deadline.passed)
            time.sleep(0.1)
        # what rules and dashboard ask for is there
        self.assertEqual({n for n in self.names_used() if not re.search(rf"^{n}[ {{]", text, re.M)} - SOMETIMES, set())
        done = promtool("check", "metrics", input=text)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_rules(self):
        done = promtool("check", "rules", SHIPPED / "postern.rules.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = promtool("test", "rules", ROOT / "tests/monitoring/postern.rules.test.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        tested = (ROOT / "tests/monitoring/postern.rules.test.yml").read_text()
        for alert in re.findall(r"- alert: (\w+)", (SHIPPED / "postern.rules.yml").read_text()):
            self.assertIn(f'alertname="{alert}"', tested)


if __name__ == "__main__":
    unittest.main()
