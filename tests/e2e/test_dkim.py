"""Mail is signed as it comes in, and both verifiers find every signature good in what the receiver got."""
import base64
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import content, dkim  # noqa: E402
from lib.case import RelayCase  # noqa: E402
from lib.process import find_program  # noqa: E402
from lib.raw import Smtp  # noqa: E402

SCENARIO = """
cluster "FULL" { addresses = {"127.1.1.1-4"}  size = "200MiB" }
cluster "DATA" { addresses = {"127.1.2.1-4"}  size = "200MiB"  without = {"CHUNKING", "BINARYMIME"} }
cluster "OLD" { addresses = {"127.1.3.1-4"}  without = {"CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8"} }
tenant "full.example" { cluster = {"FULL"} }
tenant "data.example" { cluster = {"DATA"} }
tenant "old.example" { cluster = {"OLD"} }
tenant "sender.example" { cluster = {"FULL"} }
"""
UNLIMITED = {"microsoft365": {"lane_message_rate": "none", "lane_connect_rate": "none"}}
SANITIZED = bool(os.environ.get("E2E_SANITIZED"))
MANY = 200 if SANITIZED else 2000


def openssl(*args, **options):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, **options).stdout


class Keys:
    """Private keys in files, and what DNS would say of them."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.records = {}
        self.text = ""

    def add(self, domain, selector, kind="rsa", bits=2048, mode=0o600, **options):
        path = self.dir / f"{selector}.{domain}.pem"
        openssl("genpkey", "-algorithm", kind, *(["-pkeyopt", f"rsa_keygen_bits:{bits}"] if kind == "rsa" else []), "-out", path)
        path.chmod(mode)
        der = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
        p = base64.b64encode(der if kind == "rsa" else der[-32:]).decode()
        self.records[f"{selector}._domainkey.{options.get('sign_as', domain)}"] = f"v=DKIM1; k={kind}; p={p}"
        more = "".join(f"  {k} = {v}" if v.startswith("{") else f'  {k} = "{v}"' for k, v in options.items())
        self.text += f'dkim "{domain}" {{ selector = "{selector}"  key = "{path}"{more} }}\n'
        return path


FOLDS = ["\r\n ", "\r\n\t", "\r\n   ", " ", "  ", "\t", " \r\n \r\n\t"]


def generated(rng):
    """A message of any shape that a client may send: bytes."""
    def text(n):
        return "".join(rng.choice(["a", "Bc", "de.f", "=20", "x:y", ";", "ä", "\x01", "(", '"'] + FOLDS) for _ in range(rng.randrange(n))).rstrip()

    fields = [f"From: {rng.choice(['<a@sign.example>', 'Joe <a@sign.example>', 'a@sub.sign.example', chr(34) + 'x, @y' + chr(34) + ' <b@sign.example>'])}"]
    for name in ("To", "Subject", "Cc", "Date", "Message-ID", "MIME-Version", "X-Mine", "Reply-To", "List-Unsubscribe", "content-TYPE", "References", "Resent-To"):
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3]) if name not in ("Date", "Message-ID") else 1):
            fields.append(f"{name}:{rng.choice([' ', '', '  ', chr(9)])}{text(12)}")
    rng.shuffle(fields)
    lines = ["", "", " ", "\t", "text", "  two  words \t", ".", "..", ". ", ".text", "ä" * 10, "x" * 900, "trailing ", "=", "From me"]
    body = "".join(rng.choice(lines) + "\r\n" for _ in range(rng.randrange(12)))
    body += rng.choice(["", "", "no end", " ", "\r\n\r\n", ".", "ends in blank  "])
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


class DkimCase(RelayCase):
    def setUp(self):
        self.dir = self.enterContext(tempfile.TemporaryDirectory())
        self.keys = Keys(self.dir)

    def begin(self, **options):
        self.sim = self.simulator(SCENARIO, store=True)
        self.relay_ = self.relay(self.sim, extra=self.keys.text, providers=UNLIMITED, **options)
        self.client = Smtp(*self.relay_.address("in"))
        self.addCleanup(self.client.close)
        self.numbers = iter(range(1, 1 << 30))
        self.python = dkim.PythonDkim(self.keys.records)
        self.open = dkim.OpenDkim(self.keys.records, self.dir)
        self.addCleanup(self.open.close)

    def send(self, message, domain="full", sizes=None, params=" BODY=8BITMIME", code=250):
        to = f"m{next(self.numbers)}@{domain}.example"
        commands = [f"MAIL FROM:<s@sender.example>{params}", f"RCPT TO:<{to}>"]
        if sizes is None:
            self.client.flight(*commands, "DATA", replies=3)
            reply = self.client.flight(content.dots(message), replies=1)[0]
        else:
            at, parts = 0, []
            while at < len(message) or not parts:
                size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
                parts += [f"BDAT {len(message[at:at + size])}{' LAST' if at + size >= len(message) else ''}", message[at:at + size]]
                at += size
            reply = self.client.flight(*commands, *parts, replies=2 + len(parts) // 2)[-1]
        self.assertEqual(reply.code, code, reply)
        return to

    def came(self, wanted):
        for to in wanted:
            self.relay_.wait_event("delivered", to=to)
        return {d["to"]: pathlib.Path(d["file"]).read_bytes() for d in self.sim.deliveries() if d["to"] in wanted}

    def check(self, message, n=1):
        """As whoever takes mail gives it to a verifier: the last line of what came by BDAT has an end then, which both canonical forms
        suppose anyway (RFC 6376 section 3.4.3)."""
        if not message.endswith(b"\r\n"):
            message += b"\r\n"
        self.assertEqual(self.python.verify(message), [True] * n, message[:3000])
        self.assertEqual(self.open.verify(message), [True] * n, message[:3000])


class Signed(DkimCase):
    def test_generated_messages_verify(self):
        rng = random.Random(14)
        self.keys.add("sign.example", "rsa")
        self.keys.add("sign.example", "simple", kind="rsa", canonicalization="simple/simple")
        self.begin(queue={"path": f"{self.dir}/queue", "max_size": "512MiB"})
        sent = {}
        for i in range(MANY):
            message = generated(rng)
            sizes = [rng.randrange(1, 400) for _ in range(6)] if rng.random() < 0.5 else None
            if sizes is None and not message.endswith(b"\r\n"):
                message += b"\r\n"  # DATA cannot send it otherwise
            sent[self.send(message, rng.choice(["full", "data"]), sizes)] = message
        came = self.came(sent)
        self.assertEqual(set(came), set(sent))
        for to, message in came.items():
            self.check(message, 2)

    def test_changed_mail_does_not_verify(self):
        self.keys.add("sign.example", "rsa")
        self.begin()
        to = self.send(b"From: <a@sign.example>\r\nSubject: one\r\n\r\nbody\r\n")
        message = self.came([to])[to]
        self.check(message)
        for changed in (message.replace(b"body", b"bodY"), message.replace(b": one", b": two"), b"Subject: more\r\n" + message,
                        b"To: x@y.example\r\n" + message, b"From: <e@evil.example>\r\n" + message, b"Date: now\r\n" + message):
            self.assertEqual(self.python.verify(changed), [False])
            self.assertEqual(self.open.verify(changed), [False])

    def test_field_stands_on_top_and_covers_what_the_relay_added(self):
        self.keys.add("sign.example", "rsa")
        self.begin()
        to = self.send(b"From: <a@sign.example>\r\nX-Postern-Pool: main\r\n\r\nbody\r\n")
        message = self.came([to])[to]
        self.assertTrue(message.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;"), message)
        self.assertIn(b"\r\nReceived: ", message)
        self.assertIn(b"Message-ID:", re.search(rb"h=([^;]*)", message)[1])
        self.check(message)

    def test_ed25519_beside_rsa(self):
        self.keys.add("sign.example", "rsa")
        self.keys.add("sign.example", "ed", kind="ed25519")
        self.begin()
        to = self.send(b"From: <a@sign.example>\r\n\r\nbody\r\n")
        message = self.came([to])[to]
        self.assertEqual(self.python.verify(message), [True, True], message)

    def test_who_signs(self):
        self.keys.add("sign.example", "one")
        self.keys.add("own.sign.example", "two")
        self.keys.add("provider.example", "esp", sign_as="esp.example", **{"from": '{"customer.example","*.tenant.example"}'})
        self.begin()
        rows = {"a@sign.example": [b"d=sign.example"], "a@x.sign.example": [b"d=sign.example"], "a@own.sign.example": [b"d=own.sign.example"],
                "a@customer.example": [b"d=esp.example"], "a@t.tenant.example": [b"d=esp.example"], "a@provider.example": [], "a@other.example": [],
                "a@sign.example, b@customer.example": [b"d=sign.example", b"d=esp.example"]}
        sent = {self.send(f"From: {f}\r\n\r\nbody\r\n".encode()): signers for f, signers in rows.items()}
        for to, message in self.came(sent).items():
            self.assertEqual(re.findall(rb"\bd=[a-z.]+", message), sent[to], message)
            if sent[to]:
                self.check(message, len(sent[to]))

    def test_large_message_is_signed_while_it_streams_and_read_back_from_the_queue(self):
        self.keys.add("sign.example", "rsa")
        self.begin(root={"body_memory_max": "1MiB"}, listeners={"in": {"message_size_max": "200MiB"}},
                   queue={"path": f"{self.dir}/queue", "max_size": "512MiB"})
        body = b"".join(b"%d line  of \t content \r\n" % i for i in range(30000 if SANITIZED else 600000))
        message = b"From: <a@sign.example>\r\n\r\n" + body
        sent = [self.send(message, "full", [100000]), self.send(message, "data")]
        for message in self.came(sent).values():
            self.assertTrue(message.endswith(body))
            self.check(message)

    def test_what_a_receiver_cannot_take_is_returned_not_changed(self):
        self.keys.add("sign.example", "rsa")
        self.begin()
        to = self.send("From: <a@sign.example>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nä\r\n".encode(), "old")
        event = self.relay_.wait_event(("bounced", "delivered"), to=to)
        if event["event"] == "delivered":  # sent as it is
            self.check(self.came([to])[to])

    def test_keys_come_and_go_with_a_reload(self):
        self.keys.add("sign.example", "one")
        self.begin()
        before = self.send(b"From: <a@later.example>\r\n\r\nbody\r\n")
        self.keys.add("later.example", "two")
        self.relay_.extra = self.keys.text
        self.relay_.write_config()
        self.relay_.reload()
        self.python = dkim.PythonDkim(self.keys.records)
        self.client = Smtp(*self.relay_.address("in"))
        self.addCleanup(self.client.close)
        after = self.send(b"From: <a@later.example>\r\n\r\nbody\r\n")
        came = self.came([before, after])
        self.assertEqual(self.python.verify(came[before]), [])
        self.assertEqual(self.python.verify(came[after]), [True])


class Command(DkimCase):
    """postern dkim: from no key to mail that is signed, with what the command prints and nothing else."""

    def postern(self, *args, code=0):
        run = subprocess.run([find_program("POSTERN", "postern"), "dkim", *map(str, args)], capture_output=True, text=True, cwd=self.dir, timeout=60)
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def record(self, said):
        name = re.search(r"^(\S+)\. IN TXT", said, re.M).group(1)
        return name, "".join(re.findall(r'^\t"([^"]*)"', said, re.M))

    def test_keygen(self):
        for options, file, kind in ((["-s", "s1"], "s1.new.example.pem", "rsa"), (["-s", "s2", "--ed25519"], "s2.new.example.pem", "ed25519"),
                                    (["-s", "s3", "--bits", "4096", "-o", "my.pem"], "my.pem", "rsa")):
            with self.subTest(options):
                said = self.postern("keygen", *options, "new.example")
                path = pathlib.Path(self.dir) / file
                self.assertEqual(path.stat().st_mode & 0o777, 0o600)
                name, text = self.record(said)
                self.assertEqual(name, f"{options[1]}._domainkey.new.example")
                self.assertLessEqual(max(map(len, re.findall(r'"([^"]*)"', said))), 255)
                der = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
                self.assertEqual(base64.b64decode(text.split("p=")[1]), der if kind == "rsa" else der[-32:])
                before = path.read_bytes()
                self.assertIn("is there already", self.postern("keygen", *options, "new.example", code=73))
                self.assertEqual(path.read_bytes(), before)

    def test_nonsense(self):
        for args in (["keygen"], ["keygen", "../x"], ["keygen", "-s", "a/b", "x.example"], ["keygen", "-b", "512", "x.example"], ["keygen", "-x", "x.example"],
                     ["keygen", "-e", "-b", "2048", "x.example"], ["keygen", "a..example"], ["other"], ["check", "a.example", "b.example"]):
            with self.subTest(args):
                self.postern(*args, code=64)
        self.assertEqual(os.listdir(self.dir), [])

    def test_check(self):
        """Of five keys one is published right, one twice, one for another key, one not at all; one file is gone."""
        for n in ("right", "twice", "other", "none", "gone"):
            self.postern("keygen", "-s", n, "-e", f"{n}.example")
            self.keys.text += f'dkim "{n}.example" {{ selector = "{n}"  key = "{self.dir}/{n}.{n}.example.pem" }}\n'
        relay = self.relay(start=False, extra=self.keys.text)
        zone = dict(self.record(self.postern("record", "-c", relay.config_path, f"{n}.example")) for n in ("right", "twice", "other"))
        self.assertEqual(sorted(zone), ["other._domainkey.other.example", "right._domainkey.right.example", "twice._domainkey.twice.example"])
        zone["other._domainkey.other.example"] = zone["right._domainkey.right.example"]
        records = [f"{name} TXT {text}" for name, text in zone.items()] + ["twice._domainkey.twice.example TXT v=DKIM1; p="]
        sim = self.simulator(SCENARIO + "records = {" + ", ".join(f'"{r}"' for r in records) + "}\n")
        relay = self.relay(sim, start=False, extra=self.keys.text, dns={"timeout": "1s", "tries": 1})
        gone = pathlib.Path(self.dir) / "gone.gone.example.pem"
        gone.rename(gone.with_suffix(".away"))
        self.assertIn(str(gone), self.postern("check", "-c", relay.config_path, code=78))  # an error of the configuration
        gone.with_suffix(".away").rename(gone)
        said = self.postern("check", "-c", relay.config_path, "--json", code=65)
        found = {j["domain"]: j for j in map(json.loads, said.splitlines())}
        self.assertEqual({d.split(".")[0]: j["status"] for d, j in found.items()},
                         {"right": "ok", "twice": "wrong", "other": "wrong", "none": "missing", "gone": "missing"}, said)
        self.assertIn("several", found["twice.example"]["text"])
        self.assertTrue(found["other.example"]["text"])
        self.assertIn("ok       right._domainkey.right.example", self.postern("check", "-c", relay.config_path, "RIGHT.example"))
        self.assertIn("no dkim section for x.example", self.postern("check", "-c", relay.config_path, "x.example", code=66))
        sim.close()
        self.assertIn("unknown", self.postern("check", "-c", relay.config_path, "right.example", code=75))


class Refused(DkimCase):
    """A key that cannot be used is an error at its line."""

    def errors(self, text):
        relay = self.relay(start=False, extra=text)
        run = subprocess.run([find_program("POSTERN", "postern"), "check", "-c", relay.config_path], capture_output=True, text=True)
        line = relay.config_path.read_text().splitlines()
        return run.returncode, run.stdout + run.stderr, [i for i, t in enumerate(line, 1) if t.startswith("dkim")]

    def refused(self, text, what, at=0):
        code, said, lines = self.errors(text)
        self.assertNotEqual(code, 0, said)
        self.assertRegex(said, rf"postern.conf:{lines[at]}: [^\n]*{what}")

    def test_good(self):
        self.keys.add("sign.example", "one")
        self.keys.add("sign.example", "two", kind="ed25519", mode=0o640)
        code, said, _ = self.errors(self.keys.text)
        self.assertEqual(code, 0, said)

    def test_missing(self):
        self.refused(f'dkim "a.example" {{ selector = "s"  key = "{self.dir}/none.pem" }}\n', "none.pem")
        self.refused('dkim "a.example" { selector = "s" }\n', "key is missing")

    def test_weak(self):
        self.keys.add("a.example", "s", bits=768)
        self.refused(self.keys.text, "768 bits")

    def test_no_key(self):
        path = pathlib.Path(self.dir) / "x.pem"
        path.write_text("nothing\n")
        path.chmod(0o600)
        self.refused(f'dkim "a.example" {{ selector = "s"  key = "{path}" }}\n', "no private key")

    def test_mode(self):
        for mode in (0o644, 0o606, 0o660, 0o601):
            self.keys = Keys(self.dir)
            self.keys.add("a.example", f"s{mode:o}", mode=mode)
            self.refused(self.keys.text, f"mode {mode:04o}")

    def test_selector_twice(self):
        self.keys.add("a.example", "s")
        self.keys.add("a.example", "t")
        self.refused(self.keys.text.replace('"t"', '"s"'), "selector of its own", at=1)

    def test_title(self):
        self.keys.add("a.example", "s")
        self.refused(self.keys.text.replace('"a.example"', '"not a domain"'), "title is a domain")


if __name__ == "__main__":
    unittest.main()
