"""Postern under test: a configuration of the test's own, its log as events, its commands.

    with Simulator(SCENARIO) as sim, Relay(sim, sources={"a1": "127.0.1.1"}) as relay:
        relay.send("one", "user@t1.example")
        relay.wait_event("delivered", to="user@t1.example")
"""
import json
import os
import signal
import smtplib
import subprocess
import threading
import urllib.request

from .process import DEADLINE, Deadline, Failed, Program, find_program


def render(value):
    """A value in the syntax of the configuration file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(render(v) for v in value) + "}"
    if isinstance(value, (int, float)):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def section(name, options, title=None):
    body = "".join(f"    {k} = {render(v)}\n" for k, v in options.items() if v is not None)
    head = f'{name} "{title}"' if title is not None else name
    return f"{head} {{\n{body}}}\n"


def message(id, size=0, body="Hello.\r\n", headers=()):
    """A message with its identity for the ledger, padded to about size bytes."""
    text = f"From: <sender@example.org>\r\nTo: <list@example.org>\r\nSubject: {id}\r\nX-Test-Id: {id}\r\n"
    text += "".join(f"{h}\r\n" for h in headers) + "\r\n" + body
    line = "x" * 70 + "\r\n"
    if size > len(text):
        text += line * ((size - len(text)) // len(line) + 1)
    return text


class Relay(Program):
    """sources: name → address, or name → dict of options. pools: name → list of source names (default: one pool "main"
    of all). listeners: name → options ("in" on a free port by default). Sections queue, dns, log and providers are
    merged over what a test needs; root holds options outside all sections; extra is appended as it is."""

    def __init__(self, sim=None, *, sources=None, pools=None, listeners=None, providers=None, queue=None, dns=None,
                 root=None, log=None, http=True, extra="", env=None):
        super().__init__("relay")
        self.sim = sim
        self.env = env
        self.extra = extra
        self.root = {"hostname": "relay.test.example", "workers": 2, **({"user": "root"} if os.getuid() == 0 else {}), **(root or {})}
        self.sources = {}
        for name, source in (sources or {"a1": "127.0.1.1"}).items():
            self.sources[name] = {"address": source, "ehlo": f"{name}.out.example"} if isinstance(source, str) else source
        self.pools = pools or {"main": list(self.sources)}
        self.listeners = {}
        for name, options in (listeners or {"in": {}}).items():
            self.listeners[name] = {"address": ["127.0.0.1:0"], "allow": ["127.0.0.0/8"],
                                    "pool": next(iter(self.pools)), **options}
        port = {"port": sim.smtp_port} if sim else {}
        self.providers = {name: {**port, **(providers or {}).get(name, {})} for name in
                          {"microsoft365": 0, "outlook": 0, "default": 0, **(providers or {})}}
        self.queue = {"path": self.dir / "queue", "max_size": "256MiB", "retry": ["1s", "2s", "4s"], **(queue or {})}
        self.dns = {**({"servers": [sim.dns]} if sim else {}), **(dns or {})}
        self.log = {"file": "-", "level": "info", **(log or {})}
        self.http = http
        self.config_path = self.dir / "postern.conf"
        self.socket_path = self.dir / "control.sock"
        self.log_path = self.dir / "log.jsonl"
        self.events = []
        self.changed = threading.Condition()
        self.reader = None
        self.ended = True
        self.addresses = {}
        self.http_address = None
        self.write_config()

    def config(self):
        text = "".join(f"{k} = {render(v)}\n" for k, v in self.root.items())
        text += section("queue", self.queue) + section("control", {"socket": self.socket_path}) + section("log", self.log)
        text += section("dns", self.dns) if self.dns else ""
        text += section("http", {"address": "127.0.0.1:0", **(self.http if isinstance(self.http, dict) else {})}) if self.http else ""
        for name, options in self.listeners.items():
            text += section("listener", options, name)
        for name, options in self.sources.items():
            text += section("source", options, name)
        for name, members in self.pools.items():
            text += section("pool", {"sources": members}, name)
        for name, options in self.providers.items():
            text += section("provider", options, name) if options else ""
        return text + self.extra

    def write_config(self):
        self.config_path.write_text(self.config())

    # life

    def start(self, ready=True, wrapper=()):
        """Starts it, and waits until it listens. wrapper: a command to run it under."""
        command = [*wrapper, find_program("POSTERN", "postern"), "run", "-c", self.config_path]
        since = len(self.events)
        self.ended = False
        self.spawn(command, stdout=subprocess.PIPE, env=self.env)
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        if ready:
            self.wait_event("started", since=since)
            self._find_addresses(since)
        return self

    def _read(self, out):
        with open(self.log_path, "ab") as copy:
            for line in out:
                copy.write(line)
                copy.flush()
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"event": "not-json", "line": line.decode(errors="replace")}
                with self.changed:
                    self.events.append(event)
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _find_addresses(self, since):
        for name, options in self.listeners.items():
            found = [self.wait_event("listening", since=since, listener=name)["address"]]
            if len(options["address"]) > 1:
                found = [e["address"] for e in self.find("listening", since=since, listener=name)]
            self.addresses[name] = [(a.rsplit(":", 1)[0].strip("[]"), int(a.rsplit(":", 1)[1])) for a in found]
        if self.http:
            url = self.wait_event("http", since=since)["message"]
            self.http_address = url[url.index("http://"):].split()[0].rstrip("/")

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def stop(self, timeout=None):
        """SIGTERM; the exit status, after all of the log has been read."""
        if self.running:
            self.signal(signal.SIGTERM)
        return self._join(timeout)

    def _join(self, timeout=None):
        status = self.wait_exit(timeout)
        if self.reader:
            self.reader.join(DEADLINE)
            self.process.stdout.close()
            self.reader = None
        return status

    def kill(self):
        super().kill()
        self._join()

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process and self.reader:
            self._join()
        super().close()

    # events

    @staticmethod
    def _matches(event, name, fields):
        names = (name,) if isinstance(name, str) else name
        if names is not None and event.get("event") not in names:
            return False
        for key, want in fields.items():
            got = event.get(key)
            if not (want(got) if callable(want) else got == want):
                return False
        return True

    def mark(self):
        """A point in the log; since=mark looks at what came later."""
        return len(self.events)

    def find(self, event=None, since=0, **fields):
        return [e for e in self.events[since:] if self._matches(e, event, fields)]

    def wait_event(self, event=None, timeout=None, since=0, count=1, **fields):
        """The count-th event of that name (or one of several names) whose fields are as given (a value, or a function of the value)."""
        deadline = Deadline(timeout)
        with self.changed:
            at, found = since, 0
            while True:
                while at < len(self.events):
                    e = self.events[at]
                    at += 1
                    if self._matches(e, event, fields):
                        found += 1
                        if found == count:
                            return e
                if self.ended or deadline.passed:
                    break
                self.changed.wait(deadline.left)
        why = "the relay has ended" if self.ended else f"not within {deadline.seconds} s"
        last = "\n".join(json.dumps(e) for e in self.events[-15:])
        raise Failed(f"event {event} {fields} ({found} of {count}): {why}\n{last}\n{self.stderr()}")

    # commands

    def cli(self, *args, input=None, check=True, timeout=None):
        """`postern COMMAND … -c FILE`; the finished process with its output as text."""
        command = [find_program("POSTERN", "postern"), str(args[0]), "-c", str(self.config_path), *map(str, args[1:])]
        done = subprocess.run(command, input=input, stdin=None if input is not None else subprocess.DEVNULL,
                              capture_output=True, text=True, env=self.env, timeout=timeout or DEADLINE)
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *args, **options):
        """The JSON that a command prints: one document, or a list of one per line."""
        out = self.cli(args[0], "--json", *args[1:], **options).stdout
        try:
            return json.loads(out)
        except ValueError:
            return [json.loads(line) for line in out.splitlines() if line.strip()]

    def reload(self):
        self.write_config()
        since = self.mark()
        self.signal(signal.SIGHUP)
        return self.wait_event(("reloaded", "reload-failed"), since=since)

    def get(self, path):
        with urllib.request.urlopen(self.http_address + path, timeout=DEADLINE) as response:
            return response.read().decode()

    def metrics(self):
        """Samples of /metrics: the text before the last blank → value."""
        samples = {}
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(None, 1)
                samples[name] = float(value)
        return samples

    # mail in

    def address(self, listener=None):
        return self.addresses[listener or next(iter(self.listeners))][0]

    def client(self, listener=None, **options):
        host, port = self.address(listener)
        return smtplib.SMTP(host, port, local_hostname="client.example", timeout=DEADLINE, **options)

    def send(self, id, to, sender="sender@example.org", text=None, listener=None, mail_options=(), rcpt_options=(), size=0):
        """One message over a connection of its own; to: an address or a list."""
        with self.client(listener) as client:
            client.sendmail(sender, [to] if isinstance(to, str) else to, text or message(id, size), mail_options, rcpt_options)

    def send_many(self, messages, sender="sender@example.org", listener=None):
        """(id, recipient or recipients) pairs over one connection."""
        with self.client(listener) as client:
            for id, to in messages:
                client.sendmail(sender, [to] if isinstance(to, str) else to, message(id))
