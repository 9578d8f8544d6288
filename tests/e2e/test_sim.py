"""The simulator itself, against smtplib, raw SMTP and raw DNS: what other tests believe of it."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import DEADLINE, Failed, find_program  # noqa: E402
from lib.raw import Dns, Smtp, dns_query  # noqa: E402
from lib.sim import Simulator  # noqa: E402

BASE = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-8"} }
cluster "EUR05" { form = "new"  site = "AM7"  forest = "eurprd05"  addresses = {"127.1.5.1-8"} }
tenant "t{0..99999}.example" { cluster = {"EUR01"} }
tenant "n{0..99}.example" { cluster = {"EUR05"}  mx = {"mx.microsoft"} }
"""
OLD, NEW = "127.1.1.1", "127.1.5.1"
TO_OLD, TO_NEW = "user@t1.example", "user@n1.example"


class SimCase(unittest.TestCase):
    """One simulator a class; what a test needs beside it is its own."""

    scenario = BASE
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.sim = cls.enterClassContext(Simulator(cls.scenario, **cls.options))
        cls.dns = Dns(cls.sim.dns)

    def setUp(self):
        self.sim.reset()

    def smtp(self, host=OLD, sim=None, **options):
        connection = Smtp(host, (sim or self.sim).smtp_port, **options)
        self.addCleanup(connection.close)
        return connection

    def another(self, scenario, **options):
        return self.enterContext(Simulator(scenario, **options))

    def codes(self, replies):
        return [r.code for r in replies]

    def violation_kinds(self):
        return self.sim.violations()["kinds"]


class Program(unittest.TestCase):
    def run_sim(self, *args):
        return subprocess.run([find_program("M365SIM", "m365sim"), *args], capture_output=True, text=True, timeout=DEADLINE)

    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
            f.write(text)
            f.flush()
            done = self.run_sim("check", f.name)
            return done.returncode, done.stderr.replace(f.name, "FILE")

    def test_help_and_usage(self):
        self.assertIn("--control", self.run_sim("--help").stdout)
        self.assertEqual(self.run_sim().returncode, 64)
        self.assertEqual(self.run_sim("--port", "x", "y").returncode, 1)

    def test_sample_scenarios_are_valid(self):
        samples = sorted(pathlib.Path(__file__).resolve().parent.parent.glob("sim/scenarios/*.conf"))
        self.assertGreaterEqual(len(samples), 6)
        for sample in samples:
            with self.subTest(sample.name):
                self.assertEqual(self.run_sim("check", str(sample)).returncode, 0)

    def test_errors_name_file_and_line(self):
        ok = 'cluster "C" { addresses = {"127.1.1.1"} }\n'
        rows = [
            ("nonsense = 1\n", "FILE:1:", "nonsense"),
            (ok + 'cluster "D" {\n  latency = "soon"\n}\n', "FILE:3:", "no duration"),
            (ok + 'cluster "D" { addresses = {"10.0.0.1"} }\n', "FILE:2:", "127.0.0.0/8"),
            (ok + 'cluster "D" { addresses = {"127.1.1.1"} }\n', "FILE:", "is in clusters"),
            (ok + 'cluster "D" { }\n', "FILE:2:", "no addresses"),
            (ok + 'tenant "t.example" { cluster = {"X"} }\n', "FILE:2:", 'no cluster "X"'),
            (ok + 'tenant "t{1..}.example" { cluster = {"C"} }\n', "FILE:2:", "range"),
            (ok + 'tenant "t.example" { cluster = {"C"}  mx = {"what"} }\n', "FILE:2:", "style"),
            (ok + 'tenant "t.example" { cluster = {"C"}  dns = "odd" }\n', "FILE:2:", "none of"),
            (ok + 'rule "r" { phase = "mail" }\n', "FILE:2:", "no reply"),
            (ok + 'rule "r" { reply = "450 x" }\n', "FILE:2:", "no phase"),
            (ok + 'rule "r" { phase = "mail"  reply = "later" }\n', "FILE:2:", "three-digit"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  tenant = {"t"} }\n', "FILE:2:", "not known yet"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  cluster = {"Q*"} }\n', "FILE:2:", 'no cluster "Q*"'),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  source = {"127.0.0.0/33"} }\n', "FILE:2:", "network"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"\n share = 1.5 }\n', "FILE:3:", "between 0 and 1"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  from = "5s"  until = "1s" }\n', "FILE:2:", "before it begins"),
            (ok + 'rule "r" { phase = "mail"  action = "accept-drop" }\n', "FILE:2:", "phase eod"),
            (ok + 'limit "l" { per = "source" }\n', "FILE:2:", "needs one of"),
            (ok + 'limit "l" { messages = "many" }\n', "FILE:2:", "no rate"),
            (ok + 'records = {"x.example Q 1"}\n', "FILE:2:", "known type"),
            ("", "FILE", "no cluster"),
        ]
        for text, where, what in rows:
            with self.subTest(text):
                status, errors = self.check(text)
                self.assertEqual(status, 78)
                self.assertIn(where, errors)
                self.assertIn(what, errors)

    def test_several_errors_are_all_told(self):
        status, errors = self.check('cluster "C" { addresses = {"127.1.1.1"} }\ntenant "a.example" { cluster = {"X"} }\n'
                                    'tenant "b.example" { cluster = {"Y"} }\n')
        self.assertEqual(len(errors.splitlines()), 2)

    def test_ends_with_a_summary(self):
        with Simulator(BASE) as sim:
            with Smtp(OLD, sim.smtp_port) as c:
                c.mail(TO_OLD)
            sim.wait(open=0, deliveries=1)
            self.assertEqual(sim.stop()["messages"], 1)

    def test_two_simulators_do_not_meet(self):
        with Simulator(BASE) as a, Simulator(BASE) as b:
            self.assertNotEqual(a.smtp_port, b.smtp_port)
            with Smtp(OLD, a.smtp_port) as c:
                c.mail(TO_OLD)
            a.wait(deliveries=1)
            self.assertEqual(b.summary()["connections"]["opened"], 0)

    def test_port_in_use_is_said(self):
        with Simulator(BASE) as a:
            b = Simulator(BASE, port=a.smtp_port)
            self.addCleanup(b.close)
            with self.assertRaisesRegex(Failed, "Address already in use"):
                b.start()


