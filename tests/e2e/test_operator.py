"""What operators see and can rely on: text of others is shown harmless and whole, and a command needs nothing but the relay's socket."""
import html.parser
import json
import os
import pty
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import DEADLINE, Deadline, find_program  # noqa: E402

SCENARIO = 'cluster "NONE" { addresses = {"127.1.1.1"} }\nrecords = {"words.example MX 10 mx.words.example", "mx.words.example A 127.0.0.1"}\n'
# What a terminal, or a reader, would obey; each also as the C1 and bidi controls of UTF-8.
HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
WORDS = {
    "gbk": "450 4.2.1 ".encode() + "用户邮箱已满".encode("gbk"),
    "long": "450 4.2.1 ".encode() + ("é" * 300).encode(),
    "longer": "450 4.2.1 x".encode() + ("ü" * 300).encode(),
    "han": "450 4.2.1 ".encode() + ("箱" * 200).encode(),
    "face": "450 4.2.1 ".encode() + ("📬" * 140).encode(),
    "nul": b"450 4.2.1 before\0after",
    "esc": b"450 4.2.1 \x1b[2J\x1b]0;owned\x07 \x9b31m",
    "c1": "450 4.2.1 \u009b31m\u0085\u0090".encode(),
    "bidi": "450 4.2.1 \u202egpj.exe\u2066\u2069\u200f\u061c\u2028\u2029".encode(),
    "half": b"450 4.2.1 \xed\xa0\x80 \xc0\x9b \xf4\x90\x80\x80 \xe4\xbd",
}


