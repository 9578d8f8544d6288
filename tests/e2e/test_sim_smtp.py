"""The simulator's front ends: forms, content, strictness, and which mail belongs where."""
import hashlib
import os
import pathlib
import random
import re
import smtplib
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import DEADLINE  # noqa: E402
from lib.raw import Smtp  # noqa: E402
from lib.simcase import BASE, NEW, OLD, TO_NEW, TO_OLD, SimCase  # noqa: E402


class Forms(SimCase):
    scenario = BASE + """
    cluster "OLC" { kind = "consumer"  addresses = {"127.3.1.1"}  site = "DB8"  forest = "eurprd02" }
    cluster "PLAIN" { form = "plain"  addresses = {"127.5.1.7"} }
    cluster "BARE" { addresses = {"127.5.2.7"}  tails = "no"  features = {"SIZE", "8BITMIME"}  size = "1024" }
    cluster "SOME" { addresses = {"127.5.3.7"}  without = {"CHUNKING", "BINARYMIME"} }
    tenant "outlook.example" { cluster = {"OLC"} }
    tenant "plain.example" { cluster = {"PLAIN"} }
    tenant "bare.example" { cluster = {"BARE"} }
    tenant "some.example" { cluster = {"SOME"} }
    """

    def test_old_banner_and_tail(self):
        c = self.smtp(OLD)
        self.assertRegex(c.banner.text, r"^220 DB5EUR01FT001\.mail\.protection\.outlook\.com Microsoft ESMTP MAIL Service "
                                        r"ready at \w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d \+0000$")
        self.assertRegex(c.mail("u@nowhere.example")[1].text, r" \[DB5EUR01FT001\.eop-EUR01\.prod\.protection\.outlook\.com\]$")

    def test_new_banner_and_tail_share_the_session_id(self):
        c = self.smtp(NEW)
        host, session = re.match(r"220 (AM7PEPF[0-9A-F]{8})\.mail\.protection\.outlook\.com Microsoft ESMTP MAIL Service "
                                 r"ready at .* \[(08DD[0-9A-F]{12})\]$", c.banner.text).groups()
        self.assertRegex(c.mail("u@nowhere.example")[1].text,
                         rf" \[{host}\.eurprd05\.prod\.outlook\.com \d{{4}}-\d\d-\d\dT[\d:.]+Z {session}\]$")

    def test_consumer(self):
        c = self.smtp("127.3.1.1")
        self.assertIn(".olc.protection.outlook.com ", c.banner.text)
        self.assertIn("SIZE 49283072", c.hello.text)
        self.assertRegex(c.mail("u@nowhere.example")[1].text, r"\[Name=Protocol Filter Agent\]\[AGT=PFA\]\[MxId=\w+\] \[DB8PEPF")

    def test_plain(self):
        c = self.smtp("127.5.1.7")
        self.assertEqual(c.banner.text, "220 mx7.PLAIN.example.net ESMTP")
        self.assertRegex(c.mail("u@plain.example")[-1].text, r"^250 2\.0\.0 Ok: queued as [0-9A-F]{10}$")
        self.assertNotIn("[", c.mail("u@nowhere.example")[1].text)

    def test_success(self):
        c = self.smtp(NEW)
        body = b"Message-ID: <m1@example.org>\r\n\r\nHello\r\n"
        replies = c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_NEW}>", f"BDAT {len(body)} LAST", body, replies=3)
        self.assertRegex(replies[2].text, rf"^250 2\.6\.0 <m1@example\.org> \[InternalId=\d+, Hostname=AM7PR0\dMB\d{{4}}\.eurprd05"
                                          rf"\.prod\.outlook\.com\] {len(body)} bytes in [\d.]+, [\d.]+ KB/sec Queued mail for delivery$")

    def test_features(self):
        everything = {"PIPELINING", "SIZE 157286400", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "8BITMIME", "BINARYMIME",
                      "CHUNKING", "SMTPUTF8"}
        rows = [(OLD, everything), ("127.5.2.7", {"SIZE 1024", "8BITMIME"}),
                ("127.5.3.7", everything - {"CHUNKING", "BINARYMIME"})]
        for host, want in rows:
            with self.subTest(host):
                c = self.smtp(host)
                self.assertEqual({line[4:] for line in c.hello.lines[1:]}, want)
                self.assertTrue(c.hello.lines[-1].startswith("250 "))

    def test_helo_offers_nothing(self):
        c = self.smtp(OLD, ehlo=None)
        self.assertEqual(len(c.command("HELO client.example").lines), 1)
        self.assertEqual(c.command("MAIL FROM:<a@example.org> SIZE=10").code, 555)

    def test_no_tail_where_it_is_masked(self):
        self.assertNotIn("[", self.smtp("127.5.2.7", ehlo="x").command("RCPT TO:<a@b.example>").text)

    def test_size_limits(self):
        c = self.smtp("127.5.2.7")
        self.assertEqual(c.command("MAIL FROM:<a@example.org> SIZE=1025").code, 552)
        self.assertEqual(c.command("MAIL FROM:<a@example.org> SIZE=1024").code, 250)
        self.assertEqual(c.command("RCPT TO:<u@bare.example>").code, 250)
        self.assertEqual(c.command("DATA").code, 354)
        self.assertEqual(c.command("x" * 900 + "\r\n" + "y" * 200 + "\r\n.").code, 552)


