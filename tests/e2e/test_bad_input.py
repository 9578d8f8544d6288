"""Bad input: each wrong command, parameter, address, chunk and AUTH exchange has its clear error, nothing is smuggled in, and a client that
leaves early leaves nothing behind."""
import base64
import os
import pathlib
import socket
import ssl
import struct
import sys
import tempfile
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
cluster "FULL" { addresses = {"127.1.1.1-4"} }
cluster "DATA" { addresses = {"127.1.2.1-4"}  without = {"CHUNKING", "BINARYMIME"} }
tenant "full.example" { cluster = {"FULL"} }
tenant "data.example" { cluster = {"DATA"} }
"""
HEADER = b"From: <s@sender.example>\r\nSubject: x\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\nMessage-ID: <made@client.example>\r\n"
MAIL, RCPT = "MAIL FROM:<s@sender.example>", "RCPT TO:<user@full.example>"


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class BadCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="postern-bad-")))
        certificate, key = Authority(cls.dir).certificate("relay", "DNS:relay.test.example")
        users = cls.dir / "users"
        users.write_text(f"app:{password_hash('secret')}\n")
        many = {"errors_max": 10000}
        cls.sim = cls.enterClassContext(Simulator(SCENARIO, store=True))
        cls.relay = cls.enterClassContext(Relay(cls.sim, listeners={
            "in": {**many, "message_size_max": "1MiB", "recipients_max": 5, "received_max": 5, "header_max": 8192, "stream_over": "64KiB"},
            "fix": {**many, "bare_newline": "fix"},
            "lines": {**many, "content_line_max": 998},
            "few": {"errors_max": 3, "messages_per_session": 2},
            "tls": {**many, "certificate": certificate, "key": key, "users_file": users},
        }, providers={"microsoft365": {"lane_message_rate": "none"}}))

    def setUp(self):
        self.sim.reset()

    def connect(self, listener="in", **options):
        c = Smtp(*self.relay.address(listener), **options)
        self.addCleanup(c.close)
        return c

    def check_alive(self, c, id):
        """The session goes on: a whole message, which arrives."""
        self.assertEqual(c.command("RSET").code, 250)
        self.assertEqual([r.code for r in c.mail("user@full.example", id)], [250, 250, 250])
        self.sim.wait_delivered(id, "user@full.example")

    def check_reply(self, reply, prefix):
        self.assertTrue(reply.text.startswith(prefix), f"{reply} instead of {prefix}")

    def check_empty(self):
        """No message is left, and no part of one on disk. What was delivered or dropped goes with a later commit, hence not at once."""
        deadline = time.monotonic() + DEADLINE
        while True:
            queue = self.relay.json("stats")["queue"]
            left = queue["messages"], queue["recipients"], queue["bytes"]
            if left == (0, 0, 0) and queue["used"] < 400_000:
                break
            self.assertLess(time.monotonic(), deadline, f"{left} are left, {queue['used']} bytes on disk")
        self.assertIn("no damage", self.relay.cli("check-queue").stdout)


class Commands(BadCase):
    def rows(self, before, rows):
        c = self.connect()
        for line, prefix in rows:
            with self.subTest(line):
                self.assertEqual(c.command("RSET").code, 250)
                for b in before:
                    self.assertEqual(c.command(b).code, 250)
                self.check_reply(c.command(line), prefix)
                self.assertEqual(c.command("NOOP").code, 250)
        self.check_alive(c, self.id())

    def test_in_no_transaction(self):
        self.rows([], [
            ("", "500 5.5.2"), ("FOO", "500 5.5.2"), (" NOOP", "500 5.5.2"), ("MAILFROM:<a@b.example>", "500 5.5.2"), ("\x01", "500 5.5.2"),
            ("EHLO", "501 5.5.4"), ("EHLO a b", "501 5.5.4"), ("EHLO <x>", "501 5.5.4"), ("HELO", "501 5.5.4"), ("EHLO " + "x" * 300, "501 5.5.4"),
            ("RSET x", "501 5.5.4"), ("QUIT x", "501 5.5.4"), ("STARTTLS x", "501 5.5.4"), ("VRFY", "501 5.5.4"), ("EXPN a", "502 5.5.1"),
            (RCPT, "503 5.5.1"), ("DATA", "503 5.5.1"), ("STARTTLS", "502 5.5.1"), ("AUTH PLAIN", "502 5.5.1"),
            ("NOOP x\rNOOP", "500 5.5.2 Bare CR; "), ("NOOP \0", "501 5.5.2"),
            ("NOOP " + "x" * 5000, "500 5.5.2 Line too long"), ("x" * 60000, "500 5.5.2 Line too long"),
            ("BDAT 0", "503 5.5.1"), ("VRFY a@b.example", "252 2.0.0"), ("HELP", "214 2.0.0"), ("noop", "250 2.0.0"),
        ])

    def test_mail(self):
        self.rows([], [("MAIL" + rest, prefix) for rest, prefix in (
            ("", "501 5.5.4"), (" FROM", "501 5.5.4"), (" FROM <a@b.example>", "501 5.5.4"), (" TO:<a@b.example>", "501 5.5.4"),
            (" FROM:", "501 5.1.7"), (" FROM:a@b.example>", "501 5.1.7"), (" FROM:<a@b.example", "501 5.1.7"), (" FROM:<a>", "501 5.1.7"),
            (" FROM:<a@>", "501 5.1.7"), (" FROM:<@b.example>", "501 5.1.7"), (" FROM:<a@b..example>", "501 5.1.7"),
            (" FROM:<a@-b.example>", "501 5.1.7"), (" FROM:<.@c.example>", "501 5.1.7"), (" FROM:<a@c.example..>", "501 5.1.7"),
            (" FROM:<a b@c.example>", "501 5.1.7"), (' FROM:<"a@b.example>', "501 5.1.7"), (" FROM:<a@[300.1.1.1]>", "501 5.1.7"),
            (" FROM:<a@[IPv6:zz]>", "501 5.1.7"), (" FROM:<a@b@c.example>", "501 5.1.7"), (f" FROM:<{'a' * 400}@b.example>", "501 5.1.7"),
            (f" FROM:<a@{'b.' * 130}example>", "501 5.1.7"), (" FROM:<a@b.example>>", "501 5.5.4"), (" FROM:<postmaster>", "501 5.1.7"),
            (" FROM:<a@b.example>SIZE=1", "501 5.5.4"), (" FROM:<a@b.example> SIZE=x", "501 5.5.4"), (" FROM:<a@b.example> SIZE=", "501 5.5.4"),
            (" FROM:<a@b.example> SIZE=-1", "501 5.5.4"), (" FROM:<a@b.example> SIZE", "501 5.5.4"),
            (" FROM:<a@b.example> SIZE=99999999999999999999", "552 5.3.4"), (" FROM:<a@b.example> SIZE=1048577", "552 5.3.4"),
            (" FROM:<a@b.example> BODY=9BIT", "501 5.5.4"), (" FROM:<a@b.example> BODY", "501 5.5.4"),
            (" FROM:<a@b.example> SMTPUTF8=1", "501 5.5.4"), (" FROM:<a@b.example> RET=ALL", "501 5.5.4"),
            (" FROM:<a@b.example> ENVID=", "501 5.5.4"), (" FROM:<a@b.example> ENVID=a+1", "501 5.5.4"),
            (f" FROM:<a@b.example> ENVID={'x' * 101}", "501 5.5.4"), (" FROM:<a@b.example> AUTH=", "501 5.5.4"),
            (" FROM:<a@b.example> SIZE=1 SIZE=1", "501 5.5.4 Parameter given twice"), (" FROM:<a@b.example> FOO=1", "555 5.5.4"),
            (" FROM:<a@b.example> NOTIFY=NEVER", "555 5.5.4"), (" FROM:<ä@b.example>", "553 5.6.7"), (" FROM:<a@bü.example>", "553 5.6.7"),
            (" FROM:<a\x01@b.example>", "501 5.5.2"))])

    def test_what_ends_the_session_at_once(self):
        """Line ends without CR (their sender would wait for an answer for ever), and a browser's request with commands in its body."""
        for wire, prefix in (("NOOP\n", "521 5.5.2 Bare LF"), ("NOOP\nNOOP\r\n", "521 5.5.2 Bare LF"),
                             ("MAIL FROM:<a\n@b.example>\r\n", "521 5.5.2 Bare LF"),
                             ("POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b.example>\r\n" + RCPT + "\r\nDATA\r\n\r\n.\r\n", "521 5.5.1 This is SMTP")):
            with self.subTest(wire):
                c = self.connect()
                c.send(wire)
                self.check_reply(c.reply(), prefix)
                self.assertEqual(c.at_eof(), b"")
        self.check_empty()

    def test_invalid_utf8(self):
        c = self.connect()
        for line in (b"MAIL FROM:<\xff@b.example> SMTPUTF8", b"MAIL FROM:<a@\xc3.example> SMTPUTF8", b"MAIL FROM:<\xc0\xaf@b.example> SMTPUTF8"):
            self.check_reply(c.flight(line + b"\r\n", replies=1)[0], "501 5.1.7")
        self.check_alive(c, self.id())

    def test_rcpt(self):
        self.rows([MAIL], [("RCPT" + rest, prefix) for rest, prefix in (
            ("", "501 5.5.4"), (" TO", "501 5.5.4"), (" FROM:<a@b.example>", "501 5.5.4"), (" TO:", "501 5.1.3"), (" TO:<>", "501 5.1.3"),
            (" TO:a b@b.example", "501 5.1.3"), (" TO:<a@b.example", "501 5.1.3"), (" TO:<a>", "501 5.1.3"), (" TO:<a@1.2.3.4>", "501 5.1.3"),
            (" TO:<a@b.example,c@d.example>", "501 5.1.3"), (" TO:<@x.example>", "501 5.1.3"), (" TO:<@x.example,@y:a@b.example x>", "501 5.1.3"),
            (" TO:<a@b.example> NOTIFY=FOO", "501 5.5.4"), (" TO:<a@b.example> NOTIFY=NEVER,SUCCESS", "501 5.5.4"),
            (" TO:<a@b.example> NOTIFY=", "501 5.5.4"), (" TO:<a@b.example> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4"),
            (" TO:<a@b.example> ORCPT=x", "501 5.5.4"), (" TO:<a@b.example> ORCPT=rfc822;a+", "501 5.5.4"),
            (" TO:<a@b.example> ORCPT=rfc822;", "501 5.5.4"), (" TO:<a@b.example> SIZE=1", "555 5.5.4"), (" TO:<ä@b.example>", "553 5.6.7"),
            (" TO:<postmasters>", "501 5.1.3"))] + [("DATA", "554 5.5.1"), (MAIL, "503 5.5.1"), ("BDAT 0 LAST", "503 5.5.1"),
                                                   ("STARTTLS", "503 5.5.1")])

    def test_before_ehlo(self):
        c = self.connect(ehlo=None)
        for line in (MAIL, RCPT, "DATA", "STARTTLS", "AUTH PLAIN"):
            self.check_reply(c.command(line), "503 5.5.1 Send EHLO first")
        self.assertEqual(c.command("EHLO x").code, 250)
        self.check_alive(c, self.id())

    def test_line_without_end(self):
        c = self.connect()
        c.send(b"x" * 70000)
        self.check_reply(c.reply(), "421 4.7.0")
        self.assertEqual(c.at_eof().replace(b"<RST>", b""), b"")

    def test_too_many_errors(self):
        c = self.connect("few")
        self.check_reply(c.command("FOO"), "500")
        self.check_reply(c.command("BAR"), "500")
        replies = c.flight("BAZ", replies=2)
        self.check_reply(replies[1], "421 4.7.0 Too many errors")
        self.assertEqual(c.at_eof().replace(b"<RST>", b""), b"")

    def test_enough_messages_for_a_session(self):
        c = self.connect("few")
        for i in range(2):
            self.assertEqual([r.code for r in c.mail("user@full.example", f"few-{i}")], [250, 250, 250])
        self.check_reply(c.command(MAIL), "421 4.7.0")
        self.assertEqual(c.at_eof().replace(b"<RST>", b""), b"")

    def test_refused_mail_does_not_count_its_echoes(self):
        """A pipelining client whose MAIL is refused goes on innocently: the session must live, and stay in step."""
        c = self.connect("few")
        for _ in range(2):
            replies = c.flight("MAIL FROM:<s@sender.example> SIZE=999999999999", RCPT, RCPT, RCPT, "BDAT 5 LAST", b"NOOP\n", "RSET", replies=6)
            self.assertEqual([r.code for r in replies], [552, 503, 503, 503, 503, 250])
        self.check_alive(c, self.id())