class DnsServer(SimCase):
    scenario = BASE + """
    records = {"1.1.0.127.in-addr.arpa PTR a1.out.example", "txt.example TXT v=spf1 -all", "alias.example CNAME txt.example",
               "_dmarc.x.example TXT p=none", "many.example MX 10 mx.example", "tlsa.example TLSA 3 1 1 ABCDEF"}
    cluster "OLC" { kind = "consumer"  addresses = {"127.3.1.1-4"}  answers = 2  ttl = 8 }
    cluster "BIG" { addresses = {"127.4.1.1-200"}  answers = 100 }
    cluster "PLAIN" { form = "plain"  addresses = {"127.5.1.7"}  region_check = "no" }
    cluster "A{1..3}" { addresses = {"127.6.{n}.1-4"} }
    tenant "outlook.example" { cluster = {"OLC"} }
    tenant "big.example" { cluster = {"BIG"} }
    tenant "few.example" { cluster = {"BIG"}  addresses = 8  answers = 4 }
    tenant "spread{0..9}.example" { cluster = {"A*"} }
    tenant "two.example" { cluster = {"EUR01"}  mx = {"20 {dash}.mail.protection.outlook.com", "10 mx.{domain} @PLAIN", "30 fixed.other.example"} }
    tenant "*.wild.example" { cluster = {"EUR01"} }
    tenant "nx.example" { dns = "nxdomain" }
    tenant "fail.example" { dns = "servfail" }
    tenant "refused.example" { dns = "refused" }
    tenant "drop.example" { dns = "drop" }
    tenant "garbage.example" { dns = "garbage" }
    tenant "formerr.example" { dns = "formerr" }
    tenant "tc.example" { cluster = {"EUR01"}  dns = "truncated" }
    tenant "null.example" { dns = "null-mx" }
    tenant "nomx.example" { cluster = {"EUR01"}  dns = "no-mx" }
    tenant "empty.example" { dns = "empty" }
    tenant "six.example" { cluster = {"EUR01"}  dns = "only-aaaa"  aaaa = {"2001:db8::1", "2001:db8::2"} }
    tenant "noaddr.example" { cluster = {"EUR01"}  dns = "no-address" }
    tenant "mxnx.example" { cluster = {"EUR01"}  dns = "mx-nxdomain" }
    tenant "mxfail.example" { cluster = {"EUR01"}  dns = "mx-servfail" }
    tenant "cname.example" { cluster = {"EUR01"}  dns = "cname" }
    tenant "mxcname.example" { cluster = {"EUR01"}  dns = "mx-cname" }
    tenant "late.example" { cluster = {"EUR01"}  dns_delay = "200ms" }
    dns "outage" { name = {"t666.example"}  type = {"MX"}  action = "servfail"  from = "100s"  until = "200s" }
    dns "every other" { name = {"t667.example"}  action = "refused"  every = 2 }
    dns "slow" { name = {"t668.example"}  action = "slow"  delay = "200ms" }
    """

    def test_mx_name_styles(self):
        self.assertEqual(self.dns.mx("t7.example"), [(0, "t7-example.mail.protection.outlook.com")])
        self.assertEqual(self.dns.mx("t99999.example"), [(0, "t99999-example.mail.protection.outlook.com")])
        self.assertEqual(self.dns.mx("n7.example"), [(0, "n7-example.h-v1.mx.microsoft")])
        self.assertEqual(self.dns.mx("outlook.example"), [(0, "outlook-example.olc.protection.outlook.com")])
        self.assertEqual(self.dns.mx("a.wild.example"), [(0, "a-wild-example.mail.protection.outlook.com")])
        self.assertEqual(self.dns.mx("two.example"), [(10, "mx.two.example"), (20, "two-example.mail.protection.outlook.com"),
                                                      (30, "fixed.other.example")])

    def test_names_outside_the_pattern(self):
        for name in ("t100000.example", "t.example", "t01.example", "tx.example", "xt1.example", "other.example",
                     "t100000-example.mail.protection.outlook.com", "t1-example.h-v1.mx.microsoft", "_mta-sts.t1.example"):
            with self.subTest(name):
                self.assertEqual(self.dns.ask(name, "A").rcode, 3)

    def test_case_does_not_matter(self):
        self.assertEqual(len(self.dns.ask("T7-Example.MAIL.protection.OUTLOOK.com", "A").values("A")), 4)

    def test_addresses_rotate(self):
        seen = [tuple(self.dns.ask("t7-example.mail.protection.outlook.com", "A").values("A")) for _ in range(40)]
        self.assertTrue(all(len(s) == 4 == len(set(s)) for s in seen))
        self.assertEqual({a for s in seen for a in s}, {f"127.1.1.{i}" for i in range(1, 9)})
        self.assertGreater(len(set(seen)), 4)
        self.assertEqual(self.dns.ask("t7-example.mail.protection.outlook.com", "A").records[0][2], 10)

    def test_addresses_of_a_tenant_are_a_part_of_the_cluster(self):
        name = self.dns.mx("few.example")[0][1]
        seen = {a for _ in range(100) for a in self.dns.ask(name, "A").values("A")}
        self.assertEqual(len(seen), 8)

    def test_two_answers_with_short_ttl(self):
        records = self.dns.ask("outlook-example.olc.protection.outlook.com", "A").records
        self.assertEqual([r[2] for r in records], [8, 8])

    def test_tenants_spread_over_clusters(self):
        nets = {self.dns.host(f"spread{i}.example").rsplit(".", 1)[0] for i in range(10)}
        self.assertEqual(nets, {"127.6.1", "127.6.2", "127.6.3"})

    def test_mx_of_another_cluster(self):
        self.assertEqual(self.dns.ask("mx.two.example", "A").values("A"), ["127.5.1.7"])
        self.assertEqual(len(self.dns.ask("fixed.other.example", "A").values("A")), 4)

    def test_ptr(self):
        self.assertEqual(self.dns.ask("3.1.1.127.in-addr.arpa", "PTR").values("PTR"),
                         ["mail-db5eur0100003.inbound.protection.outlook.com"])
        self.assertEqual(self.dns.ask("3.5.1.127.in-addr.arpa", "PTR").values("PTR"),
                         ["mail-am7rd05cu00503.inbound.protection.outlook.com"])
        self.assertEqual(self.dns.ask("1.1.0.127.in-addr.arpa", "PTR").values("PTR"), ["a1.out.example"])
        self.assertEqual(self.dns.ask("9.9.9.127.in-addr.arpa", "PTR").rcode, 3)

    def test_records(self):
        self.assertEqual(self.dns.ask("txt.example", "TXT").values("TXT"), ["v=spf1 -all"])
        self.assertEqual(self.dns.ask("txt.example", "A").records, [])
        self.assertEqual(self.dns.ask("alias.example", "A").values("CNAME"), ["txt.example"])
        self.assertEqual(self.dns.ask("many.example", "MX").values("MX"), [(10, "mx.example")])
        self.assertEqual(self.dns.ask("tlsa.example", "TLSA").values("TLSA"), [b"\x03\x01\x01\xab\xcd\xef"])

    def test_txt_of_a_tenant(self):
        self.assertEqual(self.dns.ask("t1.example", "TXT").values("TXT"), ["v=spf1 include:spf.protection.outlook.com -all"])

    def test_tlsa_is_the_certificates_and_fails_in_old_zones(self):
        self.assertEqual(self.dns.ask("_25._tcp.t1-example.mail.protection.outlook.com", "TLSA").rcode, 2)
        tlsa = self.dns.ask("_25._tcp.n1-example.h-v1.mx.microsoft", "TLSA").values("TLSA")[0]
        c = self.smtp(NEW)
        der = c.starttls().getpeercert(True)
        spki = subprocess.run(["openssl", "x509", "-inform", "DER", "-pubkey", "-noout"], input=der, capture_output=True).stdout
        spki = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=spki, capture_output=True).stdout
        self.assertEqual(tlsa, b"\x03\x01\x01" + hashlib.sha256(spki).digest())

    def test_failures(self):
        rows = [("nx.example", 3), ("fail.example", 2), ("refused.example", 5), ("formerr.example", 1)]
        for name, rcode in rows:
            with self.subTest(name):
                self.assertEqual(self.dns.ask(name, "MX").rcode, rcode)

    def test_dropped_query(self):
        with self.dns.send(dns_query("drop.example", "MX")) as s:
            self.sim.wait(dns=1)
            self.assertEqual(self.sim.summary()["dns"]["dropped"], 1)
            s.setblocking(False)
            self.assertRaises(BlockingIOError, s.recv, 512)

    def test_garbage_has_the_right_id(self):
        answer = self.dns.raw(dns_query("garbage.example", "MX", id=4711))
        self.assertEqual(answer[:2], (4711).to_bytes(2, "big"))

    def test_truncated_over_udp_whole_over_tcp(self):
        short = self.dns.ask("tc.example", "MX")
        self.assertTrue(short.truncated)
        self.assertEqual(short.records, [])
        self.assertEqual(len(self.dns.ask_tcp("tc.example", "MX").records), 1)

    def test_large_answer(self):
        name = "big-example.mail.protection.outlook.com"
        self.assertTrue(self.dns.ask(name, "A").truncated)
        self.assertEqual(len(self.dns.ask(name, "A", edns=4096).records), 100)
        self.assertEqual(self.dns.ask(name, "A", edns=4096).additional, 1)
        self.assertEqual(len(self.dns.ask_tcp(name, "A").records), 100)

    def test_special_tenants(self):
        self.assertEqual(self.dns.mx("null.example"), [(0, "")])
        self.assertEqual((self.dns.mx("nomx.example"), len(self.dns.ask("nomx.example", "A").records)), ([], 4))
        self.assertEqual((self.dns.mx("empty.example"), self.dns.ask("empty.example", "A").records), ([], []))
        six = self.dns.mx("six.example")[0][1]
        self.assertEqual(self.dns.ask(six, "A").records, [])
        self.assertEqual(self.dns.ask(six, "AAAA").values("AAAA"), ["2001:db8::1", "2001:db8::2"])
        self.assertEqual(self.dns.ask(self.dns.mx("noaddr.example")[0][1], "A").records, [])
        self.assertEqual(self.dns.ask(self.dns.mx("mxnx.example")[0][1], "A").rcode, 3)
        self.assertEqual(self.dns.ask(self.dns.mx("mxfail.example")[0][1], "A").rcode, 2)

    def test_aliases(self):
        answer = self.dns.ask("cname.example", "MX")
        self.assertEqual(answer.values("CNAME"), ["alias-of.cname.example"])
        self.assertEqual(answer.values("MX"), [(0, "cname-example.mail.protection.outlook.com")])
        self.assertEqual(answer.records[1][0], "alias-of.cname.example")
        answer = self.dns.ask(self.dns.mx("mxcname.example")[0][1], "A")
        self.assertEqual((len(answer.values("CNAME")), len(answer.values("A"))), (1, 4))

    def test_delays(self):
        for name in ("late.example", "t668.example"):
            began = time.monotonic()
            self.assertEqual(len(self.dns.ask(name, "MX").records), 1)
            self.assertGreater(time.monotonic() - began, 0.19)
            began = time.monotonic()
            self.assertEqual(len(self.dns.ask_tcp(name, "MX").records), 1)
            self.assertGreater(time.monotonic() - began, 0.19)

    def test_incidents(self):
        self.assertEqual([self.dns.ask("t667.example", "MX").rcode for _ in range(4)], [0, 5, 0, 5])
        self.assertEqual(self.dns.ask("t666.example", "MX").rcode, 0)
        self.sim.advance("110s")
        self.assertEqual(self.dns.ask("t666.example", "MX").rcode, 2)
        self.assertEqual(self.dns.ask("t666.example", "A").rcode, 0)
        self.sim.advance("100s")
        self.assertEqual(self.dns.ask("t666.example", "MX").rcode, 0)
        self.assertEqual(self.sim.rules()["outage"], 1)

    def test_queries_are_counted(self):
        for type in ("A", "A", "MX", "PTR", "TLSA"):
            self.dns.ask("t1.example", type)
        self.assertEqual(self.sim.summary()["dns"]["types"], {"A": 2, "MX": 1, "PTR": 1, "TLSA": 1})

    def test_bad_packets_are_survived(self):
        good = dns_query("t1.example", "MX")
        noise = random.Random(1)
        for cut in range(len(good)):
            self.dns.send(good[:cut]).close()
        for _ in range(500):
            packet = bytearray(good)
            packet[noise.randrange(len(packet))] = noise.randrange(256)
            self.dns.send(bytes(packet)).close()
        self.assertEqual(self.dns.raw(good[:20])[3] & 15, 1)
        self.assertEqual(len(self.dns.mx("t1.example")), 1)

    def test_edns_refused_where_it_was(self):
        sim = self.another("edns = false\n" + BASE)
        self.assertEqual(Dns(sim.dns).ask("t1.example", "MX", edns=1232).rcode, 1)
        self.assertEqual(Dns(sim.dns).ask("t1.example", "MX").rcode, 0)


