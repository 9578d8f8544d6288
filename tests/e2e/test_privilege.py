"""What a relay takes for itself at its start, and what it leaves alone: ports, queue, pid file, sockets, log, rights."""
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.certs import Authority, password_hash  # noqa: E402
from lib.process import Deadline  # noqa: E402

BASE = """
cluster "A" { addresses = {"127.1.1.1-4"} }
tenant "t{0..99}.example" { cluster = {"A"} }
"""


class Second(RelayCase):
    """A second `postern run` by mistake: it says why it ends, and nothing of the first one's is gone."""

    def refused(self, other, code, words):
        done = other.cli("run", check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, words)

    def still_whole(self, relay, *paths):
        for path in paths:
            self.assertTrue(path.exists(), path)
        relay.cli("stats")
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered", to="u@t1.example")

    def test_the_same_again(self):
        sim = self.simulator(BASE)
        relay = self.relay(sim, start=False)
        pid = relay.dir / "pid"
        relay.root["pid_file"] = pid
        relay.write_config()
        relay.start()
        before = pid.read_text()
        self.refused(relay, 73, "in use by process")
        self.assertEqual(pid.read_text(), before)
        self.still_whole(relay, pid, relay.socket_path)
        self.assertEqual(relay.stop(), 0)
        self.assertFalse(pid.exists())
        self.assertFalse(relay.socket_path.exists())

    def test_one_pid_file_for_two(self):
        sim = self.simulator(BASE)
        first, second = (self.relay(sim, start=False) for _ in range(2))
        pid = first.dir / "pid"
        for relay in (first, second):
            relay.root["pid_file"] = pid
            relay.write_config()
        first.start()
        self.refused(second, 73, "held by another relay")
        self.assertEqual(pid.read_text(), f"{first.pid}\n")
        self.still_whole(first, pid)

    def test_lock_files_removed_by_hand(self):
        sim, relay = self.start(BASE)
        for name in ("postern.lock", "lock.mdb"):
            (pathlib.Path(relay.queue["path"]) / name).unlink()
        other = self.relay(sim, start=False, queue={"path": relay.queue["path"]})
        for _ in range(2):
            self.refused(other, 73, "in use by another process")
        self.still_whole(relay)

    def test_one_port_for_two_queues(self):
        """With SO_REUSEPORT the kernel would share the mail out between them."""
        sim, relay = self.start(BASE)
        port = relay.address()[1]
        other = self.relay(sim, start=False)
        for address in (f"127.0.0.1:{port}", f"0.0.0.0:{port}"):
            other.listeners["in"]["address"] = [address]
            other.write_config()
            self.refused(other, 71, "another program has it")
        self.still_whole(relay)

    def test_removes_only_its_own(self):
        relay = self.relay(start=False)
        pid = relay.dir / "pid"
        relay.root["pid_file"] = pid
        relay.write_config()
        relay.start()
        for path in (pid, relay.socket_path):
            path.unlink()
            path.write_text("somebody else's")
        self.assertEqual(relay.stop(), 0)
        for path in (pid, relay.socket_path):
            self.assertEqual(path.read_text(), "somebody else's")

    def test_control_socket_that_is_no_socket(self):
        relay = self.relay(start=False)
        relay.socket_path.write_text("precious")
        done = relay.cli("run", check=False)
        self.assertEqual(done.returncode, 71)
        self.assertEqual(relay.socket_path.read_text(), "precious")


class Files(RelayCase):
    def linked(self, option):
        relay = self.relay(start=False)
        victim, link = relay.dir / "victim", relay.dir / "link"
        victim.write_text("precious\n")
        link.symlink_to(victim)
        if option == "log":
            relay.log["file"] = link
        else:
            relay.root["pid_file"] = link
        relay.write_config()
        done = relay.cli("run", check=False)
        self.assertEqual(done.returncode, 73)
        self.assertIn("symbolic link", done.stderr)
        self.assertEqual(victim.read_text(), "precious\n")

    def test_log_through_a_link(self):
        self.linked("log")

    def test_pid_file_through_a_link(self):
        self.linked("pid")

    def test_log_into_a_fifo(self):
        """Nobody reads yet; somebody does; nobody reads any more: mail goes all the while."""
        sim = self.simulator(BASE)
        relay = self.relay(sim, start=False)
        fifo = relay.dir / "fifo"
        os.mkfifo(fifo)
        relay.log["file"] = fifo
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        relay.listeners["in"]["address"] = [f"127.0.0.1:{port}"]
        relay.addresses["in"] = [("127.0.0.1", port)]
        relay.write_config()
        relay.start(ready=False)
        self.accepts(relay)
        relay.send("one", "u@t1.example")
        sim.wait(deliveries=1)
        reader = os.open(fifo, os.O_RDONLY)
        self.assertIn(b'"listening"', os.read(reader, 65536))
        os.close(reader)
        for i in range(2, 42):
            relay.send(f"m{i}", f"u@t{i}.example")
        sim.wait(deliveries=41)
        self.assertEqual(relay.stop(), 0)

    def accepts(self, relay):
        deadline = Deadline()
        while True:
            try:
                socket.create_connection(relay.address(), 1).close()
                return
            except OSError:
                self.assertFalse(deadline.passed, relay.stderr())

    def test_queue_directory_of_everybody(self):
        relay = self.relay(start=False)
        path = pathlib.Path(relay.queue["path"])
        path.mkdir()
        path.chmod(0o777)
        done = relay.cli("run", check=False)
        self.assertEqual(done.returncode, 73)
        self.assertIn("chmod 0700", done.stderr)


    def test_control_socket_in_a_directory_of_others(self):
        """Who may write there can answer in the relay's place."""
        relay = self.relay(start=False)
        place = relay.dir / "place"
        place.mkdir()
        relay.socket_path = place / "control.sock"
        relay.write_config()
        place.chmod(0o750)
        self.assertEqual(relay.cli("check").stderr, "")
        place.chmod(0o1777)
        self.assertRegex(relay.cli("check").stderr, r"postern.conf:\d+: warning: control: socket: everybody may be in \S+/place before")
        place.chmod(0o777)
        for command in ("check", "run"):
            done = relay.cli(command, check=False)
            self.assertEqual(done.returncode, 78, done.stderr)
            self.assertRegex(done.stderr, r"postern.conf:\d+: control: socket: everybody may put a socket of his own into \S+/place \(mode 0777\)")
        if os.getuid() == 0:
            place.chmod(0o750)
            os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
            self.assertRegex(relay.cli("check").stderr, r"warning: control: socket: \S+/place belongs to another user")
            relay.root["user"] = "nobody"
            relay.write_config()
            self.assertNotIn("another user", relay.cli("check").stderr)


