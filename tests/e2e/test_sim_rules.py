"""The simulator's latency, caps, scripted rules and limits."""
import os
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import Failed  # noqa: E402
from lib.raw import Dns, Smtp  # noqa: E402
from lib.simcase import BASE, NEW, OLD, TO_OLD, SimCase  # noqa: E402


class Latency(SimCase):
    scenario = 'defaults { latency = "250ms" }\n' + BASE
    step = 0.25

    def timed(self, work):
        began = time.monotonic()
        work()
        return (time.monotonic() - began) / self.step

    def test_connecting_costs_two(self):
        self.assertGreater(self.timed(lambda: self.smtp(ehlo=None)), 1.95)

    def test_a_flight_costs_one(self):
        c = self.smtp()
        one = self.timed(lambda: c.mail(TO_OLD))
        self.assertGreater(one, 0.98)
        self.assertLess(one, 2.5)  # three commands, three round trips one by one

    def test_commands_one_by_one_cost_one_each(self):
        c = self.smtp()
        steps = self.timed(lambda: [c.command(x) for x in ("MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>", "DATA")])
        self.assertGreater(steps, 2.94)
        self.assertLess(steps, 4.5)

    def test_flights_under_way_overlap(self):
        """A second flight sent half a round trip later is answered half a round trip later, not after the first."""
        c = self.smtp()
        c.send("NOOP\r\n")
        time.sleep(self.step / 2)

        def rest():
            c.send("RSET\r\n")
            c.reply()
            c.reply()
        self.assertLess(self.timed(rest), 1.4)  # 1.5 when the second waits for the first

    def test_bandwidth(self):
        """What was sent is answered when the line would have carried it."""
        self.addCleanup(self.sim.replace, self.scenario)
        self.sim.replace('defaults { bandwidth = "40000" }\n' + BASE)
        c = self.smtp()
        body = b"x" * 10000
        self.assertTrue(0.98 < self.timed(lambda: c.mail(TO_OLD, body=body)) < 1.9)
        flight = f"MAIL FROM:<>\r\nRCPT TO:<{TO_OLD}>\r\nBDAT {len(body)} LAST\r\n".encode() + body
        c.send(flight * 3)  # one behind the other
        self.assertTrue(2.9 < self.timed(lambda: [c.reply() for _ in range(9)]) < 3.9)

    def test_tls_handshake_costs_one_more(self):
        c = self.smtp()
        self.assertEqual(c.command("STARTTLS").code, 220)
        steps = self.timed(c.handshake)
        self.assertGreater(steps, 0.98)
        self.assertLess(steps, 1.9)

    def test_flights_are_counted(self):
        c = self.smtp()
        for _ in range(3):
            c.mail(TO_OLD)
        total = self.sim.peaks("total")[0]
        self.assertEqual((total["flights"], total["messages"], total["messages_per_connection_max"]), (4, 3, 3))
        c.quit()
        self.sim.wait(closed=1, open=0)
        self.assertEqual([e["flights"] for e in self.sim.events() if e["kind"] == "closed"], [5])


