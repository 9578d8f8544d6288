"""Who may send, how much and for how long: networks, PROXY protocol, TLS and AUTH on offer, limits of sessions and time, memory."""
import contextlib
import os
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import content  # noqa: E402
from lib.certs import Authority, password_hash  # noqa: E402
from lib.process import DEADLINE  # noqa: E402
from lib.raw import Smtp  # noqa: E402
from lib.relay import Relay  # noqa: E402
from lib.sim import Simulator  # noqa: E402

SCENARIO = """
cluster "FULL" { addresses = {"127.1.1.1-4"}  size = "200MiB" }
cluster "DATA" { addresses = {"127.1.2.1-4"}  size = "200MiB"  without = {"CHUNKING", "BINARYMIME"} }
tenant "full.example" { cluster = {"FULL"} }
tenant "data.example" { cluster = {"DATA"} }
"""
MAIL, RCPT = "MAIL FROM:<s@sender.example>", "RCPT TO:<user@full.example>"
V2 = b"\r\n\r\n\0\r\nQUIT\n"


def proxy_v1(client, server="192.0.2.1", family="TCP4"):
    return f"PROXY {family} {client} {server} 40000 25\r\n".encode()


def proxy_v2(client=None, command=0x21, family=0x11, extra=b""):
    """client None: the family's bytes are left out."""
    address = b""
    if client and ":" in client:
        family = 0x21
        address = socket.inet_pton(socket.AF_INET6, client) + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack(">HH", 40000, 25)
    elif client:
        address = socket.inet_aton(client) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 40000, 25)
    return V2 + bytes([command, family]) + struct.pack(">H", len(address + extra)) + address + extra


class InboundCase(unittest.TestCase):
    """One relay for each class: listeners as the class says, with what all may use."""

    listeners = {}
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="postern-inbound-")))
        certificate, key = Authority(cls.dir).certificate("relay", "DNS:relay.test.example")
        users = cls.dir / "users"
        users.write_text(f"app:{password_hash('secret')}\n")
        words = {"certificate": certificate, "key": key, "users": users}
        listeners = {name: {k: words.get(v, v) if isinstance(v, str) else v for k, v in options.items()} for name, options in cls.listeners.items()}
        cls.sim = cls.enterClassContext(Simulator(SCENARIO, store=True))
        cls.relay = cls.enterClassContext(Relay(cls.sim, listeners=listeners, providers={"microsoft365": {"lane_message_rate": "none"}},
                                                **cls.options))

    def connect(self, listener, preface=b"", **options):
        host, port = self.relay.address(listener)
        if not preface:
            c = Smtp(host, port, **options)
        else:
            c = Smtp(host, port, greet=False)
            c.send(preface)
            c.banner = c.reply()
            c.hello = c.command("EHLO client.example")
        self.addCleanup(c.close)
        return c

    def check_reply(self, reply, prefix):
        self.assertTrue(reply.text.startswith(prefix), f"{reply} instead of {prefix}")

    def check_mail(self, c, id):
        self.assertEqual([r.code for r in c.mail("user@full.example", id)], [250, 250, 250])
        self.sim.wait_delivered(id, "user@full.example")
        return pathlib.Path([d for d in self.sim.deliveries() if d["id"] == id][0]["file"]).read_bytes()

    def rest(self, c):
        return c.at_eof().replace(b"<RST>", b"")