class Forms(SimCase):
    scenario = BASE + """
    cluster "OLC" { kind = "consumer"  addresses = {"127.3.1.1"}  site = "DB8"  forest = "eurprd02" }
    cluster "PLAIN" { form = "plain"  addresses = {"127.5.1.7"} }
    cluster "BARE" { addresses = {"127.5.2.7"}  tails = "no"  features = {"SIZE", "8BITMIME"}  size = "1024" }
    cluster "SOME" { addresses = {"127.5.3.7"}  without = {"CHUNKING", "BINARYMIME"} }
    tenant "outlook.example" { cluster = {"OLC"} }
    tenant "plain.example" { cluster = {"PLAIN"} }
    tenant "bare.example" { cluster = {"BARE"} }
    tenant "some.example" { cluster = {"SOME"} }
    """

    def test_old_banner_and_tail(self):
        c = self.smtp(OLD)
        self.assertRegex(c.banner.text, r"^220 DB5EUR01FT001\.mail\.protection\.outlook\.com Microsoft ESMTP MAIL Service "
                                        r"ready at \w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d \+0000$")
        self.assertRegex(c.mail("u@nowhere.example")[1].text, r" \[DB5EUR01FT001\.eop-EUR01\.prod\.protection\.outlook\.com\]$")

    def test_new_banner_and_tail_share_the_session_id(self):
        c = self.smtp(NEW)
        host, session = re.match(r"220 (AM7PEPF[0-9A-F]{8})\.mail\.protection\.outlook\.com Microsoft ESMTP MAIL Service "
                                 r"ready at .* \[(08DD[0-9A-F]{12})\]$", c.banner.text).groups()
        self.assertRegex(c.mail("u@nowhere.example")[1].text,
                         rf" \[{host}\.eurprd05\.prod\.outlook\.com \d{{4}}-\d\d-\d\dT[\d:.]+Z {session}\]$")

    def test_consumer(self):
        c = self.smtp("127.3.1.1")
        self.assertIn(".olc.protection.outlook.com ", c.banner.text)
        self.assertIn("SIZE 49283072", c.hello.text)
        self.assertRegex(c.mail("u@nowhere.example")[1].text, r"\[Name=Protocol Filter Agent\]\[AGT=PFA\]\[MxId=\w+\] \[DB8PEPF")

    def test_plain(self):
        c = self.smtp("127.5.1.7")
        self.assertEqual(c.banner.text, "220 mx7.PLAIN.example.net ESMTP")
        self.assertRegex(c.mail("u@plain.example")[-1].text, r"^250 2\.0\.0 Ok: queued as [0-9A-F]{10}$")
        self.assertNotIn("[", c.mail("u@nowhere.example")[1].text)

    def test_success(self):
        c = self.smtp(NEW)
        body = b"Message-ID: <m1@example.org>\r\n\r\nHello\r\n"
        replies = c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_NEW}>", f"BDAT {len(body)} LAST", body, replies=3)
        self.assertRegex(replies[2].text, rf"^250 2\.6\.0 <m1@example\.org> \[InternalId=\d+, Hostname=AM7PR0\dMB\d{{4}}\.eurprd05"
                                          rf"\.prod\.outlook\.com\] {len(body)} bytes in [\d.]+, [\d.]+ KB/sec Queued mail for delivery$")

    def test_features(self):
        everything = {"PIPELINING", "SIZE 157286400", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "8BITMIME", "BINARYMIME",
                      "CHUNKING", "SMTPUTF8"}
        rows = [(OLD, everything), ("127.5.2.7", {"SIZE 1024", "8BITMIME"}),
                ("127.5.3.7", everything - {"CHUNKING", "BINARYMIME"})]
        for host, want in rows:
            with self.subTest(host):
                c = self.smtp(host)
                self.assertEqual({line[4:] for line in c.hello.lines[1:]}, want)
                self.assertTrue(c.hello.lines[-1].startswith("250 "))

    def test_helo_offers_nothing(self):
        c = self.smtp(OLD, ehlo=None)
        self.assertEqual(len(c.command("HELO client.example").lines), 1)
        self.assertEqual(c.command("MAIL FROM:<a@example.org> SIZE=10").code, 555)

    def test_no_tail_where_it_is_masked(self):
        self.assertNotIn("[", self.smtp("127.5.2.7", ehlo="x").command("RCPT TO:<a@b.example>").text)

    def test_size_limits(self):
        c = self.smtp("127.5.2.7")
        self.assertEqual(c.command("MAIL FROM:<a@example.org> SIZE=1025").code, 552)
        self.assertEqual(c.command("MAIL FROM:<a@example.org> SIZE=1024").code, 250)
        self.assertEqual(c.command("RCPT TO:<u@bare.example>").code, 250)
        self.assertEqual(c.command("DATA").code, 354)
        self.assertEqual(c.command("x" * 900 + "\r\n" + "y" * 200 + "\r\n.").code, 552)


class Content(SimCase):
    options = {"store": True}

    def delivered(self):
        self.sim.wait(deliveries=1)
        d = self.sim.deliveries()[-1]
        data = pathlib.Path(d["file"]).read_bytes()
        self.assertEqual(d["sha256"], hashlib.sha256(data).hexdigest())
        self.assertEqual(d["size"], len(data))
        return d, data

    def begin_data(self, host=OLD, to=TO_OLD, params=""):
        c = self.smtp(host)
        self.assertEqual(self.codes(c.flight(f"MAIL FROM:<a@example.org>{params}", f"RCPT TO:<{to}>", "DATA", replies=3)),
                         [250, 250, 354])
        return c

    def test_smtplib(self):
        with smtplib.SMTP(OLD, self.sim.smtp_port, "client.example", DEADLINE, ("127.0.7.9", 0)) as c:
            c.sendmail("a@example.org", [TO_OLD], "X-Test-Id: lib\r\nSubject: x\r\n\r\n.leading dot\r\n..two\r\n.\r\nend\r\n")
        d, data = self.delivered()
        self.assertEqual(data, b"X-Test-Id: lib\r\nSubject: x\r\n\r\n.leading dot\r\n..two\r\n.\r\nend\r\n")
        self.assertEqual((d["id"], d["to"], d["from"], d["source"], d["host"], d["cluster"], d["tenant"], d["ehlo"], d["tls"],
                          d["bdat"]),
                         ("lib", TO_OLD, "a@example.org", "127.0.7.9", OLD, "EUR01", "t1.example", "client.example", None, False))
        self.sim.check_no_violations()

    def test_data_in_pieces_of_any_size(self):
        wire = b"X-Test-Id: cut\r\n\r\n..dot\r\n\r\n.\rnot the end\r\n...\r\nlast\r\n.\r\n"
        want = b"X-Test-Id: cut\r\n\r\n.dot\r\n\r\n\rnot the end\r\n..\r\nlast\r\n"
        for size in (1, 2, 3, 5, 7, len(wire)):
            with self.subTest(size):
                self.sim.reset()
                c = self.begin_data()
                for i in range(0, len(wire), size):
                    c.send(wire[i:i + size])
                    if size < 3:
                        time.sleep(0.0005)  # so that pieces arrive as such; the outcome does not depend on it
                self.assertEqual(c.reply().code, 250)
                self.assertEqual(self.delivered()[1], want)

    def test_only_crlf_dot_crlf_ends_a_message(self):
        c = self.begin_data()
        c.send(b"X-Test-Id: smuggle\r\n\r\na\n.\nMAIL FROM:<x@example.org>\r\nb\n.\r\nc\r.\r\nd\r\n.\n\r\n.\r\n")
        self.assertEqual(c.reply().code, 250)
        self.assertEqual(self.delivered()[1].count(b"MAIL FROM"), 1)
        self.assertEqual(self.sim.summary()["messages"], 1)
        self.assertLessEqual({"bare-lf"}, self.violation_kinds().keys())

    def test_bdat_chunks_binary(self):
        c = self.smtp(NEW)
        parts = [b"X-Test-Id: bin\r\n\r\n", bytes(range(256)) * 40, b"\n.\n", b""]
        flight = [f"MAIL FROM:<> BODY=BINARYMIME SIZE={sum(map(len, parts))}", f"RCPT TO:<{TO_NEW}>"]
        for i, p in enumerate(parts):
            flight += [f"BDAT {len(p)}" + (" LAST" if i == 3 else ""), p]
        replies = c.flight(*flight, replies=6)
        self.assertEqual(self.codes(replies), [250] * 6)
        d, data = self.delivered()
        self.assertEqual(data, b"".join(parts))
        self.assertEqual((d["from"], d["bdat"], d["mail_params"]), ("", True, "BODY=BINARYMIME SIZE=10261"))
        self.sim.check_no_violations()

    def test_large_message(self):
        line = b"0123456789" * 7 + b"\r\n"
        body = b"X-Test-Id: large\r\n\r\n" + line * 100000
        c = self.begin_data()
        c.send(body + b".\r\n")
        self.assertEqual(c.reply().code, 250)
        self.assertEqual(self.delivered()[1], body)
        self.sim.check_no_violations()

    def test_identity(self):
        rows = [(b"Message-ID: <m@x>\r\nX-Test-Id: t\r\n\r\n", "t", "<m@x>"), (b"message-id:<m@x>\r\n\r\n", "<m@x>", "<m@x>"),
                (b"Message-ID:\r\n <fold@x>\r\n\r\nX-Test-Id: in body\r\n", "<fold@x>", "<fold@x>"),
                (b"Subject: x\r\n\r\nMessage-ID: <body@x>\r\n", None, None), (b"X-Test-Id: only", "only", None)]
        for text, id, message_id in rows:
            with self.subTest(text):
                self.sim.reset()
                c = self.smtp()
                c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", f"BDAT {len(text)} LAST", text, replies=3)
                d = self.sim.deliveries()[0]
                self.assertEqual((d["id"], d["message_id"]), (id, message_id))

    def test_parameters_are_kept(self):
        c = self.smtp()
        text = b"X-Test-Id: dsn\r\n\r\n"
        self.assertEqual(self.codes(c.flight(
            "MAIL FROM:<a@example.org> RET=HDRS ENVID=e+2B1 SMTPUTF8 BODY=8BITMIME",
            f"RCPT TO:<{TO_OLD}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;user+40x@example.org",
            "RCPT TO:<jörg@t1.example> NOTIFY=NEVER", f"BDAT {len(text)} LAST", text, replies=4)), [250] * 4)
        self.assertEqual([d["rcpt_params"] for d in self.sim.deliveries()],
                         ["NOTIFY=SUCCESS,DELAY ORCPT=rfc822;user+40x@example.org", "NOTIFY=NEVER"])
        self.assertEqual(self.sim.deliveries()[1]["to"], "jörg@t1.example".encode().decode("latin-1").encode("latin-1").decode())

    def test_connection_lost_within_a_message_leaves_nothing(self):
        c = self.begin_data()
        c.send(b"X-Test-Id: half\r\n\r\nhalf")
        c.close()
        self.sim.wait(closed=1)
        s = self.sim.summary()
        self.assertEqual((s["messages"], s["half_messages"]), (0, 1))


