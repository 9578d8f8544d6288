"""Content comes out as it went in: real message files and made ones, by DATA and by BDAT, to receivers with and without CHUNKING."""
import hashlib
import os
import pathlib
import random
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import content, peers  # noqa: E402
from lib.raw import Smtp  # noqa: E402
from lib.relay import Relay  # noqa: E402
from lib.sim import Simulator  # noqa: E402

SCENARIO = """
cluster "FULL" { addresses = {"127.1.1.1-4"}  size = "200MiB" }
cluster "DATA" { addresses = {"127.1.2.1-4"}  size = "200MiB"  without = {"CHUNKING", "BINARYMIME"} }
cluster "TEXT" { addresses = {"127.1.3.1-4"}  without = {"BINARYMIME"} }
cluster "OLD" { addresses = {"127.1.4.1-4"}  without = {"CHUNKING", "BINARYMIME", "PIPELINING", "8BITMIME", "SIZE", "SMTPUTF8", "DSN"} }
tenant "full.example" { cluster = {"FULL"} }
tenant "data.example" { cluster = {"DATA"} }
tenant "text.example" { cluster = {"TEXT"} }
tenant "old.example" { cluster = {"OLD"} }
tenant "sender.example" { cluster = {"FULL"} }
"""
UNLIMITED = {"lane_message_rate": "none", "lane_connect_rate": "none"}
HEADER = b"From: <s@sender.example>\r\nSubject: made\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\nMessage-ID: <made@client.example>\r\n"


