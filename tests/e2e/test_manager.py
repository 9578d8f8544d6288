"""What systemd asks of a service, by its documented protocols: the watchdog, and sockets that it holds over restarts."""
import os
import pathlib
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import DEADLINE  # noqa: E402
from lib.relay import Relay, message  # noqa: E402

BASE = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-8"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
"""


class Watchdog(RelayCase):
    def notified(self, usec, **env):
        """A relay that is to say so every usec, and the socket where it does."""
        sim = self.simulator(BASE)
        relay = self.relay(sim, start=False)
        s = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        s.settimeout(DEADLINE)
        s.bind(str(relay.dir / "notify"))
        relay.env = {**os.environ, "NOTIFY_SOCKET": str(relay.dir / "notify"), "WATCHDOG_USEC": str(usec), **env}
        return relay, s

    def read_until(self, s, line):
        seen = []
        while line not in seen:
            seen += s.recv(1000).decode().splitlines()
        return seen

    def test_says_so_while_all_answer(self):
        relay, s = self.notified(300000)
        relay.start()
        self.read_until(s, "READY=1")
        for _ in range(3):
            self.read_until(s, "WATCHDOG=1")
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")
        self.read_until(s, "WATCHDOG=1")
        relay.signal(signal.SIGTERM)
        self.read_until(s, "STOPPING=1")
        self.assertEqual(relay.wait_exit(), 0)

    def test_another_s_watchdog_is_not_ours(self):
        for env in ({"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"}, {"WATCHDOG_USEC": "soon"}):
            with self.subTest(env=env):
                relay, s = self.notified(3000, **env)
                relay.start()
                relay.send("m", "u@t1.example")
                relay.wait_event("delivered")
                relay.signal(signal.SIGTERM)
                self.assertNotIn("WATCHDOG=1", self.read_until(s, "STOPPING=1"))
                self.assertEqual(relay.wait_exit(), 0)

    @unittest.skipUnless(shutil.which("strace") and not os.environ.get("E2E_SANITIZED"), "no strace here")
    def test_silent_when_the_writer_hangs(self):
        """The main thread alone is no proof of life."""
        relay, s = self.notified(300000)
        relay.start()
        self.read_until(s, "WATCHDOG=1")
        calls = "fdatasync,fsync,msync,pwrite64,pwritev"
        log = open(relay.dir / "strace", "w+")
        self.addCleanup(log.close)
        tracer = subprocess.Popen(["strace", "-f", "-p", str(relay.pid), "-e", f"trace={calls}",
                                   "-e", f"inject={calls}:delay_enter=15000000"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(lambda: (tracer.kill(), tracer.wait()))
        self.wait_attached(tracer, log)
        # a message's commit hangs in the disk; what its fence waits for never comes
        client = smtplib.SMTP(*relay.address(), local_hostname="client.example", timeout=DEADLINE)
        self.addCleanup(client.close)
        client.ehlo()
        client.mail("a@example.org")
        client.rcpt("u@t1.example")
        client.putcmd("data")
        self.assertEqual(client.getreply()[0], 354)
        client.send(message("m").encode() + b".\r\n")
        s.settimeout(3)
        with self.assertRaises(TimeoutError):
            for _ in range(200):  # what was said until it hung
                s.recv(1000)
        tracer.kill()
        relay.kill()

    def wait_attached(self, tracer, log):
        end = time.monotonic() + DEADLINE
        while "attached" not in pathlib.Path(log.name).read_text():
            if tracer.poll() is not None or time.monotonic() > end:
                self.skipTest("strace may not attach here")
            time.sleep(0.05)


class Activated(Relay):
    """Started as a service manager starts it: with listening sockets from descriptor 3 on."""

    def __init__(self, sim, sockets, **options):
        super().__init__(sim, **options)
        self.sockets = sockets

    def wrapper(self):
        """What systemd does between fork and exec."""
        numbers = [s.fileno() for s in self.sockets]
        return [sys.executable, "-c", "import fcntl, os, sys\n"
                f"high = [fcntl.fcntl(n, fcntl.F_DUPFD, 100) for n in {numbers}]\n"
                "for i, n in enumerate(high): os.dup2(n, 3 + i)\n"
                "for n in high: os.close(n)\n"
                "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))\n"
                "os.execv(sys.argv[1], sys.argv[1:])"]

    def start(self, ready=True, wrapper=()):
        return super().start(ready, self.wrapper())

    def spawn(self, command, **options):
        return super().spawn(command, pass_fds=[s.fileno() for s in self.sockets], **options)


class Sockets(RelayCase):
    def held(self, family=socket.AF_INET, host="127.0.0.1"):
        s = self.enterContext(socket.socket(family, socket.SOCK_STREAM))
        s.bind((host, 0))
        s.listen(100)
        return s

    def activated(self, sim, sockets, addresses=None):
        addresses = addresses or [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
        relay = Activated(sim, sockets, listeners={"in": {"address": addresses}})
        self.addCleanup(relay.close)
        return relay

    def test_clients_wait_while_it_restarts(self):
        sim = self.simulator(BASE)
        held = self.held()
        relay = self.activated(sim, [held])
        relay.start()
        relay.send("before", "u@t1.example")
        relay.wait_event("delivered", to="u@t1.example")
        self.assertEqual(relay.stop(), 0)
        # nobody accepts: they wait in the manager's socket
        waiting = [socket.create_connection(held.getsockname(), timeout=DEADLINE) for _ in range(8)]
        relay.start()
        for k, s in enumerate(waiting):
            client = smtplib.SMTP(local_hostname="client.example", timeout=DEADLINE)
            client.sock = s
            self.assertEqual(client.getreply()[0], 220)
            client.sendmail("sender@example.org", [f"w{k}@t2.example"], message(f"waited-{k}"))
            client.quit()
        relay.wait_event("delivered", count=8, to=lambda to: to.endswith("@t2.example"))

    def test_reload_keeps_it(self):
        sim = self.simulator(BASE)
        held = self.held()
        relay = self.activated(sim, [held])
        relay.start()
        kept = relay.listeners["in"]["address"]
        relay.listeners["in"]["address"] = ["127.0.0.1:0"]  # gone, and back again
        self.assertEqual(relay.reload()["event"], "reloaded")
        relay.listeners["in"]["address"] = kept
        self.assertEqual(relay.reload()["event"], "reloaded")
        relay.send("after", "u@t1.example")
        relay.wait_event("delivered", to="u@t1.example")

    def test_what_cannot_be(self):
        sim = self.simulator(BASE)
        stream, datagram = self.held(), self.enterContext(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagram.bind(("127.0.0.1", 0))
        for sockets, words in [([stream], "no listener"), ([datagram], "listening TCP socket")]:
            with self.subTest(words):
                relay = self.activated(sim, sockets, ["127.0.0.1:0"])
                relay.start(ready=False)
                self.assertEqual(relay._join(), 78)
                self.assertIn(words, relay.stderr())

    def test_another_process_s_sockets_are_not_ours(self):
        relay = self.relay(self.simulator(BASE), start=False)
        relay.env = {**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1"}
        relay.start()
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")


if __name__ == "__main__":
    unittest.main()
