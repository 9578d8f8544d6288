"""The Microsoft 365 simulator: started from a scenario's text, asked and steered over its control socket.

    with Simulator(SCENARIO) as sim:
        ...                                     # a relay with dns = sim.dns and port = sim.smtp_port
        sim.wait(deliveries=10)                 # never sleep
        for d in sim.deliveries(): ...
"""
import json
import signal
import socket
import subprocess

from .process import DEADLINE, Deadline, Failed, Program, find_program


class Control:
    """One control connection: a command a line, JSON lines back."""

    def __init__(self, address):
        if "/" in address:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(address)
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(DEADLINE)
        self.file = self.socket.makefile("rb")

    def send(self, line, payload=None):
        data = line.encode()
        if payload is not None:
            payload = payload.encode()
            data += f" bytes={len(payload)}\n".encode() + payload
        else:
            data += b"\n"
        self.socket.sendall(data)

    def receive(self):
        line = self.file.readline()
        if not line:
            raise Failed("the simulator closed its control connection")
        return json.loads(line)

    def close(self):
        self.file.close()
        self.socket.close()


class Simulator(Program):
    def __init__(self, scenario, *, detail=True, hash=True, store=False, threads=1, seed=None, port=0, args=()):
        super().__init__("m365sim")
        self.scenario_path = self.dir / "scenario.conf"
        self.scenario_path.write_text(scenario)
        self.ca_file = self.dir / "ca.pem"
        self.store_dir = self.dir / "store"
        self.final = None
        command = [find_program("M365SIM", "m365sim"), "--ca-file", self.ca_file, "--threads", threads, "--port", port]
        command += ["--detail"] if detail else []
        command += ["--hash"] if hash else []
        command += ["--seed", seed] if seed is not None else []
        if store:
            self.store_dir.mkdir()
            command += ["--store", self.store_dir]
        self.command_line = [*command, *args, self.scenario_path]
        self.control = None
        self.ready = None

    def start(self):
        self.spawn(self.command_line, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            self.wait_exit()
            raise Failed(f"m365sim did not start: {self.stderr()}")
        self.ready = json.loads(line)
        self.dns = self.ready["dns"]
        self.smtp_port = self.ready["smtp_port"]
        self.control = Control(self.ready["control"])
        return self

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    # commands

    def command(self, line, payload=None):
        """One command with one answer. Failed when the simulator calls it an error."""
        self.control.send(line, payload)
        answer = self.control.receive()
        if "error" in answer:
            raise Failed(f"m365sim: {line}: {answer['error']}")
        return answer

    def stream(self, line):
        self.control.send(line)
        found = []
        while True:
            item = self.control.receive()
            if "error" in item:
                raise Failed(f"m365sim: {line}: {item['error']}")
            if item.get("end"):
                self.next_event = item["next"]
                return found
            found.append(item)

    def summary(self):
        return self.command("summary")

    def deliveries(self, since=0):
        """Every recipient of every accepted message, in order."""
        return self.stream(f"deliveries since {since}")

    def refusals(self, since=0):
        return self.stream(f"refusals since {since}")

    def events(self, since=0):
        return self.stream(f"events since {since}")

    def peaks(self, kind=""):
        return self.command(f"peaks {kind}".strip())["peaks"]

    def lanes(self):
        """Counters by (source address, cluster)."""
        return {(g["source"], g["cluster"]): g for g in self.peaks("lane")}

    def subnets(self):
        return {(g["source"], g["cluster"]): g for g in self.peaks("subnet")}

    def clusters(self):
        return {g["cluster"]: g for g in self.peaks("cluster")}

    def forests(self):
        return {g["forest"]: g for g in self.peaks("forest")}

    def sources(self):
        return {g["source"]: g for g in self.peaks("source")}

    def violations(self):
        return self.command("violations")

    def rules(self):
        """Hits by the name of rules, limits and DNS incidents."""
        answer = self.command("rules")
        return {r["name"]: r["hits"] for kind in ("rules", "limits", "dns") for r in answer[kind]}

    def delivered(self, id, rcpt=None):
        """How often: also without detail."""
        return self.command(f"delivered {id} {rcpt}" if rcpt else f"delivered {id}")["count"]

    def wait(self, timeout=None, rule=None, **counters):
        """Until counters have reached values (open: fallen to): deliveries, messages, refused, violations,
        opened, closed, open, dns, unique; rule={"name": hits}. Failed after the time-out, with the state."""
        seconds = DEADLINE if timeout is None else timeout
        conditions = dict(counters)
        conditions.update({f"rule:{name}": hits for name, hits in (rule or {}).items()})
        text = " ".join(f"{k}={v}" for k, v in conditions.items())
        self.control.socket.settimeout(seconds + DEADLINE)
        try:
            answer = self.command(f"wait {text} timeout={int(seconds * 1000)}")
        finally:
            self.control.socket.settimeout(DEADLINE)
        if not answer.pop("ok"):
            raise Failed(f"waited {seconds} s for {conditions}, is {answer}: {json.dumps(self.summary())}")
        return answer

    def wait_delivered(self, id, rcpt=None, timeout=None):
        """Until a message has come at least once; without sleeping: from one delivery to the next."""
        deadline = Deadline(timeout)
        while not self.delivered(id, rcpt):
            if deadline.passed:
                raise Failed(f"{id} was not delivered: {json.dumps(self.summary())}")
            seen = self.summary()["recipients"]
            if self.delivered(id, rcpt):
                break
            self.wait(deadline.left + 0.001, deliveries=seen + 1)

    def add_rule(self, text, first=False):
        return self.command("rule add first" if first else "rule add", text)

    def remove_rule(self, name):
        return self.command(f"rule remove {name}")

    def enable_rule(self, name):
        return self.command(f"rule enable {name}")

    def disable_rule(self, name):
        return self.command(f"rule disable {name}")

    def replace(self, scenario):
        return self.command("scenario replace", scenario)

    def advance(self, duration):
        """Moves the scenario's clock: rules, windows of limits, life of sessions."""
        return self.command(f"advance {duration}")

    def reset(self):
        """Forgets what was delivered and counted; connections stay."""
        return self.command("reset")

    def stop(self):
        """Ends it; the last summary."""
        if self.running:
            self.signal(signal.SIGTERM)
            out = self.process.stdout.read()
            status = self.wait_exit()
            if status != 0:
                raise Failed(f"m365sim ended with {status}: {self.stderr()}")
            self.final = json.loads(out.strip().splitlines()[-1])
        return self.final

    def close(self):
        if self.control:
            self.control.close()
            self.control = None
        status = 0
        if self.process:
            if self.running:
                self.signal(signal.SIGTERM)
            status = self.wait_exit()
            self.process.stdout.close()
        errors = self.stderr()
        super().close()
        if status and self.ready:
            raise Failed(f"m365sim ended with {status}: {errors}")

    # checks that many tests share

    def check_no_violations(self):
        v = self.violations()
        if v["total"]:
            raise Failed(f"protocol violations: {v['kinds']}: {v['samples'][:5]}")

    def check_once(self, expected):
        """Every (id, recipient) of expected came exactly once, and nothing else came."""
        counts = {}
        for d in self.deliveries():
            key = (d["id"], d["to"])
            counts[key] = counts.get(key, 0) + 1
        expected = set(expected)
        missing = expected - counts.keys()
        extra = counts.keys() - expected
        twice = {k: n for k, n in counts.items() if n > 1}
        if missing or extra or twice:
            raise Failed(f"{len(missing)} missing {sorted(missing)[:3]}, {len(extra)} unexpected {sorted(extra)[:3]}, "
                         f"{len(twice)} more than once {list(twice.items())[:3]}")
