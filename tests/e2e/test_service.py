"""Running it: configuration, log, metrics, signals, privileges, and two that must not meet."""
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import DEADLINE, Deadline, Failed, find_program  # noqa: E402
from lib.raw import Smtp  # noqa: E402

# without names for addresses the hosts stay in the clusters of their networks, whenever a question is answered
BASE = """
dns "ptr" { type = {"PTR"}  action = "nxdomain" }
cluster "A" { addresses = {"127.1.1.1-4"} }
tenant "t{0..99}.example" { cluster = {"A"} }
tenant "back.example" { cluster = {"A"} }
rule "busy" { phase = "rcpt"  recipient = {"busy*@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }
rule "bad" { phase = "rcpt"  recipient = {"bad*@*"}  reply = "550 5.1.1 {rcpt}: no such user" }
"""
COMMANDS = ("run check check-queue queue show hold release retry remove bounce lanes clusters suspend resume classify stats reload "
            "version").split()
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def postern(*args, **options):
    return subprocess.run([find_program("POSTERN", "postern"), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE, **options)


class Commands(RelayCase):
    def test_help_and_usage(self):
        text = postern("--help").stdout
        for name in COMMANDS:
            self.assertRegex(text, rf"(?m)^  {name} ")
            done = postern(name, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith(f"usage: postern {name}"), done.stdout)
    def test_wrong_usage_says_what_is_wrong(self):
        relay = self.relay(start=False)
        rows = [((), ""), (("nonsense",), "no command 'nonsense'"), (("version", "extra"), "'extra' is not expected"),
                (("check", "-c", relay.config_path, "extra"), "'extra' is not expected"), (("queue", "--nonsense"), "no option '--nonsense'"),
                (("queue", "--limit", "many"), "'many' is not a whole number"), (("queue", "--limit"), "argument is missing"),
                (("show",), "one queue id"), (("show", "a", "b"), "one queue id"), (("hold",), "say which"), (("hold", "--all", "x"), "say which"),
                (("suspend", "x"), "'x' is not expected")]
        for words, said in rows:
            with self.subTest(words):
                done = postern(*words)
                self.assertEqual((done.returncode, done.stdout), (64, ""))
                self.assertIn(said, done.stderr)
        done = postern("check", "-c", relay.dir / "none.conf")
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"none\.conf:1: cannot be read: No such file.*-c FILE")

    def test_version(self):
        self.assertRegex(postern("version").stdout, r"^postern \d+\.\d+\.\d+\n.*libuv.*OpenSSL.*c-ares.*LMDB")
        self.assertLessEqual({"version", "libuv", "openssl", "c-ares", "lmdb"}, json.loads(postern("version", "--json").stdout).keys())

    def test_check(self):
        relay = self.relay(start=False)
        done = relay.cli("check")
        self.assertIn("ok", done.stdout)
        self.assertEqual(done.stderr, "")
        path = relay.config_path
        dump = relay.cli("check", "--dump").stdout
        path.write_text(dump)
        self.assertEqual(relay.cli("check", "--dump").stdout, dump)

    def test_check_tells_every_error_with_its_line(self):
        relay = self.relay(start=False)
        path = relay.config_path
        path.write_text('hostname = "x.example"\n'                                       # 1
                        'nonsense = 1\n'                                                 # 2
                        'queue { path = "q"  max_size = "much" }\n'                      # 3
                        'listener "in" { address = {"127.0.0.1:0"}\n'                    # 4
                        '    allow = {"300.0.0.0/8"}\n'                                  # 5
                        '    pool = "nowhere" }\n'                                       # 6
                        'source "a1" { address = "127.0.0.999" }\n'                      # 7
                        'pool "main" { sources = {"a1","b9"} }\n'                        # 8
                        'provider "microsoft365" { tls = "maybe" }\n')                   # 9
        done = relay.cli("check", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertEqual(done.stdout, "")
        for line, word in ((2, "nonsense"), (3, "much"), (5, "300.0.0.0/8"), (6, "nowhere"), (7, "127.0.0.999"), (8, "b9"), (9, "maybe")):
            self.assertRegex(done.stderr, rf"(?m)^{re.escape(str(path))}:{line}: .*{re.escape(word)}")
        self.assertEqual(relay.cli("run", check=False).returncode, 78)

    def test_check_warns_of_addresses_that_are_not_here(self):
        relay = self.relay(start=False, sources={"a1": "127.0.1.1", "far": "192.0.2.77"})
        line = next(i for i, text in enumerate(relay.config().splitlines(), 1) if "192.0.2.77" in text)
        done = relay.cli("check")
        self.assertRegex(done.stderr, rf'^\S+:{line}: warning: source "far": address: this machine has no address 192\.0\.2\.77[^\n]*\n$')
        self.assertIn("ok", done.stdout)

    def test_check_as_json(self):
        relay = self.relay(start=False)
        ok, = self.lines(relay, "check")
        self.assertEqual((ok["ok"], ok["sources"], ok["file"]), (True, 1, str(relay.config_path)))
        relay.config_path.write_text(relay.config() + 'source "x" { address = "nowhere" }\nlistener "v6" { address = {"127.0.0.1:0"}\n'
                                     '    allow = {"2001:db8::/32"} }\n')
        done = relay.cli("check", "--json", check=False)
        self.assertEqual((done.returncode, done.stderr), (78, ""))
        found = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(x["finding"], x["line"]) for x in found],
                         [(kind, len(relay.config().splitlines()) + n) for kind, n in (("error", 1), ("warning", 3))])
        self.assertIn('"nowhere"', found[0]["text"])
        self.assertEqual({x["file"] for x in found}, {str(relay.config_path)})

    def test_check_of_files(self):
        relay = self.relay(start=False)
        rows = [("missing", None), ("empty", ""), ("cut off", 'listener "in" {'), ("bytes", "\x01\x02 = {{{ }\n")]
        for name, text in rows:
            with self.subTest(name):
                path = relay.dir / "bad.conf"
                path.unlink(missing_ok=True)
                if text is not None:
                    path.write_text(text)
                done = postern("check", "-c", path)
                self.assertEqual(done.returncode, 78)
                self.assertIn(str(path), done.stderr)

    def test_check_of_reply_rules(self):
        relay = self.relay(start=False)
        rules = relay.dir / "rules"
        rules.write_text("# fine\n* * 4xx * * * -> transient-other\n* * 9xx * * * -> nonsense\n")
        relay.root["rules_file"] = rules
        relay.write_config()
        done = relay.cli("check", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, rf"{re.escape(str(rules))}:3: ")

    def test_sample_configurations(self):
        root = pathlib.Path(__file__).resolve().parents[2]
        for sample in ("postern.conf", "postern-pools.conf"):
            text = (root / "conf" / sample).read_text()
            self.assertTrue(text)
            done = postern("check", "-c", root / "conf" / sample)
            self.assertNotRegex(done.stderr, "no option|is out of bounds|syntax", done.stderr)

    def test_every_command_that_reads_has_json(self):
        sim, relay = self.start(BASE, queue={"retry": ["1h"]})
        relay.send("m", "busy@t1.example")
        relay.wait_event("deferred")
        row, = self.waiting(relay)
        rows = [(("queue",), "summary"), (("queue", "--list"), "recipients"), (("queue", "--domains"), "domain"), (("show", row["id"]), "recipients"),
                (("lanes",), "source"), (("clusters",), "host"), (("stats",), "outbound"), (("check",), "ok"), (("check-queue",), "damaged")]
        for words, key in rows:
            with self.subTest(words):
                lines = self.lines(relay, *words)
                self.assertIn(key, lines[-1])
        for words, text, key in ((("version",), None, "libuv"), (("classify",), "default\tmail\t451 4.3.0 later\n", "verdict")):
            with self.subTest(words):
                done = subprocess.run([find_program("POSTERN", "postern"), *words, "--json"], input=text, capture_output=True, text=True)
                self.assertIn(key, json.loads(done.stdout))

    def test_stats(self):
        sim, relay = self.start(BASE)
        relay.send("m", ["u@t1.example", "bad@t1.example"], sender="")
        self.wait_settled(relay)
        deadline = Deadline()
        while True:
            stats = relay.json("stats")
            if stats["outbound"]["delivered"] == 1 and stats["outbound"]["bounced"] == 1:
                break
            self.assertFalse(deadline.passed, stats)
            time.sleep(0.05)
        self.assertEqual((stats["inbound"]["messages"], stats["inbound"]["recipients"], stats["pid"]), (1, 2, relay.pid))
        self.assertEqual(stats["outbound"]["verdicts"]["recipient-invalid"], 1)
        text = relay.cli("stats").stdout
        for word in ("1 delivered", "1 bounced", "relay.test.example"):
            self.assertIn(word, text)


