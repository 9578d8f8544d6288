"""Delivery: which source, which connection, what is sent, and what becomes of each recipient when the receiver refuses, lies or goes."""
import collections
import os
import pathlib
import smtplib
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.relay import message  # noqa: E402

THREE = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-8"} }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-8"} }
cluster "NAM04" { form = "new"  site = "CH3"  forest = "namprd04"  addresses = {"127.2.4.1-8"} }
tenant "t{0..99999}.example" { cluster = {"EUR01", "EUR05", "NAM04"} }
"""
ONE = """
cluster "ONE" { addresses = {"127.1.1.1"} %s }
tenant "t{0..99999}.example" { cluster = {"ONE"} }
"""
CLEAR = {"tls": "none"}


def providers(**options):
    """The same options for tenants and for hosts that are nobody's; no rates, so that what a test counts is not held up."""
    return {name: {"lane_connect_rate": "none", "lane_message_rate": "none", **options} for name in ("microsoft365", "default")}


class ManyTenants(RelayCase):
    SOURCES = {"a1": "127.0.11.1", "a2": "127.0.11.2", "b1": "127.0.12.1", "b2": "127.0.12.2"}

    def test_each_message_once_from_a_source_of_the_pool(self):
        sim, relay = self.start(THREE, sources=self.SOURCES)
        pairs = [(f"m{i}", f"user{i}@t{i % 60}.example") for i in range(400)]
        threads = [threading.Thread(target=relay.send_many, args=(pairs[k::4],)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.wait_settled(relay)
        sim.check_once(pairs)
        sim.check_no_violations()
        names = {address: name for name, address in self.SOURCES.items()}
        seen = collections.Counter()
        for d in sim.deliveries():
            seen[names[d["source"]]] += 1
            self.assertEqual(d["ehlo"], f"{names[d['source']]}.out.example")
        self.assertEqual(set(seen), set(self.SOURCES))
        said = collections.Counter(e["source"] for e in relay.find("delivered"))
        self.assertEqual(said, seen)
        self.assertEqual(sim.summary()["wrong_region"], 0)

    def test_message_for_many_domains_and_recipients(self):
        sim, relay = self.start(THREE)
        to = [f"user{i}@t{i % 7}.example" for i in range(40)]
        relay.send("wide", to)
        self.wait_settled(relay)
        sim.check_once(("wide", r) for r in to)
        self.assertEqual(sim.summary()["messages"], 7)
        sim.check_no_violations()

    def test_recipients_up_to_the_limit_in_one_transaction(self):
        sim, relay = self.start(ONE % "", providers=providers(recipients_per_transaction=10))
        to = [f"user{i}@t1.example" for i in range(25)]
        relay.send("list", to)
        self.wait_settled(relay)
        sim.check_once(("list", r) for r in to)
        self.assertEqual(sorted(d["recipients"] for d in sim.deliveries()), [5] * 5 + [10] * 20)
        self.assertEqual(sim.summary()["messages"], 3)


class Sources(RelayCase):
    AB = {"a1": "127.0.11.1", "b1": "127.0.12.1"}

    def hash(self, password):
        return subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True).stdout.strip()

    def test_pool_by_header_user_sender_and_listener(self):
        sim = self.simulator(ONE % "", store=True)
        sources = {"plain": "127.0.1.1", "bulk": "127.0.2.1", "user": "127.0.3.1", "sender": "127.0.4.1", "header": "127.0.5.1"}
        relay = self.relay(sim, start=False, sources=sources, pools={n: [n] for n in sources},
                           extra='sender "*.shop.example" { pool = "sender" }\n')
        users = relay.dir / "users"
        users.write_text(f"anna:{self.hash('secret')}:user\nbert:{self.hash('secret')}\n")
        relay.listeners = {
            "in": {"address": ["127.0.0.1:0"], "allow": ["127.0.0.0/8"], "pool": "plain", "pool_header": True, "users_file": users},
            "bulk": {"address": ["127.0.0.1:0"], "allow": ["127.0.0.0/8"], "pool": "bulk"}}
        relay.write_config()
        relay.start()
        rows = [  # listener, user, sender, header → pool
            ("in", None, "s@a.example", None, "plain"),
            ("bulk", None, "s@a.example", None, "bulk"),
            ("in", "bert", "s@a.example", None, "plain"),
            ("in", "anna", "s@a.example", None, "user"),
            ("in", None, "s@x.shop.example", None, "sender"),
            ("bulk", None, "s@x.shop.example", None, "sender"),
            ("in", "anna", "s@x.shop.example", None, "user"),
            ("in", None, "s@a.example", "header", "header"),
            ("in", "anna", "s@x.shop.example", "header", "header"),
            ("bulk", None, "s@a.example", "header", "bulk"),
        ]
        for i, (listener, user, sender, header, _) in enumerate(rows):
            with relay.client(listener) as client:
                if user:
                    client.login(user, "secret")
                client.sendmail(sender, [f"u@t{i}.example"], message(f"p{i}", headers=[f"X-Postern-Pool: {header}"] if header else []))
        with self.assertRaises(smtplib.SMTPDataError):
            relay.send("nowhere", "u@t1.example", text=message("nowhere", headers=["X-Postern-Pool: nowhere"]))
        self.wait_settled(relay)
        got = {d["id"]: d for d in sim.deliveries()}
        for i, row in enumerate(rows):
            with self.subTest(row):
                self.assertEqual(got[f"p{i}"]["source"], sources[row[4]])
                self.assertNotIn(b"x-postern-pool", pathlib.Path(got[f"p{i}"]["file"]).read_bytes().lower())

    def test_weights(self):
        sim, relay = self.start(ONE % "", sources=self.AB, pools={"main": ["a1:3", "b1"]},
                                providers=providers(messages_per_connection=1, connections_per_lane=100, connections_per_cluster=0, **CLEAR))
        relay.send_many((f"w{i}", f"u@t{i}.example") for i in range(120))
        self.wait_settled(relay)
        seen = collections.Counter(d["source"] for d in sim.deliveries())
        self.assertEqual(sum(seen.values()), 120)
        self.assertTrue(80 <= seen["127.0.11.1"] <= 100, seen)

    def test_never_from_another_address(self):
        """192.0.2.1 is nobody's: with it alone the message waits, with another in the pool that one takes over."""
        sim, relay = self.start(ONE % "", sources={"gone": "192.0.2.1", "b1": "127.0.12.1"},
                                pools={"broken": ["gone"], "mixed": ["gone", "b1"]},
                                listeners={"broken": {"pool": "broken"}, "mixed": {"pool": "mixed"}})
        relay.send("lost", "u@t1.example", listener="broken")
        relay.wait_event("source-unavailable")
        for i in range(10):
            relay.send(f"m{i}", f"u@t{i}.example", listener="mixed")
        sim.wait(deliveries=10)
        self.assertEqual({d["source"] for d in sim.deliveries()}, {"127.0.12.1"})
        row, = self.waiting(relay)
        self.assertIn("source", row["reason"])
        self.assertEqual(relay.find(("bounced", "expired")), [])
        self.assertEqual(sim.summary()["unique_messages"], 10)


class Connections(RelayCase):
    def test_domains_at_one_address_share_a_connection(self):
        sim, relay = self.start(ONE % "", providers=providers(connections_per_lane=1))
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(20))
        self.wait_settled(relay)
        self.assertEqual(sim.summary()["connections"]["opened"], 1)
        sim.check_once((f"m{i}", f"u@t{i}.example") for i in range(20))

    def closed(self, sim):
        return [e for e in sim.events() if e["kind"] == "closed"]

    def flights(self, features, n=20, **options):
        """Round trips of n messages over one connection, without greeting and QUIT."""
        sim, relay = self.start(ONE % ('latency = "50ms" ' + features),
                                providers=providers(connections_per_lane=1, connection_idle_max="1s", **CLEAR, **options))
        began = time.monotonic()
        relay.send_many((f"f{i}", f"u@t{i}.example") for i in range(n))
        self.wait_settled(relay)
        self.seconds = time.monotonic() - began
        sim.check_once((f"f{i}", f"u@t{i}.example") for i in range(n))
        sim.check_no_violations()
        sim.wait(open=0)
        connection, = self.closed(sim)
        return connection["flights"] - 2

    def test_one_flight_a_message(self):
        self.assertEqual(self.flights(""), 20)
        self.assertGreater(self.seconds, 20 * 0.05)

    def test_two_flights_without_chunking(self):
        self.assertEqual(self.flights('without = {"CHUNKING", "BINARYMIME"}', n=10), 20)

    def test_two_flights_when_chunking_is_switched_off(self):
        self.assertEqual(self.flights("", n=5, chunking=False), 10)

    def test_command_by_command_without_pipelining(self):
        self.assertEqual(self.flights('without = {"PIPELINING", "CHUNKING", "BINARYMIME"}', n=5), 20)
        self.assertGreater(self.seconds, 20 * 0.05)

    def test_chunking_without_pipelining(self):
        self.assertEqual(self.flights('without = {"PIPELINING"}', n=5), 15)

    def test_receiver_that_knows_helo_only(self):
        sim, relay = self.start(ONE % "" + 'rule "old" { phase = "ehlo"  reply = "502 5.5.1 Command not implemented"  limit = 1 }')
        relay.send("helo", "u@t1.example")
        relay.wait_event("delivered")
        d, = sim.deliveries()
        self.assertFalse(d["bdat"])
        self.assertEqual(d["mail_params"], "")
        sim.check_no_violations()

    def test_messages_per_connection(self):
        sim, relay = self.start(ONE % "", providers=providers(messages_per_connection=3, connections_per_lane=1))
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(10))
        self.wait_settled(relay)
        self.assertEqual(sim.peaks("total")[0]["messages_per_connection_max"], 3)
        self.assertEqual(sim.summary()["connections"]["opened"], 4)

    def test_receivers_own_limit_of_messages_is_no_loss(self):
        """It says 421 behind its tenth message: nothing was begun, so nothing is put off."""
        sim, relay = self.start(ONE % "messages_per_connection = 3", providers=providers(connections_per_lane=1))
        pairs = [(f"m{i}", f"u@t{i}.example") for i in range(10)]
        relay.send_many(pairs)
        relay.wait_event("delivered", count=10)
        sim.check_once(pairs)

    def test_old_connections_are_ended(self):
        sim, relay = self.start(ONE % "", providers=providers(connection_age_max="1s", connections_per_lane=1, messages_per_connection=100000))
        deadline = time.monotonic() + 30
        n = 0
        while sim.summary()["connections"]["opened"] < 2:
            relay.send(f"m{n}", "u@t1.example")
            n += 1
            relay.wait_event("delivered", count=n)
            self.assertLess(time.monotonic(), deadline)
        self.assertGreaterEqual(self.closed(sim)[0]["life"], 0.9)

    def test_idle_connection_is_ended_after_its_time(self):
        sim, relay = self.start(ONE % "", providers=providers(connection_idle_max="1s"))
        relay.send("m", "u@t1.example")
        sim.wait(deliveries=1)
        sim.wait(closed=1, open=0)

    def test_idle_connection_gives_way(self):
        """One connection is allowed; the one to the first host does nothing: work for the second host must not wait for its end."""
        rows = [("one cluster", "127.1.1.2", dict(connections_per_cluster=1)), ("one source", "127.1.1.2", dict(connections_per_lane=1)),
                ("provider", "127.1.2.1", dict(connections=1))]
        for name, second, cap in rows:
            with self.subTest(name):
                sim, relay = self.start(f"""
                    cluster "A" {{ addresses = {{"127.1.1.1"}} }}
                    cluster "B" {{ addresses = {{"{second}"}} }}
                    tenant "a.example" {{ cluster = {{"A"}} }}
                    tenant "b.example" {{ cluster = {{"B"}} }}
                    """, providers=providers(connection_idle_max="10m", **cap))
                relay.send("first", "u@a.example")
                relay.wait_event("delivered", to="u@a.example")
                relay.send("second", "u@b.example")
                relay.wait_event("delivered", to="u@b.example", timeout=20)
                self.assertEqual(sim.summary()["connections"]["peak"], 1)


