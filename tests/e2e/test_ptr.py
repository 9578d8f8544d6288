"""A host's PTR name tells its cluster where nothing better does: asked once the host is up, and no mail waits for it."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import Deadline, Failed  # noqa: E402

SCENARIO = """
cluster "X" { addresses = {"127.1.5.1"}  forest = "eurprd05"  site = "AM6" }
tenant "t{0..99}.example" { cluster = {"X"} }
records = {"1.5.1.127.in-addr.arpa PTR mail-am6eur050065.inbound.protection.outlook.com"}
"""


class Ptr(RelayCase):
    def clusters(self, relay):
        return str(relay.json("clusters"))

    def wait_cluster(self, relay, name):
        deadline = Deadline()
        while name not in self.clusters(relay):
            if deadline.passed:
                raise Failed(f"{name} is not in {self.clusters(relay)}")
            time.sleep(0.05)

    def test_cluster_is_learned(self):
        sim, relay = self.start(SCENARIO)
        relay.send("one", "u@t1.example")
        relay.wait_event("delivered")
        self.wait_cluster(relay, "EUR05")
        e = relay.wait_event("cluster-learned")
        self.assertIn("PTR", e["message"])
        self.assertEqual(sim.summary()["dns"]["types"]["PTR"], 1)
        for i in range(5):
            relay.send(f"m{i}", f"u@t{i + 2}.example")
        relay.wait_event("delivered", count=6)
        self.assertEqual(sim.summary()["dns"]["types"]["PTR"], 1)

    def test_silence_costs_nothing(self):
        _, relay = self.start(SCENARIO.replace("records", 'dns "ptr" { type = {"PTR"}  action = "drop" }\nrecords'))
        begun = time.monotonic()
        for i in range(5):
            relay.send(f"m{i}", f"u@t{i}.example")
        relay.wait_event("delivered", count=5)
        self.assertLess(time.monotonic() - begun, 5)


if __name__ == "__main__":
    unittest.main()