class Log(RelayCase):
    def test_fields(self):
        sim, relay = self.start(BASE, queue={"retry": ["1s"]})
        sim.add_rule('rule "once" { phase = "rcpt"  recipient = {"later@*"}  limit = 1  reply = "450 4.2.0 later" }')
        relay.send("m", ["later@t1.example", "bad@t1.example"], sender="s@back.example")
        relay.wait_event("delivered", to="s@back.example")
        relay.wait_event("delivered", to="later@t1.example")
        for e in relay.events:
            self.assertRegex(e["time"], TIME)
        accepted, = relay.find("accepted")
        self.assertEqual((accepted["from"], accepted["recipients"], accepted["listener"], accepted["client"]),
                         ("s@back.example", 2, "in", "127.0.0.1"))
        attempt = {"id", "from", "to", "domain", "provider", "cluster", "source", "host", "tls", "code", "dsn", "reply", "verdict", "attempt",
                   "delays", "session"}
        for event in ("delivered", "deferred", "bounced"):
            for e in relay.find(event):
                self.assertLessEqual(attempt, e.keys(), e)
                self.assertEqual(len(e["delays"]), 4)
                self.assertTrue(all(isinstance(x, float) and x >= 0 for x in e["delays"]), e)
        deferred, = relay.find("deferred")
        self.assertEqual((deferred["id"], deferred["code"], deferred["dsn"], deferred["attempt"], deferred["provider"], deferred["source"],
                          deferred["cluster"]), (accepted["id"], 450, "4.2.0", 1, "microsoft365", "a1", "127.1.1.0/24"))
        self.assertRegex(deferred["next"], TIME)
        bounced, = relay.find("bounced")
        self.assertEqual((bounced["code"], bounced["verdict"], bounced["cause"]), (550, "recipient-invalid", "message"))
        self.assertRegex(bounced["host"], r"^t1-example\.mail\.protection\.outlook\.com\[127\.1\.1\.\d\]$")
        self.assertTrue(bounced["tls"].startswith("TLS1.3"))

    def test_odd_bytes_stay_one_line_of_json(self):
        sim, relay = self.start(BASE + 'rule "odd" { phase = "rcpt"  recipient = {"odd@*"}  action = "raw"  reply = "550 5.1.1 \\"quoted\\" \\\\ \\t \xff\r\n" }')
        relay.send("m", "odd@t1.example", sender='"a\\"b"@back.example')
        e = relay.wait_event("bounced")
        self.assertEqual(e["from"], '"a\\"b"@back.example')
        self.assertEqual(relay.find("not-json"), [])

    def test_level(self):
        sim, relay = self.start(BASE)
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")
        for level, said in (("error", 0), ("info", 1)):
            relay.log["level"] = level
            relay.write_config()
            mark = relay.mark()
            relay.cli("reload")
            relay.send(level, "u@t2.example")
            relay.wait_event("delivered", to="u@t2.example", since=mark)  # what became of mail is always told
            self.assertEqual(len(relay.find("reloaded", since=mark)), said)

    def test_file_rotation(self):
        sim = self.simulator(BASE)
        relay = self.relay(sim, start=False)
        path, old = relay.dir / "mail.log", relay.dir / "mail.log.1"
        relay.log["file"] = path
        relay.write_config()
        relay.start(ready=False)
        address = self.wait_file(path, "listening")["address"].rsplit(":", 1)
        relay.addresses["in"] = [(address[0], int(address[1]))]
        self.wait_file(path, "started")
        relay.send("one", "u@t1.example")
        self.wait_file(path, "delivered")
        path.rename(old)
        relay.signal(signal.SIGUSR1)
        deadline = Deadline()
        while not path.exists():
            self.assertFalse(deadline.passed, "no new log file")
            time.sleep(0.02)
        relay.send("two", "u@t2.example")
        self.assertEqual(self.wait_file(path, "delivered")["to"], "u@t2.example")
        self.assertNotIn("u@t2.example", old.read_text())
        self.assertNotIn("u@t1.example", path.read_text())

    def wait_file(self, path, event):
        deadline = Deadline()
        while not deadline.passed:
            for line in path.read_text().splitlines() if path.exists() else []:
                if line.endswith("}") and json.loads(line)["event"] == event:
                    return json.loads(line)
            time.sleep(0.02)
        raise Failed(f"no {event} in {path}")