class Applications(BadCase):
    """What programs send in the belief that it is right, and other relays take."""

    def send(self, id, mail, rcpt, head=b"", ehlo="EHLO app.example"):
        c = self.connect(ehlo=None)
        content = head + f"X-Test-Id: {id}\r\n".encode() + HEADER + b"\r\nbody\r\n.\r\n"
        replies = [c.command(line).code for line in (ehlo, mail, rcpt, "DATA")]
        self.assertEqual(replies, [250, 250, 250, 354])
        self.assertEqual(c.flight(content, replies=1)[0].code, 250)
        c.quit()

    def test_envelopes(self):
        for n, (mail, rcpt, to, ehlo) in enumerate((
                ("mail from: <s@sender.example>", "rcpt  to:\t<user@full.example>", "user@full.example", "ehlo app.example"),
                ("MAIL FROM:s@sender.example", "RCPT TO:user@full.example", "user@full.example", "EHLO app.example."),
                ("MAIL FROM:<s@sender.example.> SIZE=0", "RCPT TO:<user@full.example.>", "user@full.example", "EHLO b\u00fcro.example"),
                ("MAIL FROM:<@a.example,@b.example:s@sender.example>", "RCPT TO:<@a.example:user@full.example>", "user@full.example", "HELO x"))):
            with self.subTest(mail):
                self.send(f"app-{n}", mail, rcpt, ehlo=ehlo)
                self.sim.wait_delivered(f"app-{n}", to)

    def test_dots_anywhere(self):
        self.send("dots", MAIL, "RCPT TO:<a..b.@full.example>")
        e = self.relay.wait_event("accepted", to="a..b.@full.example")
        self.relay.wait_event(("delivered", "bounced", "deferred"), id=e["id"])

    def test_postmaster(self):
        self.send("postmaster", MAIL, "RCPT TO:<PostMaster>")
        self.relay.wait_event("accepted", to="postmaster@test.example")

    def test_headers(self):
        for id, head, gone, kept in (
                ("mbox", b"From app@sender.example Mon Nov  2 10:00:00 2026\r\n", b"From app@", HEADER),
                ("broken", b"Subject: a\r\nb c\r\n", b"\r\nb c", b"\r\nX-Postern-Malformed: b c\r\nX-Test-Id: broken\r\n" + HEADER)):
            with self.subTest(id):
                self.send(id, MAIL, RCPT, head)
                self.sim.wait_delivered(id, "user@full.example")
                came = pathlib.Path([d for d in self.sim.deliveries() if d["id"] == id][0]["file"]).read_bytes()
                self.assertNotIn(gone, came)
                self.assertIn(kept, came.split(b"\r\n\r\n")[0] + b"\r\n")

    def test_half_closed(self):
        """All at once, and the half of the connection closed behind it, as scripts do with netcat."""
        c = self.connect()
        c.send(f"{MAIL}\r\n{RCPT}\r\nDATA\r\nX-Test-Id: half\r\n\r\nx\r\n.\r\nQUIT\r\n")
        c.socket.shutdown(socket.SHUT_WR)
        self.assertEqual([c.reply().code for _ in range(5)], [250, 250, 354, 250, 221])
        self.assertEqual(c.at_eof(), b"")
        self.sim.wait_delivered("half", "user@full.example")

    def test_refusals_are_told(self):
        since = self.relay.mark()
        c = self.connect(source="127.0.3.3")
        c.command(MAIL)
        c.command("RCPT TO:<\x7fa@b@c>")
        c.command("RCPT TO:<a@b@c>")
        e = self.relay.wait_event("rejected", since=since, client="127.0.3.3", reason="recipient-address")
        self.assertTrue(e["reply"].startswith("501 5.1.3") and e["listener"] == "in", e)
        self.assertGreaterEqual(self.relay.metrics()['postern_rejected_total{listener="in",reason="recipient-address"}'], 1)


