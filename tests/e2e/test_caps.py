"""Limits as the receiver sees them: connections of clusters and lanes, rates of messages and of connections."""
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

CLUSTERS = """
cluster "C{1..4}" { addresses = {"127.1.{n}.1-12"}  latency = "5ms" }
tenant "t{0..9999}.example" { cluster = {"C*"} }
"""
SOURCES = {f"s{net}{i}": f"127.0.{net}.{i}" for net in (21, 22, 23) for i in (1, 2, 3)}
NONE = {"lane_connect_rate": "none", "lane_message_rate": "none", "tls": "none"}


class Caps(RelayCase):
    def send_all(self, relay, pairs, clients=4):
        threads = [threading.Thread(target=relay.send_many, args=(pairs[k::clients],)) for k in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def load(self, n=600, sources=None, **caps):
        sim, relay = self.start(CLUSTERS, sources=sources or SOURCES, providers={"microsoft365": {**NONE, **caps}})
        pairs = [(f"m{i}", f"u@t{i % 200}.example") for i in range(n)]
        self.send_all(relay, pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        return sim, relay

    def test_connections_per_cluster_and_lane(self):
        sim, relay = self.load(connections_per_cluster=6, connections_per_lane=2, messages_per_connection=5)
        peaks = [c["peak"] for c in sim.clusters().values()]
        self.assertLessEqual(max(peaks), 6)
        self.assertGreaterEqual(max(peaks), 4, "the cap was never near")
        self.assertLessEqual(max(g["peak"] for g in sim.lanes().values()), 2)
        self.assertLessEqual(max(g["messages_per_connection_max"] for g in sim.lanes().values()), 5)

    def test_lane_alone(self):
        sim, relay = self.load(connections_per_cluster=0, connections_per_lane=1, messages_per_connection=3)
        self.assertEqual({g["peak"] for g in sim.lanes().values()}, {1})

    def test_cluster_and_subnet(self):
        sim, relay = self.load(connections_per_cluster=0, connections_per_lane=5, connections_per_cluster_subnet=2)
        self.assertLessEqual(max(g["peak"] for g in sim.subnets().values()), 2)

    def test_provider_in_all(self):
        sim, relay = self.load(connections=3, connections_per_cluster=0)
        self.assertLessEqual(sim.summary()["connections"]["peak"], 3)

    def test_process_in_all(self):
        sim, relay = self.start(CLUSTERS, sources=SOURCES, root={"outbound_max": 4, "workers": 1},
                                providers={"microsoft365": {**NONE, "connections_per_cluster": 0}})
        pairs = [(f"m{i}", f"u@t{i % 100}.example") for i in range(200)]
        self.send_all(relay, pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertLessEqual(sim.summary()["connections"]["peak"], 4)

    def test_receivers_own_caps_are_kept_where_ours_are_under_them(self):
        """The simulator refuses the 21st connection of a cluster: with the built-in limits that never happens."""
        sim, relay = self.start(CLUSTERS.replace('latency', 'connections = 20  latency'), sources=SOURCES)
        pairs = [(f"m{i}", f"u@t{i % 200}.example") for i in range(300)]
        self.send_all(relay, pairs)
        self.wait_settled(relay)
        self.assertEqual(sim.summary()["refused"], 0)

    def test_a_tenant_with_much_mail_delays_no_other(self):
        """Two connections, all of them in use for one tenant; then one message each for others at the same hosts, and at other hosts."""
        scenario = """cluster "C" { addresses = {"127.1.1.1-8"}  addresses_per_tenant = 2  latency = "5ms" }
            tenant "big.example" { cluster = {"C"} }\ntenant "t{0..99}.example" { cluster = {"C"} }"""
        sim, relay = self.start(scenario, providers={"microsoft365": {**NONE, "connections_per_cluster": 2, "messages_per_connection": 20}})
        self.send_all(relay, [(f"big{i}", f"u{i % 50}@big.example") for i in range(2500)])
        small = [(f"small{i}", f"u@t{i}.example") for i in range(20)]
        before = len(sim.deliveries())
        relay.send_many(small)
        relay.wait_event("delivered", count=len(small), to=lambda to: to.startswith("u@t"))
        order = [d["to"] for d in sorted(sim.deliveries(), key=lambda d: d["time"])]
        last = max(i for i, to in enumerate(order) if to.startswith("u@t"))
        self.assertLess(last - before, 800, "the small ones waited for the big one")
        self.assertLess(before + 800, 2500, "the big one was over too soon to tell")
        self.wait_settled(relay, timeout=90)
        sim.check_once([(f"big{i}", f"u{i % 50}@big.example") for i in range(2500)] + small)

    def rate(self, times, per):
        """The most that came within any window of that length."""
        times = sorted(times)
        best = at = 0
        for i, t in enumerate(times):
            while t - times[at] >= per:
                at += 1
            best = max(best, i - at + 1)
        return best

    def test_message_rate_of_a_lane(self):
        """20 in 2 s: a window may see what was saved up before it beside what it earns itself, never more."""
        sim, relay = self.start('cluster "C" { addresses = {"127.1.1.1-4"} }\ntenant "t{0..99}.example" { cluster = {"C"} }',
                                sources={"a1": "127.0.21.1", "b1": "127.0.22.1"},
                                providers={"microsoft365": {**NONE, "lane_message_rate": "20/2s"}})
        pairs = [(f"m{i}", f"u@t{i}.example") for i in range(100)]
        relay.send_many(pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        times = [d["time"] for d in sim.deliveries()]
        for source in ("127.0.21.1", "127.0.22.1"):
            own = [d["time"] for d in sim.deliveries() if d["source"] == source]
            self.assertLessEqual(self.rate(own, 2.0), 41)
            self.assertLessEqual(self.rate(own, 0.5), 26)
        self.assertGreater(max(times) - min(times), 2.0)

    def test_connect_rate_of_a_lane(self):
        sim, relay = self.start('cluster "C" { addresses = {"127.1.1.1"} }\ntenant "t{0..99}.example" { cluster = {"C"} }',
                                providers={"microsoft365": {**NONE, "lane_connect_rate": "6/2s", "messages_per_connection": 1}})
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(18))
        self.wait_settled(relay)
        sim.wait(open=0)
        opened = [e["time"] - e["life"] for e in sim.events() if e["kind"] == "closed"]
        self.assertEqual(len(opened), 18)
        self.assertLessEqual(self.rate(opened, 2.0), 13)
        self.assertGreater(max(opened) - min(opened), 2.0)

    def test_held_work_says_why(self):
        sim, relay = self.start('cluster "C" { addresses = {"127.1.1.1"} }\ntenant "t{0..99}.example" { cluster = {"C"} }',
                                providers={"microsoft365": {**NONE, "lane_message_rate": "1/1h"}})
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(5))
        relay.wait_event("delivered")
        rows = self.waiting(relay)
        self.assertEqual(len(rows), 4)
        self.assertEqual({r["attempts"] for r in rows}, {0})
        self.assertTrue(all("rate" in r["reason"] and r["until"] for r in rows), rows)


if __name__ == "__main__":
    unittest.main()
