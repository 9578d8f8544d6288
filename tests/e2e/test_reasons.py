"""Everything has a reason: for each cause of waiting, `show ID`, `queue --list` and `queue --domains` say it, and until when."""
import datetime
import os
import sys
import time
import unittest
from fnmatch import fnmatchcase as fnmatch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import Deadline  # noqa: E402

WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
tenant "t{0..99}.example" { cluster = {"EUR01"} }
tenant "dead.example" { cluster = {"EUR01"}  dns = "drop" }
tenant "broken.example" { cluster = {"EUR01"}  dns = "servfail" }
"""
STALL = 'rule "stall" { phase = "mail"  action = "stall" }'
BUSY = 'rule "busy" { phase = "rcpt"  reply = "450 4.2.1 mailbox busy" }'
THROTTLE = 'rule "throttle" { phase = "mail"  reply = "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77719) {tail}" }'
TENANT = THROTTLE.replace('phase = "mail"', 'phase = "rcpt"  recipient = {"*@t7.example"}')
BANNED = 'rule "banned" { phase = "mail"  reply = "550 5.7.606 Access denied, banned sending IP [{ip}]. (AS16012609) {tail}" }'
FREE = {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}
MANY = [f"u@t{i}.example" for i in range(30)]
SEVENTH = [f"u{i}@t7.example" for i in range(30)]


def row(reason, soonest, latest, to=MANY, rules="", before=(), after=(), **options):
    """reason: a pattern. soonest, latest: seconds from now, in which "until" lies; None: no time is said, somebody has to act."""
    return {"reason": reason, "soonest": soonest, "latest": latest, "to": to, "rules": rules, "before": before, "after": after,
            "options": options}


ROWS = [
    row("connection cap: connections to the cluster at EUR01", 0, 61, rules=STALL, provider={"connections_per_cluster": 1}),
    row("connection cap: connections to the provider", 0, 61, rules=STALL, provider={"connections": 1}),
    row("connection cap: connections to the cluster from the source at EUR01", 0, 61, rules=STALL,
        provider={"connections_per_lane": 1, "connections_per_cluster": 20}),
    row("window: window of the lane at EUR01", 0, 61, rules=STALL, provider={"connections_per_lane": 20, "connections_per_cluster": 20}),
    row("rate limit: message rate of the lane at EUR01", 3000, 3700, provider={"lane_message_rate": "1/1h"}),
    row("rate limit: connect rate of the lane at EUR01", 3000, 3700, provider={"lane_connect_rate": "1/1h", "messages_per_connection": 1}),
    row("lane resting at EUR01", 30, 70, rules=THROTTLE),
    row("lane resting at EUR01", 0, 25, rules=THROTTLE, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}),
    row("backing off", 0, 2000, to=MANY[8:] + SEVENTH, rules=TENANT),
    row("backing off after: 450 4.2.1 mailbox busy*", 2800, 4400, rules=BUSY),
    row("waiting for DNS", None, None, to=["u@dead.example"], dns={"timeout": "20s", "tries": 2}),
    row("backing off after: 4.4.3 DNS look-up for broken.example failed*", 2800, 4400, to=["u@broken.example"]),
    row("held by the operator until it is released", None, None, rules=BUSY, after=["hold", "--all"]),
    row("suspended by operator", 3500, 3601, before=["suspend", "--source", "a1", "--for", "1h"]),
    row("suspended by operator", 3500, 3601, before=["suspend", "--at", "microsoft365", "--for", "1h"]),
    row("suspended by operator", None, None, before=["suspend", "--source", "a1"]),
    row("all sources blocked*", 0, 330, rules=BANNED),  # looked at again within minutes
    row("no usable source in pool", 0, 3600, sources={"a1": "192.0.2.99"}),
]
BOUNDED_WORK = [  # where few are kept in memory the others say it, too
    row("suspended by operator", 3500, 3601, to=[f"u{i}@t{i % 10}.example" for i in range(150)],
        before=["suspend", "--source", "a1", "--for", "1h"], extra="dispatch { work_max = 100 }\n"),
    row("rate limit*", 3000, 3700, to=[f"u{i}@t{i % 10}.example" for i in range(150)],
        provider={"lane_message_rate": "1/1h"}, extra="dispatch { work_max = 100 }\n"),
]


class Reasons(RelayCase):
    def begin(self, r):
        options = dict(r["options"])
        providers = {"microsoft365": {**FREE, **options.pop("provider", {})}}
        options["queue"] = {"retry": ["1h"], **options.get("queue", {})}
        return self.start(WORLD + r["rules"], providers=providers, **options)

    def plausible(self, r, until):
        if r["soonest"] is None:
            return until is None
        if until is None:
            return False
        left = datetime.datetime.fromisoformat(until.replace("Z", "+00:00")) - datetime.datetime.now(datetime.timezone.utc)
        return r["soonest"] - 1 <= left.total_seconds() <= r["latest"]

    def wait_reason(self, relay, r, least=1):
        """The rows of recipients that say it, as soon as there are so many."""
        deadline = Deadline()
        while True:
            rows = self.waiting(relay)
            said = [x for x in rows if fnmatch(x["reason"], r["reason"])]
            if len(said) >= least or deadline.passed:
                self.assertGreaterEqual(len(said), least, {x["reason"] for x in rows})
                self.assertEqual([x for x in rows if not x["reason"]], [])
                return said
            time.sleep(0.05)

    def wait_shown(self, relay, r, said):
        """The same recipient by show. It may be tried at the other source in between, for a moment without a time."""
        deadline = Deadline()
        while True:
            [shown] = self.lines(relay, "show", said["id"])
            [mine] = [x for x in shown["recipients"] if x["index"] == said["index"]]
            if deadline.passed or (fnmatch(mine["reason"], r["reason"]) and self.plausible(r, mine["until"])):
                return mine
            time.sleep(0.05)

    def check(self, r, least=1):
        sim, relay = self.begin(r)
        if r["before"]:
            relay.cli(*r["before"])
        relay.send_many((f"m{i}", to) for i, to in enumerate(r["to"]))
        if r.get("restart"):  # what is read back then is put back at once
            relay.wait_event("held" if r["before"] else "delivered")
            relay.restart()
        if r["after"]:
            relay.wait_event("deferred", count=len(r["to"]))
            relay.cli(*r["after"])
        said = self.wait_reason(relay, r, least)
        self.assertEqual([x for x in said if not self.plausible(r, x["until"])], [])
        mine = self.wait_shown(relay, r, said[0])
        self.assertTrue(fnmatch(mine["reason"], r["reason"]), mine)
        self.assertTrue(self.plausible(r, mine["until"]), mine)
        text = relay.cli("show", said[0]["id"]).stdout
        self.assertIn(r["reason"].rstrip("*"), text)
        self.assertEqual("until 2" in text, r["soonest"] is not None, text)
        self.assertTrue(self.doCleanups())

    def test_each(self):
        for r in ROWS:
            with self.subTest(reason=r["reason"], options=r["options"], before=r["before"]):
                self.check(r)

    def test_suspended_while_it_waits_for_something_else(self):
        """The reason that is told is the one that holds: what rested when the operator came is suspended now, and when he goes it is not."""
        resting = row("lane resting at EUR01", 30, 70, rules=THROTTLE)
        for at in ("EUR01", "EUR", "microsoft365"):
            with self.subTest(at=at):
                _, relay = self.begin(resting)
                relay.send_many((f"m{i}", to) for i, to in enumerate(MANY))
                self.wait_reason(relay, resting)
                relay.cli("suspend", "--at", at, "--for", "1h")
                self.wait_none(relay, resting["reason"])
                self.wait_reason(relay, row("suspended by operator*", 3400, 3601))
                relay.cli("resume", "--at", at)
                self.wait_none(relay, "suspended by operator*")
                self.assertTrue(self.doCleanups())

    def test_a_place_that_was_not_met_yet(self):
        sim, relay = self.start(WORLD, providers={"microsoft365": FREE})
        self.assertIn("no mail has come to a place of that name yet", relay.cli("suspend", "--at", "eur01").stdout)
        relay.send("m", "u@t1.example")
        self.wait_reason(relay, row("suspended by operator*", None, None))
        self.assertEqual(sim.summary()["messages"], 0)
        relay.cli("resume", "--at", "EUR01")
        relay.wait_event("delivered")
        for wrong in ("nowhere", "127.1.1.1", "t1.example", ""):
            done = relay.cli("suspend", "--at", wrong, check=False)
            self.assertEqual(done.returncode, 65, done.stderr)
            self.assertIn("no such place", done.stderr)

    def wait_none(self, relay, pattern):
        deadline = Deadline()
        while any(fnmatch(x["reason"], pattern) for x in self.waiting(relay)):
            self.assertFalse(deadline.passed)
            time.sleep(0.05)

    def test_what_is_not_in_memory(self):
        for r in BOUNDED_WORK:
            for restart in (False, True):
                with self.subTest(reason=r["reason"], restart=restart):
                    self.check({**r, "restart": restart}, least=121)


if __name__ == "__main__":
    unittest.main()