class Access(InboundCase):
    tls = {"certificate": "certificate", "key": "key", "users_file": "users"}
    listeners = {
        "proxy": {**tls, "proxy": True, "proxy_from": ["127.0.0.1"], "allow": ["192.0.2.0/24", "2001:db8:1::/48", "127.0.0.0/8"]},
        "proxy-tls": {**tls, "proxy": True, "proxy_from": ["127.0.0.1"], "allow": ["192.0.2.0/24"], "implicit_tls": True},
        "unproxied": {"proxy": True, "proxy_from": ["10.0.0.0/8"]},
        "plain-auth": {**tls, "proxy": True, "proxy_from": ["127.0.0.1"], "allow": [], "offer_auth_plain_text": True},
        "one-address": {"allow": ["127.0.0.9"]},
        "must-tls": {**tls, "require_tls": True},
        "must-auth": {**tls, "require_auth": True},
    }

    def test_allowed_by_address(self):
        c = self.connect("one-address", source="127.0.0.9")
        self.assertIn(b"([127.0.0.9])", self.check_mail(c, self.id()))
        c = self.connect("one-address", source="127.0.0.8")
        self.check_reply(c.command(MAIL), "250")
        self.check_reply(c.command(RCPT), "550 5.7.1 Relaying denied for 127.0.0.8")
        self.check_reply(c.command("DATA"), "554 5.5.1")

    def test_proxy_names_the_client(self):
        for preface, seen in ((proxy_v1("192.0.2.77"), "[192.0.2.77]"), (proxy_v2("192.0.2.78"), "[192.0.2.78]"),
                              (proxy_v1("2001:db8:1::5", "2001:db8::1", "TCP6"), "[IPv6:2001:db8:1::5]"),
                              (proxy_v2("2001:db8:1::6"), "[IPv6:2001:db8:1::6]"), (proxy_v2("192.0.2.79", extra=b"\x04\0\x05hello"), "[192.0.2.79]"),
                              (b"PROXY UNKNOWN\r\n", "[127.0.0.1]"), (b"PROXY UNKNOWN a b c\r\n", "[127.0.0.1]"),
                              (proxy_v2(command=0x20, family=0), "[127.0.0.1]")):
            with self.subTest(preface):
                id = f"{self.id()}-{seen}-{len(preface)}"
                self.assertIn(f"({seen})".encode(), self.check_mail(self.connect("proxy", preface), id))

    def test_no_open_relay(self):
        """A client outside the networks, without a password: also for strange spellings of where the mail shall go."""
        for preface in (proxy_v1("203.0.113.5"), proxy_v2("203.0.113.5"), proxy_v2("2001:db8:2::1"), proxy_v1("192.0.3.1")):
            for sender in ("<s@sender.example>", "<>", "<postmaster@relay.test.example>", "<a@127.0.0.1.example>"):
                c = self.connect("proxy", preface)
                for to in ("<u@full.example>", "<u%full.example@relay.test.example>", "<@relay.test.example:u@full.example>",
                           '<"u@full.example"@relay.test.example>', "<full.example!u@relay.test.example>", "<u@[127.0.0.1]>", "<postmaster>"):
                    with self.subTest(preface=preface, sender=sender, to=to):
                        self.check_reply(c.command(f"MAIL FROM:{sender}"), "250")
                        self.check_reply(c.command(f"RCPT TO:{to}"), "550 5.7.1 Relaying denied")
                        self.check_reply(c.command("DATA"), "554 5.5.1")
                        self.check_reply(c.command("RSET"), "250")
                c.quit()

    def test_bad_prefaces(self):
        """No reply is due to who does not speak the protocol that was agreed on."""
        for bad in (b"EHLO client.example\r\n", b"PROXY\r\n", b"PROXY TCP4 192.0.2.1\r\n", proxy_v1("300.0.2.1"), proxy_v1("192.0.2.1", family="TCP6"),
                    proxy_v1("192.0.2.1", family="TCP5"), b"PROXY TCP4 192.0.2.1 192.0.2.2 99999 25\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\n",
                    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25 \r\n", b"PROXY " + b"x" * 200 + b"\r\n", V2 + b"\x31\x11\0\x0c" + bytes(12),
                    V2 + b"\x22\x11\0\x0c" + bytes(12), V2 + b"\x21\x12\0\x0c" + bytes(12), V2 + b"\x21\x11\0\x04" + bytes(4),
                    V2 + b"\x21\x11\xff\xff" + bytes(100), b"\x16\x03\x01\0\x05hello"):
            with self.subTest(bad):
                c = Smtp(*self.relay.address("proxy"), greet=False)
                self.addCleanup(c.close)
                c.send(bad)
                self.assertEqual(self.rest(c), b"")
        self.check_mail(self.connect("proxy", proxy_v1("192.0.2.1")), self.id())

    def test_preface_in_pieces(self):
        for preface in (proxy_v1("192.0.2.50"), proxy_v2("192.0.2.51", extra=bytes([4, 0, 40]) + bytes(40))):
            c = Smtp(*self.relay.address("proxy"), greet=False)
            self.addCleanup(c.close)
            for b in preface:
                c.send(bytes([b]))
            self.check_reply(c.reply(), "220 ")
            self.assertEqual(c.command("EHLO x").code, 250)
            self.check_mail(c, f"{self.id()}-{len(preface)}")

    def test_commands_behind_the_preface(self):
        c = Smtp(*self.relay.address("proxy"), greet=False)
        self.addCleanup(c.close)
        c.send(proxy_v1("192.0.2.50") + b"EHLO early\r\nNOOP\r\n")
        self.assertEqual([c.reply().code for _ in range(3)], [220, 250, 250])

    def test_tls_behind_the_preface(self):
        host, port = self.relay.address("proxy-tls")
        raw = socket.create_connection((host, port), DEADLINE)
        raw.sendall(proxy_v2("192.0.2.52"))
        c = Smtp.__new__(Smtp)
        c.socket, c.buffer = raw, b""
        c.handshake()
        self.addCleanup(c.close)
        self.check_reply(c.reply(), "220 ")
        c.command("EHLO x")
        self.assertIn(b" with ESMTPS ", self.check_mail(c, self.id()))

    def test_only_named_proxies_are_believed(self):
        c = Smtp(*self.relay.address("unproxied"), greet=False)
        self.addCleanup(c.close)
        with contextlib.suppress(OSError):  # closed already, perhaps
            c.send(proxy_v1("10.0.0.1"))
        self.assertEqual(self.rest(c), b"")

    def test_auth_is_not_offered_in_clear(self):
        """To this machine it is, and to anybody under TLS."""
        far = self.connect("proxy", proxy_v1("192.0.2.77"))
        self.assertNotIn("AUTH", far.hello.text)
        self.check_reply(far.command("AUTH PLAIN AGFwcABzZWNyZXQ="), "538 5.7.11")
        far.starttls()
        self.assertIn("AUTH PLAIN LOGIN", far.command("EHLO x").text)
        self.check_reply(far.command("AUTH PLAIN AGFwcABzZWNyZXQ="), "235")
        near = self.connect("proxy", b"PROXY UNKNOWN\r\n")
        self.assertIn("AUTH PLAIN LOGIN", near.hello.text)
        opened = self.connect("plain-auth", proxy_v1("203.0.113.5"))
        self.assertIn("AUTH PLAIN LOGIN", opened.hello.text)

    def test_a_stranger_may_relay_with_a_password(self):
        c = self.connect("proxy", proxy_v1("203.0.113.5"))
        c.starttls()
        c.command("EHLO x")
        self.check_reply(c.command(MAIL), "250")
        self.check_reply(c.command(RCPT), "550 5.7.1")
        c.command("RSET")
        self.check_reply(c.command("AUTH PLAIN AGFwcABzZWNyZXQ="), "235")
        self.assertIn(b" with ESMTPSA ", self.check_mail(c, self.id()))

    def test_what_is_demanded(self):
        c = self.connect("must-tls")
        self.check_reply(c.command(MAIL), "530 5.7.0 Encryption required")
        c.starttls()
        c.command("EHLO x")
        self.check_mail(c, self.id())
        c = self.connect("must-auth")
        self.check_reply(c.command(MAIL), "530 5.7.0 Authentication required")
        self.check_reply(c.command("AUTH PLAIN AGFwcABzZWNyZXQ="), "235")
        self.check_mail(c, self.id() + "-auth")


