"""From a domain to its hosts: what each answer of the DNS means for the mail, and how many questions are asked."""
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

BASE = """
cluster "A" { addresses = {"127.1.1.1-8"} }
cluster "B" { addresses = {"127.1.2.1-8"} }
cluster "OFF" { addresses = {"127.1.3.1"}  listen = "no" }
tenant "t{0..999}.example" { cluster = {"A"} }
"""
QUICK = {"timeout": "500ms", "tries": 2}


class Answers(RelayCase):
    def deliver(self, tenant, to="u@x.example", **options):
        sim, relay = self.start(BASE + tenant, dns=QUICK, **options)
        relay.send("m", to)
        e = relay.wait_event("delivered")
        sim.check_once([("m", to)])
        return sim, relay, e

    def test_lowest_preference_first(self):
        for order in ('"10 one.{domain} @A", "20 two.{domain} @B"', '"20 two.{domain} @B", "10 one.{domain} @A"'):
            with self.subTest(order):
                _, _, e = self.deliver(f'tenant "x.example" {{ cluster = {{"A"}}  mx = {{{order}}} }}')
                self.assertTrue(e["host"].startswith("one.x.example[127.1.1."), e)

    def test_equal_preferences_share(self):
        sim, relay = self.start(BASE + 'tenant "x{0..99}.example" { cluster = {"A"}  mx = {"10 one.{domain} @A", "10 two.{domain} @B"} }',
                                providers={"default": {"lane_connect_rate": "none", "lane_message_rate": "none", "messages_per_connection": 1}})
        relay.send_many((f"m{i}", f"u@x{i}.example") for i in range(40))
        self.wait_settled(relay)
        self.assertEqual({d["cluster"] for d in sim.deliveries()}, {"A", "B"})

    def test_next_preference_when_the_first_is_dead(self):
        _, relay, e = self.deliver('tenant "x.example" { cluster = {"B"}  mx = {"10 one.{domain} @OFF", "20 two.{domain} @B"} }')
        self.assertTrue(e["host"].startswith("two.x.example[127.1.2."), e)
        self.assertEqual(relay.find("deferred"), [])

    def test_no_mx_means_the_domain_itself(self):
        _, _, e = self.deliver('tenant "x.example" { cluster = {"A"}  dns = "no-mx" }')
        self.assertTrue(e["host"].startswith("x.example[127.1.1."), e)

    def test_aliases(self):
        for mode in ("cname", "mx-cname"):
            with self.subTest(mode):
                self.deliver(f'tenant "x.example" {{ cluster = {{"A"}}  dns = "{mode}" }}')

    def test_truncated_answer_is_asked_for_by_tcp(self):
        self.deliver('tenant "x.example" { cluster = {"A"}  dns = "truncated" }')

    def test_server_without_edns(self):
        self.deliver('edns = false\ntenant "x.example" { cluster = {"A"} }')

    def test_domain_in_any_case_and_script(self):
        sim, relay = self.start(BASE + 'tenant "xn--bcher-kva.example" { cluster = {"A"} }\ntenant "bücher.example" { cluster = {"A"} }')
        relay.send("upper", "u@T1.EXAMPLE")
        with relay.client() as c:
            c.ehlo()
            c.mail("s@example.org", ["SMTPUTF8", "BODY=8BITMIME"])
            c.send("RCPT TO:<u@bücher.example>\r\n".encode())
            self.assertEqual(c.getreply()[0], 250)
            self.assertEqual(c.data("X-Test-Id: idn\r\n\r\nx\r\n")[0], 250)
        self.wait_settled(relay)
        self.assertEqual({d["tenant"] for d in sim.deliveries()}, {"t1.example", "bücher.example"})
        self.assertEqual(relay.find("delivered", to="u@bücher.example")[0]["domain"], "xn--bcher-kva.example")

    def test_address_literal(self):
        sim, relay = self.start(BASE + 'cluster "ANY" { addresses = {"127.1.9.1"}  region_check = "no" }\n')
        relay.send("lit", "u@[127.1.9.1]", sender="")
        e = relay.wait_event(("delivered", "bounced"))
        if e["event"] == "delivered":
            self.assertIn("[127.1.9.1]", e["host"])

    def bounced(self, tenant, status, words):
        sim, relay = self.start(BASE + tenant + '\ntenant "back.example" { cluster = {"A"} }', dns=QUICK, sim_options={"store": True})
        relay.send("m", "u@x.example", sender="s@back.example")
        e = relay.wait_event("bounced")
        self.assertIn(status, (e.get("dsn"), e["reason"].split()[0]))
        self.assertIn(words, e["reason"])
        sim.wait(deliveries=1)
        d, = sim.deliveries()
        text = open(d["file"]).read()
        self.assertIn(f"Status: {status}", text)
        self.assertIn("Action: failed", text)

    def test_null_mx(self):
        self.bounced('tenant "x.example" { dns = "null-mx" }', "5.1.10", "null MX")

    def test_no_such_domain(self):
        self.bounced('tenant "x.example" { dns = "nxdomain" }', "5.1.2", "does not exist")

    def test_no_address(self):
        for mode in ("no-address", "mx-nxdomain"):
            with self.subTest(mode):
                self.bounced(f'tenant "x.example" {{ cluster = {{"A"}}  dns = "{mode}" }}', "5.4.4", "no mail host with an address")

    def test_domain_with_neither_mx_nor_address(self):
        self.bounced('tenant "x.example" { dns = "empty" }', "5.4.4", "no mail host with an address")

    def put_off(self, tenant, words, scenario=BASE):
        """Temporary: three attempts, no bounce; then the DNS recovers, and the message goes out."""
        broken = 'tenant "x.example" { cluster = {"A"}  %s }'
        sim, relay = self.start(scenario + broken % tenant, dns={**QUICK, "negative_ttl": "1s", "ttl_min": 0}, queue={"retry": ["1s"]})
        relay.send("m", "u@x.example")
        e = relay.wait_event("deferred", count=3)
        self.assertIn(words, e["reason"])
        self.assertEqual(e["attempt"], 3)
        self.assertEqual(relay.find(("bounced", "expired")), [])
        row, = self.waiting(relay)
        self.assertIn(words, row["reason"])
        self.assertTrue(row["until"])
        sim.replace(scenario + broken % "")
        relay.wait_event("delivered")
        sim.check_once([("m", "u@x.example")])

    def test_only_ipv6(self):
        self.put_off('dns = "only-aaaa"  aaaa = {"2001:db8::1"}', "family that is not used")

    def test_servfail(self):
        self.put_off('dns = "servfail"', "DNS look-up")

    def test_refused(self):
        self.put_off('dns = "refused"', "DNS look-up")

    def test_no_answer(self):
        self.put_off('dns = "drop"', "DNS look-up")

    def test_garbage(self):
        self.put_off('dns = "garbage"', "DNS look-up")

    def test_host_look_up_fails(self):
        self.put_off('dns = "mx-servfail"', "DNS look-up")


