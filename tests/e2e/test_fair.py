"""Who is served first when places are scarce: one mail does not wait behind another sender's thousands."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.relay import message  # noqa: E402

WORLD = 'cluster "C1" { addresses = {"127.1.1.1-2"}  latency = "100ms" }\ntenant "t{0..99}.example" { cluster = {"C1"} }\n'
FREE = {"lane_connect_rate": "none", "lane_message_rate": "none", "tls": "none"}
BULK = 500
BEFORE = 50  # at most so many of the newsletter go before the one mail: some two seconds


class Fair(RelayCase):
    def newsletter(self, tenants, pools=None, sources=None):
        """Two connections, and memory for less than a newsletter of which nearly all still waits."""
        sources = sources or {"a1": "127.0.1.1"}
        _, relay = self.start(WORLD, sources=sources, pools=pools,
                                providers={"microsoft365": {**FREE, "connections_per_cluster": 2}},
                                listeners={"in": {"pool_header": True}}, extra="dispatch { work_max = 200  window = 40 }\n")
        relay.send_many((f"n{i}", f"u{i}@t{i % tenants}.example") for i in range(BULK))
        return relay

    def check_soon(self, relay, to, sender="code@other.example", pool=None):
        mark = relay.mark()
        headers = [f"X-Postern-Pool: {pool}"] if pool else []
        relay.send("code", to, sender=sender, text=message("code", headers=headers))
        relay.wait_event("delivered", since=mark, to=to)
        late = len(relay.find("delivered", since=mark)) - 1
        self.assertLessEqual(late, BEFORE)
        self.assertGreater(BULK - len(relay.find("delivered")), 100, "nothing waited any more")

    def test_pool_of_its_own(self):
        relay = self.newsletter(10, pools={"main": ["a1"], "other": ["a1"]})
        self.check_soon(relay, "x@t3.example", sender="sender@example.org", pool="other")

    def test_sender(self):
        relay = self.newsletter(10)
        self.check_soon(relay, "x@t3.example")
        self.check_soon(relay, "x@t50.example")

    def test_sender_to_the_same_tenant(self):
        self.check_soon(self.newsletter(1), "x@t0.example")

    def test_sources_of_its_own(self):
        relay = self.newsletter(10, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, pools={"main": ["a1"], "other": ["b1"]})
        self.check_soon(relay, "x@t3.example", sender="sender@example.org", pool="other")

    def test_queued_before_a_restart(self):
        """All is read from the queue then, oldest first, and the one mail lies last."""
        relay = self.newsletter(1)
        relay.cli("hold", "--domain", "t0.example")
        relay.send("code", "x@t0.example", sender="code@other.example")
        relay.restart()
        mark = relay.mark()
        relay.cli("release", "--domain", "t0.example")
        relay.wait_event("delivered", since=mark, to="x@t0.example")
        self.assertLessEqual(len(relay.find("delivered", since=mark)) - 1, BEFORE)
        self.assertGreater(BULK - len(relay.find("delivered")), 100, "nothing waited any more")


if __name__ == "__main__":
    unittest.main()
