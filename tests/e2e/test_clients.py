"""Clients that nobody here wrote, each through the relay to the simulator: what arrives is what they sent."""
import email.message
import email.policy
import os
import pathlib
import smtplib
import ssl
import subprocess
import sys
import tempfile
import unittest
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import content, peers  # noqa: E402
from lib.certs import Authority, password_hash  # noqa: E402
from lib.process import DEADLINE  # noqa: E402
from lib.relay import Relay  # noqa: E402
from lib.sim import Simulator  # noqa: E402

SCENARIO = """
cluster "EUR01" { addresses = {"127.1.1.1-4"} }
cluster "EUR05" { addresses = {"127.1.5.1-4"}  without = {"CHUNKING", "BINARYMIME"} }
tenant "t1.example" { cluster = {"EUR01"} }
tenant "t2.example" { cluster = {"EUR05"} }
tenant "xn--bcher-kva.example" { cluster = {"EUR01"} }
tenant "bücher.example" { cluster = {"EUR01"} }
"""
USER, PASSWORD = "app@example.org", "a secret, with: signs"


def text(id, body="Hello.\r\n.a line with a dot\r\n..\r\nend\r\n", headers=""):
    return (f"From: <sender@example.org>\r\nTo: <user@t1.example>\r\nSubject: {id}\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\n"
            f"Message-ID: <{id}@client.example>\r\nX-Test-Id: {id}\r\n{headers}\r\n{body}").encode()


class ClientCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="postern-clients-")))
        cls.ca = Authority(cls.dir / "ca")
        certificate, key = cls.ca.certificate("relay", "DNS:relay.test.example", "IP:127.0.0.1")
        users = cls.dir / "users"
        users.write_text(f"{USER}:{password_hash(PASSWORD)}\n")
        tls = {"certificate": certificate, "key": key}
        cls.sim = cls.enterClassContext(Simulator(SCENARIO, store=True))
        cls.relay = cls.enterClassContext(Relay(cls.sim, listeners={
            "in": {**tls, "users_file": users},
            "submission": {**tls, "users_file": users, "allow": [], "require_tls": True, "require_auth": True},
            "smtps": {**tls, "users_file": users, "allow": [], "require_auth": True, "implicit_tls": True},
            "loopback": {"users_file": users, "allow": []},
        }, providers={"microsoft365": {"lane_message_rate": "none", "lane_connect_rate": "none"}}))

    def arrived(self, id, to="user@t1.example"):
        """(the simulator's record, the content)"""
        self.sim.wait_delivered(id, to)
        found = [d for d in self.sim.deliveries() if d["id"] == id and d["to"] == to]
        self.assertEqual(len(found), 1)
        return found[0], pathlib.Path(found[0]["file"]).read_bytes()

    def check_arrived(self, id, sent, with_protocol, to=("user@t1.example",)):
        """The message is there, once for each of to, as it was sent. The last one's record and Received field."""
        for one in to:
            record, came = self.arrived(id, one)
            received = content.check_same(sent, came, f"{id} to {one}")
            self.assertIn(f" with {with_protocol} ", received.decode())
        return record, received

    def program(self, *command, input=None, env=None, ok=True):
        done = subprocess.run([str(c) for c in command], input=input, stdin=None if input is not None else subprocess.DEVNULL,
                              capture_output=True, env=env, timeout=2 * DEADLINE)
        out = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode == 0, ok, f"{command[0]} ended with {done.returncode}:\n{out}")
        return out

    def endpoint(self, listener):
        host, port = self.relay.address(listener)
        return f"{host}:{port}"

    def message_file(self, id, line_end=b"\r\n", end=True):
        """What is to arrive, and a file of it; without its last line end for programs that add one."""
        sent = text(id)
        path = self.dir / f"{id}.eml"
        path.write_bytes((sent if end else sent[:-2]).replace(b"\r\n", line_end))
        return sent, path

    def tearDown(self):
        self.assertEqual(self.sim.violations()["total"], 0, self.sim.violations())
        self.assertEqual(self.relay.find(level="error"), [])