class Secrets(RelayCase):
    def world(self):
        relay = self.relay(start=False)
        certificate, key = Authority(relay.dir / "certs").certificate("relay", "DNS:relay.test.example")
        users = relay.dir / "users"
        users.write_text(f"app:{password_hash('secret')}\n")
        for path in (key, users):
            path.chmod(0o640)
        relay.listeners["in"].update(certificate=certificate, key=key, users_file=users)
        relay.write_config()
        return relay, key, users

    def test_others_may_read_or_write(self):
        relay, key, users = self.world()
        self.assertEqual(relay.cli("check").stderr, "")
        for path, option in ((key, "key"), (users, "users_file")):
            with self.subTest(option):
                path.chmod(0o644)
                self.assertRegex(relay.cli("check").stderr, rf"warning: .*{option}: everybody may read {path} .*chmod 0640")
                path.chmod(0o666)
                done = relay.cli("run", check=False)
                self.assertEqual(done.returncode, 78)
                self.assertRegex(done.stderr, rf"{option}: everybody may change {path}")
                path.chmod(0o640)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_what_a_reload_could_not_read(self):
        relay, key, users = self.world()
        relay.dir.chmod(0o1777)
        relay.root["user"] = "nobody"
        relay.write_config()
        relay.start()
        self.assertEqual({e["message"].split(":")[0] for e in relay.find("unreadable")}, {str(key), str(users)})
        done = relay.cli("reload", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn("Permission denied", done.stderr)


@unittest.skipUnless(os.getuid() == 0, "needs root")
class Rights(RelayCase):
    def status(self, relay):
        text = pathlib.Path(f"/proc/{relay.pid}/status").read_text()
        return dict(re.findall(r"(?m)^(\w+):[ \t]*(.*)$", text))

    def test_with_a_user(self):
        relay = self.relay(start=False, root={"user": "nobody"})
        relay.dir.chmod(0o1777)
        relay.start()
        nobody = pwd.getpwnam("nobody")
        status = self.status(relay)
        self.assertEqual(status["Uid"].split(), [str(nobody.pw_uid)] * 4)
        self.assertEqual(status["Groups"].strip(), "")
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Umask"], "0027")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        if not os.environ.get("E2E_SANITIZED"):  # what is not dumpable belongs to root in /proc
            self.assertEqual(os.stat(f"/proc/{relay.pid}/environ").st_uid, 0)
        self.assertEqual(relay.find("root"), [])

    def test_root_is_said(self):
        relay = self.relay(start=False)
        relay.root.pop("user", None)
        relay.write_config()
        relay.start()
        self.assertIn('user = "root"', relay.wait_event("root")["message"])
        self.assertEqual(self.status(relay)["NoNewPrivs"], "1")
        done = relay.cli("check")
        self.assertRegex(done.stderr, "warning: user: .*stays root")
        relay.root["user"] = "root"
        relay.write_config()
        self.assertEqual(relay.cli("check").stderr, "")
        relay.stop()
        since = relay.mark()
        relay.start()
        self.assertEqual(relay.find("root", since=since), [])

    def test_log_of_the_user(self):
        """Opened as the user, so that it can be opened again; never as root in a directory of others."""
        relay = self.relay(start=False, root={"user": "nobody"})
        relay.dir.chmod(0o755)
        relay.log["file"] = relay.dir / "mail.log"
        relay.write_config()
        done = relay.cli("run", check=False)
        self.assertEqual(done.returncode, 73)
        self.assertIn("relay's user", done.stderr)
        self.assertFalse((relay.dir / "mail.log").exists())


@unittest.skipUnless(os.getuid() == 0, "needs root")
class Home(unittest.TestCase):
    """In a home that other users may not enter: what gives up root, ours or a peer of the tests, needs nothing of the checkout any more."""

    def test_of_mode_0700(self):
        home = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="postern-home-")))  # of mode 0700
        self.assertEqual(home.stat().st_mode & 0o777, 0o700)
        here = pathlib.Path(__file__).resolve().parent
        shutil.copytree(here, home / "tests/e2e", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(here.parent / "peers.sh", home / "tests")
        env = {**os.environ, "E2E_CACHE": str(home / "peers")}
        env.pop("PEERS", None)
        for name in ("POSTERN", "M365SIM"):
            env[name] = shutil.copy(os.environ[name], home)
        for test in ("test_privilege.Rights", "test_next_hops.EximHop.test_null_sender", "test_next_hops.PostfixHop.test_null_sender"):
            with self.subTest(test):
                done = subprocess.run([sys.executable, "-m", "unittest", test], cwd=home / "tests/e2e", env=env, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, timeout=120)
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
