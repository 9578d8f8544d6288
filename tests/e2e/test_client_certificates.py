"""TLS towards clients: which certificate they are shown, and who may relay by one of their own."""
import os
import pathlib
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.certs import Authority, password_hash  # noqa: E402
from lib.process import DEADLINE  # noqa: E402
from lib.relay import message  # noqa: E402

SCENARIO = 'cluster "EUR01" { addresses = {"127.1.1.1"} }\ntenant "t1.example" { cluster = {"EUR01"} }\n'


class ClientCertificates(RelayCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="postern-client-certificates-")))
        cls.ca, cls.stranger = Authority(cls.dir / "ca"), Authority(cls.dir / "stranger")
        cls.own = cls.ca.certificate("relay", "DNS:relay.test.example")
        cls.app = cls.ca.certificate("app", "DNS:app1.apps.example", "email:cron@example.org")
        cls.elsewhere = cls.ca.certificate("elsewhere", "DNS:app1.other.example")
        cls.forged = cls.stranger.certificate("forged", "DNS:app1.apps.example")

    def begin(self, **options):
        sim = self.simulator(SCENARIO)
        certificate, key = self.own
        return sim, self.relay(sim, listeners={"in": {"certificate": certificate, "key": key, "client_ca": self.ca.file, "allow": [],
                                                      "client_names": ["*.apps.example"], **options}})

    def context(self, own=None):
        context = ssl.create_default_context(cafile=str(self.ca.file))
        if own:
            context.load_cert_chain(*own)
        return context

    def secure(self, relay, own=None, name="relay.test.example", implicit=False):
        """A client under TLS that asks for a certificate of this name, and shows its own."""
        client = smtplib.SMTP(timeout=DEADLINE, local_hostname="client.example")
        self.addCleanup(client.close)
        if implicit:
            plain = socket.create_connection(relay.address(), timeout=DEADLINE)
            client.sock = self.context(own).wrap_socket(plain, server_hostname=name)
            self.assertEqual(client.getreply()[0], 220)
        else:
            client.connect(*relay.address())
            client._host = name  # what starttls asks for
            client.starttls(context=self.context(own))
        return client

    def send(self, client, id):
        client.sendmail("sender@example.org", ["user@t1.example"], message(id))

    def refused(self, relay, client, says):
        """The reply, and a line in the log from which the operator sees what is wrong with the certificate."""
        since = relay.mark()
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            self.send(client, "never")
        event = relay.wait_event("rejected", since=since)
        self.assertEqual(event["reason"], "relay-denied")
        self.assertRegex(event["certificate"], says)

    def test_who_may_relay(self):
        for implicit in (False, True):
            with self.subTest(implicit=implicit):
                sim, relay = self.begin(implicit_tls=implicit)
                self.send(self.secure(relay, self.app, implicit=implicit), "app")
                event = relay.wait_event("delivered")
                self.assertEqual(event["user"], "app1.apps.example")
                for own, says in ((None, "^no certificate$"), (self.elsewhere, "CN *= *elsewhere"), (self.forged, "verify|issuer|self-signed")):
                    self.refused(relay, self.secure(relay, own, implicit=implicit), says)
                self.assertEqual(sim.summary()["messages"], 1)
                self.assertTrue(self.doCleanups())

    def test_beside_networks_and_passwords(self):
        users = self.dir / "users"
        users.write_text(f"app:{password_hash('secret')}\n")
        users.chmod(0o600)
        sim, relay = self.begin(users_file=users, require_auth=True, allow=["127.0.0.0/8"], client_names=["cron@example.org"])
        self.send(self.secure(relay, self.app), "by-certificate")
        self.assertEqual(relay.wait_event("delivered")["user"], "cron@example.org")
        since = relay.mark()
        client = self.secure(relay, self.app)
        client.login("app", "secret")
        self.send(client, "by-password")
        self.assertEqual(relay.wait_event("delivered", since=since)["user"], "app")
        client = self.secure(relay)
        with self.assertRaises(smtplib.SMTPSenderRefused):
            self.send(client, "never")
        client = self.secure(relay)
        client.login("app", "secret")
        self.send(client, "password-alone")

    def test_a_client_that_nobody_here_wrote(self):
        sim, relay = self.begin()
        certificate, key = self.app
        host, port = relay.address()
        lines = "EHLO client.example\nMAIL FROM:<a@example.org>\nRCPT TO:<user@t1.example>\n"
        done = subprocess.run(["openssl", "s_client", "-connect", f"{host}:{port}", "-starttls", "smtp", "-CAfile", self.ca.file, "-cert",
                               certificate, "-key", key, "-crlf", "-quiet", "-ign_eof", "-verify_return_error"],
                              input=lines + "NOOP\nquit\n", capture_output=True, text=True, timeout=DEADLINE)
        self.assertIn("250 2.1.5", done.stdout, done.stderr)

    def test_reload(self):
        sim, relay = self.begin(client_names=["nobody.example"])
        self.refused(relay, self.secure(relay, self.app), "CN *= *app")
        relay.listeners["in"]["client_names"] = ["*"]
        self.assertEqual(relay.reload()["event"], "reloaded")
        self.send(self.secure(relay, self.app), "after")
        relay.wait_event("delivered")
        relay.listeners["in"]["client_ca"] = self.stranger.file
        self.assertEqual(relay.reload()["event"], "reloaded")
        self.refused(relay, self.secure(relay, self.app), "verify|issuer|self-signed")
        self.send(self.secure(relay, self.forged), "theirs")

    def test_by_server_name(self):
        more = []
        for name in ("second", "third"):
            certificate, key = self.ca.certificate(name, f"DNS:{name}.test.example")
            both = self.dir / f"{name}-both.pem"
            both.write_text(certificate.read_text() + key.read_text())
            both.chmod(0o600)
            more.append(both)
        sim, relay = self.begin(certificates=more)
        for name in ("relay", "second", "third", "second"):
            client = self.secure(relay, self.app, name=f"{name}.test.example")
            self.assertEqual(client.sock.getpeercert()["subjectAltName"], (("DNS", f"{name}.test.example"),))
            self.send(client, f"to-{name}")
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.secure(relay, name="fourth.test.example")

    def test_clear_text_is_nobody(self):
        sim, relay = self.begin()
        with relay.client() as client, self.assertRaises(smtplib.SMTPRecipientsRefused):
            self.send(client, "never")


if __name__ == "__main__":
    unittest.main()