class Content(SimCase):
    options = {"store": True}

    def delivered(self):
        self.sim.wait(deliveries=1)
        d = self.sim.deliveries()[-1]
        data = pathlib.Path(d["file"]).read_bytes()
        self.assertEqual(d["sha256"], hashlib.sha256(data).hexdigest())
        self.assertEqual(d["size"], len(data))
        return d, data

    def begin_data(self, host=OLD, to=TO_OLD, params=""):
        c = self.smtp(host)
        self.assertEqual(self.codes(c.flight(f"MAIL FROM:<a@example.org>{params}", f"RCPT TO:<{to}>", "DATA", replies=3)),
                         [250, 250, 354])
        return c

    def test_smtplib(self):
        with smtplib.SMTP(OLD, self.sim.smtp_port, "client.example", DEADLINE, ("127.0.7.9", 0)) as c:
            c.sendmail("a@example.org", [TO_OLD], "X-Test-Id: lib\r\nSubject: x\r\n\r\n.leading dot\r\n..two\r\n.\r\nend\r\n")
        d, data = self.delivered()
        self.assertEqual(data, b"X-Test-Id: lib\r\nSubject: x\r\n\r\n.leading dot\r\n..two\r\n.\r\nend\r\n")
        self.assertEqual((d["id"], d["to"], d["from"], d["source"], d["host"], d["cluster"], d["tenant"], d["ehlo"], d["tls"],
                          d["bdat"]),
                         ("lib", TO_OLD, "a@example.org", "127.0.7.9", OLD, "EUR01", "t1.example", "client.example", None, False))
        self.sim.check_no_violations()

    def test_data_in_pieces_of_any_size(self):
        wire = b"X-Test-Id: cut\r\n\r\n..dot\r\n\r\n.\rnot the end\r\n...\r\nlast\r\n.\r\n"
        want = b"X-Test-Id: cut\r\n\r\n.dot\r\n\r\n\rnot the end\r\n..\r\nlast\r\n"
        for size in (1, 2, 3, 5, 7, len(wire)):
            with self.subTest(size):
                self.sim.reset()
                c = self.begin_data()
                for i in range(0, len(wire), size):
                    c.send(wire[i:i + size])
                    if size < 3:
                        time.sleep(0.0005)  # so that pieces arrive as such; the outcome does not depend on it
                self.assertEqual(c.reply().code, 250)
                self.assertEqual(self.delivered()[1], want)

    def test_only_crlf_dot_crlf_ends_a_message(self):
        c = self.begin_data()
        c.send(b"X-Test-Id: smuggle\r\n\r\na\n.\nMAIL FROM:<x@example.org>\r\nb\n.\r\nc\r.\r\nd\r\n.\n\r\n.\r\n")
        self.assertEqual(c.reply().code, 250)
        self.assertEqual(self.delivered()[1].count(b"MAIL FROM"), 1)
        self.assertEqual(self.sim.summary()["messages"], 1)
        self.assertLessEqual({"bare-lf"}, self.violation_kinds().keys())

    def test_bdat_chunks_binary(self):
        c = self.smtp(NEW)
        parts = [b"X-Test-Id: bin\r\n\r\n", bytes(range(256)) * 40, b"\n.\n", b""]
        flight = [f"MAIL FROM:<> BODY=BINARYMIME SIZE={sum(map(len, parts))}", f"RCPT TO:<{TO_NEW}>"]
        for i, p in enumerate(parts):
            flight += [f"BDAT {len(p)}" + (" LAST" if i == 3 else ""), p]
        replies = c.flight(*flight, replies=6)
        self.assertEqual(self.codes(replies), [250] * 6)
        d, data = self.delivered()
        self.assertEqual(data, b"".join(parts))
        self.assertEqual((d["from"], d["bdat"], d["mail_params"]), ("", True, "BODY=BINARYMIME SIZE=10261"))
        self.sim.check_no_violations()

    def test_large_message(self):
        line = b"0123456789" * 7 + b"\r\n"
        body = b"X-Test-Id: large\r\n\r\n" + line * 100000
        c = self.begin_data()
        c.send(body + b".\r\n")
        self.assertEqual(c.reply().code, 250)
        self.assertEqual(self.delivered()[1], body)
        self.sim.check_no_violations()

    def test_identity(self):
        rows = [(b"Message-ID: <m@x>\r\nX-Test-Id: t\r\n\r\n", "t", "<m@x>"), (b"message-id:<m@x>\r\n\r\n", "<m@x>", "<m@x>"),
                (b"Message-ID:\r\n <fold@x>\r\n\r\nX-Test-Id: in body\r\n", "<fold@x>", "<fold@x>"),
                (b"Subject: x\r\n\r\nMessage-ID: <body@x>\r\n", None, None), (b"X-Test-Id: only", "only", None)]
        for text, id, message_id in rows:
            with self.subTest(text):
                self.sim.reset()
                c = self.smtp()
                c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", f"BDAT {len(text)} LAST", text, replies=3)
                d = self.sim.deliveries()[0]
                self.assertEqual((d["id"], d["message_id"]), (id, message_id))

    def test_parameters_are_kept(self):
        c = self.smtp()
        text = b"X-Test-Id: dsn\r\n\r\n"
        self.assertEqual(self.codes(c.flight(
            "MAIL FROM:<a@example.org> RET=HDRS ENVID=e+2B1 SMTPUTF8 BODY=8BITMIME",
            f"RCPT TO:<{TO_OLD}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;user+40x@example.org",
            "RCPT TO:<jörg@t1.example> NOTIFY=NEVER", f"BDAT {len(text)} LAST", text, replies=4)), [250] * 4)
        self.assertEqual([d["rcpt_params"] for d in self.sim.deliveries()],
                         ["NOTIFY=SUCCESS,DELAY ORCPT=rfc822;user+40x@example.org", "NOTIFY=NEVER"])
        self.assertEqual(self.sim.deliveries()[1]["to"], "jörg@t1.example".encode().decode("latin-1").encode("latin-1").decode())

    def test_connection_lost_within_a_message_leaves_nothing(self):
        c = self.begin_data()
        c.send(b"X-Test-Id: half\r\n\r\nhalf")
        c.close()
        self.sim.wait(closed=1)
        s = self.sim.summary()
        self.assertEqual((s["messages"], s["half_messages"]), (0, 1))