class Questions(RelayCase):
    def types(self, sim):
        return sim.summary()["dns"]["types"]

    def test_many_at_once_ask_once(self):
        sim, relay = self.start(BASE + 'tenant "slow.example" { cluster = {"A"}  dns_delay = "300ms"  ttl = 600  mx_ttl = 600 }')
        threads = [threading.Thread(target=relay.send_many, args=([(f"m{k}-{i}", "u@slow.example") for i in range(25)],)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.wait_settled(relay)
        self.assertEqual(sim.summary()["messages"], 100)
        types = self.types(sim)
        self.assertEqual((types["MX"], types["A"]), (1, 1))

    def test_answers_are_kept_for_their_ttl(self):
        sim, relay = self.start(BASE + """
            tenant "long.example" { cluster = {"A"}  ttl = 600  mx_ttl = 600 }
            tenant "short.example" { cluster = {"A"}  ttl = 1  mx_ttl = 1 }
            """, dns={"ttl_min": 0})
        relay.send("l0", "u@long.example")
        relay.wait_event("delivered", to="u@long.example")
        before = self.types(sim)
        for i in range(1, 6):
            relay.send(f"l{i}", "u@long.example")
            relay.wait_event("delivered", to="u@long.example", count=i + 1)
        self.assertEqual(self.types(sim), before)
        deadline, n = time.monotonic() + 20, 0
        while self.types(sim)["MX"] < before["MX"] + 3:
            relay.send(f"s{n}", "u@short.example")
            n += 1
            relay.wait_event("delivered", to="u@short.example", count=n)
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertGreater(n, 3)

    def test_least_ttl(self):
        """A TTL of nothing does not mean a question for each message."""
        sim, relay = self.start(BASE + 'tenant "none.example" { cluster = {"A"}  ttl = 1  mx_ttl = 1 }', dns={"ttl_min": "1h"})
        for i in range(3):
            relay.send(f"n{i}", "u@none.example")
            relay.wait_event("delivered", count=i + 1)
            time.sleep(0.6)  # beyond the TTL, so that the least one matters
        self.assertEqual(self.types(sim)["MX"], 1)

    def test_what_does_not_exist_is_remembered(self):
        sim, relay = self.start(BASE + 'tenant "gone.example" { dns = "nxdomain" }', dns={"negative_ttl": "1h"})
        for i in range(5):
            relay.send(f"g{i}", "u@gone.example", sender="")
            relay.wait_event("bounced", count=i + 1)
        self.assertEqual(self.types(sim)["MX"], 1)

    def test_rotating_addresses_never_lead_to_the_wrong_host(self):
        """Each tenant has four of twenty addresses, two in each answer: mail comes only where the receiver expects it, and
        connections are shared where tenants meet."""
        sim, relay = self.start("""
            cluster "EUR" { addresses = {"127.1.1.1-20"}  addresses_per_tenant = 4  answers = 2  ttl = 1 }
            tenant "t{0..99}.example" { cluster = {"EUR"} }
            """, dns={"ttl_min": 0}, providers={"microsoft365": {
                "lane_connect_rate": "none", "lane_message_rate": "none", "connections_per_lane": 40, "connections_per_cluster": 0}})
        pairs = [(f"m{i}", f"u@t{i % 50}.example") for i in range(300)]
        relay.send_many(pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertEqual(sim.summary()["wrong_region"], 0)
        self.assertLess(sim.summary()["connections"]["opened"], 150)
        self.assertEqual(relay.find("deferred"), [])

    def test_slow_dns_holds_nobody_else(self):
        sim, relay = self.start(BASE + 'tenant "dead{0..49}.example" { cluster = {"A"}  dns = "drop" }',
                                dns={"timeout": "3s", "tries": 3, "running_max": 60})
        relay.send_many((f"d{i}", f"u@dead{i}.example") for i in range(50))
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(50))
        relay.wait_event("delivered", count=50)
        self.assertEqual(relay.find("deferred"), [])
        self.wait_queue(relay, messages=50)
        reasons = {r["reason"] for r in self.waiting(relay)}
        self.assertEqual(len(reasons), 1)
        self.assertIn("DNS", reasons.pop())

    def test_second_server_when_the_first_is_dead(self):
        sim = self.simulator(BASE)
        relay = self.relay(sim, dns={"servers": ["127.0.0.9:9", sim.dns], **QUICK})
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")


if __name__ == "__main__":
    unittest.main()