class Strictness(SimCase):
    scenario = BASE + """
    cluster "SLOW" { addresses = {"127.5.1.1"}  without = {"PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8", "DSN"} }
    tenant "slow.example" { cluster = {"SLOW"} }
    """

    def expect(self, kind, code, *commands, host=OLD, ehlo="client.example", replies=1):
        self.sim.reset()
        c = self.smtp(host, ehlo=ehlo)
        got = c.flight(*commands, replies=replies)
        self.assertEqual(got[-1].code, code, got)
        self.assertEqual(list(self.violation_kinds()), [kind] if kind else [])
        return c

    def test_order_and_syntax(self):
        mail, rcpt = "MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>"
        rows = [
            ("unknown-command", 500, ["FOO bar"], 1),
            ("rcpt-before-mail", 503, [rcpt], 1),
            ("data-before-mail", 503, ["DATA"], 1),
            ("data-before-rcpt", 503, [mail, "DATA"], 2),
            ("nested-mail", 503, [mail, mail], 2),
            ("mail-syntax", 501, ["MAIL FROM:a@example.org"], 1),
            ("mail-syntax", 501, ["MAIL TO:<a@example.org>"], 1),
            ("space-before-path", 250, ["MAIL FROM: <a@example.org>"], 1),
            ("sender-syntax", 501, ["MAIL FROM:<a b@example.org>"], 1),
            ("sender-syntax", 501, ["MAIL FROM:<a@example..org>"], 1),
            ("sender-syntax", 501, [f"MAIL FROM:<{'x' * 65}@example.org>"], 1),
            ("sender-syntax", 501, ["MAIL FROM:<jörg@example.org>"], 1),
            ("recipient-syntax", 501, [mail, "RCPT TO:<>"], 2),
            ("recipient-syntax", 501, [mail, "RCPT TO:<user>"], 2),
            ("rcpt-syntax", 501, [mail, "RCPT TO:user@t1.example"], 2),
            ("parameter-not-offered", 555, [mail + " FOO=1"], 1),
            ("parameter-syntax", 501, [mail + " SIZE=x"], 1),
            ("parameter-syntax", 501, [mail + " BODY=9BIT"], 1),
            ("parameter-syntax", 501, [mail + " RET=SOME"], 1),
            ("parameter-syntax", 501, [mail + " ENVID=a+2z"], 1),
            ("parameter-syntax", 501, [mail, rcpt + " NOTIFY=NEVER,DELAY"], 2),
            ("parameter-syntax", 501, [mail, rcpt + " ORCPT=user@example.org"], 2),
            ("bdat-syntax", 501, ["BDAT x"], 1),
            ("bdat-syntax", 501, ["BDAT 5 FIRST"], 1),
            ("starttls-not-offered", 502, ["STARTTLS"], 1),
            ("auth-not-offered", 503, ["AUTH PLAIN AA=="], 1),
            ("ehlo-name", 501, ["EHLO a b"], 1),
            ("bare-lf-command", 250, [b"NOOP\n"], 1),
            ("bare-cr-command", 500, [b"NO\rOP\r\n"], 1),
        ]
        for kind, code, commands, replies in rows:
            with self.subTest(commands):
                host = "127.5.1.1" if kind == "starttls-not-offered" else OLD
                if host != OLD:
                    self.sim.replace(self.scenario.replace('"DSN"}', '"DSN", "STARTTLS"}'))
                self.sim.reset()
                c = self.smtp(host)
                got = c.flight(*commands, replies=replies)
                self.assertEqual(got[-1].code, code, got)
                kinds = [k for k in self.violation_kinds() if not (kind == "bare-cr-command" and k == "unknown-command")]
                self.assertEqual(kinds, [kind])

    def test_mail_before_ehlo(self):
        self.expect("mail-before-ehlo", 503, "MAIL FROM:<a@example.org>", ehlo=None)

    def test_what_is_right_is_no_violation(self):
        self.expect(None, 250, 'MAIL FROM:<"odd @ local\\" part"@example.org>')
        self.expect(None, 250, "mail from:<> size=5 body=7bit")
        self.expect(None, 250, "EHLO [127.0.0.1]")
        self.expect(None, 252, "VRFY x")

    def test_extensions_must_be_offered(self):
        for command in ("MAIL FROM:<a@example.org> BODY=8BITMIME", "MAIL FROM:<a@example.org> SMTPUTF8",
                        "MAIL FROM:<a@example.org> RET=FULL"):
            with self.subTest(command):
                self.expect("parameter-not-offered", 555, command, host="127.5.1.1")
        self.expect("bdat-not-offered", 502, "BDAT 0 LAST", host="127.5.1.1")

    def test_pipelining_must_be_offered(self):
        self.expect("early-input", 250, "MAIL FROM:<a@example.org>", "RSET", host="127.5.1.1", replies=2)

    def test_nothing_follows_a_command_that_ends_its_group(self):
        self.expect("early-input", 250, "EHLO x", "NOOP", replies=2)
        c = self.expect("early-input", 354, "MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", b"X: y\r\n", replies=3)
        c.close()

    def test_talking_before_the_banner(self):
        sim = self.another('defaults { latency = "300ms" }\n' + BASE)
        c = self.smtp(OLD, sim=sim, greet=False)
        c.send("EHLO early\r\n")
        self.assertEqual([c.reply().code, c.reply().code], [220, 250])
        self.assertEqual(sim.violations()["kinds"], {"early-input": 1})

    def test_content(self):
        rows = [("bare-lf", b"a\nb\r\n"), ("bare-cr", b"a\rb\r\n"), ("long-text-line", b"x" * 999 + b"\r\n"),
                ("8bit-undeclared", "ä\r\n".encode())]
        for kind, body in rows:
            for bdat in (False, True):
                with self.subTest(kind=kind, bdat=bdat):
                    self.sim.reset()
                    c = self.smtp()
                    text = b"X-Test-Id: v\r\n\r\n" + body
                    if bdat:
                        c.mail(TO_OLD, "v", body)
                    else:
                        c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", replies=3)
                        c.send(text + b".\r\n")
                        self.assertEqual(c.reply().code, 250)
                    self.assertEqual(self.violation_kinds(), {kind: 1})

    def test_longest_line_is_no_violation(self):
        self.smtp().mail(TO_OLD, "v", b"x" * 998 + b"\r\n")
        self.assertEqual(self.violation_kinds(), {})

    def test_dot_not_doubled(self):
        c = self.smtp()
        c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", replies=3)
        c.send(b"X: y\r\n\r\n.x\r\n.\r\n")
        self.assertEqual(c.reply().code, 250)
        self.assertEqual(self.violation_kinds(), {"dot-not-doubled": 1})

    def test_endless_line(self):
        c = self.smtp()
        c.send(b"x" * 300000 + b"\r\n")
        self.assertEqual(c.reply().code, 500)
        self.assertEqual(c.command("NOOP").code, 250)
        self.assertEqual(self.violation_kinds(), {"long-line": 1})

    def test_wrong_chunk_size_shows(self):
        c = self.smtp()
        text = b"X: y\r\n\r\nhello\r\n"
        c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", f"BDAT {len(text) - 5} LAST", text, replies=4)
        self.assertIn("unknown-command", self.violation_kinds())

    def test_starttls_injection_is_discarded(self):
        c = self.smtp()
        self.assertEqual(c.flight("STARTTLS", "NOOP", replies=1)[0].code, 220)
        c.handshake()
        self.assertEqual(c.command("EHLO x").code, 250)
        self.assertIn("starttls-injection", self.violation_kinds())

    def test_errors_before_close(self):
        sim = self.another("errors_before_close = 3\n" + BASE)
        c = self.smtp(sim=sim)
        self.assertEqual(self.codes(c.flight("A", "B", "C", replies=4)), [500, 500, 500, 421])
        self.assertEqual(c.at_eof(), b"")


