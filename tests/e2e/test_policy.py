"""The traffic brain end to end, in small: a subnet, a cluster or a tenant that defers, blocked sources, caps, and what the operator sees of
it. The same at full size and with thousands of seeds, in virtual time: tests/unit/policy."""
import collections
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

WORLD = """
defaults { latency = "5ms" }
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4", "127.1.2.1-4"} }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-8"} }
tenant "t{0..999}.example" { cluster = {"EUR01"} }
tenant "u{0..999}.example" { cluster = {"EUR05"} }
"""
SOURCES = {"a1": "127.0.1.1", "a2": "127.0.1.2", "b1": "127.0.2.1", "b2": "127.0.2.2"}
RULES = {
    "subnet": """rule "subnet" { source = {"127.0.2.0/24"}  cluster = {"EUR01"}  phase = "mail"
        reply = "451 4.4.4 Temporary server error. Please try again later ATTR3 {tail}" }""",
    "cluster": """rule "cluster" { cluster = {"EUR01"}  phase = "mail"
        reply = "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77719) {tail}" }""",
    "tenant": """rule "tenant" { recipient = {"*@t7.example"}  phase = "rcpt"
        reply = "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77719) {tail}" }""",
    "banned a1": """rule "banned a1" { source = {"127.0.1.1"}  phase = "rcpt"  reply = "550 5.7.606 Access denied, banned sending IP [{ip}].
        To request removal from this list please visit https://sender.office.com/ (AS16012609) {tail}" }""",
    "banned": """rule "banned" { phase = "mail"
        reply = "550 5.7.1 Unfortunately, messages from [{ip}] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140). {tail}" }""",
}
BANS = (
    "550 5.7.606 Access denied, banned sending IP [{ip}]. To request removal visit https://sender.office.com/ (AS16012609)",
    "550 5.7.511 Access denied, banned sender[{ip}]. To request removal from this list please forward this message to delist@microsoft.com",
    "550 5.7.1 Unfortunately, messages from [{ip}] weren't sent, since part of their network is on our block list (S3140).",
)
FAST = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}