class ContentCase(unittest.TestCase):
    listeners = {"in": {"message_size_max": "200MiB", "header_max": 16384}, "fix": {"bare_newline": "fix"}}

    @classmethod
    def setUpClass(cls):
        cls.sim = cls.enterClassContext(Simulator(SCENARIO, store=True))
        cls.relay = cls.enterClassContext(Relay(cls.sim, listeners=cls.listeners, providers={"microsoft365": UNLIMITED}))
        cls.numbers = iter(range(1, 1 << 30))

    def setUp(self):
        self.client = self.connect()

    def connect(self, listener="in"):
        c = Smtp(*self.relay.address(listener))
        self.addCleanup(c.close)
        return c

    def envelope(self, domains, params=""):
        n = next(self.numbers)
        to = [f"m{n}@{d}.example" for d in domains]
        return to, [f"MAIL FROM:<s@sender.example>{params}", *[f"RCPT TO:<{t}>" for t in to]]

    def by_data(self, sent, domains, params="", client=None):
        """Sends and expects 250; the recipients."""
        to, commands = self.envelope(domains, params)
        c = client or self.client
        replies = c.flight(*commands, "DATA", replies=len(commands) + 1)
        self.assertEqual([r.code for r in replies], [250] * len(commands) + [354], replies)
        self.assertEqual(c.flight(content.dots(sent), replies=1)[0].code, 250)
        return to

    def by_chunks(self, sent, domains, sizes, params="", client=None):
        """The same in BDAT chunks of these sizes, the last one of which repeats; LAST goes with the last, or alone when 0 is in sizes."""
        to, commands = self.envelope(domains, params)
        parts, at, sizes = [], 0, list(sizes)
        alone = 0 in sizes
        sizes = [s for s in sizes if s]
        while at < len(sent):
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            last = at + size >= len(sent) and not alone
            chunk = sent[at:at + size]
            parts += [f"BDAT {len(chunk)}{' LAST' if last else ''}", chunk]
            at += size
        if alone or not sent:
            parts += ["BDAT 0 LAST", b""]
        replies = (client or self.client).flight(*commands, *parts, replies=len(commands) + len(parts) // 2)
        self.assertEqual({r.code for r in replies}, {250}, replies)
        return to

    def came(self, to):
        """The content that came for each of these recipients."""
        for t in to:
            self.relay.wait_event(("delivered", "bounced"), to=t)
        found = {d["to"]: d for d in self.sim.deliveries() if d["to"] in to}
        self.assertEqual(set(found), set(to))
        return [(found[t], pathlib.Path(found[t]["file"]).read_bytes()) for t in to]

    def check(self, sent, to, what=""):
        for record, came in self.came(to):
            # DATA cannot end but with a line end
            expected = sent if record["bdat"] or sent.endswith(b"\r\n") or not sent else sent + b"\r\n"
            content.check_same(expected, came, f"{what} {record['to']}")


class Samples(ContentCase):
    """Message files of Debian packages that ship them, with line ends made CRLF."""

    @classmethod
    def setUpClass(cls):
        cls.samples = {name: content.crlf(text) for name, text in peers.samples(peers.unpacked()).items()}
        super().setUpClass()

    def test_there_are_many(self):
        self.assertGreater(len(self.samples), 100)
        self.assertTrue(any(max(s, default=0) > 127 for s in self.samples.values()))

    def each(self, send, line_end=False):
        sent = {}
        for name, sample in self.samples.items():
            if line_end and not sample.endswith(b"\r\n"):
                sample += b"\r\n"
            sent[name] = sample, send(sample, ("full", "data", "old"), params=" BODY=8BITMIME")
        for name, (sample, to) in sent.items():
            with self.subTest(name):
                self.check(sample, to, name)

    def test_by_data(self):
        self.each(self.by_data, line_end=True)

    def test_by_bdat_in_one(self):
        self.each(lambda sample, domains, params: self.by_chunks(sample, domains, [1 << 30], params))

    def test_by_bdat_in_odd_chunks(self):
        sizes = [1, 2, 3, 5, 7, 11, 13, 17, 97, 1, 1, 1, 509]
        self.each(lambda sample, domains, params: self.by_chunks(sample, domains, sizes, params))


def lines_of(size):
    return b"a" * size + b"\r\n" + b"." * size + b"\r\n" + b"b\r\n"


TEXTS = {
    "dots": b".\r\n..\r\n...\r\n.x\r\nx.\r\n\r\n.\r\n\r\n..a\r\n.\r\n",
    "only a dot": b".\r\n",
    "a dot after 8 KiB": b"x" * 8190 + b"\r\n.\r\n" + b"y" * 20000 + b"\r\n.z\r\n",
    "8 bit": bytes(range(128, 256)) + b"\r\n" + "Grüße 你好 🙂".encode() + b"\r\n",
    "control characters": bytes(b for b in range(1, 127) if b not in b"\r\n") + b"\r\n",
    "lines of 998": lines_of(998),
    "lines of 10000": lines_of(10000),
    "a line of 300000": lines_of(300000),
    "empty lines": b"\r\n" * 5000,
    "blank lines at the end": b"end\r\n\r\n\r\n\r\n",
    "like commands": b"QUIT\r\nMAIL FROM:<a@b.example>\r\nRSET\r\nBDAT 5 LAST\r\n",
    "a whole message": HEADER + b"\r\n.\r\n",
}
MESSAGES = {
    **{name: HEADER + b"\r\n" + text for name, text in TEXTS.items()},
    "nothing at all": b"",
    "a blank line": b"\r\n",
    "empty body": HEADER + b"\r\n",
    "header alone": HEADER,
    "header without date": b"Subject: x\r\nFrom: a@b.example\r\n",
    "no header": b"\r\nThis is the body: with a colon.\r\n",
    "no header, text at once": b"This is the body: with a colon.\r\n.\r\n",
    "dot first": b".Subject: x\r\n\r\n.\r\n",
    "folded fields": b"Subject: a\r\n\tb\r\n c\r\nDate:\r\n Sun, 1 Nov 2026 10:00:00 +0100\r\nX:\r\nMessage-ID:\r\n <x@y.example>\r\n\r\nx\r\n",
    "fields twice": HEADER + HEADER + b"\r\nx\r\n",
    "strange spelling": b"DATE : Sun, 1 Nov 2026 10:00:00 +0100\r\nmessage-Id\t:<x@y.example>\r\nSUBJECT:x\r\n\r\nx\r\n",
    "8 bit in the header": "Subject: Grüße\r\n\r\nx\r\n".encode(),
    "a long header": b"".join(b"X-%d: %s\r\n" % (i, b"y" * 150) for i in range(90)) + b"\r\nx\r\n",
    "a long field": b"X-Long: " + b"z" * 12000 + b"\r\n\r\nx\r\n",
    "some Received": b"".join(b"Received: from a by b; Sun, 1 Nov 2026 10:00:%02d +0100\r\n" % i for i in range(30)) + HEADER + b"\r\nx\r\n",
}


class Made(ContentCase):
    def test_by_data(self):
        sent = {name: self.by_data(m, ("full", "data", "text", "old"), " BODY=8BITMIME") for name, m in MESSAGES.items()}
        for name, to in sent.items():
            with self.subTest(name):
                self.check(MESSAGES[name], to, name)

    def test_by_chunks(self):
        """Chunks of every small size, so that each line end and each dot is once at the edge of one; LAST with content and alone."""
        sent = []
        for sizes in ([1 << 30], [1], [2], [3], [7], [64], [8191, 1, 1], [0, 5], [1, 0]):
            for name, m in MESSAGES.items():
                if len(m) // sizes[-1 if sizes[-1] else 0] < 3000:
                    sent.append((f"{name} in {sizes}", m, self.by_chunks(m, ("full", "data"), sizes, " BODY=8BITMIME")))
        for what, m, to in sent:
            with self.subTest(what):
                self.check(m, to, what)

    def test_no_line_end_at_the_end(self):
        for m in (HEADER + b"\r\nx", HEADER + b"\r\n.", HEADER + b"\r\n\r\n..", HEADER[:-2], b"Subject: x", b"x", b"."):
            for sizes in ([1 << 30], [1], [0, 4]):
                with self.subTest(m=m[-10:], sizes=sizes):
                    self.check(m, self.by_chunks(m, ("full", "data", "text", "old"), sizes))

    def test_pool_header_is_taken_out(self):
        m = b"X-Postern-Pool: nowhere\r\nSubject: x\r\nx-postern-pool:\r\n other\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\n\r\nX-Postern-Pool: body\r\n"
        for record, came in self.came(self.by_data(m, ("full",))):
            content.check_same(b"Subject: x\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\n\r\nX-Postern-Pool: body\r\n", came)

    def test_many_small_writes(self):
        """Each byte in a TCP segment of its own, content and commands."""
        m = HEADER + b"\r\n.\r\n..\r\nend\r\n"
        to, commands = self.envelope(("full", "data"))
        stream = "\r\n".join(commands + ["DATA"]).encode() + b"\r\n"
        for b in stream:
            self.client.send(bytes([b]))
        self.assertEqual([self.client.reply().code for _ in range(4)], [250, 250, 250, 354])
        for b in content.dots(m):
            self.client.send(bytes([b]))
        self.assertEqual(self.client.reply().code, 250)
        self.check(m, to)

    def test_pipelined_messages(self):
        """Several whole transactions in one write, by BDAT; what follows LAST is commands again."""
        parts, to = [], []
        for i in range(20):
            t, commands = self.envelope(("full",))
            parts += [*commands, f"BDAT {len(HEADER)}", HEADER, "BDAT 5 LAST", b"\r\nx\r\n"]
            to += t
        replies = self.client.flight(*parts, "NOOP", replies=20 * 4 + 1)
        self.assertEqual({r.code for r in replies}, {250})
        self.check(HEADER + b"\r\nx\r\n", to)

    def test_fix_makes_bare_line_ends_whole(self):
        c = self.connect("fix")
        for bare in (b"a\nb\rc\r\n\rd\n\n\r\n", b"x\r\r\ny\r\n", b"\n.\n\r.\r\r\n.\nz\r\n"):
            to = self.by_data(HEADER + b"\r\n" + bare, ("full", "data"), client=c)
            to += self.by_chunks(HEADER + b"\r\n" + bare, ("full", "data"), [3], client=c)
            fixed = re.sub(rb"\r\n|\r|\n", b"\r\n", bare)
            for record, came in self.came(to):
                with self.subTest(bare=bare, to=record["to"]):
                    content.check_same(HEADER + b"\r\n" + fixed, came)

    def test_nul_is_refused(self):
        for m in (HEADER + b"\r\na\0b\r\n", b"Subject: \0\r\n\r\nx\r\n", HEADER + b"\r\n\0\r\n"):
            _, commands = self.envelope(("full",))
            self.client.flight(*commands, "DATA", replies=3)
            reply = self.client.flight(content.dots(m), replies=1)[0]
            self.assertTrue(reply.text.startswith("550 5.6.0"), reply)
            reply = self.client.flight(*commands, f"BDAT {len(m)} LAST", m, replies=3)[2]
            self.assertTrue(reply.text.startswith("550 5.6.0"), reply)


class Binary(ContentCase):
    BINARY = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n" + HEADER + b"\r\n"

    def test_binary_goes_where_it_is_offered(self):
        all_bytes = bytes(range(256)) * 3 + b"\r\r\n\n\r.\n.\r\n.\r\n\0"
        noise = random.Random(1).randbytes(700000)
        for body in (all_bytes, noise, b"", b"\0", b"\n.\n", b"\r"):
            for sizes in ([1 << 30], [1] if len(body) < 2000 else [65535, 1, 4097], [0, 333] if len(body) < 2000 else [0, 65536]):
                m = self.BINARY + body
                to = self.by_chunks(m, ("full",), sizes, " BODY=BINARYMIME")
                (record, came), = self.came(to)
                content.check_same(m, came, f"{len(body)} {sizes}")
                self.assertIn("BODY=BINARYMIME", record["mail_params"])

    def test_binary_is_returned_where_it_is_not_offered(self):
        to = self.by_chunks(self.BINARY + b"\0\r\0", ("data", "text", "old"), [100], " BODY=BINARYMIME")
        for t in to:
            bounced = self.relay.wait_event("bounced", to=t)
            self.assertEqual((bounced["code"], bounced["dsn"]), (554, "5.6.1"))
        # what fails of one message within moments is told in one notification
        told = self.relay.wait_event("delivered", to="s@sender.example")
        record, = [d for d in self.sim.deliveries() if d["to"] == "s@sender.example"]
        text = pathlib.Path(record["file"]).read_text()
        self.assertEqual(text.count("Final-Recipient: rfc822; m"), 3, told)
        self.assertEqual(text.count("Status: 5.6.1"), 3, text)

    def test_binary_by_data_is_refused(self):
        _, commands = self.envelope(("full",), " BODY=BINARYMIME")
        reply = self.client.flight(*commands, "DATA", replies=3)[2]
        self.assertTrue(reply.text.startswith("503 5.5.1"), reply)


class Large(ContentCase):
    def test_random_text_of_20_mb(self):
        """Streamed through the queue in both directions; text that compresses and repeats nowhere."""
        rng = random.Random(2)
        body = b"".join(b".%s\r\n" % rng.randbytes(35).hex().encode() for _ in range(270000))
        m = HEADER + b"\r\n" + body
        to = self.by_data(m, ("full", "data")) + self.by_chunks(m, ("full", "data"), [999983], " BODY=8BITMIME")
        for record, came in self.came(to):
            _, rest = content.strip_received(came)
            self.assertEqual(hashlib.sha256(rest).digest(), hashlib.sha256(m).digest(), record["to"])


if __name__ == "__main__":
    unittest.main()