class Smtplib(ClientCase):
    def context(self):
        return ssl.create_default_context(cafile=str(self.ca.file))

    def login(self, client, mechanism):
        client.user, client.password = USER, PASSWORD
        return client.auth(mechanism, {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[mechanism])

    def test_plain(self):
        sent = text("plain")
        with self.relay.client() as c:
            c.sendmail("sender@example.org", "user@t1.example", sent)
        record, received = self.check_arrived("plain", sent, "ESMTP")
        self.assertTrue(received.startswith(b"Received: from client.example ([127.0.0.1])"), received)
        self.assertIn(b"for <user@t1.example>", received)
        self.assertEqual(record["from"], "sender@example.org")

    def test_helo(self):
        sent = text("helo")
        with self.relay.client() as c:
            c.helo("old.example")
            c.sendmail("sender@example.org", "user@t1.example", sent)
        _, received = self.check_arrived("helo", sent, "SMTP")
        self.assertTrue(received.startswith(b"Received: from old.example "), received)

    def test_starttls(self):
        sent = text("starttls")
        with self.relay.client() as c:
            c.starttls(context=self.context())
            c.ehlo()
            self.assertFalse(c.has_extn("starttls"))
            c.sendmail("sender@example.org", "user@t1.example", sent)
        _, received = self.check_arrived("starttls", sent, "ESMTPS")
        self.assertIn(b"TLS1.3", received)

    def test_tls_1_2_is_the_least(self):
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        sent = text("tls12")
        with self.relay.client() as c:
            c.starttls(context=context)
            c.sendmail("sender@example.org", "user@t1.example", sent)
        self.assertIn(b"TLS1.2", self.check_arrived("tls12", sent, "ESMTPS")[1])
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.relay.client() as c, self.assertRaises(ssl.SSLError):
            c.starttls(context=old)

    def test_auth(self):
        for mechanism in ("PLAIN", "LOGIN"):
            with self.subTest(mechanism):
                id = f"auth-{mechanism}"
                sent = text(id)
                with self.relay.client("submission") as c:
                    c.starttls(context=self.context())
                    c.ehlo()
                    self.assertEqual(self.login(c, mechanism)[0], 235)
                    c.sendmail("sender@example.org", "user@t1.example", sent)
                _, received = self.check_arrived(id, sent, "ESMTPSA")
                self.assertNotIn(USER.encode(), received)
                self.assertEqual(self.relay.wait_event("accepted", message_id=f"<{id}@client.example>")["user"], USER)

    def test_auth_from_loopback_in_clear(self):
        sent = text("auth-clear")
        with self.relay.client("loopback") as c:
            c.login(USER, PASSWORD)
            c.sendmail("sender@example.org", "user@t1.example", sent)
        self.check_arrived("auth-clear", sent, "ESMTPA")

    def test_wrong_password(self):
        with self.relay.client("submission") as c:
            c.starttls(context=self.context())
            for user, password in ((USER, "wrong"), ("nobody", PASSWORD), (USER, PASSWORD + "x")):
                with self.assertRaises(smtplib.SMTPAuthenticationError) as e:
                    c.login(user, password)
                self.assertEqual(e.exception.smtp_code, 535)
            with self.assertRaises(smtplib.SMTPSenderRefused) as e:
                c.sendmail("sender@example.org", "user@t1.example", text("never"))
            self.assertEqual(e.exception.smtp_code, 530)

    def test_implicit_tls(self):
        sent = text("smtps")
        host, port = self.relay.address("smtps")
        with smtplib.SMTP_SSL(host, port, "client.example", context=self.context(), timeout=DEADLINE) as c:
            c.login(USER, PASSWORD)
            c.sendmail("sender@example.org", "user@t1.example", sent)
        self.check_arrived("smtps", sent, "ESMTPSA")

    def test_smtputf8(self):
        sent = text("utf8", headers="X-Name: Jürgen Groß\r\n")
        to = ["käthe@t1.example", "user@bücher.example"]
        with self.relay.client() as c:
            self.assertEqual(c.sendmail("jürgen@example.org", to, sent, ["SMTPUTF8", "BODY=8BITMIME"]), {})
        record, _ = self.check_arrived("utf8", sent, "UTF8SMTP", to)
        self.assertIn("SMTPUTF8", record["mail_params"])
        self.assertEqual(record["from"], "jürgen@example.org")

    def test_dsn_parameters(self):
        sent = text("dsn")
        with self.relay.client() as c:
            c.sendmail("sender@example.org", "user@t1.example", sent, ["RET=HDRS", "ENVID=job+2B7"],
                       ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;first+2Bone@example.org"])
        record, _ = self.check_arrived("dsn", sent, "ESMTP")
        self.assertIn("RET=HDRS", record["mail_params"].split())
        self.assertIn("ENVID=job+2B7", record["mail_params"].split())
        self.assertEqual(sorted(record["rcpt_params"].split()), ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;first+2Bone@example.org"])

    def test_send_message(self):
        m = email.message.EmailMessage()
        m["From"], m["To"], m["Subject"] = "Sender <sender@example.org>", "user@t1.example, user@t2.example", "Ein schöner Tag – 你好"
        m["X-Test-Id"] = "message"
        m.set_content("Grüße\n.\n" + "x" * 500 + "\n")
        m.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="all bytes")
        m.set_boundary("boundary of the parts")
        with self.relay.client() as c:
            c.send_message(m)
        sent = m.as_bytes(policy=email.policy.SMTP)
        self.check_arrived("message", sent, "ESMTP", ("user@t1.example", "user@t2.example"))
        _, came = self.arrived("message")
        parsed = email.message_from_bytes(came, policy=email.policy.default)
        self.assertEqual(parsed["subject"], "Ein schöner Tag – 你好")
        self.assertEqual(next(parsed.iter_attachments()).get_content(), bytes(range(256)) * 40)

    def test_bcc_is_left_alone(self):
        sent = text("bcc", headers="Bcc: <hidden@t1.example>\r\n")
        with self.relay.client() as c:
            c.sendmail("sender@example.org", ["user@t1.example", "hidden@t1.example"], sent)
        _, received = self.check_arrived("bcc", sent, "ESMTP", ("user@t1.example", "hidden@t1.example"))
        self.assertNotIn(b"for <", received)

    def test_many_messages_in_a_session(self):
        with self.relay.client() as c:
            for i in range(50):
                c.sendmail("sender@example.org", [f"user{k}@t1.example" for k in range(3)], text(f"session-{i}"))
                if i % 10 == 9:
                    c.rset()
        for i in range(50):
            self.check_arrived(f"session-{i}", text(f"session-{i}"), "ESMTP", [f"user{k}@t1.example" for k in range(3)])

    def test_refused_recipient_of_several(self):
        sent = text("partly")
        with self.relay.client() as c:
            refused = c.sendmail("sender@example.org", ["user@t1.example", "a@b@c", "user@t2.example"], sent)
        self.assertEqual({k: v[0] for k, v in refused.items()}, {"a@b@c": 501})
        self.check_arrived("partly", sent, "ESMTP", ("user@t1.example", "user@t2.example"))

    def test_received_for_each_protocol_has_the_queue_id(self):
        with self.relay.client() as c:
            c.ehlo()
            c.mail("sender@example.org")
            c.rcpt("user@t1.example")
            code, reply = c.data(text("queue-id"))
        self.assertEqual(code, 250)
        id = reply.decode().split()[-1]
        _, received = self.check_arrived("queue-id", text("queue-id"), "ESMTP")
        self.assertIn(f" id {id}\r\n", received.decode())
        self.relay.wait_event("delivered", id=id)


class Swaks(ClientCase):
    def swaks(self, id, listener, *options):
        sent, path = self.message_file(id, b"\n", end=False)
        out = self.program("swaks", "--server", self.endpoint(listener), "--helo", "client.example", "--from", "sender@example.org",
                           "--to", "user@t1.example,other@t1.example", "--data", f"@{path}", *options)
        self.assertIn("250 2.0.0 Ok: queued as", out)
        return sent, ("user@t1.example", "other@t1.example")

    def auth(self, mechanism):
        return "--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD

    def test_plain(self):
        sent, to = self.swaks("swaks", "in")
        self.check_arrived("swaks", sent, "ESMTP", to)

    def test_pipeline(self):
        sent, to = self.swaks("swaks-pipe", "in", "--pipeline")
        self.check_arrived("swaks-pipe", sent, "ESMTP", to)

    def test_starttls(self):
        sent, to = self.swaks("swaks-tls", "in", "--tls", "--tls-verify", "--tls-ca-path", self.ca.file)
        self.check_arrived("swaks-tls", sent, "ESMTPS", to)

    def test_auth(self):
        for mechanism in ("PLAIN", "LOGIN"):
            id = f"swaks-{mechanism}"
            sent, to = self.swaks(id, "submission", "--tls", *self.auth(mechanism))
            self.check_arrived(id, sent, "ESMTPSA", to)

    def test_implicit_tls_and_pipeline(self):
        sent, to = self.swaks("swaks-smtps", "smtps", "--tls-on-connect", "--pipeline", *self.auth("PLAIN"))
        self.check_arrived("swaks-smtps", sent, "ESMTPSA", to)

    def test_without_auth_is_refused(self):
        _, path = self.message_file("swaks-never", b"\n")
        out = self.program("swaks", "--server", self.endpoint("submission"), "--from", "sender@example.org", "--to", "user@t1.example",
                           "--data", f"@{path}", "--tls", ok=False)
        self.assertIn("530 5.7.0 Authentication required", out)


class Msmtp(ClientCase):
    def msmtp(self, id, listener, *options, ok=True):
        sent, path = self.message_file(id, b"\n")
        config = self.dir / "msmtprc"
        config.write_text("# empty\n")
        host, port = self.relay.address(listener)
        out = self.program("msmtp", f"--file={config}", f"--host={host}", f"--port={port}", "--domain=client.example",
                           "--from=sender@example.org", *options, "user@t1.example", "other@t1.example", input=path.read_bytes(), ok=ok)
        return sent, out

    def auth(self):
        return f"--user={USER}", f"--passwordeval=printf %s '{PASSWORD}'"

    def check(self, id, sent, protocol):
        self.check_arrived(id, sent, protocol, ("user@t1.example", "other@t1.example"))

    def test_plain(self):
        self.check("msmtp", self.msmtp("msmtp", "in")[0], "ESMTP")

    def test_dsn(self):
        sent, _ = self.msmtp("msmtp-dsn", "in", "--dsn-notify=failure,delay", "--dsn-return=full")
        self.check("msmtp-dsn", sent, "ESMTP")
        record, _ = self.arrived("msmtp-dsn")
        self.assertIn("RET=FULL", record["mail_params"])
        self.assertIn("NOTIFY=FAILURE,DELAY", record["rcpt_params"])

    def test_starttls_with_auth(self):
        for mechanism in ("plain", "login"):
            id = f"msmtp-{mechanism}"
            sent, _ = self.msmtp(id, "submission", "--tls=on", f"--tls-trust-file={self.ca.file}", f"--auth={mechanism}", *self.auth())
            self.check(id, sent, "ESMTPSA")

    def test_implicit_tls(self):
        sent, _ = self.msmtp("msmtp-smtps", "smtps", "--tls=on", "--tls-starttls=off", f"--tls-trust-file={self.ca.file}", "--auth=on",
                             *self.auth())
        self.check("msmtp-smtps", sent, "ESMTPSA")

    def test_wrong_password(self):
        _, out = self.msmtp("msmtp-never", "submission", "--tls=on", f"--tls-trust-file={self.ca.file}", "--auth=plain", f"--user={USER}",
                            "--passwordeval=echo wrong", ok=False)
        self.assertIn("535", out)


class Curl(ClientCase):
    def curl(self, id, url, *options):
        sent, path = self.message_file(id)
        self.program("curl", "--silent", "--show-error", "--max-time", int(2 * DEADLINE), "--url", f"{url}/client.example",
                     "--mail-from", "sender@example.org", "--mail-rcpt", "user@t1.example", "--mail-rcpt", "user@t2.example",
                     "--upload-file", path, *options)
        return sent, ("user@t1.example", "user@t2.example")

    def test_plain(self):
        sent, to = self.curl("curl", f"smtp://{self.endpoint('in')}")
        self.check_arrived("curl", sent, "ESMTP", to)

    def test_starttls_with_auth(self):
        for mechanism in ("PLAIN", "LOGIN"):
            id = f"curl-{mechanism}"
            sent, to = self.curl(id, f"smtp://{self.endpoint('submission')}", "--ssl-reqd", "--cacert", self.ca.file, "--user",
                                 f"{USER}:{PASSWORD}", "--login-options", f"AUTH={mechanism}")
            self.check_arrived(id, sent, "ESMTPSA", to)

    def test_implicit_tls(self):
        sent, to = self.curl("curl-smtps", f"smtps://{self.endpoint('smtps')}", "--cacert", self.ca.file, "--user", f"{USER}:{PASSWORD}")
        self.check_arrived("curl-smtps", sent, "ESMTPSA", to)

    def test_large_upload(self):
        line = "".join(chr(33 + i) for i in range(76)) + "\r\n"
        sent = text("curl-large", line * 130000)
        path = self.dir / "large.eml"
        path.write_bytes(sent)
        self.program("curl", "--silent", "--show-error", "--url", f"smtp://{self.endpoint('in')}", "--mail-from", "sender@example.org",
                     "--mail-rcpt", "user@t1.example", "--mail-rcpt", "user@t2.example", "--upload-file", path)
        self.check_arrived("curl-large", sent, "ESMTP", ("user@t1.example", "user@t2.example"))


class SmtpSource(ClientCase):
    @classmethod
    def setUpClass(cls):
        cls.command, cls.env = peers.smtp_source(peers.unpacked())
        super().setUpClass()

    def source(self, *options):
        return self.program(self.command, "-M", "client.example", "-f", "sender@example.org", *options, self.endpoint("in"), env=self.env)

    def came_since(self, since, count):
        self.sim.wait(deliveries=count)
        found = [d for d in self.sim.deliveries(since)]
        self.assertEqual(len(found), count)
        return found

    def setUp(self):
        self.sim.reset()

    def prepared(self, id):
        """What is to arrive (smtp-source ends each message with an empty line), and the file."""
        sent, path = self.message_file(id, b"\n")
        return sent + b"\r\n", path

    def test_many_sessions(self):
        sent, path = self.prepared("source")
        self.source("-s", 20, "-m", 400, "-t", "user@t1.example", "-F", path)
        for d in self.came_since(0, 400):
            content.check_same(sent, pathlib.Path(d["file"]).read_bytes(), d["file"])
        self.assertEqual(self.relay.json("stats")["inbound"]["open"], 0)

    def test_many_recipients(self):
        sent, path = self.prepared("source-r")
        self.source("-s", 4, "-m", 8, "-r", 100, "-t", "user@t1.example", "-F", path)
        found = self.came_since(0, 800)
        self.assertEqual(len({d["to"] for d in found}), 100)
        for file in {d["file"] for d in found}:
            content.check_same(sent, pathlib.Path(file).read_bytes(), file)

    def test_large_messages_of_its_own(self):
        self.source("-s", 2, "-m", 4, "-l", 10_000_000, "-t", "user@t1.example")
        for d in self.came_since(0, 4):
            _, came = content.strip_received(pathlib.Path(d["file"]).read_bytes())
            header, body = came.split(b"\r\n\r\n", 1)
            self.assertIn(b"Message-Id: ", header)
            self.assertGreater(len(body), 9_900_000)
            lines = body.split(b"\r\n")[:-2]
            self.assertEqual([n for n, x in enumerate(lines) if x != b"%dX" % ((n + 1) % 10) + b"X" * (len(lines[0]) - 2)], [])

    def test_a_session_for_each_message(self):
        sent, path = self.prepared("source-d")
        self.source("-d", "-s", 10, "-m", 100, "-t", "user@t2.example", "-F", path)
        for d in self.came_since(0, 100):
            content.check_same(sent, pathlib.Path(d["file"]).read_bytes(), d["file"])


if __name__ == "__main__":
    unittest.main()
