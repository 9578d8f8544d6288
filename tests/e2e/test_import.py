"""`postern import`: configurations of Postfix and PowerMTA become ones that `postern check` takes, and mean the same where they can."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import find_program  # noqa: E402

POSTERN = find_program("POSTERN", "postern")
MAIN_CF = """
myhostname = mail.example.com
inet_interfaces = all
inet_protocols = ipv4
mynetworks = 127.0.0.0/8, 10.0.0.0/8
    [fd00::]/16 !10.1.2.3
message_size_limit = 52428800
relayhost = [smtp.isp.example]:587
maximal_queue_lifetime = 3d
minimal_backoff_time = 300s
maximal_backoff_time = 1000s
smtp_bind_address = 192.0.2.10
smtp_helo_name = out.$myhostname
smtp_tls_security_level = encrypt
smtpd_tls_cert_file = DIR/cert.pem
smtpd_tls_key_file = $smtpd_tls_cert_file
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
sender_dependent_default_transport_maps = hash:DIR/senders
smtp_sasl_password_maps = hash:DIR/sasl
header_checks = regexp:/etc/postfix/hc
"""
MASTER_CF = """
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       y       -       -       smtpd
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
  -o smtpd_recipient_restrictions=
smtp      unix  -       -       y       -       -       smtp
relay     unix  -       -       y       -       -       smtp
bulk      unix  -       -       n       -       -       smtp -o smtp_bind_address=198.51.100.20 -o smtp_helo_name=bulk.example.com
"""
POWERMTA = """
host-name out.example.com
smtp-listener 0/0:2525
domain-key s1,example.com,DIR/none.pem
<source 10.0.0.0/8>
  always-allow-relaying yes
  default-virtual-mta pool-a
</source>
<source 0/0>
  always-allow-relaying yes
</source>
<virtual-mta vmta1>
  smtp-source-host 192.0.2.10 a1.example.com
</virtual-mta>
<virtual-mta vmta2>
  smtp-source-host 198.51.100.10 b1.example.com
  smtp-source-host 198.51.100.11 b2.example.com
  <domain gmail.com>
    max-smtp-out 3
  </domain>
</virtual-mta>
<virtual-mta-pool pool-a>
  virtual-mta vmta1
  virtual-mta vmta2
</virtual-mta-pool>
<mx-rollup-list>
  mx *.mail.protection.outlook.com outlook.rollup
  mx *.pphosted.com pph.rollup
</mx-rollup-list>
<domain *>
  bounce-after 4d12h
  retry-after 10m
  max-smtp-out unlimited
</domain>
<domain pph.rollup>
  max-msg-rate 50/10min
</domain>
<domain hotmail.com>
  max-msg-rate 100/h
  require-starttls yes
</domain>
<smtp-user joe>
  password hunter2
</smtp-user>
include DIR/more
"""


class Import(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, **files):
        for name, text in files.items():
            (self.dir / name.replace("_cf", ".cf")).write_text(text.replace("DIR", str(self.dir)))

    def convert(self, kind, path, code=0):
        """The configuration, the notes, and the values that differ from the defaults, as check prints them."""
        done = subprocess.run([POSTERN, "import", kind, path], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, done.stderr)
        made = self.dir / "made.conf"
        made.write_text(done.stdout)
        check = subprocess.run([POSTERN, "check", "-n", "-c", made], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(check.returncode, 0, check.stderr)
        return done.stdout, done.stderr, check.stdout

    def test_postfix(self):
        self.write(main_cf=MAIN_CF, master_cf=MASTER_CF, sasl="[smtp.isp.example]:587 joe:hunter2\n",
                   senders="@news.example.com bulk:\nboss@example.com bulk:\n")
        made, notes, values = self.convert("postfix", self.dir)
        for line in ['hostname = "mail.example.com"', 'expire = "3d"', 'retry = {"5m", "10m", "1000s"}', 'address = {"0.0.0.0:25"}',
                     'allow = {"127.0.0.0/8", "10.0.0.0/8", "fd00::/16"}', 'ehlo = "out.mail.example.com"', 'address = "198.51.100.20"',
                     'tls = "require"', 'sender "news.example.com"']:
            self.assertIn(line, values)
        self.assertEqual(values.count("source \""), 2)  # relay sends from the address that smtp has
        self.assertIn(f'hostname = "mail.example.com"  # {self.dir}/main.cf:2 myhostname', made)
        for note in ["!10.1.2.3", "relayhost: no fixed next hops", "header_checks", "boss@example.com", "[smtp.isp.example]:587",
                     f"{self.dir}/cert.pem", "nobody may relay here"]:
            self.assertIn(note, notes)
        # without a password for those who had to log in, the listener for them is gone, not open
        self.assertNotIn("587", values)
        self.assertNotIn("hunter2", made + notes)
        # the notes are comments of the configuration as well
        self.assertTrue(all("#   " + n in made for n in notes.splitlines()))

    def test_powermta(self):
        self.write(config=POWERMTA, more="total-max-smtp-out 500\n")
        made, notes, values = self.convert("powermta", self.dir / "config")
        for line in ['hostname = "out.example.com"', "outbound_max = 500", 'expire = "108h"', 'retry = {"10m"}', 'allow = {"10.0.0.0/8"}',
                     'pool = "pool-a"', 'sources = {"vmta1", "vmta2", "vmta2-2"}', 'mx = {"*.pphosted.com"}',
                     'lane_message_rate = "50/10m"', 'lane_message_rate = "100/1h"', 'tls = "require"']:
            self.assertIn(line, values)
        for note in ["open relay", "passwords are not copied", "outlook.rollup is provider", "stays", "none.pem", "of one VMTA alone"]:
            self.assertIn(note, notes)
        self.assertNotIn("hunter2", made + notes)
        self.assertNotIn("connections_per_cluster", values)

    def test_with_nothing_in_it(self):
        self.write(config="# nothing\n", main_cf="", master_cf="")
        for kind, path in [("powermta", self.dir / "config"), ("postfix", self.dir)]:
            _, notes, values = self.convert(kind, path)
            self.assertIn("192.0.2.1", values)
            self.assertIn("no address was found", notes)

    def test_hostile_text_is_shown_harmless(self):
        self.write(config="host-name a\x1b[2Jb\x9b\nbad\x1bdirective x\n<source 1\x1b>\nalways-allow-relaying yes\n")
        made, notes, _ = self.convert("powermta", self.dir / "config")
        self.assertNotIn("\x1b", made + notes)

    def test_what_cannot_be_read(self):
        for args, code in [(["postfix", "/nowhere"], 66), (["sendmail", "/etc"], 64), (["postfix"], 64)]:
            done = subprocess.run([POSTERN, "import", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            self.assertEqual((done.returncode, done.stdout), (code, ""))


if __name__ == "__main__":
    unittest.main()
