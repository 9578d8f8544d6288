"""The simulator's DNS server, against raw packets."""
import hashlib
import os
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.raw import Dns, dns_query  # noqa: E402
from lib.simcase import BASE, NEW, SimCase  # noqa: E402


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


if __name__ == "__main__":
    unittest.main()