class Caps(SimCase):
    scenario = """
    cluster "CL" { addresses = {"127.1.1.1-4"}  connections = 3  forest = "f1" }
    cluster "SRC" { addresses = {"127.1.2.1-4"}  connections_per_source = 2 }
    cluster "NET" { addresses = {"127.1.3.1-4"}  connections_per_subnet = 2  source_cap_reply = "421 4.7.652 {subnet} too many" }
    cluster "FO{1..2}" { addresses = {"127.2.{n}.1"}  forest = "shared"  connections_per_forest = 2 }
    cluster "MSG" { addresses = {"127.1.4.1"}  messages_per_connection = 2 }
    cluster "AGE" { addresses = {"127.1.5.1"}  session_life = "10m" idle_timeout = "0" }
    cluster "IDLE" { addresses = {"127.1.6.1"}  idle_timeout = "300ms" }
    cluster "OFF" { addresses = {"127.1.7.1"}  listen = "no" }
    cluster "HOLE" { addresses = {"127.1.8.1"}  listen = "blackhole" }
    tenant "{n}.example" { cluster = {"CL"} }
    """.replace('tenant "{n}.example" { cluster = {"CL"} }', "\n".join(
        f'tenant "{c.lower()}.example" {{ cluster = {{"{c}"}} }}' for c in ("CL", "SRC", "NET", "FO1", "FO2", "MSG", "AGE", "IDLE")))

    def setUp(self):
        self.sim.wait(open=0)
        super().setUp()

    def test_cluster_cap(self):
        held = [self.smtp("127.1.1.1"), self.smtp("127.1.1.2"), self.smtp("127.1.1.3", source="127.0.9.9")]
        c = self.smtp("127.1.1.4")
        self.assertRegex(c.banner.text, r"^421 4\.3\.2 The maximum number of concurrent connections per resource forest .*PRX8$")
        self.assertEqual(c.at_eof(), b"")
        self.assertEqual(self.sim.clusters()["CL"]["peak"], 4)
        c.close()
        held[0].quit()
        self.assertEqual(self.smtp("127.1.1.4").banner.code, 220)
        self.assertEqual(self.sim.summary()["refusals"], [{"by": "#cluster-cap", "phase": "connect", "count": 1}])

    def test_source_cap(self):
        held = [self.smtp("127.1.2.1"), self.smtp("127.1.2.2")]
        c = self.smtp("127.1.2.3")
        self.assertRegex(c.mail("u@src.example")[0].text, r"^451 4\.7\.652 The mail server \[127\.0\.0\.1\] has exceeded .*\(S3115\) \[")
        self.assertEqual(self.smtp("127.1.2.3", source="127.0.0.7").mail("u@src.example")[-1].code, 250)
        held[0].quit()
        held[0] = c
        self.assertEqual(c.mail("u@src.example")[-1].code, 250)

    def test_subnet_cap(self):
        for i in (1, 2):
            self.assertEqual(self.smtp("127.1.3.1", source=f"127.0.4.{i}").mail("u@net.example")[-1].code, 250)
        c = self.smtp("127.1.3.1", source="127.0.4.3")
        self.assertEqual(c.command("MAIL FROM:<>").text, "421 4.7.652 127.0.4.0/24 too many")
        self.assertEqual(c.at_eof(), b"")
        self.assertEqual(self.smtp("127.1.3.1", source="127.0.5.3").mail("u@net.example")[-1].code, 250)
        self.assertEqual(self.sim.subnets()["127.0.4.0/24", "NET"]["peak"], 3)

    def test_forest_cap_spans_clusters(self):
        self.smtp("127.2.1.1"), self.smtp("127.2.2.1")
        self.assertEqual(self.smtp("127.2.2.1").banner.code, 421)
        self.assertEqual(self.sim.forests()["shared"]["peak"], 3)

    def test_messages_per_connection(self):
        c = self.smtp("127.1.4.1")
        self.assertEqual([c.mail("u@msg.example")[-1].code for _ in range(2)], [250, 250])
        self.assertEqual(c.command("MAIL FROM:<>").code, 421)
        self.assertEqual(c.at_eof(), b"")
        self.sim.wait(open=0)
        self.assertEqual(self.sim.lanes()["127.0.0.1", "MSG"]["messages_per_connection_max"], 2)

    def test_session_life_follows_the_scenarios_clock(self):
        c = self.smtp("127.1.5.1")
        self.assertEqual(c.mail("u@age.example")[-1].code, 250)
        self.sim.advance("11m")
        self.assertRegex(c.reply().text, r"^421 4\.4\.1 Connection timed out\. Total session duration: 00:11:")
        self.assertEqual(c.at_eof(), b"")

    def test_idle_timeout(self):
        c = self.smtp("127.1.6.1")
        began = time.monotonic()
        self.assertEqual(c.reply().code, 421)
        self.assertGreater(time.monotonic() - began, 0.25)

    def test_not_listening(self):
        self.assertRaises(ConnectionRefusedError, self.smtp, "127.1.7.1")

    def test_blackhole(self):
        with socket.socket() as s:
            s.settimeout(0.4)
            self.assertRaises(TimeoutError, s.connect, ("127.1.8.1", self.sim.smtp_port))

    def test_counting_is_exact(self):
        """One connection after the other never counts as two, however fast: neither after QUIT nor after a bare close."""
        for i in range(300):
            c = Smtp("127.1.2.1", self.sim.smtp_port)
            c.mail("u@src.example", f"m{i}")
            if i % 2:
                c.send("QUIT\r\n")
            c.close()
        self.sim.wait(closed=300)
        lane = self.sim.lanes()["127.0.0.1", "SRC"]
        self.assertEqual((lane["peak"], lane["opened"], lane["messages"], lane["refused"], lane["now"]), (1, 300, 300, 0, 0))

    def test_peaks(self):
        held = [self.smtp("127.1.2.1", source=f"127.0.6.{i}") for i in range(1, 6)]
        for c in held:
            c.close()
        self.sim.wait(open=0)
        self.assertEqual(self.sim.clusters()["SRC"]["peak"], 5)
        self.assertEqual(self.sim.subnets()["127.0.6.0/24", "SRC"]["peak"], 5)
        self.assertEqual({g["peak"] for k, g in self.sim.lanes().items() if k[0].startswith("127.0.6.")}, {1})
        self.assertEqual(self.sim.summary()["connections"]["peak"], 5)