class Echoes(SimCase):
    """What comes behind a refusal in a pipeline is an echo: neither verdict nor violation."""
    scenario = BASE + """
    rule "mail" { phase = "mail"  sender = {"no@*"}  reply = "451 4.4.4 Mail received as unauthenticated ATTR3 {tail}" }
    rule "rcpt" { phase = "rcpt"  recipient = {"no@*"}  reply = "550 5.4.1 {rcpt}: Recipient address rejected {tail}" }
    rule "data" { phase = "data"  recipient = {"data@*"}  reply = "451 4.7.0 Temporary server error. PRX4" }
    rule "eod" { phase = "eod"  recipient = {"eod@*"}  reply = "550 5.7.1 Message rejected\\nsecond line\\nthird {tail}" }
    """

    def test_refused_mail_in_a_bdat_flight(self):
        c = self.smtp()
        replies = c.mail(TO_OLD, sender="no@example.org")
        self.assertEqual(self.codes(replies), [451, 503, 503])
        self.assertEqual([r.text[:27] for r in replies[1:]], ["503 5.5.2 Need mail command"] * 2)
        self.assertTrue(replies[0].text.endswith("ATTR3 [DB5EUR01FT001.eop-EUR01.prod.protection.outlook.com]"))
        self.assertEqual(c.mail(TO_OLD)[-1].code, 250)
        s = self.sim.summary()
        self.assertEqual((s["refused"], s["echoes"], s["violations"], s["mails"], s["messages"]), (1, 2, 0, 2, 1))
        self.assertEqual(s["refusals"], [{"by": "mail", "phase": "mail", "count": 1}])

    def test_refused_mail_in_a_data_flight(self):
        replies = self.smtp().flight("MAIL FROM:<no@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", replies=3)
        self.assertEqual(self.codes(replies), [451, 503, 503])
        self.sim.check_no_violations()

    def test_refused_recipient(self):
        c = self.smtp()
        replies = c.mail("no@t1.example")
        self.assertEqual(self.codes(replies), [250, 550, 503])
        self.assertIn("no@t1.example: Recipient", replies[1].text)
        self.assertIn("Need rcpt command", replies[2].text)
        self.assertEqual(c.command("RSET").code, 250)
        self.assertEqual(self.codes(c.mail(["no@t1.example", "yes@t1.example"], "part")), [250, 550, 250, 250])
        self.assertEqual([d["to"] for d in self.sim.deliveries()], ["yes@t1.example"])
        self.sim.check_no_violations()

    def test_refused_at_data(self):
        c = self.smtp()
        self.assertEqual(self.codes(c.mail("data@t1.example")), [250, 250, 451])
        self.assertEqual(self.codes(c.flight("MAIL FROM:<>", "RCPT TO:<data@t1.example>", "DATA", replies=3)), [250, 250, 451])
        self.assertEqual(self.codes(c.mail("fine@t1.example")), [250, 250, 250])
        self.sim.check_no_violations()

    def test_refused_chunk_swallows_the_rest(self):
        c = self.smtp()
        replies = c.flight("MAIL FROM:<>", "RCPT TO:<data@t1.example>", "BDAT 10", b"X: y\r\n\r\nab", "BDAT 5 LAST", b"QUIT\r",
                           "NOOP", replies=5)
        self.assertEqual(self.codes(replies), [250, 250, 451, 503, 250])
        self.sim.check_no_violations()

    def test_refused_at_end_of_data_in_several_lines(self):
        c = self.smtp()
        reply = c.mail("eod@t1.example")[-1]
        self.assertEqual(reply.code, 550)
        self.assertEqual(reply.lines[:2], ["550-5.7.1 Message rejected", "550-second line"])
        self.assertTrue(reply.lines[2].startswith("550 third [DB5"))
        self.assertEqual(self.sim.summary()["messages"], 0)
        self.assertEqual(self.sim.refusals()[0]["id"], "x")


class Places(SimCase):
    """Which mail may come to which front end."""
    scenario = BASE + """
    cluster "FEW" { addresses = {"127.5.1.1-20"}  addresses_per_tenant = 4  recipients = 3 }
    cluster "MIX" { addresses = {"127.5.2.1"}  multi_tenant = "yes"  region_check = "no" }
    tenant "f{0..9}.example" { cluster = {"FEW"} }
    tenant "secure.example" { cluster = {"EUR01"}  require_tls = "yes" }
    """

    def test_wrong_region(self):
        c = self.smtp(NEW)
        replies = c.mail(TO_OLD)
        self.assertRegex(replies[1].text, r"^451 4\.4\.62 .*ATTR35\..* \[AM7")
        self.assertEqual((self.sim.summary()["wrong_region"], self.sim.lanes()["127.0.0.1", "EUR05"]["wrong_region"]), (1, 1))

    def test_only_at_the_tenants_own_addresses(self):
        own = set()
        for _ in range(60):
            own |= set(self.dns.ask(self.dns.mx("f3.example")[0][1], "A").values("A"))
        self.assertEqual(len(own), 4)
        for i in range(1, 21):
            host = f"127.5.1.{i}"
            with self.smtp(host) as c:
                self.assertEqual(c.mail("u@f3.example")[1].code, 250 if host in own else 451)

    def test_unknown_tenant(self):
        self.assertRegex(self.smtp().mail("u@nowhere.example")[1].text, r"^550 5\.7\.64 TenantAttribution; Relay Access Denied")

    def test_recipients_of_two_tenants(self):
        replies = self.smtp().mail(["u@t1.example", "u@t2.example"])
        self.assertEqual(self.codes(replies), [250, 250, 452, 250])
        self.assertIn("ATTR38", replies[2].text)
        self.assertEqual(self.codes(self.smtp("127.5.2.1").mail(["u@t1.example", "u@n2.example"])), [250] * 4)

    def test_recipient_limit(self):
        host = self.dns.host("f3.example")
        replies = self.smtp(host).mail([f"u{i}@f3.example" for i in range(5)])
        self.assertEqual(self.codes(replies), [250, 250, 250, 250, 452, 452, 250])
        self.assertIn("AS780090", replies[4].text)

    def test_tls_demanded(self):
        c = self.smtp()
        self.assertRegex(c.mail("u@secure.example")[1].text, r"^451 5\.7\.3 STARTTLS is required")
        c.command("RSET")
        c.starttls()
        c.command("EHLO x")
        self.assertEqual(c.mail("u@secure.example")[1].code, 250)


class Latency(SimCase):
    scenario = 'defaults { latency = "150ms" }\n' + BASE
    step = 0.15

    def timed(self, work):
        began = time.monotonic()
        work()
        return (time.monotonic() - began) / self.step

    def test_connecting_costs_two(self):
        self.assertGreater(self.timed(lambda: self.smtp(ehlo=None)), 1.95)

    def test_a_flight_costs_one(self):
        c = self.smtp()
        one = self.timed(lambda: c.mail(TO_OLD))
        self.assertGreater(one, 0.98)
        self.assertLess(one, 1.9)

    def test_commands_one_by_one_cost_one_each(self):
        c = self.smtp()
        steps = self.timed(lambda: [c.command(x) for x in ("MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>", "DATA")])
        self.assertGreater(steps, 2.94)
        self.assertLess(steps, 4.5)

    def test_flights_under_way_overlap(self):
        """A second flight sent half a round trip later is answered half a round trip later, not after the first."""
        c = self.smtp()
        c.send("NOOP\r\n")
        time.sleep(self.step / 2)

        def rest():
            c.send("RSET\r\n")
            c.reply()
            c.reply()
        self.assertLess(self.timed(rest), 1.6)

    def test_tls_handshake_costs_one_more(self):
        c = self.smtp()
        self.assertEqual(c.command("STARTTLS").code, 220)
        steps = self.timed(c.handshake)
        self.assertGreater(steps, 0.98)
        self.assertLess(steps, 1.9)

    def test_flights_are_counted(self):
        c = self.smtp()
        for _ in range(3):
            c.mail(TO_OLD)
        c.quit()
        self.sim.wait(closed=1, open=0)
        self.assertEqual([e["flights"] for e in self.sim.events() if e["kind"] == "closed"], [5])


