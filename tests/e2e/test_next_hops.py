"""Postfix and Exim as next hops, on loopback: STARTTLS in each mode, BDAT and DATA, SMTPUTF8, DSN, many recipients, large messages."""
import email
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import content, peers  # noqa: E402
from lib.certs import Authority  # noqa: E402
from lib.exim import Exim  # noqa: E402
from lib.postfix import Postfix  # noqa: E402
from lib.process import DEADLINE, Failed  # noqa: E402
from lib.raw import Smtp  # noqa: E402
from lib.relay import Relay  # noqa: E402
from lib.sim import Simulator  # noqa: E402

# The simulator answers for DNS alone: each domain has an MX of its own at the peer's address, and by the MX its provider.
WAYS = ("plain", "may", "must", "proved", "wrong", "data", "lone")
SCENARIO = 'cluster "NONE" { addresses = {"127.1.1.1"} }\nrecords = {%s}\n' % ", ".join(
    f'"{way}.example MX 10 mx.{way}.example", "mx.{way}.example A 127.0.0.1"' for way in WAYS)
HEADER = b"From: <s@may.example>\r\nSubject: made\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\nMessage-ID: <made@client.example>\r\n"
RELAYED = re.compile(rb"^Received: from client\.example \(\[127\.0\.0\.1\]\)\r\n\tby relay\.test\.example [^;]* id (\w+)\r\n", re.M)