class Strictness(SimCase):
    scenario = BASE + """
    cluster "SLOW" { addresses = {"127.5.1.1"}  without = {"PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8", "DSN"} }
    tenant "slow.example" { cluster = {"SLOW"} }
    """

    def expect(self, kind, code, *commands, host=OLD, ehlo="client.example", replies=1):
        self.sim.reset()
        c = self.smtp(host, ehlo=ehlo)
        got = c.flight(*commands, replies=replies)
        self.assertEqual(got[-1].code, code, got)
        self.assertEqual(list(self.violation_kinds()), [kind] if kind else [])
        return c

    def test_order_and_syntax(self):
        mail, rcpt = "MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>"
        rows = [
            ("unknown-command", 500, ["FOO bar"], 1),
            ("rcpt-before-mail", 503, [rcpt], 1),
            ("data-before-mail", 503, ["DATA"], 1),
            ("data-before-rcpt", 503, [mail, "DATA"], 2),
            ("nested-mail", 503, [mail, mail], 2),
            ("mail-syntax", 501, ["MAIL FROM:a@example.org"], 1),
            ("mail-syntax", 501, ["MAIL TO:<a@example.org>"], 1),
            ("space-before-path", 250, ["MAIL FROM: <a@example.org>"], 1),
            ("sender-syntax", 501, ["MAIL FROM:<a b@example.org>"], 1),
            ("sender-syntax", 501, ["MAIL FROM:<a@example..org>"], 1),
            ("sender-syntax", 501, [f"MAIL FROM:<{'x' * 65}@example.org>"], 1),
            ("sender-syntax", 501, ["MAIL FROM:<jörg@example.org>"], 1),
            ("recipient-syntax", 501, [mail, "RCPT TO:<>"], 2),
            ("recipient-syntax", 501, [mail, "RCPT TO:<user>"], 2),
            ("rcpt-syntax", 501, [mail, "RCPT TO:user@t1.example"], 2),
            ("parameter-not-offered", 555, [mail + " FOO=1"], 1),
            ("parameter-syntax", 501, [mail + " SIZE=x"], 1),
            ("parameter-syntax", 501, [mail + " BODY=9BIT"], 1),
            ("parameter-syntax", 501, [mail + " RET=SOME"], 1),
            ("parameter-syntax", 501, [mail + " ENVID=a+2z"], 1),
            ("parameter-syntax", 501, [mail, rcpt + " NOTIFY=NEVER,DELAY"], 2),
            ("parameter-syntax", 501, [mail, rcpt + " ORCPT=user@example.org"], 2),
            ("bdat-syntax", 501, ["BDAT x"], 1),
            ("bdat-syntax", 501, ["BDAT 5 FIRST"], 1),
            ("starttls-not-offered", 502, ["STARTTLS"], 1),
            ("auth-not-offered", 503, ["AUTH PLAIN AA=="], 1),
            ("ehlo-name", 501, ["EHLO a b"], 1),
            ("bare-lf-command", 250, [b"NOOP\n"], 1),
            ("bare-cr-command", 500, [b"NO\rOP\r\n"], 1),
        ]
        for kind, code, commands, replies in rows:
            with self.subTest(commands):
                host = "127.5.1.1" if kind == "starttls-not-offered" else OLD
                if host != OLD:
                    self.sim.replace(self.scenario.replace('"DSN"}', '"DSN", "STARTTLS"}'))
                self.sim.reset()
                c = self.smtp(host)
                got = c.flight(*commands, replies=replies)
                self.assertEqual(got[-1].code, code, got)
                kinds = [k for k in self.violation_kinds() if not (kind == "bare-cr-command" and k == "unknown-command")]
                self.assertEqual(kinds, [kind])

    def test_mail_before_ehlo(self):
        self.expect("mail-before-ehlo", 503, "MAIL FROM:<a@example.org>", ehlo=None)

    def test_what_is_right_is_no_violation(self):
        self.expect(None, 250, 'MAIL FROM:<"odd @ local\\" part"@example.org>')
        self.expect(None, 250, "mail from:<> size=5 body=7bit")
        self.expect(None, 250, "EHLO [127.0.0.1]")
        self.expect(None, 252, "VRFY x")

    def test_extensions_must_be_offered(self):
        for command in ("MAIL FROM:<a@example.org> BODY=8BITMIME", "MAIL FROM:<a@example.org> SMTPUTF8",
                        "MAIL FROM:<a@example.org> RET=FULL"):
            with self.subTest(command):
                self.expect("parameter-not-offered", 555, command, host="127.5.1.1")
        self.expect("bdat-not-offered", 502, "BDAT 0 LAST", host="127.5.1.1")

    def test_pipelining_must_be_offered(self):
        self.expect("early-input", 250, "MAIL FROM:<a@example.org>", "RSET", host="127.5.1.1", replies=2)

    def test_nothing_follows_a_command_that_ends_its_group(self):
        self.expect("early-input", 250, "EHLO x", "NOOP", replies=2)
        c = self.expect("early-input", 354, "MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", b"X: y\r\n", replies=3)
        c.close()

    def test_talking_before_the_banner(self):
        sim = self.another('defaults { latency = "300ms" }\n' + BASE)
        c = self.smtp(OLD, sim=sim, greet=False)
        c.send("EHLO early\r\n")
        self.assertEqual([c.reply().code, c.reply().code], [220, 250])
        self.assertEqual(sim.violations()["kinds"], {"early-input": 1})

    def test_content(self):
        rows = [("bare-lf", b"a\nb\r\n"), ("bare-cr", b"a\rb\r\n"), ("long-text-line", b"x" * 999 + b"\r\n"),
                ("8bit-undeclared", "ä\r\n".encode())]
        for kind, body in rows:
            for bdat in (False, True):
                with self.subTest(kind=kind, bdat=bdat):
                    self.sim.reset()
                    c = self.smtp()
                    text = b"X-Test-Id: v\r\n\r\n" + body
                    if bdat:
                        c.mail(TO_OLD, "v", body)
                    else:
                        c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", replies=3)
                        c.send(text + b".\r\n")
                        self.assertEqual(c.reply().code, 250)
                    self.assertEqual(self.violation_kinds(), {kind: 1})

    def test_longest_line_is_no_violation(self):
        self.smtp().mail(TO_OLD, "v", b"x" * 998 + b"\r\n")
        self.assertEqual(self.violation_kinds(), {})

    def test_dot_not_doubled(self):
        c = self.smtp()
        c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", replies=3)
        c.send(b"X: y\r\n\r\n.x\r\n.\r\n")
        self.assertEqual(c.reply().code, 250)
        self.assertEqual(self.violation_kinds(), {"dot-not-doubled": 1})

    def test_endless_line(self):
        c = self.smtp()
        c.send(b"x" * 300000 + b"\r\n")
        self.assertEqual(c.reply().code, 500)
        self.assertEqual(c.command("NOOP").code, 250)
        self.assertEqual(self.violation_kinds(), {"long-line": 1})

    def test_wrong_chunk_size_shows(self):
        c = self.smtp()
        text = b"X: y\r\n\r\nhello\r\n"
        c.flight("MAIL FROM:<a@example.org>", f"RCPT TO:<{TO_OLD}>", f"BDAT {len(text) - 5} LAST", text, replies=4)
        self.assertIn("unknown-command", self.violation_kinds())

    def test_starttls_injection_is_discarded(self):
        c = self.smtp()
        self.assertEqual(c.flight("STARTTLS", "NOOP", replies=1)[0].code, 220)
        c.handshake()
        self.assertEqual(c.command("EHLO x").code, 250)
        self.assertIn("starttls-injection", self.violation_kinds())

    def test_errors_before_close(self):
        sim = self.another("errors_before_close = 3\n" + BASE)
        c = self.smtp(sim=sim)
        self.assertEqual(self.codes(c.flight("A", "B", "C", replies=4)), [500, 500, 500, 421])
        self.assertEqual(c.at_eof(), b"")