class Sessions(InboundCase):
    listeners = {
        "total": {"sessions_max": 5, "sessions_per_client": 5},
        "client": {"sessions_max": 50, "sessions_per_client": 2},
        "proxied": {"proxy": True, "proxy_from": ["127.0.0.1"], "allow": ["192.0.2.0/24"], "sessions_per_client": 2},
        "other": {},
    }

    def refused(self, listener, prefix, preface=b"", **options):
        c = Smtp(*self.relay.address(listener), greet=False, **options)
        self.addCleanup(c.close)
        if preface:
            c.send(preface)
        self.check_reply(c.reply(), prefix)
        self.assertEqual(self.rest(c), b"")

    def again(self, listener, preface=b"", **options):
        """A slot is free as soon as the relay has seen that the other session ended, hence not at once."""
        for _ in range(2000):
            c = Smtp(*self.relay.address(listener), greet=False, **options)
            if preface:
                c.send(preface)
            if c.reply().code == 220:
                self.addCleanup(c.close)
                return c
            c.close()
        self.fail("no session became free")

    def test_in_all(self):
        open_ones = [self.connect("total") for _ in range(5)]
        for _ in range(3):
            self.refused("total", "421 4.3.2 Too many sessions")
        self.connect("other")
        open_ones[2].quit()
        self.again("total").close()
        self.check_mail(open_ones[0], self.id())

    def test_of_one_client(self):
        open_ones = [self.connect("client", source="127.0.0.31") for _ in range(2)]
        self.refused("client", "421 4.7.0 Too many sessions from your address", source="127.0.0.31")
        self.connect("client", source="127.0.0.32")
        open_ones[0].close()
        self.again("client", source="127.0.0.31")

    def test_of_one_client_behind_a_proxy(self):
        first, second = proxy_v1("192.0.2.1"), proxy_v1("192.0.2.2")
        open_ones = [self.connect("proxied", first) for _ in range(2)]
        self.refused("proxied", "421 4.7.0", first)
        self.connect("proxied", second)
        open_ones[0].close()
        self.again("proxied", first)

    def test_many_sessions_that_do_nothing(self):
        """Hundreds of silent clients leave the others served."""
        silent = [Smtp(*self.relay.address("other"), greet=False, source=f"127.0.1.{i % 200 + 1}") for i in range(400)]
        for c in silent:
            self.addCleanup(c.close)
        self.check_mail(self.connect("other", source="127.0.0.9"), self.id())