class Refusals(RelayCase):
    def test_partial_acceptance(self):
        sim, relay = self.start(ONE % "" + """
            rule "bad" { phase = "rcpt"  recipient = {"bad*@*"}  reply = "550 5.1.1 {rcpt}: no such user" }
            rule "later" { phase = "rcpt"  recipient = {"later*@*"}  limit = 1  reply = "450 4.2.0 {rcpt}: try later" }
            """)
        to = ["good1@t1.example", "bad@t1.example", "good2@t1.example", "later@t1.example", "good3@t1.example"]
        relay.send("part", to, sender="")
        self.wait_settled(relay)
        sim.check_once(("part", r) for r in to if r != "bad@t1.example")
        bounce, = relay.find("bounced")
        self.assertEqual((bounce["to"], bounce["code"], bounce["dsn"], bounce["verdict"]), ("bad@t1.example", 550, "5.1.1", "recipient-invalid"))
        deferral, = relay.find("deferred")
        self.assertEqual((deferral["to"], deferral["code"], deferral["attempt"]), ("later@t1.example", 450, 1))
        last = relay.find("delivered", to="later@t1.example")[0]
        self.assertEqual(last["attempt"], 2)
        self.assertEqual(sim.summary()["messages"], 2)

    def test_echoes_are_no_verdict(self):
        """Behind a refused MAIL each RCPT and the content are answered 503: the recipients' reply is the one to MAIL."""
        sim, relay = self.start(ONE % "" + """
            rule "unsure" { phase = "mail"  sender = {"unsure@*"}  limit = 1  reply = "451 4.3.2 Please try again" }
            rule "never" { phase = "mail"  sender = {"never@*"}  reply = "550 5.7.1 Sender address not accepted here" }
            """)
        to = [f"u{i}@t1.example" for i in range(3)]
        relay.send("e1", to, sender="unsure@example.org")
        relay.send("e2", to, sender="never@example.org")
        self.wait_settled(relay)
        self.assertGreater(sim.summary()["echoes"], 4)
        sim.check_once(("e1", r) for r in to)
        self.assertEqual({(e["code"], e["from"]) for e in relay.find("deferred", domain="t1.example")}, {(451, "unsure@example.org")})
        self.assertEqual({(e["code"], e["from"]) for e in relay.find("bounced", domain="t1.example")}, {(550, "never@example.org")})
        sim.check_no_violations()

    def test_size_is_checked_before_anything_is_sent(self):
        sim, relay = self.start(ONE % 'size = "2048"')
        relay.send("large", "u@t1.example", size=4096, sender="")
        relay.send("small", "u@t1.example", sender="")
        self.wait_settled(relay)
        bounce, = relay.find("bounced")
        self.assertEqual((bounce["code"], bounce["dsn"]), (552, "5.3.4"))
        sim.check_once([("small", "u@t1.example")])
        self.assertEqual(sim.summary()["mails"], 1)

    def test_size_is_declared(self):
        sim, relay = self.start(ONE % "")
        relay.send("m", "u@t1.example", size=5000)
        relay.wait_event("delivered")
        d, = sim.deliveries()
        self.assertIn(f"SIZE={d['size']}", d["mail_params"])

    def test_split_recipients_go_one_by_one(self):
        sim, relay = self.start(ONE % "recipients = 1")
        to = [f"u{i}@t1.example" for i in range(4)]
        relay.send("split", to)
        self.wait_settled(relay)
        sim.check_once(("split", r) for r in to)
        self.assertEqual(relay.find("bounced"), [])

    def test_throttled_subnet_is_left_for_another(self):
        sim, relay = self.start(ONE % "" + """
            rule "throttled" { phase = "mail"  source = {"127.0.11.0/24"}  reply = "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77719)" }
            """, sources={"a1": "127.0.11.1", "b1": "127.0.12.1"}, queue={"retry": ["10m"]})
        pairs = [(f"m{i}", f"u@t{i}.example") for i in range(30)]
        relay.send_many(pairs)
        relay.wait_event("delivered", count=30)
        sim.check_once(pairs)
        self.assertEqual({d["source"] for d in sim.deliveries()}, {"127.0.12.1"})
        self.assertEqual(relay.find("deferred")[0]["verdict"], "source-throttle")

    def test_blocked_source_never_bounces(self):
        sim, relay = self.start(ONE % "" + """
            rule "blocked" { phase = "mail"  source = {"127.0.11.0/24"}  reply = "550 5.7.606 Access denied, banned sending IP [{ip}]" }
            """, sources={"a1": "127.0.11.1", "b1": "127.0.12.1"}, pools={"both": ["a1", "b1"], "a": ["a1"]},
            listeners={"in": {"pool": "both"}, "a": {"pool": "a"}})
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(10))
        relay.wait_event("delivered", count=10)
        relay.send("stuck", "u@t1.example", listener="a")
        relay.wait_event("held", to="u@t1.example", since=0)
        self.assertEqual(relay.find(("bounced", "expired")), [])
        row, = self.waiting(relay)
        self.assertTrue(row["until"], row)