class Http(RelayCase):
    SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (-?[0-9.e+]+|\+Inf|NaN)$')

    def test_metrics_are_well_formed_and_true(self):
        sim, relay = self.start(BASE, queue={"retry": ["1h"]})
        relay.send_many((f"m{i}", f"u@t{i}.example") for i in range(20))
        relay.send("x", ["busy@t1.example", "bad@t1.example", "u@t1.example"], sender="")
        relay.wait_event("delivered", count=21)
        relay.wait_event("bounced")
        self.wait_metric(relay, "postern_attempts_total", 23)
        types, helped = {}, set()
        seen = set()
        for line in relay.get("/metrics").splitlines():
            if line.startswith("# HELP "):
                helped.add(line.split()[2])
                self.assertGreater(len(line.split(None, 3)[3]), 3)
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                self.assertNotIn(name, types)
                self.assertIn(kind, ("counter", "gauge", "histogram"))
                types[name] = kind
            else:
                found = self.SAMPLE.match(line)
                self.assertTrue(found, line)
                name = found[1]
                base = re.sub("_(bucket|sum|count)$", "", name)
                family = name if name in types else base
                self.assertIn(family, types, line)
                self.assertIn(family, helped, line)
                self.assertTrue(name.startswith(("postern_", "process_")))
                self.assertNotIn(found[1] + (found[2] or ""), seen)
                seen.add(found[1] + (found[2] or ""))
                self.assertNotIn("t1.example", line)
                if types[family] == "counter":
                    self.assertTrue(name.endswith("_total"), name)
        m = relay.metrics()
        ledger = sim.summary()
        self.assertEqual(m["postern_delivered_total"], ledger["recipients"])
        self.assertEqual(m["postern_deferred_total"], 1)
        self.assertEqual(m["postern_bounced_total"], 1)
        self.assertEqual(m["postern_accepted_messages_total"], 21)
        self.assertEqual(m["postern_accepted_recipients_total"], 23)
        self.assertEqual(m["postern_connects_total"], ledger["connections"]["opened"])
        self.assertEqual(m["postern_queue_recipients_waiting"], 1)
        self.assertEqual(m['postern_verdicts_total{verdict="delivered"}'], 21)
        of = '{provider="microsoft365"}'
        self.assertEqual(m['postern_delivery_delay_seconds_bucket{provider="microsoft365",le="+Inf"}'], 21)
        self.assertEqual(m["postern_delivery_delay_seconds_count" + of], 21)
        self.assertLessEqual(m["postern_delivery_delay_seconds_sum" + of], 21 * 60)
        self.assertGreater(m["process_cpu_seconds_total"], 0)
        self.assertGreater(m["process_resident_memory_bytes"], 1 << 20)
        self.assertLess(m["process_open_fds"], m["process_max_fds"])
        buckets = [v for k, v in m.items() if k.startswith("postern_delivery_delay_seconds_bucket")]
        self.assertEqual(buckets, sorted(buckets))

    def test_health_and_errors(self):
        relay = self.relay()
        self.assertEqual(relay.get("/health"), "ok\n")
        self.assertIn("/metrics", relay.get("/"))
        for path, method, code in (("/nothing", "GET", 404), ("/metrics", "POST", 405), ("/health", "DELETE", 405)):
            with self.subTest(path):
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    urllib.request.urlopen(urllib.request.Request(relay.http_address + path, method=method), timeout=DEADLINE)
                self.assertEqual(caught.exception.code, code)
                caught.exception.close()


