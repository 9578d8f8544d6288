"""The simulator itself: the program, its scenario files, its ledger, several clients at once."""
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import DEADLINE, Failed, find_program  # noqa: E402
from lib.raw import Smtp  # noqa: E402
from lib.sim import Simulator  # noqa: E402
from lib.simcase import BASE, OLD, TO_OLD, SimCase  # noqa: E402


class Program(unittest.TestCase):
    def run_sim(self, *args):
        return subprocess.run([find_program("M365SIM", "m365sim"), *args], capture_output=True, text=True, timeout=DEADLINE)

    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
            f.write(text)
            f.flush()
            done = self.run_sim("check", f.name)
            return done.returncode, done.stderr.replace(f.name, "FILE")

    def test_help_and_usage(self):
        self.assertIn("--control", self.run_sim("--help").stdout)
        self.assertEqual(self.run_sim().returncode, 64)
        self.assertEqual(self.run_sim("--port", "x", "y").returncode, 1)

    def test_sample_scenarios_are_valid(self):
        samples = sorted(pathlib.Path(__file__).resolve().parent.parent.glob("sim/scenarios/*.conf"))
        self.assertGreaterEqual(len(samples), 6)
        for sample in samples:
            with self.subTest(sample.name):
                self.assertEqual(self.run_sim("check", str(sample)).returncode, 0)

    def test_example_of_the_readme_is_valid(self):
        readme = pathlib.Path(__file__).resolve().parent.parent / "sim/README.md"
        examples = [e for e in readme.read_text().split("```")[1::2] if "cluster " in e]
        self.assertEqual(len(examples), 1)
        self.assertEqual(self.check(examples[0]), (0, ""))

    def test_errors_name_file_and_line(self):
        ok = 'cluster "C" { addresses = {"127.1.1.1"} }\n'
        rows = [
            ("nonsense = 1\n", "FILE:1:", "nonsense"),
            (ok + 'cluster "D" {\n  latency = "soon"\n}\n', "FILE:3:", "no duration"),
            (ok + 'cluster "D" { addresses = {"10.0.0.1"} }\n', "FILE:2:", "127.0.0.0/8"),
            (ok + 'cluster "D" { addresses = {"127.1.1.1"} }\n', "FILE:", "is in clusters"),
            (ok + 'cluster "D" { }\n', "FILE:2:", "no addresses"),
            (ok + 'tenant "t.example" { cluster = {"X"} }\n', "FILE:2:", 'no cluster "X"'),
            (ok + 'tenant "t{1..}.example" { cluster = {"C"} }\n', "FILE:2:", "range"),
            (ok + 'tenant "t.example" { cluster = {"C"}  mx = {"what"} }\n', "FILE:2:", "style"),
            (ok + 'tenant "t.example" { cluster = {"C"}  dns = "odd" }\n', "FILE:2:", "none of"),
            (ok + 'rule "r" { phase = "mail" }\n', "FILE:2:", "no reply"),
            (ok + 'rule "r" { reply = "450 x" }\n', "FILE:2:", "no phase"),
            (ok + 'rule "r" { phase = "mail"  reply = "later" }\n', "FILE:2:", "three-digit"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  tenant = {"t"} }\n', "FILE:2:", "not known yet"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  cluster = {"Q*"} }\n', "FILE:2:", 'no cluster "Q*"'),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  source = {"127.0.0.0/33"} }\n', "FILE:2:", "network"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"\n share = 1.5 }\n', "FILE:3:", "between 0 and 1"),
            (ok + 'rule "r" { phase = "mail"  reply = "450 x"  from = "5s"  until = "1s" }\n', "FILE:2:", "before it begins"),
            (ok + 'rule "r" { phase = "mail"  action = "accept-drop" }\n', "FILE:2:", "phase eod"),
            (ok + 'limit "l" { per = "source" }\n', "FILE:2:", "needs one of"),
            (ok + 'limit "l" { messages = "many" }\n', "FILE:2:", "no rate"),
            (ok + 'records = {"x.example Q 1"}\n', "FILE:2:", "known type"),
            ("", "FILE", "no cluster"),
        ]
        for text, where, what in rows:
            with self.subTest(text):
                status, errors = self.check(text)
                self.assertEqual(status, 78)
                self.assertIn(where, errors)
                self.assertIn(what, errors)

    def test_several_errors_are_all_told(self):
        status, errors = self.check('cluster "C" { addresses = {"127.1.1.1"} }\ntenant "a.example" { cluster = {"X"} }\n'
                                    'tenant "b.example" { cluster = {"Y"} }\n')
        self.assertEqual(len(errors.splitlines()), 2)

    def test_ends_with_a_summary(self):
        with Simulator(BASE) as sim:
            with Smtp(OLD, sim.smtp_port) as c:
                c.mail(TO_OLD)
            sim.wait(open=0, deliveries=1)
            self.assertEqual(sim.stop()["messages"], 1)

    def test_two_simulators_do_not_meet(self):
        with Simulator(BASE) as a, Simulator(BASE) as b:
            self.assertNotEqual(a.smtp_port, b.smtp_port)
            with Smtp(OLD, a.smtp_port) as c:
                c.mail(TO_OLD)
            a.wait(deliveries=1)
            self.assertEqual(b.summary()["connections"]["opened"], 0)

    def test_port_in_use_is_said(self):
        with Simulator(BASE) as a:
            b = Simulator(BASE, port=a.smtp_port)
            self.addCleanup(b.close)
            with self.assertRaisesRegex(Failed, "Address already in use"):
                b.start()


