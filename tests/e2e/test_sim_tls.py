"""The simulator's TLS."""
import hashlib
import os
import socket
import ssl
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.simcase import OLD, SimCase  # noqa: E402


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


if __name__ == "__main__":
    unittest.main()
