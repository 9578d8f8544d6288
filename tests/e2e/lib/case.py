"""What tests of the whole have in common: a simulator and relays that end with the test, and what must hold of every relay's end."""
import json
import unittest

from .process import Failed
from .relay import Relay
from .sim import Simulator


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

    def start(self, scenario, sim_options=None, **relay_options):
        sim = self.simulator(scenario, **(sim_options or {}))
        return sim, self.relay(sim, **relay_options)

    def wait_empty(self, relay, timeout=None):
        """Until nothing waits any more: each accepted recipient has its last event."""
        accepted = sum(1 for e in relay.find("accepted"))
        relay.wait_event(("delivered", "bounced", "expired", "removed"), count=accepted, timeout=timeout)

    def lines(self, relay, *args, **options):
        """The objects that a command prints, one a line."""
        return [json.loads(line) for line in relay.cli(args[0], "--json", *args[1:], **options).stdout.splitlines()]

    def queue_summary(self, relay):
        return self.lines(relay, "queue")[0]["summary"]

    def waiting(self, relay, **fields):
        """Recipients that wait, as `queue --list` tells: dicts with the message's id."""
        found = []
        for m in self.lines(relay, "queue", "--list"):
            for r in m.get("recipients", []):
                row = {**r, "id": m["id"], "held": m["held"], "from": m["from"]}
                if all(row.get(k) == v for k, v in fields.items()):
                    found.append(row)
        return found