class Caps(SimCase):
    scenario = """
    cluster "CL" { addresses = {"127.1.1.1-4"}  connections = 3  forest = "f1" }
    cluster "SRC" { addresses = {"127.1.2.1-4"}  connections_per_source = 2 }
    cluster "NET" { addresses = {"127.1.3.1-4"}  connections_per_subnet = 2  source_cap_reply = "421 4.7.652 {subnet} too many" }
    cluster "FO{1..2}" { addresses = {"127.2.{n}.1"}  forest = "shared"  connections_per_forest = 2 }
    cluster "MSG" { addresses = {"127.1.4.1"}  messages_per_connection = 2 }
    cluster "AGE" { addresses = {"127.1.5.1"}  session_life = "10m" idle_timeout = "0" }
    cluster "IDLE" { addresses = {"127.1.6.1"}  idle_timeout = "300ms" }
    cluster "OFF" { addresses = {"127.1.7.1"}  listen = "no" }
    cluster "HOLE" { addresses = {"127.1.8.1"}  listen = "blackhole" }
    tenant "{n}.example" { cluster = {"CL"} }
    """.replace('tenant "{n}.example" { cluster = {"CL"} }', "\n".join(
        f'tenant "{c.lower()}.example" {{ cluster = {{"{c}"}} }}' for c in ("CL", "SRC", "NET", "FO1", "FO2", "MSG", "AGE", "IDLE")))

    def setUp(self):
        self.sim.wait(open=0)
        super().setUp()

    def test_cluster_cap(self):
        held = [self.smtp("127.1.1.1"), self.smtp("127.1.1.2"), self.smtp("127.1.1.3", source="127.0.9.9")]
        c = self.smtp("127.1.1.4")
        self.assertRegex(c.banner.text, r"^421 4\.3\.2 The maximum number of concurrent connections per resource forest .*PRX8$")
        self.assertEqual(c.at_eof(), b"")
        self.assertEqual(self.sim.clusters()["CL"]["peak"], 4)
        c.close()
        held[0].quit()
        self.assertEqual(self.smtp("127.1.1.4").banner.code, 220)
        self.assertEqual(self.sim.summary()["refusals"], [{"by": "#cluster-cap", "phase": "connect", "count": 1}])

    def test_source_cap(self):
        held = [self.smtp("127.1.2.1"), self.smtp("127.1.2.2")]
        c = self.smtp("127.1.2.3")
        self.assertRegex(c.mail("u@src.example")[0].text, r"^451 4\.7\.652 The mail server \[127\.0\.0\.1\] has exceeded .*\(S3115\) \[")
        self.assertEqual(self.smtp("127.1.2.3", source="127.0.0.7").mail("u@src.example")[-1].code, 250)
        held[0].quit()
        held[0] = c
        self.assertEqual(c.mail("u@src.example")[-1].code, 250)

    def test_subnet_cap(self):
        for i in (1, 2):
            self.assertEqual(self.smtp("127.1.3.1", source=f"127.0.4.{i}").mail("u@net.example")[-1].code, 250)
        c = self.smtp("127.1.3.1", source="127.0.4.3")
        self.assertEqual(c.command("MAIL FROM:<>").text, "421 4.7.652 127.0.4.0/24 too many")
        self.assertEqual(c.at_eof(), b"")
        self.assertEqual(self.smtp("127.1.3.1", source="127.0.5.3").mail("u@net.example")[-1].code, 250)
        self.assertEqual(self.sim.subnets()["127.0.4.0/24", "NET"]["peak"], 3)

    def test_forest_cap_spans_clusters(self):
        self.smtp("127.2.1.1"), self.smtp("127.2.2.1")
        self.assertEqual(self.smtp("127.2.2.1").banner.code, 421)
        self.assertEqual(self.sim.forests()["shared"]["peak"], 3)

    def test_messages_per_connection(self):
        c = self.smtp("127.1.4.1")
        self.assertEqual([c.mail("u@msg.example")[-1].code for _ in range(2)], [250, 250])
        self.assertEqual(c.command("MAIL FROM:<>").code, 421)
        self.assertEqual(c.at_eof(), b"")
        self.sim.wait(open=0)
        self.assertEqual(self.sim.lanes()["127.0.0.1", "MSG"]["messages_per_connection_max"], 2)

    def test_session_life_follows_the_scenarios_clock(self):
        c = self.smtp("127.1.5.1")
        self.assertEqual(c.mail("u@age.example")[-1].code, 250)
        self.sim.advance("11m")
        self.assertRegex(c.reply().text, r"^421 4\.4\.1 Connection timed out\. Total session duration: 00:11:")
        self.assertEqual(c.at_eof(), b"")

    def test_idle_timeout(self):
        c = self.smtp("127.1.6.1")
        began = time.monotonic()
        self.assertEqual(c.reply().code, 421)
        self.assertGreater(time.monotonic() - began, 0.25)

    def test_not_listening(self):
        self.assertRaises(ConnectionRefusedError, self.smtp, "127.1.7.1")

    def test_blackhole(self):
        with socket.socket() as s:
            s.settimeout(0.4)
            self.assertRaises(TimeoutError, s.connect, ("127.1.8.1", self.sim.smtp_port))

    def test_counting_is_exact(self):
        """One connection after the other never counts as two, however fast: neither after QUIT nor after a bare close."""
        for i in range(300):
            c = Smtp("127.1.2.1", self.sim.smtp_port)
            c.mail("u@src.example", f"m{i}")
            if i % 2:
                c.send("QUIT\r\n")
            c.close()
        self.sim.wait(closed=300)
        lane = self.sim.lanes()["127.0.0.1", "SRC"]
        self.assertEqual((lane["peak"], lane["opened"], lane["messages"], lane["refused"], lane["now"]), (1, 300, 300, 0, 0))

    def test_peaks(self):
        held = [self.smtp("127.1.2.1", source=f"127.0.6.{i}") for i in range(1, 6)]
        for c in held:
            c.close()
        self.sim.wait(open=0)
        self.assertEqual(self.sim.clusters()["SRC"]["peak"], 5)
        self.assertEqual(self.sim.subnets()["127.0.6.0/24", "SRC"]["peak"], 5)
        self.assertEqual({g["peak"] for k, g in self.sim.lanes().items() if k[0].startswith("127.0.6.")}, {1})
        self.assertEqual(self.sim.summary()["connections"]["peak"], 5)