PHASES = ("connect", "ehlo", "mail", "rcpt", "data", "eod")
FAULTS = {
    "drop": 'action = "drop"',
    "reset": 'action = "reset"',
    "stall": 'action = "stall"',
    "garbage": 'action = "garbage"',
    "421": 'reply = "421 4.3.2 Service not available, closing"',
}
SHORT = {f"timeout_{t}": "1s" for t in ("connect", "banner", "ehlo", "mail", "rcpt", "data", "eod", "rset")}


class Faults(RelayCase):
    """Each fault in each phase, to a receiver of its own, by BDAT and by DATA."""

    def scenario(self, faults, limit="limit = 1"):
        text, domains = "", []
        for fault in faults:
            for phase in PHASES:
                for way, features in (("bdat", ""), ("data", 'without = {"CHUNKING", "BINARYMIME"}')):
                    n, name = len(domains) + 1, f"{fault}-{phase}-{way}"
                    text += f'cluster "{name}" {{ addresses = {{"127.9.{n}.1"}}  {features} }}\n'
                    text += f'tenant "{name}.example" {{ cluster = {{"{name}"}} }}\n'
                    text += f'rule "{name}" {{ cluster = {{"{name}"}}  phase = "{phase}"  {limit}  {FAULTS[fault]} }}\n'
                    domains.append(f"{name}.example")
        return text, domains

    def run_faults(self, faults):
        text, domains = self.scenario(faults)
        sim, relay = self.start(text, providers=providers(**SHORT, **CLEAR), queue={"retry": ["1s"]})
        pairs = [(d, f"u@{d}") for d in domains]
        relay.send_many(pairs)
        # with BDAT all is in one flight, but where no recipient was accepted there is nothing to doubt
        doubtful = {d for d in domains if not d.startswith("421") and any(p in d for p in ("-eod-", "-data-bdat"))}
        relay.wait_event("delivered", count=len(domains) - len(doubtful))
        for domain in doubtful:
            e = relay.wait_event("deferred", domain=domain)
            self.assertIn("may have arrived", e["reason"])
        self.wait_metric(relay, "postern_in_doubt_total", len(doubtful))
        if doubtful:
            relay.cli("retry", "--all")
        self.wait_settled(relay)
        self.assertEqual({n: h for n, h in sim.rules().items() if h != 1}, {})
        sim.check_once(pairs)
        self.assertEqual(relay.find(("bounced", "expired")), [])
        self.wait_queue(relay, messages=0)

    def test_connection_dropped(self):
        self.run_faults(["drop", "reset"])

    def test_silence(self):
        self.run_faults(["stall"])

    def test_garbage(self):
        self.run_faults(["garbage"])

    def test_421(self):
        self.run_faults(["421"])

    def test_loss_with_many_in_line_loses_none(self):
        """Every seventh transaction dies in some phase: each message still comes, and none twice."""
        sim, relay = self.start(ONE % "" + "".join(
            f'rule "{p}-{f}" {{ phase = "{p}"  every = {k}  limit = 6  {FAULTS[f]} }}\n'
            for k, (p, f) in enumerate([("mail", "drop"), ("rcpt", "reset"), ("data", "421"), ("connect", "drop"), ("mail", "garbage")], 7)),
            providers=providers(chunking=False, **SHORT, **CLEAR), queue={"retry": ["1s"]})
        pairs = [(f"m{i}", f"u@t{i % 20}.example") for i in range(200)]
        relay.send_many(pairs)
        self.wait_settled(relay)
        sim.check_once(pairs)
        self.assertGreater(sum(sim.rules().values()), 10)
        self.wait_metric(relay, "postern_delivered_total", 200)
        self.assertEqual(relay.metrics()["postern_in_doubt_total"], 0)

    def test_accepted_but_not_said_is_counted_and_tried_again(self):
        sim, relay = self.start(ONE % "" + 'rule "gone" { phase = "eod"  action = "accept-drop"  after = 1  limit = 1 }')
        relay.send("good", "u@t1.example")  # or BDAT were tried no more, and DATA at once
        relay.wait_event("delivered")
        relay.send("twice", "u@t1.example")
        e = relay.wait_event("deferred")
        self.assertIn("may have arrived", e["reason"])
        self.wait_metric(relay, "postern_in_doubt_total", 1)
        row, = self.waiting(relay)
        self.assertTrue(row["until"])
        relay.cli("retry", row["id"])
        relay.wait_event("delivered", count=2)
        self.assertEqual(sim.delivered("twice", "u@t1.example"), 2)