class Policy(RelayCase):
    def world(self, *rules, scenario=WORLD, **options):
        providers = {"microsoft365": {**FAST, **options.pop("provider", {})}}
        return self.start(scenario + "".join(RULES[r] for r in rules), sources=SOURCES, providers=providers,
                          queue={"retry": ["2s", "4s"]}, **options)

    def send_all(self, relay, pairs, clients=4):
        threads = [threading.Thread(target=relay.send_many, args=(pairs[k::clients],)) for k in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def pairs(self, n, tenants="t", first=0):
        return [(f"{tenants}{first + i}", f"u@{tenants}{(first + i) % 100}.example") for i in range(n)]

    def refused_by(self, sim, rule):
        return sim.rules()[rule]

    def blames(self, relay):
        return {e["cause"] for e in relay.find(("health", "cluster-defers")) if e.get("health") == "resting"}

    # 1

    def sicken(self, relay, pairs):
        """Until the subnet rests: six refusals more than its acceptances explain, and another that is accepted."""
        while not relay.find("health", cause="subnet"):
            self.assertLess(len(pairs), 3000)
            more = self.pairs(100, "t", first=5000 + len(pairs))
            pairs += more
            self.send_all(relay, more)
            self.wait_settled(relay)
        return relay.wait_event("health", cause="subnet")

    def test_one_subnet_at_one_cluster(self):
        sim, relay = self.world("subnet")
        pairs = self.pairs(200, "u") + self.pairs(200, "t")
        self.send_all(relay, pairs)
        event = self.sicken(relay, pairs)
        self.assertEqual((event["cluster"], event["subnet"], event["health"], event["provider"]),
                         ("EUR01", "127.0.2.0/24", "resting", "microsoft365"))
        self.assertTrue(event["until"])
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertEqual(self.blames(relay), {"subnet"})
        # few attempts were wasted on it, and it goes on elsewhere
        self.assertLessEqual(self.refused_by(sim, "subnet"), 16)
        subnets = sim.subnets()
        self.assertGreater(subnets["127.0.2.0/24", "EUR05"]["recipients"], 40)
        lanes = [x for x in self.lines(relay, "lanes") if x["cluster"] == "EUR01" and x["subnet"] == "127.0.2.0/24"]
        self.assertEqual({(x["health"], x["cause"]) for x in lanes}, {("resting", "subnet")})
        self.assertTrue(all(x["since"] and x["until"] for x in lanes))
        metrics = relay.metrics()
        self.assertEqual((metrics['postern_policy_events_total{event="health"}'], metrics["postern_policy_health_changes_total"]), (1, 1))
        # a restart forgets nothing
        relay.restart()
        before = self.refused_by(sim, "subnet")
        more = self.pairs(100, "t", first=1000)
        self.send_all(relay, more)
        self.wait_settled(relay)
        self.assertEqual(self.refused_by(sim, "subnet"), before)
        # the operator says it is well again
        sim.disable_rule("subnet")
        relay.cli("resume", "--at", "EUR01")
        sim.reset()
        # its window begins at one connection, and how soon it has more hangs on the machine
        self.send_all(relay, self.pairs(500, "t", first=2000))
        self.wait_settled(relay)
        self.assertGreater(sim.subnets()["127.0.2.0/24", "EUR01"]["recipients"], 20)

    def test_an_operator_may_overrule_a_rest(self):
        sim, relay = self.world("subnet")
        self.sicken(relay, [])
        relay.cli("resume", "--source", "b1", "--at", "EUR01", "--for", "1h")
        self.wait_settled(relay)
        lanes = {x["source"]: x for x in self.lines(relay, "lanes") if x["cluster"] == "EUR01"}
        self.assertEqual((lanes["b1"]["health"], lanes["b1"]["cause"]), ("healthy", "operator"))

    def test_a_kill_forgets_nothing(self):
        """A resting subnet, a blocked source and a suspension: after kill -9 they are the same, and not one more attempt is made."""
        sim, relay = self.world("subnet", "banned a1")
        self.send_all(relay, self.pairs(60, "u"))
        self.sicken(relay, [])
        relay.wait_event("source-blocked", source="a1")
        self.wait_settled(relay)
        relay.cli("suspend", "--source", "a2", "--at", "microsoft365", "--for", "1h")  # what was found before it is recorded with it
        relay.cli("resume", "--source", "a2", "--at", "microsoft365")
        relay.cli("suspend", "--source", "a2", "--at", "eurprd05", "--for", "1h")
        known = self.known_lanes(relay)
        lanes = {k[0]: v[:2] for k, v in known.items() if not k[2]}
        self.assertEqual(lanes, {"a1": ("blocked", "source"), "a2": ("suspended", "operator"),
                                 "b1": ("resting", "subnet"), "b2": ("resting", "subnet")})
        self.assertTrue(all(until for _, _, until in known.values()), known)
        refused = [self.refused_by(sim, rule) for rule in ("subnet", "banned a1")]
        sim.reset()
        relay.kill()
        relay.start()
        self.assertEqual(self.known_lanes(relay), known)
        self.send_all(relay, self.pairs(60, "t", first=9000) + self.pairs(60, "u", first=9000))
        self.wait_settled(relay)
        self.assertEqual([self.refused_by(sim, rule) for rule in ("subnet", "banned a1")], refused)
        self.assertEqual({(d["source"], d["cluster"]) for d in sim.deliveries()},
                         {("127.0.1.2", "EUR01"), ("127.0.2.1", "EUR05"), ("127.0.2.2", "EUR05")})

    def test_a_kill_at_once_gives_no_rate_back(self):
        """One connection an hour for each source: however often it is killed, and however early, there are no more."""
        sim, relay = self.world(provider={"lane_connect_rate": "1/1h", "messages_per_connection": 1})
        pairs = self.pairs(40)
        self.send_all(relay, pairs[:10])
        sim.wait(deliveries=1)
        for k in range(1, 4):
            relay.kill()
            relay.start()
            self.send_all(relay, pairs[k * 10:][:10])
            self.wait_accepted(relay)
            reasons = {r["reason"] for r in self.waiting(relay)}
            self.assertTrue(any("rate limit" in r for r in reasons), reasons)
        sent = [(d["source"], d["cluster"]) for d in sim.deliveries()]
        self.assertEqual(len(sent), len(set(sent)), sent)

    def known_lanes(self, relay):
        """Those that something keeps from being used, and what single receivers refuse."""
        return {(x["source"], x["cluster"], x.get("domain", "")): (x["health"], x["cause"], x["until"]) for x in self.lines(relay, "lanes")
                if x["health"] not in ("healthy", "throttled")}

    def test_a_suspension_that_was_answered_outlives_a_kill(self):
        for where in (["--source", "a1"], ["--at", "EUR01"], ["--source", "b1", "--at", "microsoft365"]):
            with self.subTest(where=where):
                sim, relay = self.world()
                self.send_all(relay, self.pairs(20))
                self.wait_settled(relay)
                relay.cli("suspend", *where, "--for", "1h")
                relay.kill()
                relay.start()
                known = self.known_lanes(relay)
                self.assertEqual({v[:2] for v in known.values()}, {("suspended", "operator")})
                relay.cli("resume", *where)
                relay.kill()
                relay.start()
                self.assertEqual(self.known_lanes(relay), {})
                self.assertTrue(self.doCleanups())

    # 2

    def test_a_whole_cluster(self):
        sim, relay = self.world("cluster")
        pairs = self.pairs(300, "t") + self.pairs(300, "u")
        self.send_all(relay, pairs)
        event = relay.wait_event("cluster-defers")
        self.assertEqual((event["cluster"], event["cause"], event["alarm"], event["level"]), ("EUR01", "cluster", True, "warning"))
        sim.wait(deliveries=300)
        self.assertEqual(len([d for d in sim.deliveries() if d["to"].startswith("u@u")]), 300)
        self.wait_metric(relay, "postern_policy_clusters_deferring", 1)
        self.assertLess(self.refused_by(sim, "cluster"), 60)
        self.assertEqual(self.blames(relay), {"cluster"})
        waiting = self.waiting(relay)
        self.assertTrue(waiting)
        self.assertTrue(any("resting at EUR01" in r["reason"] for r in waiting), waiting[:3])
        self.assertEqual({x["health"] for x in self.lines(relay, "clusters") if x["cluster"] == "EUR01"} - {"resting", "probing"}, set())
        sim.disable_rule("cluster")
        relay.wait_event("cluster-well", timeout=60)
        self.wait_settled(relay, timeout=60)
        sim.check_once(pairs)

    # 3

    def test_one_tenant(self):
        sim, relay = self.world("tenant")
        others = [p for p in self.pairs(400) if "@t7." not in p[1]]
        sick = [(f"sick{i}", f"u{i}@t7.example") for i in range(60)]
        both = [p for pair in zip(others[::6], sick) for p in pair]
        self.send_all(relay, both + [p for p in others if p not in both])
        event = relay.wait_event("health", cause="domain")
        self.assertEqual(event["domain"], "t7.example")
        sim.wait(deliveries=len(others))
        self.assertEqual(self.blames(relay), {"domain"})
        self.assertLess(self.refused_by(sim, "tenant"), 40)
        waiting = self.waiting(relay, domain="t7.example")
        self.assertTrue(any("backing off" in r["reason"] for r in waiting), waiting[:3])
        sim.disable_rule("tenant")
        relay.cli("resume", "--at", "t7.example")
        self.wait_settled(relay, timeout=60)
        sim.check_once(others + sick)

    # 4

    def test_a_blocked_source(self):
        sim, relay = self.world("banned a1")
        pairs = self.pairs(100)
        self.send_all(relay, pairs)
        event = relay.wait_event("source-blocked")
        self.assertEqual((event["source"], event["alarm"], event["provider"]), ("a1", True, "microsoft365"))
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertFalse(relay.find("bounced"))
        self.assertLessEqual(self.refused_by(sim, "banned a1"), 12)
        lanes = [x for x in self.lines(relay, "lanes") if x["source"] == "a1"]
        # what single receivers refuse stands behind the lanes
        self.assertEqual({x["health"] for x in lanes if "domain" not in x}, {"blocked"})
        self.assertLessEqual({x["health"] for x in lanes if "domain" in x}, {"refused"})

    def test_blocked_in_any_words_at_any_time(self):
        """One source is refused for good, at MAIL, RCPT or the end of data: all mail arrives from the other subnet, none bounces."""
        for k, (reply, phase) in enumerate((r, p) for r in BANS for p in ("mail", "rcpt", "eod")):
            with self.subTest(reply=reply[:12], phase=phase):
                rule = f'rule "ban" {{ source = {{"127.0.1.0/24"}}  phase = "{phase}"  reply = "{reply} {{tail}}" }}'
                sim, relay = self.world(scenario=WORLD + rule)
                pairs = [(f"b{k}-{i}", f"u@t{i}.example") for i in range(24)]
                self.send_all(relay, pairs)
                relay.wait_event("source-blocked", alarm=True)
                self.wait_settled(relay)
                sim.check_once(pairs)
                self.assertFalse(relay.find(("bounced", "expired")))
                self.assertEqual({d["source"] for d in sim.deliveries()} - {"127.0.2.1", "127.0.2.2"}, set())
                self.assertTrue(self.doCleanups())

    def test_words_of_a_tenants_rule(self):
        """A tenant's mail flow rule claims that our address is listed: its mail comes back at once, and nobody else's waits for it."""
        rules = (("t7", "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy: your IP address is on our blacklist"),
                 ("t8", "550 5.7.950 Your network [{ip}] is on our block list (S3150)"))
        for k, (tenant, reply) in enumerate(rules):
            with self.subTest(tenant):
                rule = f'rule "own" {{ recipient = {{"*@{tenant}.example"}}  phase = "eod"  reply = "{reply} {{tail}}" }}'
                sim, relay = self.world(scenario=WORLD + rule)
                refused = [(f"x{k}-{i}", f"u@{tenant}.example") for i in range(2)]
                others = [p for p in self.pairs(40, first=10)]
                self.send_all(relay, others[:20] + refused)
                relay.wait_event("bounced", to=f"u@{tenant}.example", verdict="message-rejected", count=2)
                self.send_all(relay, others[20:])
                self.wait_settled(relay)
                sim.check_once(others)
                self.assertFalse(relay.find(("source-blocked", "all-sources-blocked", "held")))
                self.assertEqual(self.refused_by(sim, "own"), 2)
                self.assertTrue(self.doCleanups())

    def test_all_sources_blocked(self):
        sim, relay = self.world("banned")
        pairs = self.pairs(40)
        self.send_all(relay, pairs)
        relay.wait_event("all-sources-blocked", alarm=True)
        self.assertFalse(relay.find("bounced"))
        refused = self.refused_by(sim, "banned")
        self.assertLess(refused, 40)
        relay.restart()
        self.assertTrue(any("blocked" in r["reason"] or "blocked" in (r["reply"] or "") for r in self.waiting(relay)))
        self.assertEqual(self.refused_by(sim, "banned"), refused)
        sim.disable_rule("banned")
        relay.cli("resume", "--at", "microsoft365")
        relay.cli("retry", "--all")
        sim.wait(deliveries=len(pairs))
        sim.check_once(pairs)
        self.assertFalse(relay.find("bounced"))

    # 5

    def test_caps_of_clusters_that_are_not_known_yet(self):
        """Three networks, one cluster, which only the banner tells; and a cluster whose networks are never told apart."""
        scenario = WORLD.replace('"127.1.2.1-4"', '"127.1.2.1-4", "127.1.3.1-4"')
        sim, relay = self.world(scenario=scenario, provider={"connections_per_cluster": 5, "messages_per_connection": 4})
        pairs = self.pairs(300, "t") + self.pairs(100, "u")
        self.send_all(relay, pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        sim.check_no_violations()
        peaks = {name: c["peak"] for name, c in sim.clusters().items()}
        self.assertLessEqual(max(peaks.values()), 5)
        self.assertGreaterEqual(peaks["EUR01"], 4)
        how = {x["how"] for x in self.lines(relay, "clusters") if x["cluster"] == "EUR01"}
        self.assertIn("banner", how)
        self.assertEqual({x["geography"] for x in self.lines(relay, "clusters")}, {"EUR"})

    def test_a_newcomer_beside_a_backlog(self):
        """All that the lanes may have is taken by one cluster for a minute; a tenant of another, which nobody knows yet, has one message."""
        sim, relay = self.world(scenario=WORLD.replace('latency = "5ms"', 'latency = "100ms"'),
                                provider={"connections_per_lane": 2, "messages_per_connection": 5000})
        self.send_all(relay, self.pairs(4000))
        sim.wait(deliveries=200)
        relay.send("newcomer", "u@u1.example")
        relay.wait_event("delivered", domain="u1.example", timeout=10)
        self.assertGreater(int(relay.metrics()["postern_queue_recipients_waiting"]), 500)  # the others are not done
        sim.check_no_violations()

    def test_a_forest_cap_below_ours(self):
        sim, relay = self.world(scenario=WORLD.replace('forest = "eurprd05"', 'forest = "eurprd05"  connections_per_forest = 3'))
        pairs = self.pairs(300, "u")
        self.send_all(relay, pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertEqual(self.blames(relay), set())
        self.assertFalse(relay.find("deferred"))

    def test_a_command_that_is_not_understood_bounces_nothing(self):
        for phase, reply in (("mail", "500 5.5.2 unrecognized command"), ("rcpt", "500 5.3.3 Unrecognized command {tail}"),
                             ("mail", "501 5.5.4 Invalid arguments {tail}"), ("data", "502 5.5.1 Command not implemented")):
            with self.subTest(phase=phase, reply=reply):
                # without pipelining and chunks there is a DATA to be refused
                rule = f'rule "deaf" {{ phase = "{phase}"  reply = "{reply}" }}'
                sim, relay = self.world(scenario=WORLD + rule, provider={"chunking": False})
                pairs = self.pairs(20)
                self.send_all(relay, pairs)
                relay.wait_event("deferred", count=10, verdict="transient-other", code=int(reply[:3]))
                sim.disable_rule("deaf")
                self.wait_settled(relay)
                sim.check_once(pairs)
                self.assertEqual(relay.find(("bounced", "source-blocked", "health")), [])
                # such a connection is not used again; a second transaction may have been waiting there already
                sessions = collections.Counter(e["session"] for e in relay.find("deferred"))
                self.assertLessEqual(max(sessions.values()), 2)
                self.assertTrue(self.doCleanups())

    def test_noise_blames_nobody(self):
        noise = 'rule "noise" { phase = "mail"  share = 0.03  reply = "451 4.7.0 Temporary server error. Please try again later. PRX5 {tail}" }'
        sim, relay = self.world(scenario=WORLD + noise)
        pairs = self.pairs(400, "t") + self.pairs(400, "u")
        self.send_all(relay, pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertEqual(self.blames(relay), set())
        # tails taught what the banner of the new form does not say
        self.assertIn("eurprd05", {x["cluster"] for x in self.lines(relay, "clusters")})


if __name__ == "__main__":
    unittest.main()