class Noise(SimCase):
    """Nothing that a client says brings the simulator down."""

    def test_mutated_sessions(self):
        rng = random.Random(4)
        good = (b"EHLO x\r\nMAIL FROM:<a@example.org> SIZE=9\r\nRCPT TO:<u@t1.example> NOTIFY=NEVER\r\nDATA\r\nX: y\r\n\r\n..\r\n.\r\n"
                b"MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<u@t1.example>\r\nBDAT 4\r\nabcdBDAT 0 LAST\r\nAUTH PLAIN AA==\r\nQUIT\r\n")
        for _ in range(300):
            data = bytearray(good)
            for _ in range(rng.randrange(1, 8)):
                at = rng.randrange(len(data))
                data[at:at + rng.randrange(3)] = rng.randbytes(rng.randrange(4))
            with Smtp(OLD, self.sim.smtp_port, greet=False) as c:
                c.send(bytes(data))
                c.socket.shutdown(socket.SHUT_WR)
        self.sim.wait(opened=300, open=0)
        self.assertEqual(self.smtp().mail(TO_OLD)[-1].code, 250)

    def test_client_that_never_reads(self):
        c = self.smtp()
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.socket.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            for _ in range(2000):
                c.send("VRFY x\r\n" * 5000)
        c.close()
        self.sim.wait(open=0)


