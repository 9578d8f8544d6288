"""Who we are: mail that would come back to the relay is returned at once (RFC 5321 section 5.1), and some addresses are never connected to."""
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

BASE = """
records = {"relay.test.example A 127.1.1.1", "x1.example MX 10 relay.test.example",
           "x2.example MX 10 a1.out.example", "a1.out.example A 127.1.1.1",
           "x4.example MX 10 off.example", "x4.example MX 20 relay.test.example", "off.example A 127.1.3.1",
           "x5.example MX 10 src.example", "src.example A 127.0.1.1",
           "x6.example MX 10 relay.test.example", "x6.example MX 20 x1.example",
           "loop.example MX 10 mx.loop.example", "mx.loop.example A 127.0.0.1",
           "wide.example MX 10 wide.loop.example", "wide.loop.example A 127.5.6.7",
           "zero.example MX 10 zero.host.example", "zero.host.example A 0.0.0.0",
           "cast.example MX 10 cast.host.example", "cast.host.example A 224.0.0.1", "cast.host.example A 255.255.255.255",
           "some-zero.example A 0.0.0.0"}
cluster "A" { addresses = {"127.1.1.1"}  region_check = "no"  form = "plain" }
cluster "B" { addresses = {"127.1.2.1"}  region_check = "no"  form = "plain" }
cluster "OFF" { addresses = {"127.1.3.1"}  listen = "no" }
tenant "x3.example" { cluster = {"A"}  mx = {"10 other.example @A", "20 relay.test.example @A", "30 third.example @B"} }
tenant "some.example" { cluster = {"A"}  mx = {"10 some-zero.example @A", "20 other.example @A"} }
tenant "far.example" { cluster = {"B"}  mx = {"10 far.host.example"} }
"""


def free_port():
    with socket.socket() as s:
        s.bind(("0.0.0.0", 0))
        return s.getsockname()[1]


class Own(RelayCase):
    def begin(self, address="127.0.0.1", **options):
        self.port = free_port()
        return self.start(BASE, listeners={"in": {"address": [f"{address}:{self.port}"]}}, http=True,
                          providers={"loops": {"mx": ["*.loop.example"], "port": self.port}}, **options)

    def send(self, relay, to):
        relay.addresses["in"] = [("127.0.0.1", self.port)]
        relay.send("m", to, sender="")

    def returned(self, relay, to, status="5.4.6", words="come back to this relay"):
        mark = relay.mark()
        self.send(relay, to)
        e = relay.wait_event("bounced", since=mark, to=to)
        self.assertTrue(e["reason"].startswith(f"{status} "), e)
        self.assertIn(words, e["reason"])
        self.assertNotIn("host", e)

    def test_our_names_addresses_and_ports(self):
        sim, relay = self.begin()
        for domain in ("x1", "x2", "x5", "x6", "loop"):
            with self.subTest(domain):
                self.returned(relay, f"u@{domain}.example")
        self.returned(relay, "u@relay.test.example")  # its own name, without MX
        self.returned(relay, "U@Relay.Test.EXAMPLE")
        self.returned(relay, "u@[127.0.1.1]")  # by the address itself
        self.assertEqual(sim.summary()["connections"]["opened"], 0)
        self.assertEqual(relay.find("delivered"), [])

    def test_a_listener_at_all_addresses(self):
        _, relay = self.begin("0.0.0.0")
        self.returned(relay, "u@wide.example")
        self.returned(relay, "u@loop.example")

    def test_as_backup_mx_only_better_ones_are_asked(self):
        sim, relay = self.begin(queue={"retry": ["1s"]})
        self.send(relay, "u@x3.example")
        e = relay.wait_event("delivered")
        self.assertTrue(e["host"].startswith("other.example["), e)
        self.send(relay, "u@x4.example")  # the better one is dead: it is waited for
        e = relay.wait_event("deferred", to="u@x4.example", count=2)
        self.assertIn("off.example", e["reason"])
        self.assertNotIn("relay.test.example", e["reason"])

    def test_what_cannot_be_a_host_is_never_connected_to(self):
        _, relay = self.begin()
        for domain in ("zero", "cast"):
            with self.subTest(domain):
                self.returned(relay, f"u@{domain}.example", "5.4.4", f"{domain}.host.example has an address that never is")
        self.send(relay, "u@some.example")
        self.assertTrue(relay.wait_event("delivered")["host"].startswith("other.example["))

    def test_networks_that_are_never_connected_to(self):
        _, relay = self.begin(root={"never_connect": ["127.1.2.0/24"]})
        self.returned(relay, "u@far.example", "5.4.4", "far.host.example")
        relay.root["never_connect"] = []
        self.assertEqual(relay.reload()["event"], "reloaded")
        self.send(relay, "u@far.example")
        relay.wait_event("delivered", to="u@far.example")


if __name__ == "__main__":
    unittest.main()