class NextHost(RelayCase):
    def next_host(self, first, rules="", options=None, **more):
        """Two MX hosts: what is wrong with the first must not put the message off."""
        sim, relay = self.start(f"""
            cluster "FIRST" {{ addresses = {{"127.1.1.1"}}  {first} }}
            cluster "SECOND" {{ addresses = {{"127.1.2.1"}} }}
            tenant "t.example" {{ cluster = {{"SECOND"}}  mx = {{"10 mx1.{{domain}} @FIRST", "20 mx2.{{domain}} @SECOND"}} }}
            {rules}""", providers=providers(**SHORT, **(options or CLEAR)), queue={"retry": ["10m"]}, **more)
        relay.send("m", "u@t.example")
        e = relay.wait_event("delivered")
        self.assertEqual((e["host"], e["attempt"]), ("mx2.t.example[127.1.2.1]", 1))
        self.assertEqual(relay.find("deferred"), [])
        return sim, relay

    def test_nobody_listens(self):
        self.next_host('listen = "no"')

    def test_no_answer_to_the_connection(self):
        self.next_host('listen = "blackhole"')

    def test_refused_greeting(self):
        for reply in ("421 4.3.2 not now", "521 5.3.2 mx1.t.example does not accept mail"):
            with self.subTest(reply):
                self.next_host("", f'rule "no" {{ cluster = {{"FIRST"}}  phase = "connect"  reply = "{reply}" }}')

    def test_refused_ehlo(self):
        self.next_host("", 'rule "no" { cluster = {"FIRST"}  phase = "ehlo"  reply = "421 4.3.2 not now" }')

    def test_421_within_a_session(self):
        """The host closes: the next one is tried at once, and no retry is used up."""
        for phase in ("mail", "rcpt", "data", "eod"):
            with self.subTest(phase):
                sim, relay = self.start(f"""
                    cluster "FIRST" {{ addresses = {{"127.1.1.1"}} }}
                    cluster "SECOND" {{ addresses = {{"127.1.2.1"}} }}
                    tenant "t.example" {{ cluster = {{"SECOND"}}  mx = {{"10 mx1.{{domain}} @FIRST", "20 mx2.{{domain}} @SECOND"}} }}
                    rule "no" {{ cluster = {{"FIRST"}}  phase = "{phase}"  reply = "421 4.3.2 closing" }}
                    """, providers=providers(**CLEAR), queue={"retry": ["10m"]})
                relay.send("m", "u@t.example")
                e = relay.wait_event("delivered")
                self.assertEqual((e["host"], e["attempt"]), ("mx2.t.example[127.1.2.1]", 1))
                e, = relay.find("deferred")
                self.assertEqual((e["host"], e["code"], e["reason"]), ("mx1.t.example[127.1.1.1]", 421, "another host next"))
                sim.check_once([("m", "u@t.example")])

    def test_421_from_the_only_host_waits(self):
        sim, relay = self.start(ONE % "" + 'rule "no" { phase = "mail"  reply = "421 4.3.2 closing" }', providers=providers(**CLEAR),
                                queue={"retry": ["10m"]})
        relay.send("m", "u@t1.example")
        relay.wait_event("deferred", reason=lambda r: r != "another host next")
        row, = self.waiting(relay)
        self.assertTrue(row["until"])
        self.assertLessEqual(len(relay.find("deferred")), 3)

    def test_silent_greeting(self):
        self.next_host("", 'rule "no" { cluster = {"FIRST"}  phase = "connect"  action = "stall" }')

    def test_garbage_for_a_greeting(self):
        self.next_host("", 'rule "no" { cluster = {"FIRST"}  phase = "connect"  action = "garbage" }')

    def test_no_tls_where_it_is_required(self):
        self.next_host('without = {"STARTTLS"}', options={"tls": "require"})

    def test_another_address_of_the_same_name(self):
        sim, relay = self.start("""
            cluster "DEAD" { addresses = {"127.1.1.1-3"}  listen = "no" }
            cluster "LIVE" { addresses = {"127.1.1.9"} }
            records = {"mx.t.example A 127.1.1.1", "mx.t.example A 127.1.1.2", "mx.t.example A 127.1.1.9", "t.example MX 10 mx.t.example"}
            tenant "t.example" { cluster = {"LIVE"} }
            """, queue={"retry": ["10m"]})
        relay.send("m", "u@t.example")
        self.assertEqual(relay.wait_event("delivered")["host"], "mx.t.example[127.1.1.9]")
        self.assertEqual(relay.find("deferred"), [])

    def test_all_dead_is_put_off_and_says_so(self):
        sim, relay = self.start("""
            cluster "DEAD" { addresses = {"127.1.1.1-2"}  listen = "no" }
            cluster "LIVE" { addresses = {"127.1.2.1"} }
            tenant "t.example" { cluster = {"DEAD"} }
            """, queue={"retry": ["10m"]})
        relay.send("m", "u@t.example")
        e = relay.wait_event("deferred")
        self.assertTrue(e["reason"].startswith("4.4.1 "), e)
        self.assertIn("127.1.1.1", e["reason"])
        self.assertIn("127.1.1.2", e["reason"])
        row, = self.waiting(relay)
        self.assertIn("127.1.1.1", row["reason"])


if __name__ == "__main__":
    unittest.main()