class Limits(BadCase):
    def test_too_many_recipients(self):
        c = self.connect()
        replies = c.flight(MAIL, *[f"RCPT TO:<u{i}@full.example>" for i in range(7)], replies=8)
        self.assertEqual([r.code for r in replies], [250] * 6 + [452, 452])
        self.check_reply(replies[6], "452 4.5.3")
        self.check_reply(c.command("RCPT TO:<u1@full.example>"), "250")  # is one of the five
        self.assertEqual(c.command("DATA").code, 354)
        self.assertEqual(c.flight(b"X-Test-Id: five\r\n\r\n.\r\n", replies=1)[0].code, 250)
        self.sim.wait(deliveries=5)
        self.assertEqual(len({d["to"] for d in self.sim.deliveries()}), 5)

    def test_too_large(self):
        c = self.connect()
        body = HEADER + b"\r\n" + (b"x" * 998 + b"\r\n") * 1100
        c.flight(MAIL, RCPT, "DATA", replies=3)
        self.check_reply(c.flight(content.dots(body), replies=1)[0], "552 5.3.4")
        replies = c.flight(MAIL, RCPT, f"BDAT {len(body)} LAST", body, "NOOP", replies=4)
        self.check_reply(replies[2], "552 5.3.4")
        self.assertEqual(replies[3].code, 250)
        half = body[:600000]
        replies = c.flight(MAIL, RCPT, f"BDAT {len(half)}", half, f"BDAT {len(half)}", half, "BDAT 3 LAST", b"\r\nx", "NOOP", replies=6)
        self.assertEqual([r.code for r in replies], [250, 250, 250, 552, 503, 250])
        self.check_alive(c, self.id())
        self.check_empty()

    def test_the_limit_itself_is_taken(self):
        c = self.connect()
        id = self.id()
        body = f"X-Test-Id: {id}\r\n\r\n".encode()
        body += b"x" * (1048576 - len(body))
        self.assertEqual([r.code for r in c.flight(MAIL, RCPT, f"BDAT {len(body)} LAST", body, replies=3)], [250] * 3)
        self.sim.wait_delivered(id, "user@full.example")
        self.assertEqual([r.code for r in c.flight(MAIL, RCPT, f"BDAT {len(body) + 1} LAST", body + b"x", replies=3)], [250, 250, 552])

    def test_loop(self):
        c = self.connect()
        for n, code in ((5, "250"), (6, "554 5.4.6")):
            body = b"Received: from a by b; Sun, 1 Nov 2026 10:00:00 +0100\r\n" * n + HEADER + b"\r\n"
            self.check_reply(c.flight(MAIL, RCPT, f"BDAT {len(body)} LAST", body, replies=3)[2], code)

    def test_long_lines(self):
        c = self.connect("lines")
        for size, code in ((998, "250"), (999, "550 5.6.0")):
            body = HEADER + b"\r\n" + b"x" * size + b"\r\n"
            c.flight(MAIL, RCPT, "DATA", replies=3)
            self.check_reply(c.flight(content.dots(body), replies=1)[0], code)

    def test_large_header(self):
        c = self.connect()
        body = b"X: y\r\n" * 1500 + b"\r\n"
        self.check_reply(c.flight(MAIL, RCPT, f"BDAT {len(body)} LAST", body, replies=3)[2], "552 5.3.4 Header")
        self.check_alive(c, self.id())