class Ledger(SimCase):
    def test_counts_per_recipient(self):
        c = self.smtp()
        c.mail(["a@t1.example", "b@t1.example"], "one")
        c.mail("a@t1.example", "one")
        c.mail("a@t1.example", "two")
        s = self.sim.summary()
        self.assertEqual((s["messages"], s["recipients"], s["unique_messages"], s["unique_deliveries"], s["duplicates"]), (3, 4, 2, 3, 1))
        self.assertEqual([self.sim.delivered("one", "a@t1.example"), self.sim.delivered("one", "b@t1.example"),
                          self.sim.delivered("three", "a@t1.example"), self.sim.delivered("one")], [2, 1, 0, 2])
        with self.assertRaisesRegex(Failed, "more than once"):
            self.sim.check_once([("one", "a@t1.example"), ("one", "b@t1.example"), ("two", "a@t1.example")])

    def test_domains_in_any_case_are_one(self):
        self.smtp().mail("User@T1.Example")
        self.assertEqual(self.sim.deliveries()[0]["to"], "User@t1.example")

    def test_events_since(self):
        c = self.smtp()
        c.mail(TO_OLD, "one")
        self.assertEqual([e["id"] for e in self.sim.deliveries()], ["one"])
        n = self.sim.next_event
        c.mail("u@nowhere.example", "two")
        c.command("RSET")
        c.mail(TO_OLD, "three")
        self.assertEqual([(e["kind"], e.get("id")) for e in self.sim.events(n)], [("refused", None), ("delivered", "three")])
        self.assertEqual(len(self.sim.refusals()), 1)

    def test_reset_keeps_open_connections(self):
        c = self.smtp(source="127.0.3.3")
        c.mail(TO_OLD)
        self.sim.reset()
        s = self.sim.summary()
        self.assertEqual((s["messages"], s["events"], s["connections"]["open"], s["connections"]["peak"]), (0, 0, 1, 1))
        self.assertEqual(self.sim.lanes()["127.0.3.3", "EUR01"]["peak"], 1)
        c.quit()
        self.sim.wait(closed=1)

    def test_wait(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.sim.wait, deliveries=2)
            c = self.smtp()
            c.mail(TO_OLD, "one")
            self.assertFalse(waiting.done())
            c.mail(TO_OLD, "two")
            self.assertEqual(waiting.result(DEADLINE), {"deliveries": 2})
        with self.assertRaisesRegex(Failed, "waited 0.05 s"):
            self.sim.wait(0.05, deliveries=3)
        for bad in ("wait", "wait x", "wait x=1", "wait deliveries=a"):
            with self.assertRaises(Failed):
                self.sim.command(bad)

    def test_wait_delivered(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.sim.wait_delivered, "m19", TO_OLD)
            c = self.smtp()
            for i in range(20):
                c.mail(TO_OLD, f"m{i}")
            waiting.result(DEADLINE)

    def test_bad_commands(self):
        for bad in ("", "what", "rule", "rule add", "rule enable x", "advance x", "peaks moon", "scenario replace"):
            with self.subTest(bad), self.assertRaises(Failed):
                self.sim.command(bad)

    def test_without_detail(self):
        sim = self.another(BASE, detail=False, hash=False)
        c = self.smtp(sim=sim)
        for i in range(1000):
            c.mail(TO_OLD, f"m{i}")
        self.assertEqual((sim.summary()["unique_deliveries"], sim.delivered("m999", TO_OLD)), (1000, 1))
        self.assertRaises(Failed, sim.deliveries)

    def test_detail_is_bounded(self):
        sim = self.another(BASE, args=["--detail-max", "3"])
        c = self.smtp(sim=sim)
        for i in range(5):
            c.mail(TO_OLD, f"m{i}")
        self.assertEqual((len(sim.deliveries()), sim.summary()["events_lost"]), (3, 2))

    def test_control_over_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as d:
            sim = self.another(BASE, args=["--control", f"{d}/control"])
            self.assertEqual(sim.ready["control"], f"{d}/control")
            self.assertEqual(sim.summary()["messages"], 0)
            sim.close()
            self.assertFalse(os.path.exists(f"{d}/control"))


class Parallel(SimCase):
    def hammer(self, sim, sessions, each):
        def one(k):
            with Smtp(OLD, sim.smtp_port, source=f"127.0.{k % 3 + 1}.{k + 1}") as c:
                if k % 4 == 0:
                    c.starttls()
                    c.command("EHLO x")
                for i in range(each):
                    assert [r.code for r in c.mail(f"u{k}@t{i}.example", f"{k}-{i}", b"x" * (i * 37))] == [250] * 3
                c.quit()
        with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
            list(pool.map(one, range(sessions)))
        sim.wait(deliveries=sessions * each, open=0)
        sim.check_once([(f"{k}-{i}", f"u{k}@t{i}.example") for k in range(sessions) for i in range(each)])
        sim.check_no_violations()
        self.assertEqual(sum(g["messages"] for g in sim.lanes().values()), sessions * each)

    def test_one_thread(self):
        self.hammer(self.sim, 16, 50)

    def test_several_threads(self):
        self.hammer(self.another(BASE, threads=3), 16, 50)


if __name__ == "__main__":
    unittest.main()