class Rules(SimCase):
    scenario = BASE

    def tearDown(self):
        for name in self.sim.rules():
            self.sim.remove_rule(name)

    def rule(self, text, name="r"):
        self.sim.add_rule(f'rule "{name}" {{ {text} }}')

    def test_reply_in_each_phase(self):
        rows = [("connect", [], "banner"), ("ehlo", ["EHLO x"], None), ("starttls", ["EHLO x", "STARTTLS"], None),
                ("mail", ["EHLO x", "MAIL FROM:<>"], None), ("rcpt", ["EHLO x", "MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>"], None),
                ("data", ["EHLO x", "MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>", "DATA"], None),
                ("eod", ["EHLO x", "MAIL FROM:<>", f"RCPT TO:<{TO_OLD}>", "DATA", "X: y\r\n\r\n."], None),
                ("rset", ["EHLO x", "RSET"], None), ("quit", ["EHLO x", "QUIT"], None)]
        for phase, commands, banner in rows:
            with self.subTest(phase):
                self.rule(f'phase = "{phase}"  reply = "451 4.0.0 here {{ip}} {{ehlo}} {{cluster}} {{hostip}}"')
                c = self.smtp(ehlo=None)
                replies = [c.banner] + [c.command(x) for x in commands]
                name = "x" if phase not in ("connect", "ehlo") else ""
                self.assertEqual(replies[-1].text, f"451 4.0.0 here 127.0.0.1 {name} EUR01 127.1.1.1")
                self.assertEqual([e["phase"] for e in self.sim.refusals()][-1], phase)
                c.close()

    def test_filters(self):
        self.rule('phase = "mail"  source = {"127.0.1.0/24", "127.0.2.2"}  cluster = {"EUR*"}  reply = "450 4.0.0 no"')
        rows = [("127.0.1.77", OLD, 450), ("127.0.2.2", NEW, 450), ("127.0.2.3", OLD, 250), ("127.0.0.1", NEW, 250)]
        for source, host, code in rows:
            with self.subTest(source):
                self.assertEqual(self.smtp(host, source=source).command("MAIL FROM:<>").code, code)

    def test_tenant_recipient_and_sender_filters(self):
        self.rule('phase = "rcpt"  tenant = {"t5.*"}  recipient = {"a*@*"}  sender = {"*@bad.example"}  reply = "550 5.1.1 no"')
        rows = [("s@bad.example", "anna@t5.example", 550), ("s@good.example", "anna@t5.example", 250),
                ("s@bad.example", "anna@t6.example", 250), ("s@bad.example", "bob@t5.example", 250)]
        for sender, to, code in rows:
            with self.subTest(to):
                self.assertEqual(self.smtp().mail(to, sender=sender)[1].code, code)

    def test_time_window(self):
        now = self.sim.summary()["time"]
        self.rule(f'phase = "mail"  from = "{int(now) + 1000}s"  until = "{int(now) + 2000}s"  reply = "450 4.0.0 no"')
        got = []
        for step in ("0", "1100s", "1100s"):
            self.sim.advance(step)
            got.append(self.smtp().command("MAIL FROM:<>").code)
        self.assertEqual(got, [250, 450, 250])

    def test_every_after_limit(self):
        self.rule('phase = "mail"  every = 3  after = 2  limit = 2  reply = "450 4.0.0 no"')
        c = self.smtp()
        codes = []
        for _ in range(14):
            codes.append(c.command("MAIL FROM:<>").code)
            c.command("RSET")
        self.assertEqual(codes, [250, 250, 250, 250, 450, 250, 250, 450] + [250] * 6)
        self.assertEqual(self.sim.rules(), {"r": 2})

    def test_share_by_seed(self):
        runs = []
        for seed in (5, 5, 6):
            sim = self.another(BASE + 'rule "r" { phase = "mail"  share = 0.25  reply = "450 4.0.0 no" }', seed=seed)
            c = self.smtp(sim=sim)
            codes = []
            for _ in range(400):
                codes.append(c.command("MAIL FROM:<>").code)
                c.command("RSET")
            runs.append(codes)
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])
        self.assertTrue(70 <= runs[0].count(450) <= 130, runs[0].count(450))

    def test_first_that_fires_wins_and_order_can_be_chosen(self):
        self.rule('phase = "mail"  reply = "450 4.0.0 one"', "one")
        self.rule('phase = "mail"  reply = "450 4.0.0 two"', "two")
        self.assertIn("one", self.smtp().command("MAIL FROM:<>").text)
        self.sim.add_rule('rule "three" { phase = "mail"  reply = "450 4.0.0 three" }', first=True)
        self.assertIn("three", self.smtp().command("MAIL FROM:<>").text)
        self.sim.disable_rule("three")
        self.sim.remove_rule("one")
        self.assertIn("two", self.smtp().command("MAIL FROM:<>").text)
        self.sim.enable_rule("three")
        self.assertIn("three", self.smtp().command("MAIL FROM:<>").text)

    def test_bad_rule_changes_nothing(self):
        self.rule('phase = "mail"  reply = "450 4.0.0 one"')
        for text in ('rule "x" { phase = "mail" }', 'rule "x" {', 'rule "r" { phase = "nowhere"  reply = "450 x" }', ""):
            with self.assertRaises(Failed):
                self.sim.add_rule(text)
        self.assertEqual(list(self.sim.rules()), ["r"])

    def test_drop_and_reset(self):
        self.rule('phase = "mail"  action = "drop"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertEqual(c.at_eof(), b"")
        self.rule('phase = "mail"  action = "reset"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertEqual(c.at_eof(), b"<RST>")

    def test_drop_instead_of_a_banner(self):
        self.rule('phase = "connect"  action = "drop"')
        self.assertEqual(self.smtp(greet=False).at_eof(), b"")

    def test_drop_at_end_of_data_delivers_nothing_and_accept_drop_does(self):
        for action, messages in (("drop", 0), ("accept-drop", 1)):
            with self.subTest(action):
                self.sim.reset()
                self.rule(f'phase = "eod"  action = "{action}"')
                c = self.smtp()
                with self.assertRaises(EOFError):
                    c.mail(TO_OLD)
                self.assertEqual(self.sim.summary()["messages"], messages)

    def test_stall(self):
        self.rule('phase = "mail"  action = "stall"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\nNOOP\r\n")
        self.sim.wait(rule={"r": 1})
        c.socket.settimeout(0.2)
        self.assertRaises(TimeoutError, c.reply)
        c.close()
        self.sim.wait(open=0)

    def test_garbage_and_raw(self):
        self.rule('phase = "mail"  action = "garbage"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertIsNone(c.reply().code)
        self.rule('phase = "mail"  action = "raw"  reply = "250\\r\\n250 half"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\n")
        self.assertEqual(c.line(), "250")

    def test_421_and_close_after_reply_close(self):
        for text in ('reply = "421 4.3.2 Service not active"', 'action = "close-after-reply"  reply = "450 4.0.0 bye"'):
            self.rule('phase = "mail"  ' + text)
            c = self.smtp()
            self.assertIn(c.command("MAIL FROM:<>").code, (421, 450))
            self.assertEqual(c.at_eof(), b"")

    def test_delay_then_the_normal_course(self):
        for phase in ("connect", "ehlo", "mail", "rcpt", "data", "eod"):
            with self.subTest(phase):
                self.sim.reset()
                self.rule(f'phase = "{phase}"  action = "delay"  delay = "200ms"')
                began = time.monotonic()
                c = self.smtp()
                self.assertEqual(self.codes(c.mail(TO_OLD, "late")), [250] * 3)
                self.assertEqual(c.command("NOOP").code, 250)
                self.assertGreater(time.monotonic() - began, 0.19)
                self.assertEqual(self.sim.summary()["messages"], 1)
                self.assertEqual(self.sim.rules()["r"], 1)
                self.sim.check_no_violations()

    def test_client_that_leaves_during_a_delay_delivers_nothing(self):
        self.rule('phase = "eod"  action = "delay"  delay = "60s"')
        c = self.smtp()
        c.send("MAIL FROM:<>\r\nRCPT TO:<u@t1.example>\r\nBDAT 6 LAST\r\nX: y\r\n")
        self.sim.wait(rule={"r": 1})
        c.close()
        self.sim.wait(open=0)
        self.assertEqual(self.sim.summary()["messages"], 0)

    def test_slow_reply_comes_byte_by_byte(self):
        self.rule('phase = "mail"  action = "slow"  delay = "20ms"  reply = "450 4.0.0 slow"')
        c = self.smtp()
        began = time.monotonic()
        self.assertEqual(c.command("MAIL FROM:<>").text, "450 4.0.0 slow")
        self.assertGreater(time.monotonic() - began, 0.25)
        self.assertEqual(c.command("NOOP").code, 250)

    def test_slow_normal_reply(self):
        self.rule('phase = "mail"  action = "slow"  delay = "10ms"')
        c = self.smtp()
        began = time.monotonic()
        self.assertEqual(self.codes(c.mail(TO_OLD)), [250] * 3)
        self.assertGreater(time.monotonic() - began, 0.15)

    def test_scenario_replaced_at_run_time(self):
        sim = self.another(BASE)
        c = self.smtp(sim=sim)
        sim.replace(BASE.replace("127.1.5.1-8", "127.1.6.1") + 'rule "new" { phase = "mail"  reply = "450 4.0.0 new" }')
        self.assertEqual(c.command("MAIL FROM:<>").text, "450 4.0.0 new")
        self.assertRaises(ConnectionRefusedError, self.smtp, NEW, sim=sim)
        self.assertEqual(self.smtp("127.1.6.1", sim=sim).banner.code, 220)
        self.assertEqual(Dns(sim.dns).host("n1.example"), "127.1.6.1")
        with self.assertRaisesRegex(Failed, "no cluster"):
            sim.replace("")
        self.assertEqual(list(sim.rules()), ["new"])


class Limits(SimCase):
    scenario = BASE + """
    limit "cold" { per = "source"  source = {"127.0.8.0/24"}  messages = "3/1h" }
    limit "net" { per = "subnet"  source = {"127.0.9.0/24"}  messages = "2/10s"  reply = "421 RP-001 {subnet}" }
    limit "ramp" { per = "source"  source = {"127.0.10.0/24"}  messages = "2/1d"  grow = 2.0  ceiling = 6 }
    limit "rate" { per = "source"  source = {"127.0.11.0/24"}  connects = "2/1h"  reply = "421 4.7.0 slow down" }
    limit "open" { per = "source-cluster"  source = {"127.0.12.0/24"}  connections = 1  phase = "mail"  reply = "451 4.7.652 {ip}" }
    limit "tenant" { per = "tenant"  tenant = {"t9?.example", "t9*"}  recipients = "2/1h"  reply = "450 4.2.1 {rcpt}" }
    """

    def mails(self, source, n, to=TO_OLD):
        with self.smtp(source=source) as c:
            codes = []
            for _ in range(n):
                replies = c.mail(to)
                codes.append(next((r.code for r in replies if r.code >= 400), 250))
                c.command("RSET")
            return codes

    def test_messages_per_source(self):
        self.assertEqual(self.mails("127.0.8.1", 5), [250] * 3 + [451] * 2)
        self.assertEqual(self.mails("127.0.8.2", 1), [250])
        self.assertEqual(self.mails("127.0.7.1", 5), [250] * 5)
        self.sim.advance("1h")
        self.assertEqual(self.mails("127.0.8.1", 4), [250] * 3 + [451])
        self.assertIn("(S775)", self.sim.refusals()[0]["reply"])

    def test_messages_per_subnet(self):
        self.sim.advance("10s")
        self.assertEqual(self.mails("127.0.9.1", 1) + self.mails("127.0.9.2", 1), [250, 250])
        c = self.smtp(source="127.0.9.3")
        self.assertEqual(c.command("MAIL FROM:<>").text, "421 RP-001 127.0.9.0/24")
        self.assertEqual(c.at_eof(), b"")

    def test_allowance_grows_when_used(self):
        got = []
        for _ in range(4):
            got.append(self.mails("127.0.10.1", 8).count(250))
            self.sim.advance("1d")
        self.sim.advance("1d")
        got.append(self.mails("127.0.10.2", 8).count(250))
        self.assertEqual(got, [2, 4, 6, 6, 2])

    def test_connect_rate(self):
        self.assertEqual([self.smtp(source="127.0.11.1").banner.code for _ in range(3)], [220, 220, 421])

    def test_connections(self):
        first = self.smtp(source="127.0.12.1")
        second = self.smtp(source="127.0.12.1")
        self.assertEqual(second.command("MAIL FROM:<>").code, 451)
        first.quit()
        self.sim.wait(closed=1)
        self.assertEqual(second.command("MAIL FROM:<>").code, 250)

    def test_recipients_per_tenant(self):
        self.assertEqual(self.mails("127.0.0.1", 3, "u@t91.example"), [250, 250, 450])
        self.assertEqual(self.mails("127.0.0.1", 1, "u@t92.example"), [250])


if __name__ == "__main__":
    unittest.main()