class Echoes(SimCase):
    """What comes behind a refusal in a pipeline is an echo: neither verdict nor violation."""
    scenario = BASE + """
    rule "mail" { phase = "mail"  sender = {"no@*"}  reply = "451 4.4.4 Mail received as unauthenticated ATTR3 {tail}" }
    rule "rcpt" { phase = "rcpt"  recipient = {"no@*"}  reply = "550 5.4.1 {rcpt}: Recipient address rejected {tail}" }
    rule "data" { phase = "data"  recipient = {"data@*"}  reply = "451 4.7.0 Temporary server error. PRX4" }
    rule "eod" { phase = "eod"  recipient = {"eod@*"}  reply = "550 5.7.1 Message rejected\\nsecond line\\nthird {tail}" }
    """

    def test_refused_mail_in_a_bdat_flight(self):
        c = self.smtp()
        replies = c.mail(TO_OLD, sender="no@example.org")
        self.assertEqual(self.codes(replies), [451, 503, 503])
        self.assertEqual([r.text[:27] for r in replies[1:]], ["503 5.5.2 Need mail command"] * 2)
        self.assertTrue(replies[0].text.endswith("ATTR3 [DB5EUR01FT001.eop-EUR01.prod.protection.outlook.com]"))
        self.assertEqual(c.mail(TO_OLD)[-1].code, 250)
        s = self.sim.summary()
        self.assertEqual((s["refused"], s["echoes"], s["violations"], s["mails"], s["messages"]), (1, 2, 0, 2, 1))
        self.assertEqual(s["refusals"], [{"by": "mail", "phase": "mail", "count": 1}])

    def test_refused_mail_in_a_data_flight(self):
        replies = self.smtp().flight("MAIL FROM:<no@example.org>", f"RCPT TO:<{TO_OLD}>", "DATA", replies=3)
        self.assertEqual(self.codes(replies), [451, 503, 503])
        self.sim.check_no_violations()

    def test_refused_recipient(self):
        c = self.smtp()
        replies = c.mail("no@t1.example")
        self.assertEqual(self.codes(replies), [250, 550, 503])
        self.assertIn("no@t1.example: Recipient", replies[1].text)
        self.assertIn("Need rcpt command", replies[2].text)
        self.assertEqual(c.command("RSET").code, 250)
        self.assertEqual(self.codes(c.mail(["no@t1.example", "yes@t1.example"], "part")), [250, 550, 250, 250])
        self.assertEqual([d["to"] for d in self.sim.deliveries()], ["yes@t1.example"])
        self.sim.check_no_violations()

    def test_refused_at_data(self):
        c = self.smtp()
        self.assertEqual(self.codes(c.mail("data@t1.example")), [250, 250, 451])
        self.assertEqual(self.codes(c.flight("MAIL FROM:<>", "RCPT TO:<data@t1.example>", "DATA", replies=3)), [250, 250, 451])
        self.assertEqual(self.codes(c.mail("fine@t1.example")), [250, 250, 250])
        self.sim.check_no_violations()

    def test_refused_chunk_swallows_the_rest(self):
        c = self.smtp()
        replies = c.flight("MAIL FROM:<>", "RCPT TO:<data@t1.example>", "BDAT 10", b"X: y\r\n\r\nab", "BDAT 5 LAST", b"QUIT\r",
                           "NOOP", replies=5)
        self.assertEqual(self.codes(replies), [250, 250, 451, 503, 250])
        self.sim.check_no_violations()

    def test_refused_at_end_of_data_in_several_lines(self):
        c = self.smtp()
        reply = c.mail("eod@t1.example")[-1]
        self.assertEqual(reply.code, 550)
        self.assertEqual(reply.lines[:2], ["550-5.7.1 Message rejected", "550-second line"])
        self.assertTrue(reply.lines[2].startswith("550 third [DB5"))
        self.assertEqual(self.sim.summary()["messages"], 0)
        self.assertEqual(self.sim.refusals()[0]["id"], "x")


