"""Reload: what it takes over, what it names, what it never leaves half done. The options come from the option table itself, so that a new one
is tested as soon as it is there."""
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.certs import Authority, password_hash  # noqa: E402
from lib.process import Deadline, Failed  # noqa: E402
from lib.raw import Smtp  # noqa: E402
from lib.relay import render, section  # noqa: E402

BASE = """
cluster "A" { addresses = {"127.1.1.1-4"} }
tenant "t{0..99}.example" { cluster = {"A"} }
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Options(RelayCase):
    """Another value for every option of the table: after a reload it is in force, or it is named, and the old one is in force."""

    # Options whose other value must make sense beside the rest of the file.
    OTHER = {"hostname": "other.example", "listener.pool": "second", "listener.min_tls": "1.3", "source.address": "127.0.1.9",
             "source.ehlo": "other.example", "source.subnet": "127.0.0.0/16", "pool.sources": ["a1:3", "a2"], "sender.pool": "second",
             "provider.mx": ["*.other.example"], "warmup.provider": "default", "warmup.sources": ["a2"], "warmup.start": "2030-02-02",
             "warmup.ladder": "ses", "warmup.hours": "08-18", "warmup.overflow": "wait", "timezone": "UTC", "queue.reserve": "8MiB",
             "dns.servers": ["127.0.0.1:53"], "http.address": "127.0.0.1:1", "control.mode": "0600", "user": None, "group": None,
             "queue.path": "/nowhere", "queue.retry": ["7m"], "log.file": "/nowhere", "postmaster": "post@other.example", "dns.ttl_max": "2h",
             "control.socket": None,  # by test_control_socket
             "listener.address": None, "listener.implicit_tls": None, "listener.proxy": None, "listener.proxy_from": None,
             "listener.allow_world": None, "queue.max_size": "128MiB", "block_lists": ["lists.example"], "log.headers": ["X-Other"],
             # one of three kinds of plan at a time; together with another option
             "warmup.daily": ([50, 100], {"ladder": None}), "warmup.first": (70, {"ladder": None}),
             "warmup.growth": (1.5, {"ladder": None, "first": 50}), "warmup.ceiling": (5000, {"ladder": None, "first": 50}),
             "warmup.pace": ("none", {"hours": None}), "warmup.step_back_at": "7%", "warmup.pause_at": "30%", "warmup.hold_at": "1%",
             "warmup.advance_at": "80%", "dkim.from": ["x.example"], "dkim.canonicalization": "simple/simple"}

    def table(self):
        """(section, option, default, kind) of all options."""
        here, rows = "", []
        for line in self.relay(start=False).cli("check", "--defaults").stdout.splitlines():
            head = re.match(r'^(\w+)(?: "[A-Z]+")? \{ \}$', line)
            option = re.match(r"^    (\w+)(?: = (.*?))?   \((.*)\)$", line)
            if head:
                here = head[1]
            elif line.startswith("Outside"):
                here = ""
            elif option:
                rows.append((here, option[1], option[2], option[3]))
        return rows

    def other(self, name, default, kind, files):
        """Another value of this kind; None: none that can be tried here."""
        if name in self.OTHER:
            return self.OTHER[name]
        if kind.startswith("file"):
            return files.get(name.split(".")[-1])
        if kind.startswith("yes or no") or default in ("true", "false"):
            return default != "true"
        if kind.startswith("number") or kind.startswith("size") or kind.startswith("duration"):
            low, high = re.search(r"(\S+) to (\S+?)(?:,|;|$)", kind).groups()
            return low if (default or "").strip('"') not in (low, "0") or low == "0" and default != "0" else high
        if kind.startswith("port"):
            return 2626
        if kind.startswith("rate"):
            return "123/1m"
        if kind.startswith("list of networks"):
            return ["127.0.0.0/9"]
        if kind.startswith('"'):
            return next(w for w in re.findall(r'"(\w+)"', kind) if f'"{w}"' != default)
        if kind.startswith("text") or kind.startswith("domain") or kind.startswith("name"):
            return "other.example"
        if kind.startswith("fraction"):
            return 0.5
        raise Failed(f"{name}: no other value of kind {kind!r} is known to this test")

    def files(self, relay):
        authority = Authority(relay.dir / "certs")
        certificate, key = authority.certificate("relay", "DNS:relay.test.example")
        users = relay.dir / "users"
        users.write_text(f"app:{password_hash('secret')}\n")
        users.chmod(0o600)
        rules = relay.dir / "rules"
        rules.write_text('* * 5xx * * "purple hedgehog" -> source-block\n')
        return {"certificate": certificate, "key": key, "users_file": users, "rules_file": rules, "ca_file": authority.file,
                "client_ca": authority.file}

    def values(self, text):
        """(section, title, option) → value, of a dump."""
        found, here = {}, ("", "")
        for line in text.splitlines():
            head = re.match(r'^(\w+) (?:"([^"]*)" )?\{$', line)
            value = re.match(r"^\t?(\w+) = (.*)$", line)
            if head:
                here = (head[1], head[2] or "")
            elif line == "}":
                here = ("", "")
            elif value:
                found[(*here, value[1])] = value[2]
        return found

    def test_every_option_is_taken_over_or_named(self):
        relay = self.relay(start=False, sources={"a1": "127.0.1.1", "a2": "127.0.1.2"}, pools={"main": ["a1"], "second": ["a2"]})
        files = self.files(relay)
        base = {"": relay.root, "queue": relay.queue, "log": relay.log, "listener": relay.listeners["in"], "source": relay.sources["a1"],
                "provider": relay.providers.setdefault("own", {"mx": ["*.own.example"]})}
        signing = [relay.dir / "one.pem", relay.dir / "two.pem"]
        for path in signing:
            subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
            path.chmod(0o600)
        self.OTHER = {**self.OTHER, "dkim.key": signing[1]}
        more = relay.dir / "more.pem"
        more.write_text(files["certificate"].read_text() + files["key"].read_text())
        more.chmod(0o600)
        self.OTHER = {**self.OTHER, "listener.certificates": [more], "listener.client_names": ["app.example"],
                      "provider.certificate": (files["certificate"], {"key": files["key"]}), "provider.key": None,
                      "class.from": ["@one.example"], "class.user": ["app*"], "class.client": ["10.0.0.0/8"],
                      "class.listener": ["in"], "class.pool": ["main"], "class.tag": ["x"], "class.retry": ["1m"]}
        base["listener"].update(certificate=files["certificate"], key=files["key"], users_file=files["users_file"],
                                client_ca=files["ca_file"], client_names=["*"])
        base["provider"]["tls"] = "verify"
        extra = {"sender": ({"pool": "main"}, "s.example"), "warmup": ({"sources": ["a1"], "start": "2030-01-01", "ladder": "outlook",
                                                                       "pace": "hours", "hours": "09-17"}, "w"),
                 "dkim": ({"selector": "s", "key": signing[0]}, "d.example"), "class": ({}, "k"),
                 "dispatch": ({}, None), "dns": (relay.dns, None), "http": ({}, None), "control": ({}, None), "pool": ({}, None)}
        titles = {"listener": "in", "source": "a1", "provider": "own", "sender": "s.example", "warmup": "w", "pool": "main", "dkim": "d.example", "class": "k"}

        def write(where=None, option=None, value=None, more=()):
            """The file, with one option changed."""
            text = relay.config()
            overlay = {option: value, **dict(more)} if option else {}
            head = f'{where} "{titles[where]}"' if where in titles else where
            added = ""
            for name, (options, title) in extra.items():
                if title is not None:
                    added += section(name, {**options, **(overlay if name == where else {})}, title)
                elif name == where and name in ("dispatch", "dns"):
                    added += section(name, {**options, **overlay})
            text += added
            if option and where not in ("sender", "warmup", "dkim", "class", "dispatch", "dns"):
                for key, new in overlay.items():
                    line = "" if new is None else f"{key} = {render(new)}\n"
                    if where == "":
                        text = re.sub(rf"(?m)^{key} = .*\n", "", text)
                        text = line + text
                    else:
                        at = re.search(rf"(?ms)^{re.escape(head)} \{{\n(.*?)^\}}\n", text)
                        if not at:
                            text += f"{head} {{\n{line}}}\n"
                        else:
                            body = re.sub(rf"(?m)^ *{key} = .*\n", "", at[1]) + line
                            text = text[:at.start(1)] + body + text[at.end(1):]
            relay.config_path.write_text(text)

        write()
        relay.start()
        start = self.values(relay.cli("check", "--running").stdout)
        tried = taken = named = 0
        for where, option, default, kind in self.table():
            name = f"{where}.{option}" if where else option
            value = self.other(name, default, kind, files)
            if value is None:
                continue
            value, more = value if isinstance(value, tuple) else (value, {})
            with self.subTest(name):
                write(where, option, value, more)
                done = relay.cli("reload", check=False)
                self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
                want = self.values(relay.cli("check", "--dump").stdout)
                running = self.values(relay.cli("check", "--running").stdout)
                key = (where, titles.get(where, ""), option)
                first = done.stdout.splitlines()[0]
                self.assertEqual(relay.cli("check", "--running").returncode, 0)
                tried += 1
                if want.get(key) != start.get(key) and re.search(rf"until a restart:.*\b{re.escape(name)}(,|$)", first):
                    named += 1
                    self.assertEqual(running.get(key), start.get(key))
                    self.assertFalse(where in titles, "what stands in a titled section is always taken over")
                else:
                    taken += 1
                    self.assertEqual(first, "reloaded")
                    self.assertEqual({k: (running.get(k), v) for k, v in want.items() if running.get(k) != v}, {})
                    if option not in files:
                        self.assertNotEqual(running.get(key), start.get(key), f"{value!r} is no other value")
        # one more, so that the table is known to have been read
        self.assertGreater(taken, 80)
        self.assertGreater(named, 15)
        write()
        self.assertEqual(relay.cli("reload").stdout.splitlines()[0], "reloaded")
        self.assertEqual(self.values(relay.cli("check", "--running").stdout), start)

    def test_control_socket(self):
        relay = self.relay()
        relay.socket_path = relay.dir / "other.sock"
        self.assertIn("until a restart: control.socket", relay.reload()["message"])
        relay.socket_path = relay.dir / "control.sock"
        relay.write_config()
        self.assertEqual(relay.cli("reload").stdout, "reloaded\n")

    def test_named_until_the_restart(self):
        """Said at each reload, not only at the first one after the change."""
        relay = self.relay()
        relay.root["workers"] = 1
        relay.queue["batch_max"] = 77
        for _ in range(2):
            self.assertIn("not taken over until a restart: workers, queue.batch_max", relay.reload()["message"])
            self.assertEqual(relay.cli("reload").stdout, "reloaded; not taken over until a restart: workers, queue.batch_max\n")
        relay.restart()
        self.assertEqual(relay.cli("reload").stdout, "reloaded\n")


class Files(RelayCase):
    def secure(self, **options):
        sim = self.simulator(BASE)
        relay = self.relay(sim, start=False)
        self.authority = Authority(relay.dir / "certs")
        relay.users = relay.dir / "users"
        self.set_user(relay, "app", "secret")
        self.renew(relay, "first")
        relay.listeners["in"].update(users_file=relay.users, allow=[], **options)
        relay.write_config()
        relay.start()
        return sim, relay

    def set_user(self, relay, name, password):
        relay.users.write_text(f"{name}:{password_hash(password)}\n")
        relay.users.chmod(0o600)

    def renew(self, relay, name):
        """Another certificate under the same path."""
        certificate, key = self.authority.certificate(name, f"DNS:{name}.example")
        paths = relay.dir / "relay.pem", relay.dir / "relay.key"
        for source, path in zip((certificate, key), paths):
            path.write_bytes(source.read_bytes())
            path.chmod(0o600)
        relay.listeners["in"].update(certificate=paths[0], key=paths[1])

    def serial(self, relay):
        """The name in the certificate that a new client sees."""
        client = relay.client()
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.check_hostname = False
        client.starttls(context=context)
        name = client.sock.getpeercert()["subjectAltName"][0][1]
        return client, name

    def test_renewed_certificate(self):
        sim, relay = self.secure()
        client, name = self.serial(relay)
        self.assertEqual(name, "first.example")
        client.ehlo()
        self.renew(relay, "second")
        self.assertEqual(relay.reload()["event"], "reloaded")
        second, name = self.serial(relay)
        self.assertEqual(name, "second.example")
        second.close()
        client.login("app", "secret")  # the running session keeps its own
        client.sendmail("a@example.org", ["u@t1.example"], "X-Test-Id: m\r\n\r\nx\r\n")
        client.close()
        relay.wait_event("delivered")

    def test_changed_users(self):
        sim, relay = self.secure(offer_auth_plain_text=True)
        with relay.client() as client:
            client.login("app", "secret")
        self.set_user(relay, "app", "changed")
        self.assertEqual(relay.reload()["event"], "reloaded")
        with relay.client() as client:
            client.ehlo()
            self.assertEqual(client.docmd("AUTH", "PLAIN AGFwcABzZWNyZXQ=")[0], 535)
        with relay.client() as client:
            client.login("app", "changed")

    def test_broken_files_keep_all_of_the_old(self):
        """Also what else changed with them: allowed networks, pools, caps."""
        sim, relay = self.secure(offer_auth_plain_text=True)
        before = relay.cli("check", "--running").stdout
        users, key = relay.users.read_text(), (relay.dir / "relay.key").read_text()
        other = self.authority.certificate("other", "DNS:other.example")[1].read_text()
        relay.listeners["in"]["allow"] = ["127.0.0.0/8"]
        relay.listeners["in"]["sessions_max"] = 1
        relay.providers["default"]["connections"] = 3
        relay.write_config()
        rows = [(relay.users, users + "bad:plain\n", f"{relay.users}:2: "), (relay.dir / "relay.key", "no key\n", f"{relay.dir / 'relay.key'}"),
                (relay.dir / "relay.key", other, f"{relay.dir / 'relay.key'}")]
        for path, text, said in rows:
            with self.subTest(text[:10]):
                path.write_text(text)
                since = relay.mark()
                done = relay.cli("reload", check=False)
                self.assertEqual(done.returncode, 78)
                self.assertIn(said, done.stderr)
                self.assertIn(said, relay.wait_event("reload-failed", since=since)["message"])
                self.assertEqual(relay.cli("check", "--running").stdout, before)
                client, name = self.serial(relay)
                self.assertEqual(name, "first.example")
                client.login("app", "secret")
                client.close()
                relay.users.write_text(users)
                (relay.dir / "relay.key").write_text(key)
        self.assertEqual(relay.reload()["event"], "reloaded")
        self.assertNotEqual(relay.cli("check", "--running").stdout, before)

    def test_included_files(self):
        """A reload reads them again: new ones, changed ones, none any more; an error in one is told there and keeps all of the old."""
        relay = self.relay()
        parts = relay.dir / "conf.d"
        parts.mkdir()
        relay.config_path.write_text(relay.config() + '\ninclude "conf.d/*.conf"\n')
        self.assertEqual(relay.cli("reload").stdout, "reloaded\n")
        before = relay.cli("check", "--running").stdout
        (parts / "b.conf").write_text('provider "second" { mx = {"*.b.example"} }\n')
        (parts / "a.conf").write_text('provider "first" { mx = {"*.a.example"} }\n')
        self.assertEqual(relay.cli("reload").stdout, "reloaded\n")
        now = relay.cli("check", "--running").stdout
        self.assertLess(now.index('provider "first"'), now.index('provider "second"'))
        self.assertEqual(now, relay.cli("check", "--dump").stdout)
        (parts / "b.conf").write_text('\nprovider "second" { mx = "*.b.example" port = 0 }\n')
        since = relay.mark()
        done = relay.cli("reload", check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn(f"{parts}/b.conf:2: ", done.stderr)
        self.assertIn(f"{parts}/b.conf:2: ", relay.wait_event("reload-failed", since=since)["message"])
        self.assertEqual(relay.cli("check", "--running").stdout, now)
        (parts / "b.conf").unlink()
        (parts / "a.conf").unlink()
        self.assertEqual(relay.cli("reload").stdout, "reloaded\n")
        self.assertEqual(relay.cli("check", "--running").stdout, before)


class Listeners(RelayCase):
    def test_networks_and_limits(self):
        sim, relay = self.start(BASE)
        old = Smtp(*relay.address())
        old.command("EHLO client.example")
        relay.listeners["in"].update(allow=["10.0.0.0/8"], message_size_max="1MiB")
        self.assertEqual(relay.reload()["event"], "reloaded")
        new = Smtp(*relay.address())
        self.assertIn("SIZE 1048576", str(new.command("EHLO client.example")))
        self.assertEqual(new.command("MAIL FROM:<a@example.org>").code // 100 * 100 + (new.command("RCPT TO:<u@t1.example>").code // 100), 205)
        self.assertEqual(old.command("MAIL FROM:<a@example.org>").code, 250)
        self.assertEqual(old.command("RCPT TO:<u@t1.example>").code, 250)
        new.close()
        old.close()

    def test_sessions_before_and_after_count_as_one(self):
        sim, relay = self.start(BASE, listeners={"in": {"sessions_max": 2}})
        held = [Smtp(*relay.address()) for _ in range(2)]
        self.assertEqual(relay.reload()["event"], "reloaded")
        self.assertEqual(self.greeting(relay), 421)
        held.pop().close()
        deadline = Deadline()
        while self.greeting(relay) != 220:
            self.assertFalse(deadline.passed)
        held.pop().close()

    def greeting(self, relay):
        with socket.create_connection(relay.address()) as s:
            return int(s.makefile("rb").readline()[:3])

    def test_added_and_removed(self):
        sim, relay = self.start(BASE)
        port = free_port()
        relay.listeners["more"] = {"address": [f"127.0.0.1:{port}"], "allow": ["127.0.0.0/8"], "pool": "main"}
        since = relay.mark()
        self.assertEqual(relay.reload()["event"], "reloaded")
        relay.wait_event("listening", since=since, listener="more")
        self.assertEqual(relay.find("listening", since=since, listener="in"), [])
        relay.addresses["more"] = [("127.0.0.1", port)]
        relay.send("one", "u@t1.example", listener="more")
        running = Smtp("127.0.0.1", port)
        running.command("EHLO client.example")
        del relay.listeners["more"]
        self.assertEqual(relay.reload()["event"], "reloaded")
        deadline = Deadline()
        while True:  # closed by each worker in its turn
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                self.assertFalse(deadline.passed)
            except OSError:
                break
        running.flight("MAIL FROM:<a@example.org>", "RCPT TO:<u@t2.example>", "DATA", replies=3)
        running.send("X-Test-Id: two\r\n\r\nx\r\n.\r\n")
        self.assertEqual(running.reply().code, 250)
        running.close()
        relay.wait_event("delivered", to="u@t2.example")

    def test_one_that_cannot_be_bound(self):
        sim, relay = self.start(BASE)
        before = relay.cli("check", "--running").stdout
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            free = free_port()
            relay.listeners["more"] = {"address": [f"127.0.0.1:{free}", f"127.0.0.1:{s.getsockname()[1]}"], "allow": ["127.0.0.0/8"],
                                       "pool": "main"}
            relay.providers["default"]["connections"] = 3
            self.assertIn("another program has it", relay.reload()["message"])
        self.assertEqual(relay.cli("check", "--running").stdout, before)
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", free))
        relay.send("m", "u@t1.example")
        relay.wait_event("delivered")


class Memory(RelayCase):
    def rss(self, relay):
        return int(re.search(r"(?m)^RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{relay.pid}/status").read_text())[1])

    def test_five_hundred_reloads(self):
        """With sessions that began under many of them, and mail going on: what nobody needs any more is gone."""
        sim, relay = self.start(BASE, sources={f"s{i}": f"127.0.{i % 200}.{1 + i // 200}" for i in range(200)})
        sessions = [Smtp(*relay.address())]

        def reload(count):
            for i in range(count):
                relay.providers["default"]["connections"] = 1 + i
                relay.write_config()
                relay.cli("reload")
                if i % 10 == 0:
                    sessions.append(Smtp(*relay.address()))
                    if len(sessions) > 5:
                        sessions.pop(0).close()
        reload(100)
        before = self.rss(relay)
        stop = threading.Event()
        sent = []

        def send():
            while not stop.wait(0.02):  # on a slow machine, too, fewer than can be delivered
                sent.append((f"m{len(sent)}", f"u@t{len(sent) % 100}.example"))
                relay.send(*sent[-1])
        thread = threading.Thread(target=send)
        thread.start()
        try:
            reload(100 if os.environ.get("E2E_SANITIZED") else 400)
        finally:
            stop.set()
            thread.join()
        # each kept half a megabyte before
        self.assertLess(self.rss(relay) - before, 30 * 1024)
        self.wait_settled(relay)
        sim.check_once(sent)
        for s in sessions:
            s.close()


if __name__ == "__main__":
    unittest.main()