class Time(InboundCase):
    listeners = {
        "short": {"command_timeout": "1s", "data_timeout": "1s"},
        "command": {"command_timeout": "1s", "data_timeout": "1h"},
        "life": {"session_max": "2s"},
        "rate": {"data_timeout": "2s", "rate_min": "100KiB"},
        "tls": {"command_timeout": "1s", "certificate": "certificate", "key": "key"},
        "smtps": {"command_timeout": "1s", "certificate": "certificate", "key": "key", "implicit_tls": True},
        "proxy": {"command_timeout": "1s", "proxy": True, "proxy_from": ["127.0.0.1"], "allow": ["192.0.2.0/24"]},
    }

    def ended(self, c, prefix, least=0.8, most=None):
        """What the relay says before it ends the session, some time from now."""
        begun = time.monotonic()
        said = self.rest(c).decode()
        took = time.monotonic() - begun
        self.assertTrue(said.startswith(prefix), said)
        self.assertGreater(took, least)
        self.assertLess(took, most or DEADLINE)

    def test_silence(self):
        c = self.connect("short")
        self.ended(c, "421 4.4.2 Timeout waiting for a command")

    def test_half_a_command(self):
        c = self.connect("short")
        c.send(b"NOO")
        self.ended(c, "421 4.4.2 Timeout waiting for a command")

    def test_silence_in_content(self):
        for parts, replies in ((("DATA",), 3), (("BDAT 1000",), 2)):
            with self.subTest(parts):
                c = self.connect("short")
                c.flight(MAIL, RCPT, *parts, replies=replies)
                c.send(b"Subject: x\r\n")
                self.ended(c, "421 4.4.2 Timeout waiting for message content")
        stats = self.relay.json("stats")
        self.assertEqual(stats["queue"]["messages"], 0)

    def test_content_has_its_own_time(self):
        c = self.connect("command")
        c.flight(MAIL, RCPT, "DATA", replies=3)
        silent = self.connect("command")
        self.ended(silent, "421 4.4.2")  # a second passes
        self.check_reply(c.flight(b"X-Test-Id: patient\r\n\r\n.\r\n", replies=1)[0], "250")

    def test_drip(self):
        """A byte now and then keeps the time-outs away, and not the least rate."""
        c = self.connect("rate")
        c.flight(MAIL, RCPT, "DATA", replies=3)
        stop = threading.Event()

        def drip():
            while not stop.wait(0.05):
                try:
                    c.send(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            self.ended(c, "421 4.4.2 Content comes in too slowly")
        finally:
            stop.set()
            thread.join()

    def test_fast_enough_is_left_alone(self):
        c = self.connect("rate")
        c.flight(MAIL, RCPT, "DATA", replies=3)
        c.send(b"X-Test-Id: fast\r\n\r\n" + (b"y" * 998 + b"\r\n") * 2000)
        self.check_reply(c.flight(b".\r\n", replies=1)[0], "250")

    def test_life_of_a_session(self):
        c = self.connect("life")
        begun = time.monotonic()
        with self.assertRaises((EOFError, OSError)):
            while time.monotonic() - begun < DEADLINE:
                reply = c.command("NOOP")
                if reply.code == 421:
                    self.check_reply(reply, "421 4.4.2 Session lasted too long")
                    c.line()
        self.assertGreater(time.monotonic() - begun, 1.5)

    def test_handshake(self):
        c = self.connect("tls")
        self.assertEqual(c.command("STARTTLS").code, 220)
        self.ended(c, "")
        c = Smtp(*self.relay.address("smtps"), greet=False)
        self.addCleanup(c.close)
        self.ended(c, "")

    def test_preface(self):
        c = Smtp(*self.relay.address("proxy"), greet=False)
        self.addCleanup(c.close)
        c.send(b"PROXY TCP4 ")
        self.ended(c, "")

    def test_client_that_does_not_read(self):
        """Its replies must not pile up in memory: it is made to wait, and then ended."""
        c = self.connect("short")
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.socket.settimeout(0.5)
        before = self.relay.memory()
        with self.assertRaises((TimeoutError, OSError)):
            for _ in range(100000):
                c.send(b"HELP\r\n" * 1000)
        if not os.environ.get("E2E_SANITIZED"):
            self.assertLess(self.relay.memory() - before, 16 << 20)
        self.relay.wait_event("session-ended")


class Memory(InboundCase):
    LIMIT = 64 << 20
    listeners = {"in": {"message_size_max": "150MiB"}}
    options = {"queue": {"max_size": "2GiB"}}

    def sample(self, stop, peak):
        """Resident bytes, and of what kind they are, for the message of a failure."""
        while not stop.wait(0.01):
            with open(f"/proc/{self.relay.pid}/status") as f:
                kinds = " ".join(line.strip() for line in f if line.startswith(("VmRSS", "Rss")))
            peak.append((self.relay.memory(), kinds))

    def blocks(self, size):
        block = b"".join(b".%063d\r\n" % i for i in range(1000))
        self.assertEqual(len(block), 66000)
        for _ in range(size // len(block)):
            yield block

    def transfer(self, id, to, size, chunks):
        """One large message; the number of bytes of content that were sent."""
        c = self.connect("in")
        header = f"From: <s@sender.example>\r\nX-Test-Id: {id}\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\nMessage-ID: <{id}@x>\r\n\r\n".encode()
        sent = len(header)
        if chunks:
            c.flight(MAIL, *[f"RCPT TO:<{t}>" for t in to], f"BDAT {len(header)}", header, replies=2 + len(to))
        else:
            c.flight(MAIL, *[f"RCPT TO:<{t}>" for t in to], "DATA", replies=2 + len(to))
            c.send(header)
        for block in self.blocks(size):
            sent += len(block)
            if chunks:
                self.assertEqual(c.flight(f"BDAT {len(block)}", block, replies=1)[0].code, 250)
            else:
                c.send(block.replace(b".0", b"..0"))
        reply = c.flight("BDAT 0 LAST" if chunks else b".\r\n", replies=1)[0]
        self.check_reply(reply, "250")
        return sent

    def arrived(self, id, to):
        for t in to:
            self.sim.wait_delivered(id, t, timeout=2 * DEADLINE)

    def test_large_messages_in_little_memory(self):
        """100 MB in by DATA, out to a receiver by BDAT and to one by DATA; then in by BDAT; then six at once. Nothing is held whole."""
        stop, peak = threading.Event(), [(0, "")]
        sampler = threading.Thread(target=self.sample, args=(stop, peak))
        sampler.start()
        try:
            sent = self.transfer("data", ("u@full.example", "u@data.example"), 100_000_000, False)
            self.arrived("data", ("u@full.example", "u@data.example"))
            self.check_whole("data", ("u@full.example", "u@data.example"), sent)
            sent = self.transfer("bdat", ("u@data.example",), 30_000_000, True)
            self.arrived("bdat", ("u@data.example",))
            self.check_whole("bdat", ("u@data.example",), sent)
            several = [threading.Thread(target=self.transfer, args=(f"several-{i}", ("u@full.example",), 10_000_000, False)) for i in range(6)]
            for t in several:
                t.start()
            for t in several:
                t.join()
            for i in range(6):
                self.arrived(f"several-{i}", ("u@full.example",))
        finally:
            stop.set()
            sampler.join()
        self.assertGreater(len(peak), 20)
        if not os.environ.get("E2E_SANITIZED"):  # sanitizers have memory of their own
            self.assertLess(max(peak)[0], self.LIMIT, max(peak)[1])

    def check_whole(self, id, to, sent):
        """What came is what was sent, block by block."""
        for d in self.sim.deliveries():
            if d["id"] != id:
                continue
            self.assertIn(d["to"], to)
            with open(d["file"], "rb") as f:
                head = f.read(2000)
                received, _ = content.strip_received(head)
                f.seek(len(received) + head[len(received):].index(b"\r\n\r\n") + 4)
                expected = next(self.blocks(66000))
                while block := f.read(len(expected)):
                    self.assertEqual(block, expected)
            self.assertEqual(d["size"], len(received) + sent)


if __name__ == "__main__":
    unittest.main()