class Places(SimCase):
    """Which mail may come to which front end."""
    scenario = BASE + """
    cluster "FEW" { addresses = {"127.5.1.1-20"}  addresses_per_tenant = 4  recipients = 3 }
    cluster "MIX" { addresses = {"127.5.2.1"}  multi_tenant = "yes"  region_check = "no" }
    tenant "f{0..9}.example" { cluster = {"FEW"} }
    tenant "secure.example" { cluster = {"EUR01"}  require_tls = "yes" }
    """

    def test_wrong_region(self):
        c = self.smtp(NEW)
        replies = c.mail(TO_OLD)
        self.assertRegex(replies[1].text, r"^451 4\.4\.62 .*ATTR35\..* \[AM7")
        self.assertEqual((self.sim.summary()["wrong_region"], self.sim.lanes()["127.0.0.1", "EUR05"]["wrong_region"]), (1, 1))

    def test_only_at_the_tenants_own_addresses(self):
        own = set()
        for _ in range(60):
            own |= set(self.dns.ask(self.dns.mx("f3.example")[0][1], "A").values("A"))
        self.assertEqual(len(own), 4)
        for i in range(1, 21):
            host = f"127.5.1.{i}"
            with self.smtp(host) as c:
                self.assertEqual(c.mail("u@f3.example")[1].code, 250 if host in own else 451)

    def test_unknown_tenant(self):
        self.assertRegex(self.smtp().mail("u@nowhere.example")[1].text, r"^550 5\.7\.64 TenantAttribution; Relay Access Denied")

    def test_recipients_of_two_tenants(self):
        replies = self.smtp().mail(["u@t1.example", "u@t2.example"])
        self.assertEqual(self.codes(replies), [250, 250, 452, 250])
        self.assertIn("ATTR38", replies[2].text)
        self.assertEqual(self.codes(self.smtp("127.5.2.1").mail(["u@t1.example", "u@n2.example"])), [250] * 4)

    def test_recipient_limit(self):
        host = self.dns.host("f3.example")
        replies = self.smtp(host).mail([f"u{i}@f3.example" for i in range(5)])
        self.assertEqual(self.codes(replies), [250, 250, 250, 250, 452, 452, 250])
        self.assertIn("AS780090", replies[4].text)

    def test_tls_demanded(self):
        c = self.smtp()
        self.assertRegex(c.mail("u@secure.example")[1].text, r"^451 5\.7\.3 STARTTLS is required")
        c.command("RSET")
        c.starttls()
        c.command("EHLO x")
        self.assertEqual(c.mail("u@secure.example")[1].code, 250)


class Auth(SimCase):
    scenario = 'cluster "A" { addresses = {"127.1.1.1"}  auth = "relay:secret" }\ntenant "t.example" { cluster = {"A"} }\n'

    def test_plain_and_login(self):
        c = self.smtp()
        self.assertIn("AUTH PLAIN LOGIN", c.hello.text)
        self.assertEqual(c.command("MAIL FROM:<>").code, 530)
        for good in (True, False):
            for method in ("auth_plain", "auth_login"):
                with smtplib.SMTP(OLD, self.sim.smtp_port) as s:
                    s.ehlo("x")
                    s.user, s.password = "relay", "secret" if good else "wrong"
                    if good:
                        s.auth(method[5:], getattr(s, method))
                        self.assertEqual(s.mail("")[0], 250)
                    else:
                        self.assertRaises(smtplib.SMTPAuthenticationError, s.auth, method[5:], getattr(s, method))
        c = self.smtp()
        self.assertEqual([c.command("AUTH PLAIN").code, c.command("!!!").code, c.command("AUTH LOGIN").code, c.command("*").code],
                         [334, 535, 334, 501])
        self.sim.check_no_violations()


if __name__ == "__main__":
    unittest.main()