class Reload(RelayCase):
    def test_sources_pools_and_caps_are_taken_over(self):
        sim, relay = self.start(BASE, sources={"a1": "127.0.11.1"}, providers={"microsoft365": {"connections_per_lane": 1}})
        relay.send("m0", "u@t1.example")
        relay.wait_event("delivered")
        relay.sources = {"b1": {"address": "127.0.12.1", "ehlo": "b1.out.example"}, "b2": {"address": "127.0.12.2", "ehlo": "b2.out.example"}}
        relay.pools = {"main": ["b1", "b2"]}
        relay.providers["microsoft365"].update({"connections_per_lane": 2, "messages_per_connection": 1, "lane_connect_rate": "none"})
        self.assertEqual(relay.reload()["event"], "reloaded")
        sim.reset()
        pairs = [(f"m{i}", f"u@t{i}.example") for i in range(1, 21)]
        relay.send_many(pairs)
        relay.wait_event("delivered", count=21)
        sim.check_once(pairs)
        self.assertEqual({d["source"] for d in sim.deliveries()}, {"127.0.12.1", "127.0.12.2"})
        self.assertEqual(sim.peaks("total")[0]["messages_per_connection_max"], 1)
        self.assertLessEqual(max(l["peak"] for (s, _), l in sim.lanes().items() if s != "127.0.11.1"), 2)

    def test_error_keeps_the_old_one(self):
        sim, relay = self.start(BASE)
        good = relay.config_path.read_text()
        relay.config_path.write_text(good + 'source "x" { address = "no address" }\n')
        line = len(good.splitlines()) + 1
        done = relay.cli("reload", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn(f"{relay.config_path}:{line}: ", done.stderr)
        relay.signal(signal.SIGHUP)
        e = relay.wait_event("reload-failed")
        self.assertIn(f":{line}: ", e["message"])
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")
        relay.config_path.write_text(good)
        self.assertIn("reloaded", relay.cli("reload").stdout)

    def test_what_needs_a_restart_is_said(self):
        sim, relay = self.start(BASE)
        relay.root["workers"] = 1
        relay.write_config()
        self.assertIn("workers", relay.cli("reload").stdout)

    def test_reply_rules(self):
        sim = self.simulator(BASE + 'rule "odd" { phase = "rcpt"  recipient = {"odd*@*"}  reply = "550 5.5.0 Purple hedgehog" }')
        relay = self.relay(sim, queue={"retry": ["1h"]})
        relay.send("one", "odd@t1.example", sender="")
        relay.wait_event("bounced")
        rules = relay.dir / "rules"
        rules.write_text('dated 2026-02-28\n* * 5xx * * "purple hedgehog" -> source-block\n')
        relay.root["rules_file"] = rules
        self.assertEqual(relay.reload()["event"], "reloaded")
        relay.send("two", "odd@t1.example", sender="")
        e = relay.wait_event("held")
        self.assertEqual(e["verdict"], "source-block")
        which = rf"{re.escape(str(rules))} \(1 rules, dated 2026-02-28\), then built-in replies\.rules \(\d+ rules, dated "
        self.assertRegex(relay.cli("stats").stdout, which)
        self.assertRegex(relay.cli("check").stdout, which)
        rules.write_text('builtin of\n')
        self.assertEqual(relay.reload()["event"], "reload-failed")
        self.assertRegex(relay.cli("stats").stdout, which)

    def test_under_load(self):
        sim, relay = self.start(BASE, sources={"a1": "127.0.11.1", "b1": "127.0.12.1"}, providers={"microsoft365": {"lane_connect_rate": "none", "lane_message_rate": "none"}})
        pairs = [(f"m{i}", f"u@t{i % 100}.example") for i in range(600)]
        thread = threading.Thread(target=relay.send_many, args=(pairs,))
        thread.start()
        for i in range(10):
            relay.pools = {"main": ["a1", "b1"] if i % 2 else ["b1"]}
            self.assertEqual(relay.reload()["event"], "reloaded")
        thread.join()
        self.wait_settled(relay)
        sim.check_once(pairs)


class Ends(RelayCase):
    def running_transaction(self, delay="1s", **options):
        sim, relay = self.start(BASE + f'rule "slow" {{ phase = "eod"  action = "delay"  delay = "{delay}" }}', **options)
        relay.send("m", "u@t1.example")
        sim.wait(rule={"slow": 1})
        return sim, relay

    def test_sigterm_finishes_what_runs(self):
        """Outbound: the transaction that waits for its reply. Inbound: the message whose content is coming in."""
        sim, relay = self.running_transaction(root={"drain_timeout": "20s"})
        c = Smtp(*relay.address())
        idle = Smtp(*relay.address())
        c.flight("MAIL FROM:<a@example.org>", "RCPT TO:<u@t2.example>", "DATA", replies=3)
        c.send("X-Test-Id: late\r\n\r\nhalf")
        relay.signal(signal.SIGTERM)
        relay.wait_event("stopping")
        self.assertEqual(idle.reply().code, 421)
        idle.close()
        c.send("way\r\n.\r\n")
        self.assertEqual(c.reply().code, 250)
        c.close()
        self.assertEqual(self.ended(relay), 0)
        self.assertEqual(relay.stderr(), "")  # nothing was wrong, and nothing is said to be
        self.assertEqual([(e["event"], e.get("reason")) for e in relay.find(("delivered", "deferred"))], [("delivered", None)])
        self.assertEqual(len(relay.find("drained")), 1)
        with self.assertRaises(OSError):
            Smtp(*relay.address())
        relay.start()
        relay.wait_event("delivered", to="u@t2.example")
        sim.check_once([("m", "u@t1.example"), ("late", "u@t2.example")])

    def test_second_sigterm_ends_at_once(self):
        sim, relay = self.running_transaction(delay="60s", root={"drain_timeout": "1m"})
        relay.signal(signal.SIGTERM)
        relay.wait_event("stopping")
        began = time.monotonic()
        relay.signal(signal.SIGTERM)
        self.assertEqual(self.ended(relay), 0)
        self.assertLess(time.monotonic() - began, 15)
        sim.remove_rule("slow")
        relay.start()
        self.wait_queue(relay, messages=1)
        relay.cli("retry", "--all")
        relay.wait_event("delivered", to="u@t1.example")

    def test_drain_has_an_end(self):
        sim, relay = self.running_transaction(delay="60s", root={"drain_timeout": "1s"})
        relay.signal(signal.SIGTERM)
        self.assertEqual(self.ended(relay), 0)
        self.assertEqual(len(relay.find("drained")), 1)
        relay.start()
        self.wait_queue(relay, messages=1)

    def test_notify_socket(self):
        for abstract in (False, True):
            with self.subTest(abstract=abstract):
                sim = self.simulator(BASE)
                relay = self.relay(sim, start=False)
                name = f"@postern-test-{os.getpid()}" if abstract else str(relay.dir / "notify")
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                    s.settimeout(DEADLINE)
                    s.bind("\0" + name[1:] if abstract else name)
                    relay.env = {**os.environ, "NOTIFY_SOCKET": name}
                    relay.start()
                    self.assertIn("READY=1", s.recv(1000).decode().splitlines())
                    relay.reload()
                    self.assertIn("RELOADING=1", s.recv(1000).decode().splitlines())
                    self.assertIn("READY=1", s.recv(1000).decode().splitlines())
                    relay.signal(signal.SIGTERM)
                    self.assertIn("STOPPING=1", s.recv(1000).decode().splitlines())
                    self.assertEqual(self.ended(relay), 0)

    def test_pid_file(self):
        relay = self.relay(start=False)
        path = relay.dir / "pid"
        relay.root["pid_file"] = path
        relay.write_config()
        relay.start()
        self.assertEqual(path.read_text(), f"{relay.pid}\n")
        relay.stop()
        self.assertFalse(path.exists())


class Starts(RelayCase):
    def test_two_on_one_queue(self):
        sim, relay = self.start(BASE)
        other = self.relay(sim, start=False, queue={"path": relay.queue["path"]})
        done = other.cli("run", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"(?i)another|in use|locked")
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")

    def test_port_in_use(self):
        relay = self.relay()
        other = self.relay(start=False)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            other.listeners["in"]["address"] = [f"127.0.0.1:{s.getsockname()[1]}"]
            other.write_config()
            done = other.cli("run", check=False)
        self.assertEqual(done.returncode, 71)
        self.assertIn("another program has it", done.stderr)
        relay.cli("stats")

    def test_control_socket_in_use(self):
        relay = self.relay()
        other = self.relay(start=False)
        other.socket_path = relay.socket_path
        other.write_config()
        done = other.cli("run", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("another relay answers there", done.stderr)
        relay.cli("stats")

    def test_socket_left_by_a_killed_one_is_taken_over(self):
        relay = self.relay()
        relay.kill()
        self.assertTrue(relay.socket_path.exists())
        relay.start()
        relay.cli("stats")

    def test_queue_that_cannot_be_made(self):
        relay = self.relay(start=False, queue={"path": "/proc/nowhere"})
        done = relay.cli("run", check=False)
        self.assertEqual(done.returncode, 73)
        self.assertIn("/proc/nowhere", done.stderr)

    def test_unknown_user(self):
        if os.getuid() != 0:
            self.skipTest("needs root")
        relay = self.relay(start=False, root={"user": "nobody-of-that-name"})
        done = relay.cli("run", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn("nobody-of-that-name", done.stderr)

    def place(self, relay):
        """The relay's directory, open to others; a copy of the program where they can reach it."""
        relay.dir.chmod(0o1777)
        copy = relay.dir / "postern"
        shutil.copy(find_program("POSTERN", "postern"), copy)
        copy.chmod(0o755)
        return copy

    def ids(self, relay):
        status = pathlib.Path(f"/proc/{relay.pid}/status").read_text()
        return {name: set(re.search(rf"(?m)^{name}:[ \t]*(.*)$", status)[1].split()) for name in ("Uid", "Gid", "Groups", "CapEff", "CapPrm")}

    def owners(self, relay):
        path = pathlib.Path(relay.queue["path"])
        return {p.stat().st_uid for p in [path, *path.iterdir()]}

    def test_privileges_are_dropped(self):
        if os.getuid() != 0:
            self.skipTest("needs root")
        nobody = pwd.getpwnam("nobody")
        sim = self.simulator(BASE)
        relay = self.relay(sim, start=False, root={"user": "nobody"})
        self.place(relay)
        relay.start()
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")
        ids = self.ids(relay)
        self.assertEqual((ids["Uid"], ids["Gid"]), ({str(nobody.pw_uid)}, {str(nobody.pw_gid)}))
        self.assertEqual(ids["Groups"], set())
        self.assertEqual(ids["CapEff"] | ids["CapPrm"], {"0000000000000000"})
        for task in pathlib.Path(f"/proc/{relay.pid}/task").iterdir():
            self.assertRegex((task / "status").read_text(), rf"(?m)^Uid:(\s+{nobody.pw_uid}){{4}}$")
        self.assertEqual(self.owners(relay), {nobody.pw_uid})
        relay.cli("stats")
        self.assertEqual(relay.stop(), 0)

    def test_unprivileged_user_on_high_ports(self):
        if os.getuid() != 0:
            self.skipTest("needs root to become another user")
        nobody = pwd.getpwnam("nobody")
        sim = self.simulator(BASE)
        relay = self.relay(sim, start=False)
        relay.root.pop("user")
        relay.write_config()
        copy = self.place(relay)
        drop = f"import os; os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid}); "
        run = f"os.execv({str(copy)!r}, ['postern', 'run', '-c', {str(relay.config_path)!r}])"
        relay.start(wrapper=[sys.executable, "-c", drop + run] if os.access(sys.executable, os.X_OK) else [])
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")
        self.assertEqual(self.ids(relay)["Uid"], {str(nobody.pw_uid)})
        self.assertEqual(self.owners(relay), {nobody.pw_uid})
        low = subprocess.run([sys.executable, "-c", drop + run], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
        self.assertNotEqual(low.returncode, 0)


if __name__ == "__main__":
    unittest.main()