class Rules(SimCase):
    scenario = BASE

    def tearDown(self):
        for name in self.sim.rules():
            self.sim.remove_rule(name)

    def rule(self, text, name="r"):
        self.sim.add_rule(f'rule "{name}" {{ {text} }}')

    def test_reply_in_each_phase(self):
        rows = [("connect", [], "banner"), ("ehlo", ["EHLO x"], None), ("starttls", ["EHLO x", "STARTTLS"], None),
                ("mail", ["EHLO x", "MAIL FROM:<>"], None), ("rcpt", ["EHLO x", "MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>"], None),
                ("data", ["EHLO x", "MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>", "DATA"], None),
                ("eod", ["EHLO x", "MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>", "DATA", "X: y\r\n\r\n."], None),
                ("rset", ["EHLO x", "RSET"], None), ("quit", ["EHLO x", "QUIT"], None)]
        for phase, commands, banner in rows:
            with self.subTest(phase):
                self.rule(f'phase = "{phase}"  reply = "451 4.0.0 here {{ip}} {{ehlo}} {{cluster}} {{hostip}}"')
                c = self.smtp(ehlo=None)
                replies = [c.banner] + [c.command(x) for x in commands]
                name = "x" if phase not in ("connect", "ehlo") else ""
                self.assertEqual(replies[-1].text, f"451 4.0.0 here 127.0.0.1 {name} EUR01 127.1.1.1")
                self.assertEqual([e["phase"] for e in self.sim.refusals()][-1], phase)
                c.close()

    def test_filters(self):
        self.rule('phase = "mail"  source = {"127.0.1.0/24", "127.0.2.2"}  cluster = {"EUR*"}  reply = "450 4.0.0 no"')
        rows = [("127.0.1.77", OLD, 450), ("127.0.2.2", NEW, 450), ("127.0.2.3", OLD, 250), ("127.0.0.1", NEW, 250)]
        for source, host, code in rows:
            with self.subTest(source):
                self.assertEqual(self.smtp(host, source=source).command("MAIL FROM:<>").code, code)

    def test_tenant_recipient_and_sender_filters(self):
        self.rule('phase = "rcpt"  tenant = {"t5.*"}  recipient = {"a*@*"}  sender = {"*@bad.example"}  reply = "550 5.1.1 no"')
        rows = [("s@bad.example", "anna@t5.example", 550), ("s@good.example", "anna@t5.example", 250),
                ("s@bad.example", "anna@t6.example", 250), ("s@bad.example", "bob@t5.example", 250)]
        for sender, to, code in rows:
            with self.subTest(to):
                self.assertEqual(self.smtp().mail(to, sender=sender)[1].code, code)

    def test_time_window(self):
        now = self.sim.summary()["time"]
        self.rule(f'phase = "mail"  from = "{int(now) + 1000}s"  until = "{int(now) + 2000}s"  reply = "450 4.0.0 no"')
        got = []
        for step in ("0", "1100s", "1100s"):
            self.sim.advance(step)
            got.append(self.smtp().command("MAIL FROM:<>").code)
        self.assertEqual(got, [250, 450, 250])

    def test_every_after_limit(self):
        self.rule('phase = "mail"  every = 3  after = 2  limit = 2  reply = "450 4.0.0 no"')
        c = self.smtp()
        codes = []
        for _ in range(14):
            codes.append(c.command("MAIL FROM:<>").code)
            c.command("RSET")
        self.assertEqual(codes, [250, 250, 250, 250, 450, 250, 250, 450] + [250] * 6)
        self.assertEqual(self.sim.rules(), {"r": 2})

    def test_share_by_seed(self):
        runs = []
        for seed in (5, 5, 6):
            sim = self.another(BASE + 'rule "r" { phase = "mail"  share = 0.25  reply = "450 4.0.0 no" }', seed=seed)
            c = self.smtp(sim=sim)
            codes = []
            for _ in range(400):
                codes.append(c.command("MAIL FROM:<>").code)
                c.command("RSET")
            runs.append(codes)
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])
        self.assertTrue(70 <= runs[0].count(450) <= 130, runs[0].count(450))

    def test_first_that_fires_wins_and_order_can_be_chosen(self):
        self.rule('phase = "mail"  reply = "450 4.0.0 one"', "one")
        self.rule('phase = "mail"  reply = "450 4.0.0 two"', "two")
        self.assertIn("one", self.smtp().command("MAIL FROM:<>").text)
        self.sim.add_rule('rule "three" { phase = "mail"  reply = "450 4.0.0 three" }', first=True)
        self.assertIn("three", self.smtp().command("MAIL FROM:<>").text)
        self.sim.disable_rule("three")
        self.sim.remove_rule("one")
        self.assertIn("two", self.smtp().command("MAIL FROM:<>").text)
        self.sim.enable_rule("three")
        self.assertIn("three", self.smtp().command("MAIL FROM:<>").text)

    def test_bad_rule_changes_nothing(self):
        self.rule('phase = "mail"  reply = "450 4.0.0 one"')
        for text in ('rule "x" { phase = "mail" }', 'rule "x" {', 'rule "r" { phase = "nowhere"  reply = "450 x" }', ""):
            with self.assertRaises(Failed):
                self.sim.add_rule(text)
        self.assertEqual(list(self.sim.rules()), ["r"])

    def test_drop_and_reset(self):
        self.rule('phase = "mail"  action = "drop"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertEqual(c.at_eof(), b"")
        self.rule('phase = "mail"  action = "reset"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertEqual(c.at_eof(), b"<RST>")

    def test_drop_instead_of_a_banner(self):
        self.rule('phase = "connect"  action = "drop"')
        self.assertEqual(self.smtp(greet=False).at_eof(), b"")

    def test_drop_at_end_of_data_delivers_nothing_and_accept_drop_does(self):
        for action, messages in (("drop", 0), ("accept-drop", 1)):
            with self.subTest(action):
                self.sim.reset()
                self.rule(f'phase = "eod"  action = "{action}"')
                c = self.smtp()
                with self.assertRaises(EOFError):
                    c.mail(TO_OLD)
                self.assertEqual(self.sim.summary()["messages"], messages)

    def test_stall(self):
        self.rule('phase = "mail"  action = "stall"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\nNOOP\r\n")
        self.sim.wait(rule={"r": 1})
        c.socket.settimeout(0.2)
        self.assertRaises(TimeoutError, c.reply)
        c.close()
        self.sim.wait(open=0)

    def test_garbage_and_raw(self):
        self.rule('phase = "mail"  action = "garbage"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertIsNone(c.reply().code)
        self.rule('phase = "mail"  action = "raw"  reply = "250\\r\\n250 half"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertEqual(c.line(), "250")

    def test_421_and_close_after_reply_close(self):
        for text in ('reply = "421 4.3.2 Service not active"', 'action = "close-after-reply"  reply = "450 4.0.0 bye"'):
            self.rule('phase = "mail"  ' + text)
            c = self.smtp()
            self.assertIn(c.command("MAIL FROM:<>").code, (421, 450))
            self.assertEqual(c.at_eof(), b"")

    def test_delay_then_the_normal_course(self):
        for phase in ("connect", "ehlo", "mail", "rcpt", "data", "eod"):
            with self.subTest(phase):
                self.sim.reset()
                self.rule(f'phase = "{phase}"  action = "delay"  delay = "200ms"')
                began = time.monotonic()
                c = self.smtp()
                self.assertEqual(self.codes(c.mail(TO_OLD, "late")), [250] * 3)
                self.assertEqual(c.command("NOOP").code, 250)
                self.assertGreater(time.monotonic() - began, 0.19)
                self.assertEqual(self.sim.summary()["messages"], 1)
                self.assertEqual(self.sim.rules()["r"], 1)
                self.sim.check_no_violations()

    def test_client_that_leaves_during_a_delay_delivers_nothing(self):
        self.rule('phase = "eod"  action = "delay"  delay = "60s"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\nRCPT TO:<u@t1.example>\r\nBDAT 6 LAST\r\nX: y\r\n")
        self.sim.wait(rule={"r": 1})
        c.close()
        self.sim.wait(open=0)
        self.assertEqual(self.sim.summary()["messages"], 0)

    def test_slow_reply_comes_byte_by_byte(self):
        self.rule('phase = "mail"  action = "slow"  delay = "20ms"  reply = "450 4.0.0 slow"')
        c = self.smtp()
        began = time.monotonic()
        self.assertEqual(c.command("MAIL FROM:<>").text, "450 4.0.0 slow")
        self.assertGreater(time.monotonic() - began, 0.25)
        self.assertEqual(c.command("NOOP").code, 250)

    def test_slow_normal_reply(self):
        self.rule('phase = "mail"  action = "slow"  delay = "10ms"')
        c = self.smtp()
        began = time.monotonic()
        self.assertEqual(self.codes(c.mail(TO_OLD)), [250] * 3)
        self.assertGreater(time.monotonic() - began, 0.15)

    def test_scenario_replaced_at_run_time(self):
        sim = self.another(BASE)
        c = self.smtp(sim=sim)
        sim.replace(BASE.replace("127.1.5.1-8", "127.1.6.1") + 'rule "new" { phase = "mail"  reply = "450 4.0.0 new" }')
        self.assertEqual(c.command("MAIL FROM:<>").text, "450 4.0.0 new")
        self.assertRaises(ConnectionRefusedError, self.smtp, NEW, sim=sim)
        self.assertEqual(self.smtp("127.1.6.1", sim=sim).banner.code, 220)
        self.assertEqual(Dns(sim.dns).host("n1.example"), "127.1.6.1")
        with self.assertRaisesRegex(Failed, "no cluster"):
            sim.replace("")
        self.assertEqual(list(sim.rules()), ["new"])


class Limits(SimCase):
    scenario = BASE + """
    limit "cold" { per = "source"  source = {"127.0.8.0/24"}  messages = "3/1h" }
    limit "net" { per = "subnet"  source = {"127.0.9.0/24"}  messages = "2/10s"  reply = "421 RP-001 {subnet}" }
    limit "ramp" { per = "source"  source = {"127.0.10.0/24"}  messages = "2/1d"  grow = 2.0  ceiling = 6 }
    limit "rate" { per = "source"  source = {"127.0.11.0/24"}  connects = "2/1h"  reply = "421 4.7.0 slow down" }
    limit "open" { per = "source-cluster"  source = {"127.0.12.0/24"}  connections = 1  phase = "mail"  reply = "451 4.7.652 {ip}" }
    limit "tenant" { per = "tenant"  tenant = {"t9?.example", "t9*"}  recipients = "2/1h"  reply = "450 4.2.1 {rcpt}" }
    """

    def mails(self, source, n, to=TO_OLD):
        with self.smtp(source=source) as c:
            codes = []
            for _ in range(n):
                replies = c.mail(to)
                codes.append(next((r.code for r in replies if r.code >= 400), 250))
                c.command("RSET")
            return codes

    def test_messages_per_source(self):
        self.assertEqual(self.mails("127.0.8.1", 5), [250] * 3 + [451] * 2)
        self.assertEqual(self.mails("127.0.8.2", 1), [250])
        self.assertEqual(self.mails("127.0.7.1", 5), [250] * 5)
        self.sim.advance("1h")
        self.assertEqual(self.mails("127.0.8.1", 4), [250] * 3 + [451])
        self.assertIn("(S775)", self.sim.refusals()[0]["reply"])

    def test_messages_per_subnet(self):
        self.sim.advance("10s")
        self.assertEqual(self.mails("127.0.9.1", 1) + self.mails("127.0.9.2", 1), [250, 250])
        c = self.smtp(source="127.0.9.3")
        self.assertEqual(c.command("MAIL FROM:<>").text, "421 RP-001 127.0.9.0/24")
        self.assertEqual(c.at_eof(), b"")

    def test_allowance_grows_when_used(self):
        got = []
        for _ in range(4):
            got.append(self.mails("127.0.10.1", 8).count(250))
            self.sim.advance("1d")
        self.sim.advance("1d")
        got.append(self.mails("127.0.10.2", 8).count(250))
        self.assertEqual(got, [2, 4, 6, 6, 2])

    def test_connect_rate(self):
        self.assertEqual([self.smtp(source="127.0.11.1").banner.code for _ in range(3)], [220, 220, 421])

    def test_connections(self):
        first = self.smtp(source="127.0.12.1")
        second = self.smtp(source="127.0.12.1")
        self.assertEqual(second.command("MAIL FROM:<>").code, 451)
        first.quit()
        self.sim.wait(closed=1)
        self.assertEqual(second.command("MAIL FROM:<>").code, 250)

    def test_recipients_per_tenant(self):
        self.assertEqual(self.mails("127.0.0.1", 3, "u@t91.example"), [250, 250, 450])
        self.assertEqual(self.mails("127.0.0.1", 1, "u@t92.example"), [250])


class Tls(SimCase):
    scenario = """
    cluster "GOOD" { addresses = {"127.1.1.1"} }
    cluster "SELF" { addresses = {"127.1.2.1"}  certificate = "self" }
    cluster "OLD" { addresses = {"127.1.3.1"}  certificate = "expired" }
    cluster "NAME" { addresses = {"127.1.4.1"}  certificate = "wrong-name" }
    cluster "NOT" { addresses = {"127.1.5.1"}  tls = "refused" }
    cluster "JUNK" { addresses = {"127.1.6.1"}  tls = "garbage" }
    cluster "HANG" { addresses = {"127.1.7.1"}  tls = "stall" }
    tenant "t{0..9}.example" { cluster = {"GOOD"} }
    tenant "n{0..9}.example" { cluster = {"GOOD"}  mx = {"mx.microsoft"} }
    tenant "own.example" { cluster = {"GOOD"}  mx = {"10 mx1.{domain}"} }
    """

    def context(self):
        return ssl.create_default_context(cafile=self.sim.ca_file)

    def test_verified_names(self):
        for name in ("t1-example.mail.protection.outlook.com", "n1-example.h-v1.mx.microsoft", "mx1.own.example"):
            with self.subTest(name):
                c = self.smtp("127.1.1.1")
                self.assertEqual(c.starttls(self.context(), name).version(), "TLSv1.3")
                self.assertNotIn("STARTTLS", c.command("EHLO x").text)
                self.assertEqual(c.mail("u@t1.example")[-1].code, 250)
                self.assertEqual(c.quit().code, 221)
        self.assertEqual(self.sim.deliveries()[0]["tls"], "TLSv1.3")
        self.sim.check_no_violations()

    def test_certificates_that_do_not_verify(self):
        rows = [("127.1.2.1", "self.signed|unable to get"), ("127.1.3.1", "expired"), ("127.1.4.1", "Hostname mismatch")]
        for host, why in rows:
            with self.subTest(host):
                c = self.smtp(host)
                with self.assertRaisesRegex(ssl.SSLCertVerificationError, why):
                    c.starttls(self.context(), "t1-example.mail.protection.outlook.com")
                self.assertEqual(self.smtp(host).starttls().version(), "TLSv1.3")

    def test_versions(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertEqual(self.smtp("127.1.1.1").starttls(context).version(), "TLSv1.2")

    def test_refused(self):
        c = self.smtp("127.1.5.1")
        self.assertEqual(c.command("STARTTLS").code, 454)
        self.assertEqual(c.command("NOOP").code, 250)

    def test_garbage(self):
        c = self.smtp("127.1.6.1")
        with self.assertRaises(ssl.SSLError):
            c.starttls()

    def test_stall(self):
        c = self.smtp("127.1.7.1")
        self.assertEqual(c.command("STARTTLS").code, 220)
        c.socket.settimeout(0.3)
        self.assertRaises(TimeoutError, c.handshake)

    def test_clear_text_instead_of_a_handshake(self):
        c = self.smtp("127.1.1.1")
        c.command("STARTTLS")
        c.send("EHLO x\r\n")
        self.assertNotIn(b"250", c.at_eof())

    def test_rules_for_the_handshake(self):
        self.sim.add_rule('rule "d" { phase = "tls"  action = "drop"  limit = 1 }')
        c = self.smtp("127.1.1.1")
        self.assertEqual(c.command("STARTTLS").code, 220)
        self.assertEqual(c.at_eof(), b"")
        self.sim.add_rule('rule "r" { phase = "tls"  action = "reset"  limit = 1 }')
        c = self.smtp("127.1.1.1")
        c.send("STARTTLS\r\n")
        self.assertIn(c.at_eof(), (b"220 2.0.0 SMTP server ready\r\n<RST>", b"<RST>"))
        self.sim.add_rule('rule "g" { phase = "tls"  action = "garbage"  limit = 1 }')
        with self.assertRaises(ssl.SSLError):
            self.smtp("127.1.1.1").starttls()
        self.assertEqual(self.smtp("127.1.1.1").starttls().version(), "TLSv1.3")

    def test_resumption_is_counted(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        c = self.smtp("127.1.1.1")
        tls = c.starttls(context)
        c.command("EHLO x")
        c2 = self.smtp("127.1.1.1")
        self.assertTrue(c2.starttls(context, session=tls.session).session_reused)
        c2.command("EHLO x")
        s = self.sim.summary()["connections"]
        self.assertEqual((s["tls"], s["tls_resumed"]), (2, 1))

    def test_large_message(self):
        c = self.smtp("127.1.1.1")
        c.starttls()
        c.command("EHLO x")
        body = os.urandom(1000).hex().encode() + b"\r\n"
        replies = c.flight("MAIL FROM:<> BODY=BINARYMIME", "RCPT TO:<u@t1.example>", f"BDAT {len(body) * 2000} LAST", body * 2000,
                           replies=3)
        self.assertEqual(self.codes(replies), [250] * 3)
        self.assertEqual(self.sim.deliveries()[0]["sha256"], hashlib.sha256(body * 2000).hexdigest())


class Auth(SimCase):
    scenario = 'cluster "A" { addresses = {"127.1.1.1"}  auth = "relay:secret" }\ntenant "t.example" { cluster = {"A"} }\n'

    def test_plain_and_login(self):
        c = self.smtp()
        self.assertIn("AUTH PLAIN LOGIN", c.hello.text)
        self.assertEqual(c.command("MAIL FROM:<>").code, 530)
        for good in (True, False):
            for method in ("auth_plain", "auth_login"):
                with smtplib.SMTP(OLD, self.sim.smtp_port) as s:
                    s.ehlo("x")
                    s.user, s.password = "relay", "secret" if good else "wrong"
                    if good:
                        s.auth(method[5:], getattr(s, method))
                        self.assertEqual(s.mail("")[0], 250)
                    else:
                        self.assertRaises(smtplib.SMTPAuthenticationError, s.auth, method[5:], getattr(s, method))
        c = self.smtp()
        self.assertEqual([c.command("AUTH PLAIN").code, c.command("!!!").code, c.command("AUTH LOGIN").code, c.command("*").code],
                         [334, 535, 334, 501])
        self.sim.check_no_violations()


class Ledger(SimCase):
    def test_counts_per_recipient(self):
        c = self.smtp()
        c.mail(["a@t1.example", "b@t1.example"], "one")
        c.mail("a@t1.example", "one")
        c.mail("a@t1.example", "two")
        s = self.sim.summary()
        self.assertEqual((s["messages"], s["recipients"], s["unique_messages"], s["unique_deliveries"], s["duplicates"]), (3, 4, 2, 3, 1))
        self.assertEqual([self.sim.delivered("one", "a@t1.example"), self.sim.delivered("one", "b@t1.example"),
                          self.sim.delivered("three", "a@t1.example"), self.sim.delivered("one")], [2, 1, 0, 2])
        with self.assertRaisesRegex(Failed, "more than once"):
            self.sim.check_once([("one", "a@t1.example"), ("one", "b@t1.example"), ("two", "a@t1.example")])

    def test_domains_in_any_case_are_one(self):
        self.smtp().mail("User@T1.Example")
        self.assertEqual(self.sim.deliveries()[0]["to"], "User@t1.example")

    def test_events_since(self):
        c = self.smtp()
        c.mail(TO_OLD, "one")
        self.assertEqual([e["id"] for e in self.sim.deliveries()], ["one"])
        n = self.sim.next_event
        c.mail("u@nowhere.example", "two")
        c.command("RSET")
        c.mail(TO_OLD, "three")
        self.assertEqual([(e["kind"], e.get("id")) for e in self.sim.events(n)], [("refused", None), ("delivered", "three")])
        self.assertEqual(len(self.sim.refusals()), 1)

    def test_reset_keeps_open_connections(self):
        c = self.smtp(source="127.0.3.3")
        c.mail(TO_OLD)
        self.sim.reset()
        s = self.sim.summary()
        self.assertEqual((s["messages"], s["events"], s["connections"]["open"], s["connections"]["peak"]), (0, 0, 1, 1))
        self.assertEqual(self.sim.lanes()["127.0.3.3", "EUR01"]["peak"], 1)
        c.quit()
        self.sim.wait(closed=1)

    def test_wait(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.sim.wait, deliveries=2)
            c = self.smtp()
            c.mail(TO_OLD, "one")
            self.assertFalse(waiting.done())
            c.mail(TO_OLD, "two")
            self.assertEqual(waiting.result(DEADLINE), {"deliveries": 2})
        with self.assertRaisesRegex(Failed, "waited 0.05 s"):
            self.sim.wait(0.05, deliveries=3)
        for bad in ("wait", "wait x", "wait x=1", "wait deliveries=a"):
            with self.assertRaises(Failed):
                self.sim.command(bad)

    def test_wait_delivered(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.sim.wait_delivered, "m19", TO_OLD)
            c = self.smtp()
            for i in range(20):
                c.mail(TO_OLD, f"m{i}")
            waiting.result(DEADLINE)

    def test_bad_commands(self):
        for bad in ("", "what", "rule", "rule add", "rule enable x", "advance x", "peaks moon", "scenario replace"):
            with self.subTest(bad), self.assertRaises(Failed):
                self.sim.command(bad)

    def test_without_detail(self):
        sim = self.another(BASE, detail=False, hash=False)
        c = self.smtp(sim=sim)
        for i in range(1000):
            c.mail(TO_OLD, f"m{i}")
        self.assertEqual((sim.summary()["unique_deliveries"], sim.delivered("m999", TO_OLD)), (1000, 1))
        self.assertRaises(Failed, sim.deliveries)

    def test_detail_is_bounded(self):
        sim = self.another(BASE, args=["--detail-max", "3"])
        c = self.smtp(sim=sim)
        for i in range(5):
            c.mail(TO_OLD, f"m{i}")
        self.assertEqual((len(sim.deliveries()), sim.summary()["events_lost"]), (3, 2))

    def test_control_over_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as d:
            sim = self.another(BASE, args=["--control", f"{d}/control"])
            self.assertEqual(sim.ready["control"], f"{d}/control")
            self.assertEqual(sim.summary()["messages"], 0)
            sim.close()
            self.assertFalse(os.path.exists(f"{d}/control"))


class Parallel(SimCase):
    def hammer(self, sim, sessions, each):
        def one(k):
            with Smtp(OLD, sim.smtp_port, source=f"127.0.{k % 3 + 1}.{k + 1}") as c:
                if k % 4 == 0:
                    c.starttls()
                    c.command("EHLO x")
                for i in range(each):
                    assert [r.code for r in c.mail(f"u{k}@t{i}.example", f"{k}-{i}", b"x" * (i * 37))] == [250] * 3
                c.quit()
        with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
            list(pool.map(one, range(sessions)))
        sim.wait(deliveries=sessions * each, open=0)
        sim.check_once([(f"{k}-{i}", f"u{k}@t{i}.example") for k in range(sessions) for i in range(each)])
        sim.check_no_violations()
        self.assertEqual(sum(g["messages"] for g in sim.lanes().values()), sessions * each)

    def test_one_thread(self):
        self.hammer(self.sim, 16, 50)

    def test_several_threads(self):
        self.hammer(self.another(BASE, threads=3), 16, 50)


if __name__ == "__main__":
    unittest.main()