class NextHop:
    """What holds for both; the heirs say how each is started and what it writes."""

    @classmethod
    def setUpClass(cls):
        unpacked = peers.as_root()
        cls.mailbox = {}
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="postern-peer-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        cls.dir.chmod(0o755)
        cls.ca = Authority(cls.dir / "ca")
        names = [f"DNS:mx.{way}.example" for way in WAYS if way != "wrong"]
        cls.peer = cls.enterClassContext(cls.start_peer(unpacked, cls.ca.certificate("peer", *names)))
        cls.sim = cls.enterClassContext(Simulator(SCENARIO))
        provider = {"port": cls.peer.port, "lane_message_rate": "none", "messages_per_connection": 1, "connections_per_lane": 1,
                    "connection_idle_max": "0"}
        cls.relay = cls.enterClassContext(Relay(cls.sim, sources={"a1": "127.0.0.1"}, listeners={"in": {"message_size_max": "100MiB"}},
                                                queue={"max_size": "1GiB", "retry": ["1h"]}, providers={
            "plain": {**provider, "mx": ["mx.plain.example"], "tls": "none"},
            "may": {**provider, "mx": ["mx.may.example"], "tls": "opportunistic"},
            "must": {**provider, "mx": ["mx.must.example"], "tls": "require"},
            "proved": {**provider, "mx": ["mx.proved.example", "mx.wrong.example"], "tls": "verify", "ca_file": cls.ca.file},
            "data": {**provider, "mx": ["mx.data.example"], "chunking": False},
            "lone": {**provider, "mx": ["mx.lone.example"], "pipelining": False, "chunking": False, "tls": "none"},
            "default": {"port": cls.peer.port}}))

    def send(self, message, to, params="", rcpt_params=""):
        """By BDAT; the queue id."""
        with Smtp(*self.relay.address()) as c:
            to = [to] if isinstance(to, str) else to
            replies = c.flight(f"MAIL FROM:<s@may.example>{params}", *[f"RCPT TO:<{t}>{rcpt_params}" for t in to],
                               f"BDAT {len(message)} LAST", message, replies=2 + len(to))
        self.assertEqual({r.code for r in replies}, {250}, replies)
        return replies[-1].text.split()[-1]

    def found(self, id):
        """Messages in the peer's mailbox by the relay's queue id: (fields the peer added, the rest), with CRLF. Each file is read once."""
        for path in self.peer.messages():
            if path not in self.mailbox:
                raw = path.read_bytes().replace(b"\n", b"\r\n")
                ours = RELAYED.search(raw)
                self.mailbox[path] = (ours[1].decode(), raw[:ours.start()], raw[ours.start():]) if ours else (None, raw, b"")
        return [(added, came) for relay_id, added, came in self.mailbox.values() if relay_id == id]

    def arrived(self, id, count=1):
        """Delivery into the mailbox comes after the peer's 250: its directory is looked at until then."""
        deadline = time.monotonic() + DEADLINE
        while len(found := self.found(id)) < count:
            if time.monotonic() > deadline:
                raise Failed(f"{id}: {len(found)} of {count} in the mailbox\n{self.peer_log()[-3000:]}")
            time.sleep(0.02)
        self.assertEqual(len(found), count)
        return found

    def check(self, message, to, params="", **fields):
        """Relayed and identical; the peer's fields, and the relay's event."""
        id = self.send(message, to, params)
        event = self.relay.wait_event(("delivered", "deferred", "bounced"), id=id)
        self.assertEqual(event["event"], "delivered", event)
        for k, v in fields.items():
            self.assertEqual(event.get(k), v, event)
        (added, came), = self.arrived(id)
        content.check_same(message, came, to)
        return added.decode(errors="replace"), event

    # TLS

    def test_no_tls_when_none_is_wanted(self):
        added, _ = self.check(HEADER + b"\r\nclear\r\n", "u@plain.example", tls=None)
        self.check_peer_tls(added, False)

    def test_opportunistic_require_and_verify(self):
        for way in ("may", "must", "proved", "data"):
            with self.subTest(way):
                added, event = self.check(HEADER + f"\r\n{way}\r\n".encode(), f"u@{way}.example")
                self.assertTrue(event["tls"].startswith("TLS1.3:"), event)
                self.check_peer_tls(added, True)

    def test_certificate_for_another_name(self):
        id = self.send(HEADER + b"\r\nnever\r\n", "u@wrong.example")
        event = self.relay.wait_event(("delivered", "deferred", "bounced"), id=id)
        self.assertEqual(event["event"], "deferred", event)
        self.assertEqual(self.found(id), [])
        self.relay.cli("remove", id)

    def test_sessions_are_resumed(self):
        """A connection for each message; the second one's handshake is short."""
        self.check(HEADER + b"\r\nfirst\r\n", "u@must.example")
        before = self.count_resumed()
        for _ in range(3):
            added, _ = self.check(HEADER + b"\r\nagain\r\n", "u@must.example")
            self.check_peer_tls(added, True)
        self.assertEqual(self.count_resumed() - before, 3, self.peer_log()[-2000:])

    # content

    def test_messages_of_every_kind(self):
        texts = {
            "dots": b".\r\n..\r\n.x\r\n\r\n.\r\n.\r\n",
            "8 bit": bytes(range(128, 256)) + b"\r\n" + "Grüße 你好\r\n".encode(),
            "lines": b"a" * 998 + b"\r\n" + b"." * 900 + b"\r\n",
            "longer lines": b"b" * 1900 + b"\r\n",
            "empty": b"",
            "blank": b"\r\n\r\n\r\n",
            "64 KiB": b"".join(b"%070d\r\n" % i for i in range(910)),
        }
        for way in ("may", "data", "plain", "lone"):
            for what, text in texts.items():
                with self.subTest(way=way, what=what):
                    self.check(HEADER + b"\r\n" + text, f"u@{way}.example", " BODY=8BITMIME")

    def test_how_it_was_sent(self):
        """BDAT unless the provider forbids it: the peer's log says what it got."""
        for way in ("may", "lone", "data"):
            self.check(HEADER + b"\r\nhow\r\n", f"u@{way}.example")
        deadline = time.monotonic() + DEADLINE
        while not self.has_seen_both_ways():
            self.assertLess(time.monotonic(), deadline, self.peer_log()[-2000:])
            time.sleep(0.05)

    def test_30_megabytes(self):
        body = b"".join(b".%068d\r\n" % i for i in range(420000))
        for way in ("may", "data"):
            self.check(HEADER + b"\r\n" + body, f"u@{way}.example")

    def test_smtputf8(self):
        message = "From: s@may.example\r\nSubject: Grüße\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\nMessage-ID: <u@x.example>\r\n\r\nGrüße\r\n".encode()
        for way in ("may", "data"):
            added, event = self.check(message, f"käthe@{way}.example", " BODY=8BITMIME SMTPUTF8")
            self.assertRegex(added, "(?i)with utf8e?smtp")

    def test_null_sender(self):
        with Smtp(*self.relay.address()) as c:
            reply = c.mail("u@may.example", "null", sender="")[-1]
        id = reply.text.split()[-1]
        event = self.relay.wait_event("delivered", id=id)
        self.arrived(id)
        self.check_null_sender(event["reply"])

    # recipients

    def test_several_recipients_in_one_transaction(self):
        to = [f"r{i}@may.example" for i in range(60)]
        since = self.relay.mark()
        id = self.send(HEADER + b"\r\nto many\r\n", to)
        self.relay.wait_event("delivered", since=since, id=id, count=60)
        events = self.relay.find("delivered", since=since, id=id)
        self.assertEqual(sorted(e["to"] for e in events), sorted(to))
        self.assertEqual(len({e["reply"] for e in events}), 1)  # one transaction, one queue id at the peer
        self.check_one_transaction(events[0]["reply"], 60)

    def test_refused_recipient(self):
        since = self.relay.mark()
        id = self.send(HEADER + b"\r\nto some\r\n", ["one@may.example", "refused@may.example", "two@may.example"])
        bounced = self.relay.wait_event("bounced", id=id, to="refused@may.example")
        self.assertEqual(bounced["code"], 550)
        self.relay.wait_event("delivered", since=since, id=id, count=2)
        self.assertEqual(sorted(e["to"] for e in self.relay.find("delivered", since=since, id=id)), ["one@may.example", "two@may.example"])
        dsn = self.relay.wait_event("delivered", since=since, to="s@may.example", **{"from": ""})
        report = self.report("refused@may.example", f'<{dsn["id"]}.')
        self.assertIn("Action: failed", report)
        self.assertIn("Final-Recipient: rfc822; refused@may.example", report)

    def test_deferred_recipient(self):
        id = self.send(HEADER + b"\r\nlater\r\n", ["one@may.example", "later@may.example"])
        deferred = self.relay.wait_event("deferred", id=id, to="later@may.example")
        self.assertEqual(deferred["code"] // 10, 45)
        self.relay.wait_event("delivered", id=id, to="one@may.example")
        self.relay.cli("remove", id)

    # DSN

    def report(self, *words):
        """The text of a notification in the mailbox that has all these words."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            for path in self.peer.messages():
                text = path.read_text(errors="replace")
                if "multipart/report" in text and all(w in text for w in words):
                    return text
            time.sleep(0.02)
        raise Failed(f"no notification with {words}\n{self.peer_log()[-3000:]}")

    def test_dsn_parameters_are_passed_on(self):
        """The peer delivers, and its own notification of success names what the client asked for at the relay."""
        envid = f"envelope-{type(self).__name__}"
        id = self.send(HEADER + b"\r\nnotify\r\n", "told@may.example", f" RET=HDRS ENVID={envid}",
                       " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first@original.example")
        self.relay.wait_event("delivered", id=id)
        text = self.report(envid, "told@may.example")
        fields = {k.lower(): v for part in email.message_from_string(text).walk() if part.get_content_type() == "message/delivery-status"
                  for block in part.get_payload() for k, v in block.items()}
        self.assertEqual(fields["original-envelope-id"].strip(), envid)
        self.assertEqual(fields["original-recipient"].replace(" ", ""), "rfc822;first@original.example")
        self.assertEqual(fields["action"].strip().split()[0], "delivered")

    def test_notify_never(self):
        id = self.send(HEADER + b"\r\nnever\r\n", ["refused@may.example"], " ENVID=never-told", " NOTIFY=NEVER")
        self.relay.wait_event("bounced", id=id)
        last = self.send(HEADER + b"\r\nlast\r\n", "u@may.example")
        self.relay.wait_event("delivered", id=last)
        self.assertFalse([p for p in self.peer.messages() if b"never-told" in p.read_bytes()])


class PostfixHop(NextHop, unittest.TestCase):
    @classmethod
    def start_peer(cls, unpacked, tls):
        return Postfix(unpacked, cls.dir / "postfix", tls=tls, settings={
            "smtpd_tls_loglevel": 2, "smtpd_sender_restrictions": "", "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtpd_recipient_restrictions": "check_recipient_access inline:{ {refused@may.example = 550 5.1.1 No such user},"
                                            " {later@may.example = 450 4.2.1 Come later} }, permit_mynetworks, reject"})

    def peer_log(self):
        return self.peer.log.read_text(errors="replace")

    def check_peer_tls(self, added, on):
        self.assertEqual("(using TLSv1.3 with cipher" in added, on, added)

    def count_resumed(self):
        return self.peer_log().count("Reusing old session")

    def has_seen_both_ways(self):
        counts = re.findall(r"disconnect from (.*)", self.peer_log())
        return any(" bdat=1" in c for c in counts) and any(" data=1" in c and "bdat" not in c for c in counts)

    def check_null_sender(self, reply):
        self.assertIn(f"{reply.split()[-1]}: from=<>,", self.peer_log())

    def check_one_transaction(self, reply, n):
        queue_id = reply.split()[-1]
        self.assertIn(f"{queue_id}: from=<s@may.example>", self.peer_log())
        self.assertIn(f", nrcpt={n} (queue active)", self.peer_log())


class EximHop(NextHop, unittest.TestCase):
    @classmethod
    def start_peer(cls, unpacked, tls):
        for path in tls:
            os.chmod(path, 0o644)
        exim = Exim(unpacked, cls.dir / "exim", tls=tls)
        text = exim.config.read_text()
        text = text.replace("begin acl\n", "tls_resumption_hosts = *\nbegin acl\n")
        text = text.replace("begin acl\n", "acl_smtp_connect = accept_all\nbegin acl\n")
        text = text.replace("acl_smtp_rcpt = accept_all", "acl_smtp_rcpt = some")
        text = text.replace("accept_all:\n", "some:\n  deny local_parts = refused\n  defer local_parts = later\n  accept\naccept_all:\n")
        exim.config.write_text(text)
        return exim

    def peer_log(self):
        return self.peer.log()

    def check_peer_tls(self, added, on):
        self.assertEqual("(TLS1.3)" in added, on, added)

    def count_resumed(self):
        return len(re.findall(r" X=TLS1\.3:\S+\* ", self.peer_log()))

    def has_seen_both_ways(self):
        lines = [line for line in self.peer_log().splitlines() if " <= s@may.example" in line]
        return any(" K " in line for line in lines) and any(" K " not in line for line in lines)  # K: CHUNKING

    def check_null_sender(self, reply):
        self.assertIn(f" {self.exim_id(reply)} <= <> ", self.peer_log())

    @staticmethod
    def exim_id(reply):
        return re.search(r"id=(\S+)", reply)[1]

    def check_one_transaction(self, reply, n):
        exim_id = self.exim_id(reply)
        line, = [x for x in self.peer_log().splitlines() if f" {exim_id} <= " in x]
        self.assertEqual(len(re.findall(r"r\d+@may\.example", line.split(" for ")[1])), n)


if __name__ == "__main__":
    unittest.main()
