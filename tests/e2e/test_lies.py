"""Receivers that offer what they cannot do, and replies of other lengths than anybody keeps: what fails is taken away for the host,
one thing at a time, and the same mail goes again at once; what is a yes is a yes; who dribbles or stops reading is given up."""
import os
import pathlib
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.certs import Authority  # noqa: E402
from lib.clock import Clock  # noqa: E402
from lib.liar import FULL, Liar  # noqa: E402

SCENARIO = 'cluster "NONE" { addresses = {"127.1.1.1"} }\nrecords = {"liar.example MX 10 mx.liar.example", "mx.liar.example A 127.6.0.1"}\n'
SHORT = {f"timeout_{p}": "2s" for p in ("banner", "ehlo", "starttls", "tls", "mail", "rcpt", "data", "body", "eod")}


class LiarCase(RelayCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="postern-liar-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        ca = Authority(cls.dir / "ca")
        cls.tls = ca.certificate("liar", "DNS:mx.liar.example")

    def begin(self, faults, provider=None, sources=None, retry="10m", root=None, env=None, **options):
        peer = self.enterContext(Liar("127.6.0.1", faults=faults, **options))
        sim = self.simulator(SCENARIO)
        relay = self.relay(sim, sources=sources, queue={"retry": [retry]}, root=root, env=env, providers={
            "default": {"port": peer.port, "tls": "opportunistic" if options.get("tls") else "none", **SHORT, **(provider or {})}})
        return peer, relay

    def delivered(self, relay, id="m", **options):
        """At once: with these retries a retry is never seen."""
        relay.send(id, "u@liar.example", **options)
        relay.wait_event("delivered", timeout=20)

    def delivered_since(self, relay, since, id="again"):
        relay.send(id, "u@liar.example")
        relay.wait_event("delivered", since=since)

    def off(self, relay, **counts):
        """What was given up so far, by extension; the relay renews its metrics once a second."""
        for name, n in counts.items():
            self.wait_metric(relay, f'postern_extensions_off_total{{extension="{name.replace("_", " ")}"}}', n)

    def doubts(self, relay, n, after="deferred"):
        """After an outcome. Metrics are renewed once a second: a 0 of before it would be true of any relay."""
        self.wait_metric(relay, f"postern_{after}_total", lambda v: v >= 1)
        self.wait_metric(relay, "postern_in_doubt_total", n)


class Extensions(LiarCase):
    def test_bdat(self):
        for fault in ("bdat-500", "bdat-501", "bdat-502", "bdat-503", "bdat-504", "bdat-hangup", "bdat-silent"):
            with self.subTest(fault):
                peer, relay = self.begin({fault})
                self.delivered(relay)
                self.assertEqual([m.how for m in peer.mails], ["DATA"])
                self.off(relay, CHUNKING=1, PIPELINING=0)
                n = len(peer.sessions)
                relay.send("again", "u@liar.example")
                relay.wait_event("delivered", count=2)
                self.assertEqual([m.how for m in peer.mails], ["DATA"] * 2)
                self.assertEqual([c for s in peer.sessions[n:] for c in s.commands if c.startswith("BDAT")], [], "not remembered")
                [event] = relay.find("extension-failed")
                self.assertIn("127.6.0.1", event["message"])
                self.assertIn("CHUNKING", event["message"])
                host = next(c for c in self.lines(relay, "clusters") if c["host"] == "127.6.0.1")
                self.assertEqual(host["without"], "CHUNKING")

    def test_bdat_and_pipelining(self):
        for fault in ("bdat-502", "bdat-hangup"):
            with self.subTest(fault):
                peer, relay = self.begin({fault, "input-lost"})
                self.delivered(relay)
                self.assertEqual([m.how for m in peer.mails], ["DATA"])
                self.off(relay, CHUNKING=1, PIPELINING=1)

    def test_pipelining(self):
        for fault in ("input-lost", "input-hangup"):
            for offers in (FULL, ("PIPELINING",)):
                with self.subTest(fault, offers=offers):
                    peer, relay = self.begin({fault}, offers=offers)
                    self.delivered(relay)
                    self.assertEqual(len(peer.mails), 1)
                    self.off(relay, PIPELINING=1)
                    relay.send("again", "u@liar.example")
                    relay.wait_event("delivered", count=2)
                    self.off(relay, PIPELINING=1)

    def test_parameters(self):
        for fault in ("mail-params-555", "mail-params-501", "mail-params-504"):
            with self.subTest(fault):
                peer, relay = self.begin({fault})
                self.delivered(relay)
                self.assertEqual(peer.mails[0].mail, "MAIL FROM:<sender@example.org>")
                self.off(relay, MAIL_parameters=1)

    def test_memory_outlives_the_process(self):
        """What was learned of a host is known to the next process: nothing is tried again that failed within hours."""
        peer, relay = self.begin({"bdat-502", "input-lost"})
        self.delivered(relay)
        self.off(relay, CHUNKING=1, PIPELINING=1)
        for n in range(2, 4):  # what was read is still there after the next, too
            since, sessions = relay.mark(), len(peer.sessions)
            relay.restart()
            self.assertEqual({c["without"] for c in self.lines(relay, "clusters") if c["host"] == "127.6.0.1"} - {"CHUNKING, PIPELINING"}, set())
            relay.send(f"m{n}", "u@liar.example")
            relay.wait_event("delivered", since=since)
            self.assertEqual([m.how for m in peer.mails], ["DATA"] * n)
            self.assertEqual([c for s in peer.sessions[sessions:] for c in s.commands if c.startswith("BDAT")], [])
            self.assertEqual(relay.find("extension-failed", since=since), [])

    def test_memory_ends(self):
        peer, relay = self.begin({"bdat-502"}, provider={"extension_memory": "1s", "messages_per_connection": 1, "lane_message_rate": "none",
                                                      "lane_connect_rate": "none"})
        self.delivered(relay)
        peer.faults.clear()
        deadline, n = time.monotonic() + 20, 1
        while peer.mails[-1].how == "DATA":
            n += 1
            relay.send(f"m{n}", "u@liar.example")
            relay.wait_event("delivered", count=n)
            self.assertLess(time.monotonic(), deadline)

    @unittest.skipUnless("CLOCK_LIBRARY" in os.environ, "a sanitizer and a preloaded clock do not go together")
    def test_for_hours(self):
        """Six hours, one for TLS, where nothing else is set; also when the process is another by then."""
        for restarted in (False, True):
            with self.subTest(restarted=restarted):
                clock = Clock(self.enterContext(tempfile.TemporaryDirectory()), "2026-11-10 12:00")
                peer, relay = self.begin({"bdat-502", "handshake-hangup"}, tls=self.tls, env=clock.env(),
                                         provider={"connection_idle_max": "0", "messages_per_connection": 1})
                self.delivered(relay)
                peer.faults.clear()
                for minutes, how in ((0, ("DATA", False)), (50, ("DATA", False)), (20, ("DATA", True)), (4 * 60, ("DATA", True)), (60, ("BDAT", True))):
                    clock.elapse(minutes=minutes)
                    since = relay.mark()
                    if restarted:
                        relay.restart()
                    self.delivered_since(relay, since)
                    self.assertEqual((peer.mails[-1].how, peer.mails[-1].secure), how)

    def test_what_worked_is_not_given_up_for_once(self):
        """A host that takes BDAT and loses one answer: in doubt, and BDAT as before."""
        peer, relay = self.begin(set(), provider={"connection_idle_max": "0"})
        self.delivered(relay, "good")
        peer.faults.add("bdat-hangup")
        relay.send("lost", "u@liar.example")
        relay.wait_event("deferred")
        peer.faults.clear()
        self.off(relay, CHUNKING=0)
        self.doubts(relay, 1)


class Tls(LiarCase):
    FAULTS = ("starttls-hangup", "starttls-silent", "handshake-hangup", "tls-ehlo-hangup", "tls-ehlo-silent")

    def test_opportunistic(self):
        for fault in self.FAULTS:
            with self.subTest(fault):
                peer, relay = self.begin({fault}, tls=self.tls)
                self.delivered(relay)
                self.assertEqual([m.secure for m in peer.mails], [False])
                self.off(relay, STARTTLS=1)
                self.assertEqual(len(relay.find("tls-failed")), 1)

    def test_what_fails_inside_costs_no_tls(self):
        """What is broken behind a good handshake is given up, and the mail still goes inside TLS."""
        for fault, name in (("bdat-502", "CHUNKING"), ("bdat-hangup", "CHUNKING"), ("input-hangup", "PIPELINING")):
            with self.subTest(fault):
                peer, relay = self.begin({fault}, tls=self.tls)
                self.delivered(relay)
                self.assertEqual([m.secure for m in peer.mails], [True])
                self.off(relay, **{name: 1, "STARTTLS": 0})
                self.assertEqual(relay.find("tls-failed"), [])

    def test_outlives_the_process(self):
        peer, relay = self.begin({"handshake-hangup"}, tls=self.tls)
        self.delivered(relay)
        since = relay.mark()
        relay.restart()
        relay.send("again", "u@liar.example")
        relay.wait_event("delivered", since=since)
        self.assertEqual([m.secure for m in peer.mails], [False, False])
        self.assertEqual(relay.find("tls-failed", since=since), [])

    def test_required(self):
        for mode in ("require", "verify"):
            for fault in self.FAULTS:
                with self.subTest(mode, fault=fault):
                    peer, relay = self.begin({fault}, tls=self.tls, provider={"tls": mode}, retry="1s")
                    relay.send("m", "u@liar.example")
                    relay.wait_event("deferred")
                    self.assertEqual(peer.mails, [])
                    self.off(relay, STARTTLS=0)

    def test_from_one_source(self):
        """What is broken on the way from one source strips no other of its TLS."""
        for fault in ("handshake-hangup", "tls-ehlo-hangup", "starttls-hangup"):
            with self.subTest(fault):
                peer, relay = self.begin({fault}, tls=self.tls, only_from={"127.0.2.1"}, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"},
                                         provider={"connection_idle_max": "0", "messages_per_connection": 1})
                for i in range(20):
                    relay.send(f"m{i}", "u@liar.example")
                relay.wait_event("delivered", count=20)
                self.assertEqual({m.secure for m in peer.mails if m.source == "127.0.1.1"}, {True})
                self.assertEqual({m.secure for m in peer.mails if m.source == "127.0.2.1"} - {False}, set())

    def test_from_one_source_required(self):
        peer, relay = self.begin({"handshake-hangup"}, tls=self.tls, only_from={"127.0.2.1"},
                                 sources={"a1": "127.0.1.1", "b1": "127.0.2.1"},
                                 provider={"tls": "require", "connection_idle_max": "0", "messages_per_connection": 1})
        relay.send("first", "u@liar.example")
        deadline = time.monotonic() + 20
        while not peer.mails and time.monotonic() < deadline:
            time.sleep(0.05)
        for i in range(10):
            relay.send(f"m{i}", "u@liar.example")
        relay.wait_event("delivered", count=11 if peer.mails else 10)
        self.assertEqual({m.secure for m in peer.mails}, {True})


class Replies(LiarCase):
    def test_long_yes(self):
        for fault in ("long-yes", "lines-yes"):
            for offers in (FULL, ()):
                with self.subTest(fault, offers=offers):
                    peer, relay = self.begin({fault}, offers=offers)
                    self.delivered(relay)
                    self.wait_queue(relay, recipients=0)
                    self.assertEqual(len(peer.mails), 1)
                    self.doubts(relay, 0, after="delivered")

    def test_long_hello(self):
        peer, relay = self.begin({"long-hello"})
        self.delivered(relay)
        self.assertEqual([m.how for m in peer.mails], ["BDAT"])

    def test_dribble(self):
        for phase, word in (("mail", "mail"), ("rcpt", "rcpt"), ("data", "data")):
            with self.subTest(phase):
                peer, relay = self.begin({f"dribble-{phase}"}, offers=())
                begun = time.monotonic()
                relay.send("m", "u@liar.example")
                relay.wait_event("deferred")
                self.assertLess(time.monotonic() - begun, 15)
                self.assertEqual(peer.mails, [])


class Doubt(LiarCase):
    def test_nothing_was_taken(self):
        """A hang-up at MAIL, RCPT or DATA is no doubt."""
        for phase in ("mail", "rcpt", "data"):
            for offers in (FULL, ("PIPELINING",), ()):
                if phase == "data" and "CHUNKING" in offers:
                    continue
                with self.subTest(phase, offers=offers):
                    peer, relay = self.begin({f"hangup-{phase}"}, offers=offers)
                    relay.send("m", "u@liar.example")
                    relay.wait_event("deferred", next=lambda t: t is not None, reason=lambda r: "again without" not in (r or ""))
                    self.doubts(relay, 0)
                    self.assertEqual(peer.mails, [])

    def test_doubts_are_bounded(self):
        peer, relay = self.begin({"hangup-eod"}, offers=(), retry="1s")
        relay.queue["in_doubt_max"] = 2
        relay.reload()
        relay.send("m", "u@liar.example")
        relay.wait_event("deferred")
        relay.cli("retry", "--all")
        event = relay.wait_event("bounced", timeout=60)
        self.assertIn("may have arrived", event["reason"])
        self.assertEqual(len(peer.mails), 2)
        self.doubts(relay, 2)
        self.wait_metric(relay, "postern_in_doubt_ended_total", 1)


class Stalled(LiarCase):
    """A large message to many receivers that stop reading after 354: what is ahead of them is bounded, and other mail goes on."""

    N = 24
    BUDGET = 4 << 20

    def kernel_bytes(self, port):
        """What the kernel holds unacknowledged for connections to this port."""
        total = 0
        with open("/proc/net/tcp") as f:
            for line in list(f)[1:]:
                fields = line.split()
                if int(fields[2].split(":")[1], 16) == port and fields[3] == "01":
                    total += int(fields[4].split(":")[0], 16)
        return total

    def test_bounded(self):
        peer = self.enterContext(Liar("0.0.0.0", faults={"stop-reading"}, offers=("PIPELINING",)))
        records = ", ".join(f'"s{i}.example MX 10 mx.s{i}.example", "mx.s{i}.example A 127.6.{i}.1"' for i in range(1, self.N + 1))
        sim = self.simulator('cluster "NONE" { addresses = {"127.1.1.1"} }\n'
                             f'records = {{{records}, "good.example MX 10 mx.good.example", "mx.good.example A 127.6.200.1"}}\n')
        relay = self.relay(sim, queue={"retry": ["10m"]}, root={"outbound_memory_max": "4MiB", "workers": 1}, listeners={
            "in": {"message_size_max": "50MiB"}}, providers={"default": {"port": peer.port, "tls": "none", "timeout_body": "20s"}})
        before = relay.memory_parts()[0]
        relay.send("large", [f"u@s{i}.example" for i in range(1, self.N + 1)], size=20 << 20)
        deadline = time.monotonic() + 20
        while len([s for s in list(peer.sessions) if "DATA" in s.commands]) < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        worst = 0
        for _ in range(40):
            worst = max(worst, self.kernel_bytes(peer.port))
            time.sleep(0.05)
        self.assertLess(worst, self.BUDGET + (1 << 20))
        if not os.environ.get("E2E_SANITIZED"):  # the address sanitizer keeps what was freed
            self.assertLess(relay.memory_parts()[0] - before, 32 << 20, (relay.memory_parts(), before))
        self.assertGreater(len([s for s in peer.sessions if "DATA" in s.commands]), 5)
        self.assertGreater(relay.metrics()["postern_outbound_content_waiting"], 0)
        self.assertLessEqual(relay.metrics()["postern_outbound_content_bytes"], self.BUDGET)
        # small mail has its part; large mail comes when those that take nothing have been given up
        peer.faults.clear()
        relay.send("small", "u@good.example")
        relay.wait_event("delivered", domain="good.example", timeout=10)
        relay.send("big", "u@good.example", size=3 << 20)
        relay.wait_event("delivered", count=2, domain="good.example", timeout=90)
        self.assertEqual(relay.metrics()["postern_in_doubt_total"], 0)