class Receiver(socketserver.ThreadingTCPServer):
    """Refuses each recipient in the words that its local part names."""

    allow_reuse_address = daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 mx.words.example ESMTP\r\n")
            for line in self.rfile:
                verb = line[:4].upper()
                if verb == b"RCPT":
                    word = line.split(b"<")[1].split(b"@")[0].decode()
                    self.wfile.write(WORDS.get(word, b"250 2.1.5 ok" if word.isascii() else b"450 4.2.1 busy") + b"\r\n")
                elif verb == b"EHLO":
                    self.wfile.write(b"250-mx.words.example\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
                elif verb == b"QUIT":
                    self.wfile.write(b"221 2.0.0 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 2.0.0 ok\r\n" if verb != b"DATA" else b"503 5.5.1 no recipients\r\n")

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Foreign(RelayCase):
    def begin(self):
        receiver = self.enterContext(Receiver())
        sim = self.simulator(SCENARIO)
        relay = self.relay(sim, providers={"default": {"port": receiver.port, "tls": "none"}}, queue={"retry": ["1h"]},
                           sources={"a1": "127.0.0.1"})
        text = "From: <s@x.example>\r\nSubject: x\r\nMessage-ID: <\x1b[2J\x07\u202e@x.example>\r\n\r\nHello \x1b[5m there\r\n".encode()
        relay.send("words", [f"{w}@words.example" for w in WORDS], text=text)
        relay.wait_event("deferred", count=len(WORDS))
        return relay

    def test_no_recipient_vanishes(self):
        relay = self.begin()
        rows = {r["address"].split("@")[0]: r for r in self.waiting(relay)}
        self.assertEqual(rows.keys(), WORDS.keys())
        self.assertTrue(rows["long"]["reply"].endswith("éé"), rows["long"]["reply"])
        self.assertNotIn("\ufffd", rows["long"]["reply"] + rows["long"]["reason"] + rows["longer"]["reply"] + rows["han"]["reason"])
        self.assertIn("\ufffd", rows["gbk"]["reply"])
        id = rows["gbk"]["id"]
        self.assertEqual(len(relay.json("show", id)["recipients"]), len(WORDS))
        for text in (relay.cli("queue", "--list").stdout, relay.cli("show", id).stdout):
            for word in WORDS:
                self.assertIn(f"{word}@words.example", text)

    def outputs(self, relay):
        id = self.waiting(relay)[0]["id"]
        for command in (["queue", "--list"], ["show", id], ["queue", "--domains"], ["lanes"], ["clusters"], ["warmup"], ["stats"],
                        ["check-queue"], ["queue", "--list", "--json"], ["show", "--json", id], ["show", "\x1b[2J\u009b\u202e"],
                        ["retry", "--domain", "\x1b]0;\x07"], ["suspend", "--source", "\u202e\x1b"], ["nonsense\x1b"],
                        ["queue", "--\x1b"], ["warmup", "set", "\x1b\u2066", "--rung", "1"]):
            done = subprocess.run([find_program("POSTERN", "postern"), command[0], "-c", str(relay.config_path), *command[1:]],
                                  capture_output=True, stdin=subprocess.DEVNULL, timeout=DEADLINE)
            yield command, (done.stdout + done.stderr).decode("utf-8", "surrogateescape")

    def test_nothing_reaches_the_terminal(self):
        relay = self.begin()
        for command, text in self.outputs(relay):
            with self.subTest(command):
                self.assertTrue(text or command == ["warmup"])
                self.assertIsNone(HOSTILE.search(text), text)
        log = relay.log_path.read_bytes().decode("utf-8", "strict")
        self.assertIsNone(HOSTILE.search(log))
        for event in relay.find("deferred"):
            self.assertTrue(event["reply"])

    def test_addresses(self):
        """Those of SMTPUTF8 are text of others as well: they are shown, and obeyed by nobody."""
        receiver = self.enterContext(Receiver())
        sim = self.simulator(SCENARIO)
        relay = self.relay(sim, providers={"default": {"port": receiver.port, "tls": "none"}}, queue={"retry": ["1h"]},
                           sources={"a1": "127.0.0.1"})
        locals = ("caf\u00e9", "a\u202egpj.exe", "b\u009b31mx", "c\u2066\u2069d", "e\u0085f", "g\u200fh")
        for local in locals:
            with relay.client() as c:
                c.ehlo()
                for line in (f"MAIL FROM:<{local}@sender.example> SMTPUTF8", f"RCPT TO:<{local}@words.example>"):
                    c.send(f"{line}\r\n".encode())
                    self.assertEqual(c.getreply()[0], 250)
                self.assertEqual(c.data("Subject: x\r\n\r\nx\r\n")[0], 250)
        relay.wait_event("deferred", count=len(locals))
        self.assertEqual({r["address"] for r in self.waiting(relay)}, {f"{x}@words.example" for x in locals})
        for command, text in [*self.outputs(relay), *((["show", r["id"]], relay.cli("show", r["id"]).stdout) for r in self.waiting(relay))]:
            with self.subTest(command):
                self.assertIsNone(HOSTILE.search(text), text)
        self.assertIn("caf\u00e9@words.example", relay.cli("queue", "--list").stdout)
        self.assertIsNone(HOSTILE.search(relay.log_path.read_bytes().decode()))

    def test_content_on_a_terminal_and_in_a_pipe(self):
        relay = self.begin()
        id = self.waiting(relay)[0]["id"]
        command = [find_program("POSTERN", "postern"), "show", "-c", str(relay.config_path), "--content", id]
        piped = subprocess.run(command, capture_output=True, timeout=DEADLINE).stdout
        self.assertIn(b"Hello \x1b[5m there\r\n", piped)
        master, slave = pty.openpty()
        with os.fdopen(master, "rb", buffering=0) as screen:
            process = subprocess.Popen(command, stdout=slave, stdin=subprocess.DEVNULL)
            os.close(slave)
            seen = b""
            while True:
                try:
                    data = screen.read(4096)
                except OSError:  # the other end is closed
                    break
                if not data:
                    break
                seen += data
            self.assertEqual(process.wait(DEADLINE), 0)
        self.assertIn(b"Hello \\x1b[5m there", seen)
        self.assertNotIn(b"\x1b", seen)

    def test_classify(self):
        relay = self.begin()
        line = b"microsoft365\trcpt\t450 4.7.500 \"\\ \x1b[2J " + "\u202e\u009b".encode() + b"\xd3\xca Server busy. (S77719)\n"
        for option in ([], ["--json"]):
            done = subprocess.run([find_program("POSTERN", "postern"), "classify", *option], input=line, capture_output=True, timeout=DEADLINE)
            text = done.stdout.decode()
            self.assertIsNone(HOSTILE.search(text))
        self.assertEqual(json.loads(text)["verdict"], "source-throttle")


class Page(RelayCase):
    def view(self, relay, path):
        with urllib.request.urlopen(relay.http_address + path, timeout=DEADLINE) as response:
            text, headers = response.read().decode(), response.headers
        self.assertNotRegex(text, r"<script(?! src=)")
        self.assertNotIn("<script>&", text)
        self.assertIsNone(HOSTILE.search(text))
        html.parser.HTMLParser().feed(text)
        return text, headers

    def test_page(self):
        sim = self.simulator('cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1"} }\n'
                             'tenant "t{0..9}.example" { cluster = {"EUR01"} }\n')
        relay = self.relay(sim, root={"hostname": "out.example.net"}, extra='warmup "w" { provider = "microsoft365"  sources = {"a1"}  '
                           'start = "2020-01-01"  daily = {5, 10}  pace = "none" }\n')
        relay.send("one", "u@t1.example")
        relay.wait_event("delivered")
        relay.cli("hold", "--user", "t2<script>&")
        relay.cli("suspend", "--source", "a1", "--for", "1h")
        relay.send("two", "u@t3.example")
        relay.wait_event("held")
        deadline = Deadline(DEADLINE)
        while True:  # the second message's route is found first, and then the queue counted
            text, headers = self.view(relay, "/")
            if "a1 is suspended by the operator" in text or deadline.passed:
                break
            time.sleep(0.05)
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertIn("text/html", headers["Content-Type"])
        for part in ("out.example.net", "New mail is accepted", "1 recipient waits", "a1 is suspended by the operator",
                     "source <b>a1</b>", "provider <b>microsoft365</b>"):
            self.assertIn(part, text)
        for path, part in (("/heat", "EUR01"), ("/waits", "suspended by the operator"), ("/ramps", "microsoft365")):
            with self.subTest(path):
                self.assertIn(part, self.view(relay, path)[0])
        self.assertIn("font", relay.get("/style.css"))


class Check(RelayCase):
    """check-queue beside the relay, ended or stopped at any moment: the relay goes on."""

    def test_stopped_and_killed(self):
        sim = self.simulator('cluster "A" { addresses = {"127.1.1.1-4"} }\ntenant "t{0..9}.example" { cluster = {"A"} }\n')
        relay = self.relay(sim, queue={"max_size": "32MiB"}, providers={"microsoft365": {"lane_message_rate": "none"}})
        sent = 0
        for pause in (0, 0.002, 0.004, 0.008, 0.016):
            check = subprocess.Popen([find_program("POSTERN", "postern"), "check-queue", "-c", str(relay.config_path)],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(pause)
            check.send_signal(signal.SIGSTOP)
            relay.send_many((f"m{sent + i}", f"u{i}@t{i % 10}.example") for i in range(20))
            sent += 20
            check.kill()
            check.wait(DEADLINE)
        for i in range(30):  # more than the file could hold if nothing were given back
            relay.send(f"large{i}", "large@t1.example", size=1500000)
            relay.wait_event("delivered", to="large@t1.example", count=i + 1)
        relay.wait_event("delivered", count=sent + 30)
        self.assertEqual(relay.get("/health"), "ok\n")
        self.assertEqual(relay.metrics()["postern_queue_refused_total"], 0)
        self.wait_metric(relay, "postern_queue_oldest_reader_seconds", 0)


class Socket(RelayCase):
    """A command finds the relay whatever else is wrong."""

    def run_cli(self, *args, **options):
        return subprocess.run([find_program("POSTERN", "postern"), *map(str, args)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=DEADLINE, **options)

    def test_broken_configuration(self):
        sim, relay = self.start(SCENARIO)
        good = relay.config_path.read_text()
        section = f'control {{ socket = "{relay.socket_path}" }}'
        broken = [
            good + "\nnonsense {{{ \"\n",
            good.replace("hostname", "hostnam", 1),
            good + 'listener "tls" { address = {"127.0.0.1:0"}  certificate = "/nonexistent/c.pem"  key = "/nonexistent/k.pem"  allow = {"127.0.0.0/8"} }\n',
            "}}} = = \"x\"\n# control { socket = \"/no\" }\n/* control { socket = '/no' } */ // {\n" + section,
            f"queue {{ socket = \"/no\" deep {{ control = 1 }} }}\ncontrol {{ mode = 0660 # socket = \"/no\"\n  socket='{relay.socket_path}'",
        ]
        for text in broken:
            with self.subTest(text[-80:]):
                relay.config_path.write_text(text)
                self.assertEqual(self.run_cli("check", "-c", relay.config_path).returncode, 78)
                for command in (["queue"], ["stats"], ["lanes"], ["suspend", "--source", "a1"], ["resume", "--source", "a1"], ["retry", "--all"]):
                    done = self.run_cli(command[0], "-c", relay.config_path, *command[1:])
                    self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        relay.config_path.unlink()
        done = self.run_cli("stats", "--socket", relay.socket_path, "-c", relay.config_path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = self.run_cli("stats", "-c", relay.config_path)
        self.assertEqual(done.returncode, 69)
        self.assertIn("no such file", done.stderr)
        self.assertIn("--socket", done.stderr)
        relay.config_path.write_text(good + "nonsense = 1\n")
        done = self.run_cli("check-queue", "-c", relay.config_path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no damage found", done.stdout)

    def test_relay_that_stands_still(self):
        sim, relay = self.start(SCENARIO)
        os.kill(relay.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            done = self.run_cli("queue", "-c", relay.config_path, "--timeout", "1s")
            self.assertEqual(done.returncode, 75)
            self.assertIn("said nothing for 1s", done.stderr)
            self.assertLess(time.monotonic() - started, 10)
            # its backlog full: connecting has its time-out, too
            waiting = []
            while True:
                s = socket.socket(socket.AF_UNIX)
                self.addCleanup(s.close)
                s.setblocking(False)
                try:
                    s.connect(str(relay.socket_path))
                    waiting.append(s)
                except BlockingIOError:
                    break
            done = self.run_cli("queue", "-c", relay.config_path, "--timeout", "1s")
            self.assertEqual(done.returncode, 69)
            self.assertIn("timed out", done.stderr)
            process = subprocess.Popen([find_program("POSTERN", "postern"), "queue", "-c", relay.config_path], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(DEADLINE), -signal.SIGINT)
            process.communicate()
        finally:
            os.kill(relay.pid, signal.SIGCONT)
        for s in waiting:
            s.close()

    def ask(self, relay, data, wait=True):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.connect(str(relay.socket_path))
        s.settimeout(DEADLINE)
        s.sendall(data)
        if not wait:
            return s
        answer = b""
        while data := s.recv(65536):
            answer += data
        return json.loads(answer.splitlines()[-1])

    def test_requests_that_are_none(self):
        sim, relay = self.start(SCENARIO)
        for data in (b"\n", b"{}\n", b"[]\n", b"nonsense\n", b'{"command":1}\n', b'{"command":"x","command":"stats"}\n',
                     b'{"command":"stats","a":{}}\n', b'{"command":"\xff"}\n', b'{"command":"' + b"x" * 3000 + b'"}\n', b"x" * 70000,
                     b'{"command":"queue","a":' + b"[" * 5000 + b"]" * 5000 + b"}\n"):
            with self.subTest(data[:40]):
                answer = self.ask(relay, data)
                self.assertEqual((answer["done"], answer["exit"]), (True, 64))
                self.assertTrue(answer["error"])
        self.assertEqual(self.ask(relay, '{"command":"\u202e\x7f"}\n'.encode())["exit"], 64)

    def test_silent_and_slow_clients_hold_nobody_up(self):
        sim = self.simulator('cluster "A" { addresses = {"127.1.1.1"} }\ntenant "t{0..9}.example" { cluster = {"A"} }\n'
                             'rule "busy" { phase = "rcpt"  recipient = {"busy*@*"}  reply = "450 4.2.1 busy" }\n')
        relay = self.relay(sim, queue={"retry": ["1h"]}, providers={"microsoft365": {"lane_message_rate": "none"}})
        relay.send("many", [f"busy{i}@t1.example" for i in range(400)])
        relay.wait_event("deferred", count=400)
        for _ in range(30):
            self.ask(relay, b'{"command":', wait=False)  # and no more
            self.ask(relay, b'{"command":"queue","messages":true}\n', wait=False)  # and nothing is read
        started = time.monotonic()
        relay.send("one", "u@t2.example")
        relay.wait_event("delivered", to="u@t2.example")
        self.assertEqual(len(self.waiting(relay)), 400)
        self.assertEqual(relay.json("retry", "--all")["changed"], 400)
        self.assertLess(time.monotonic() - started, 20)
        s = self.ask(relay, b'{"comm', wait=False)
        self.assertIn(b"within 10 s", s.recv(4096))

    def test_arguments(self):
        relay = self.relay(start=False)
        for status, args in ((64, ["queue", "--timeout", "soon"]), (64, ["queue", "--timeout"]), (64, ["check", "--socket", "x"]),
                             (64, ["show", b"\xff\xfe"]), (69, ["queue", "--socket", "x" * 300])):
            with self.subTest(args):
                done = subprocess.run([find_program("POSTERN", "postern"), args[0], "-c", str(relay.config_path), *args[1:]],
                                      capture_output=True, timeout=DEADLINE)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertTrue(done.stderr)


if __name__ == "__main__":
    unittest.main()