class Chunks(BadCase):
    def test_bad_size_ends_the_session(self):
        """After it nobody knows where commands go on."""
        for line in ("BDAT", "BDAT x", "BDAT -1", "BDAT 5 FOO", "BDAT 5 LAST x", "BDAT 99999999999999999999", "BDAT 5LAST", "BDAT 0x5", "BDAT \x015"):
            with self.subTest(line):
                c = self.connect()
                c.flight(MAIL, RCPT, replies=2)
                self.check_reply(c.flight(line, b"NOOP\r\n", replies=1)[0], "521 5.5.4")
                self.assertEqual(c.at_eof().replace(b"<RST>", b""), b"")

    def test_out_of_order_keeps_in_step(self):
        """The octets of a refused chunk are taken as such, whatever they look like."""
        c = self.connect()
        octets = b"QUIT\r\n"
        chunk = [f"BDAT {len(octets)} LAST", octets]
        self.assertEqual([r.code for r in c.flight(*chunk, "NOOP", replies=2)], [503, 250])
        self.assertEqual([r.code for r in c.flight(MAIL, *chunk, "NOOP", replies=3)], [250, 503, 250])
        self.assertEqual([r.code for r in c.flight("RSET", MAIL, RCPT, f"BDAT {len(octets)}", octets, "DATA", MAIL, RCPT, "NOOP", replies=8)],
                         [250, 250, 250, 250, 503, 503, 503, 250])
        self.assertEqual([r.code for r in c.flight("RSET", *chunk, "NOOP", replies=3)], [250, 503, 250])
        self.check_alive(c, self.id())
        self.assertEqual(self.sim.summary()["messages"], 1)

    def test_rset_between_chunks(self):
        c = self.connect()
        chunk = b"Subject: lost\r\n"
        self.assertEqual([r.code for r in c.flight(MAIL, RCPT, f"BDAT {len(chunk)}", chunk, "RSET", replies=4)], [250] * 4)
        self.check_alive(c, self.id())
        self.assertEqual([d["id"] for d in self.sim.deliveries()], [self.id()])
        self.check_empty()

    def test_bare_line_ends_in_chunks(self):
        c = self.connect()
        for bad in (b"a\nb", b"a\rb", b"\n", b"x\r", b"\r\r\n"):
            m = HEADER + b"\r\n" + bad
            for cut in (len(m), len(m) - 1, len(HEADER)):
                rest = m[cut:]
                parts = [f"BDAT {cut}{' LAST' if not rest else ''}", m[:cut]] + ([f"BDAT {len(rest)} LAST", rest] if rest else [])
                replies = c.flight(MAIL, RCPT, *parts, "NOOP", replies=3 + len(parts) // 2)
                self.assertEqual(replies[-1].code, 250)
                self.assertTrue(any(r.text.startswith("550 5.6.11") for r in replies), replies)
        m = HEADER[:-2] + b"\r\r\n\r\nbinary\n"
        replies = c.flight(MAIL + " BODY=BINARYMIME", RCPT, f"BDAT {len(m)} LAST", m, replies=3)
        self.check_reply(replies[2], "550 5.6.11")  # a header section is text all the same
        self.check_alive(c, self.id())
        self.assertEqual(self.sim.summary()["messages"], 1)


class Smuggling(BadCase):
    """A second message hidden in the first, behind what another server might take for its end."""

    ENDS = (b"", b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\n\n", b"\r\r", b"\r\n\r", b"\r\n\n", b"\0\r\n", b"\r\0\n")
    HIDDEN = b"MAIL FROM:<smuggled@sender.example>\r\nRCPT TO:<victim@full.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"

    def contents(self):
        for before in self.ENDS:
            for dots in (b".", b"..", b"\0."):
                for after in self.ENDS:
                    wire = HEADER + b"\r\nbody" + before + dots + after + self.HIDDEN
                    if b"\r\n.\r\n" not in wire:
                        yield before + dots + after, wire

    def run_all(self, listener):
        """The whole connection's replies must be those to one message each, refused or taken as one."""
        c = self.connect(listener)
        n = taken = 0
        for what, wire in self.contents():
            with self.subTest(what):
                to = f"one{n}@full.example", f"one{n}@data.example"
                n += 1
                self.assertEqual([r.code for r in c.flight(MAIL, *[f"RCPT TO:<{t}>" for t in to], "DATA", replies=4)], [250, 250, 250, 354])
                reply, noop = c.flight(wire + b"\r\n.\r\n", "NOOP", replies=2)
                self.assertEqual(noop.text, "250 2.0.0 Ok")
                bare = b"\n" in wire.replace(b"\r\n", b"") or b"\r" in wire.replace(b"\r\n", b"")
                if b"\0" in wire or (bare and listener != "fix"):
                    self.assertIn(reply.text[:10], ("550 5.6.11", "550 5.6.0 "))
                else:
                    self.check_reply(reply, "250")
                    taken += 1
        self.assertEqual(c.command("QUIT").code, 221)
        self.sim.wait(deliveries=2 * taken)
        return taken

    def check_nothing_hidden(self, taken):
        found = self.sim.deliveries()
        self.assertEqual(len(found), 2 * taken)
        self.assertEqual([d for d in found if not d["to"].startswith("one") or d["from"] != "s@sender.example"], [])
        for d in found:
            came = pathlib.Path(d["file"]).read_bytes()
            self.assertNotRegex(came.replace(b"\r\n", b""), rb"[\r\n]")
            self.assertEqual(came.count(b"Subject: smuggled"), 1)
        self.assertEqual(self.sim.violations()["kinds"], {})
        self.check_empty()

    def test_reject(self):
        taken = self.run_all("in")
        self.assertGreater(taken, 0)
        self.check_nothing_hidden(taken)

    def test_fix(self):
        taken = self.run_all("fix")
        self.assertGreater(taken, 100)
        self.check_nothing_hidden(taken)


class Auth(BadCase):
    def secure(self):
        c = self.connect("tls")
        c.starttls()
        c.hello = c.command("EHLO client.example")
        return c

    def test_bad_exchanges(self):
        c = self.secure()
        rows = [
            (["AUTH"], "501 5.5.4"), (["AUTH PLAIN a b"], "501 5.5.4"), (["AUTH CRAM-MD5"], "504 5.5.4"), (["AUTH " + "X" * 30], "501 5.5.4"),
            (["AUTH PLAIN", "*"], "501 5.7.0"), (["AUTH LOGIN", "*"], "501 5.7.0"), (["AUTH LOGIN", b64("app"), "*"], "501 5.7.0"),
            (["AUTH PLAIN !!!"], "501 5.5.2"), (["AUTH PLAIN abc"], "501 5.5.2"), (["AUTH PLAIN ="], "501 5.5.2"),
            (["AUTH PLAIN", b64("no nul")], "501 5.5.2"), (["AUTH PLAIN", b64("\0one nul")], "501 5.5.2"),
            (["AUTH PLAIN " + b64("\0app\0sec\0ret")], "501 5.5.2"), (["AUTH PLAIN " + b64(b"\0app\0\xff")], "501 5.5.2"),
            (["AUTH PLAIN " + b64("\0\0secret")], "535 5.7.8"), (["AUTH PLAIN " + b64("root\0app\0secret")], "535 5.7.8"),
            (["AUTH PLAIN " + b64("\0app\0wrong")], "535 5.7.8"), (["AUTH PLAIN " + b64("\0nobody\0secret")], "535 5.7.8"),
            (["AUTH PLAIN " + b64("\0app\0")], "535 5.7.8"), (["AUTH LOGIN", "", b64("secret")], "535 5.7.8"),
            (["AUTH LOGIN", b64("app"), b64("wrong")], "535 5.7.8"), (["AUTH LOGIN", "MAIL FROM:<a@b.example>"], "501 5.5.2"),
            (["AUTH PLAIN", "A" * 3000], "501 5.5.2"), (["AUTH PLAIN", "A" * 5000], "500 5.5.6"),
            (["AUTH PLAIN " + b64("\0" + "u" * 300 + "\0p")], "501 5.5.2"),
        ]
        for lines, prefix in rows:
            with self.subTest(lines):
                for line in lines[:-1]:
                    self.check_reply(c.command(line), "334 ")
                self.check_reply(c.command(lines[-1]), prefix)
                self.assertEqual(c.command("NOOP").code, 250)
        self.check_reply(c.command(MAIL), "250")
        self.check_reply(c.command("AUTH PLAIN " + b64("\0app\0secret")), "503 5.5.1")
        c.command("RSET")
        self.check_reply(c.command("AUTH PLAIN " + b64("\0app\0secret")), "235 2.7.0")
        self.check_reply(c.command("AUTH PLAIN " + b64("\0app\0secret")), "503 5.5.1 Already")
        self.assertNotIn("AUTH", c.command("EHLO x").text)
        self.check_alive(c, self.id())

    def test_passwords_are_not_logged(self):
        c = self.secure()
        c.command("AUTH PLAIN " + b64("\0app\0a-wrong-secret"))
        c.command("AUTH PLAIN " + b64("\0app\0secret"))
        c.quit()
        self.relay.json("stats")
        log = self.relay.log_path.read_text() + self.relay.stderr()
        self.assertNotIn("a-wrong-secret", log)
        self.assertNotIn(b64("\0app\0a-wrong-secret"), log)

    def test_commands_injected_behind_starttls(self):
        """What came in clear behind STARTTLS is thrown away: it is neither run nor answered under TLS."""
        for injected in (f"{MAIL}\r\n{RCPT}\r\n", "EHLO attacker\r\n" + MAIL + "\r\n", "NOOP\r\n" * 100, "AUTH PLAIN\r\n", "MAIL FROM:<cut"):
            with self.subTest(injected):
                c = self.connect("tls")
                c.send("STARTTLS\r\n" + injected)
                self.assertEqual(c.reply().code, 220)
                self.assertEqual(c.buffer, b"")
                c.handshake()
                self.check_reply(c.command(RCPT), "503 5.5.1 Send EHLO first")
                self.check_reply(c.command("EHLO honest"), "250-relay.test.example")
                self.check_reply(c.command(RCPT), "503 5.5.1 Send MAIL first")
                self.check_alive(c, f"{self.id()}-{len(injected)}")

    def test_state_is_forgotten_by_starttls(self):
        c = self.connect("tls")
        self.check_reply(c.command("AUTH PLAIN " + b64("\0app\0secret")), "235")  # from loopback, in clear
        c.starttls()
        self.check_reply(c.command(MAIL), "503 5.5.1 Send EHLO first")
        self.assertIn("AUTH PLAIN LOGIN", c.command("EHLO x").text)

    def test_no_tls_behind_starttls(self):
        c = self.connect("tls")
        self.assertEqual(c.command("STARTTLS").code, 220)
        c.send(b"MAIL FROM:<a@b.example>\r\n")
        self.assertNotIn(b"250", c.at_eof())

    def test_no_tls_twice(self):
        c = self.secure()
        self.assertNotIn("STARTTLS", c.hello.text)
        self.check_reply(c.command("STARTTLS"), "503 5.5.1")
        self.check_alive(c, self.id())


class Drops(BadCase):
    """Clients that leave in the middle, politely or by a reset."""

    def drop(self, c, reset):
        if reset:
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        since = self.relay.mark()
        c.close()
        return since

    def begun(self, *parts, replies, listener="in"):
        c = self.connect(listener)
        got = c.flight(MAIL, RCPT, *parts, replies=2 + replies)
        self.assertTrue(all(r.code in (250, 354) for r in got), got)
        return c

    def check_gone(self, since):
        self.relay.wait_event("session-ended", since=since)
        self.check_alive(self.connect(), self.id() + str(since))
        self.assertEqual({d["id"] for d in self.sim.deliveries()} - {None}, {d["id"] for d in self.sim.deliveries() if d["id"].startswith(self.id())})
        self.relay.wait_event("delivered", since=since)
        self.check_empty()

    def each(self, *parts, replies, after=b""):
        for reset in (False, True):
            with self.subTest(reset=reset):
                c = self.begun(*parts, replies=replies)
                if after:
                    c.send(after)
                self.check_gone(self.drop(c, reset))

    def test_in_data(self):
        self.each("DATA", replies=1, after=b"X-Test-Id: dropped\r\n\r\nhalf of it")

    def test_at_the_end_of_data(self):
        for almost in (b"\r\n", b"\r\n.", b"\r\n.\r"):
            self.each("DATA", replies=1, after=b"X-Test-Id: dropped\r\n\r\nnearly" + almost)

    def test_in_large_data(self):
        """Parts of it are with the queue already."""
        self.each("DATA", replies=1, after=b"X-Test-Id: dropped\r\n\r\n" + b"y" * 900000)

    def test_in_a_chunk(self):
        self.each("BDAT 100 LAST", b"X-Test-Id: dropped\r\n\r\n", replies=0)

    def test_between_chunks(self):
        chunk = b"X-Test-Id: dropped\r\n\r\n" + b"z" * 300000
        self.each(f"BDAT {len(chunk)}", chunk, replies=1)

    def test_in_a_large_chunk(self):
        self.each("BDAT 1000000", b"X-Test-Id: dropped\r\n\r\n" + b"z" * 700000, replies=0)

    def test_in_the_handshake(self):
        c = self.connect("tls")
        self.assertEqual(c.command("STARTTLS").code, 220)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        hello = context.wrap_bio(incoming, outgoing, server_hostname="relay.test.example")
        with self.assertRaises(ssl.SSLWantReadError):
            hello.do_handshake()
        c.send(outgoing.read()[:100])
        self.check_gone(self.drop(c, False))

    def test_many_at_once(self):
        clients = [self.begun("DATA", replies=1) for _ in range(30)]
        for i, c in enumerate(clients):
            c.send(b"X-Test-Id: dropped\r\n\r\n" + b"y" * (i * 20000))
        since = self.relay.mark()
        for i, c in enumerate(clients):
            self.drop(c, i % 2)
        self.relay.wait_event("session-ended", since=since, count=30)
        self.check_gone(self.drop(self.begun("DATA", replies=1), False))


if __name__ == "__main__":
    unittest.main()
