"""What tests of the whole have in common: a simulator and relays that end with the test, and what must hold of every relay's end."""
import json
import time
import unittest

from .process import Deadline, Failed
from .relay import Relay
from .sim import Simulator


FINAL = ("delivered", "bounced", "expired", "removed")


class RelayCase(unittest.TestCase):
    """start() gives a simulator with a relay before it; both end with the test, the relay with status 0: a crash is never missed."""

    maxDiff = None

    def simulator(self, scenario, **options):
        return self.enterContext(Simulator(scenario, **options))

    def relay(self, sim=None, *, start=True, root=None, **options):
        relay = Relay(sim, root={"drain_timeout": "2s", **(root or {})}, **options)
        self.addCleanup(relay.close)
        self.addCleanup(self._end, relay)
        return relay.start() if start else relay

    def _end(self, relay):
        if relay.process is None or relay.reader is None:
            return
        status = relay.stop() if relay.running else relay._join()
        if status != 0:
            raise Failed(f"the relay ended with {status}\n{relay.stderr()}")
        if "not-json" in {e["event"] for e in relay.events}:
            raise Failed(f"the log has a line that is not JSON: {relay.find('not-json')[0]}")

    def ended(self, relay, timeout=None):
        """The status of a relay that was told to end; stop() would tell it again, which ends it at once."""
        return relay._join(timeout)

    def start(self, scenario, sim_options=None, **relay_options):
        sim = self.simulator(scenario, **(sim_options or {}))
        return sim, self.relay(sim, **relay_options)

    def wait_metric(self, relay, name, value, timeout=None):
        """Until a metric has a value (or a function of it is true): the relay renews some of them once a second only."""
        deadline = Deadline(timeout)
        while True:
            got = relay.metrics()[name]
            if value(got) if callable(value) else got == value:
                return got
            if deadline.passed:
                raise Failed(f"{name} is {got}, not {value}")
            time.sleep(0.05)

    def wait_accepted(self, relay):
        """The `accepted` events of all that this process has taken so far: the log comes a little behind the replies."""
        count = int(relay.metrics()["postern_accepted_messages_total"])
        since = max(i for i, e in enumerate(relay.events) if e["event"] == "started")
        relay.wait_event("accepted", count=count, since=since)
        return relay.find("accepted", since=since)

    def wait_settled(self, relay, timeout=None):
        """Until every recipient that was accepted so far has its last event."""
        accepted = {e["id"]: e["recipients"] for e in self.wait_accepted(relay)}
        relay.wait_event(FINAL, count=sum(accepted.values()), timeout=timeout, id=lambda id: id in accepted)

    def lines(self, relay, *args, **options):
        """The objects that a command prints, one a line."""
        return [json.loads(line) for line in relay.cli(args[0], "--json", *args[1:], **options).stdout.splitlines()]

    def queue_summary(self, relay):
        return self.lines(relay, "queue")[0]["summary"]

    def wait_queue(self, relay, timeout=None, **fields):
        """Until the queue's summary is so: what was delivered is settled a little after it was logged."""
        deadline = Deadline(timeout)
        while True:
            got = self.queue_summary(relay)
            if all(got[k] == v for k, v in fields.items()):
                return got
            if deadline.passed:
                raise Failed(f"the queue is {got}, not {fields}")
            time.sleep(0.05)

    def waiting(self, relay, **fields):
        """Recipients that wait, as `queue --list` tells: dicts with the message's id. Outcomes that are just being recorded are
        waited for: they are told a moment later."""
        deadline = Deadline()
        while True:
            rows = [{**r, "id": m["id"], "held": m["held"], "from": m["from"]}
                    for m in self.lines(relay, "queue", "--list")[1:] for r in m["recipients"]]
            if "being recorded" not in {r["reason"] for r in rows}:
                return [r for r in rows if all(r.get(k) == v for k, v in fields.items())]
            if deadline.passed:
                raise Failed(f"outcomes are not recorded: {rows[:5]}")
            time.sleep(0.02)
