"""Deferrals: the schedule, its jitter, expiry, and what comes over a restart or a kill."""
import datetime
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402

BASE = """
cluster "A" { addresses = {"127.1.1.1-4"} }
tenant "t{0..9999}.example" { cluster = {"A"} }
"""
BUSY = 'rule "busy" { phase = "rcpt"  recipient = {"busy*@*"}  reply = "450 4.2.1 {rcpt}: mailbox busy" }\n'
FAST = {"microsoft365": {"lane_connect_rate": "none", "lane_message_rate": "none"}}


def seconds(text):
    return datetime.datetime.fromisoformat(text).timestamp()


class Schedule(RelayCase):
    def waits(self, relay, **fields):
        """Between each attempt and the next, as said, and as it was."""
        events = relay.find("deferred", **fields)
        said = [seconds(e["next"]) - seconds(e["time"]) for e in events]
        was = [seconds(b["time"]) - seconds(a["time"]) for a, b in zip(events, events[1:])]
        return said, was

    def test_schedule_without_jitter(self):
        sim, relay = self.start(BASE + BUSY, queue={"retry": ["1s", "2s"], "retry_jitter": 0})
        relay.send("m", "busy@t1.example")
        relay.wait_event("deferred", count=4)
        said, was = self.waits(relay)
        self.assertEqual([round(s, 2) for s in said[:4]], [1, 2, 2, 2])
        for s, w in zip(said, was):
            self.assertGreaterEqual(w, s - 0.01)
        self.assertEqual([e["attempt"] for e in relay.find("deferred")][:4], [1, 2, 3, 4])
        sim.remove_rule("busy")
        relay.wait_event("delivered")
        sim.check_once([("m", "busy@t1.example")])

    def test_jitter(self):
        sim, relay = self.start(BASE + BUSY, queue={"retry": ["100s"], "retry_jitter": 0.3}, providers=FAST)
        relay.send_many((f"m{i}", f"busy@t{i}.example") for i in range(40))
        relay.wait_event("deferred", count=40)
        said, _ = self.waits(relay)
        self.assertTrue(all(69.9 <= s <= 130.1 for s in said), said)
        self.assertGreater(max(said) - min(said), 20)
        self.assertGreater(len({round(s) for s in said}), 10)

    def test_only_what_was_put_off_is_tried_again(self):
        sim, relay = self.start(BASE + BUSY.replace("reply", "limit = 3  reply"), queue={"retry": ["1s"]})
        to = ["busy1@t1.example", "free@t1.example", "busy2@t1.example", "busy3@t2.example", "free@t2.example"]
        relay.send("m", to)
        self.wait_settled(relay)
        sim.check_once(("m", r) for r in to)
        self.assertEqual({e["to"] for e in relay.find("deferred")}, {to[0], to[2], to[3]})

    def test_one_domains_trouble_is_its_own(self):
        """Hundreds that wait for one domain do not keep others from going, nor fill the memory."""
        sim, relay = self.start(BASE + 'rule "busy" { phase = "rcpt"  tenant = {"t1.example"}  reply = "450 4.2.1 busy" }',
                                queue={"retry": ["1s"]}, extra="dispatch { window = 20  work_max = 100 }\n", providers=FAST)
        relay.send_many((f"b{i}", "u@t1.example") for i in range(300))
        relay.wait_event("deferred", count=20)
        relay.send_many((f"m{i}", f"u@t{i + 2}.example") for i in range(100))
        relay.wait_event("delivered", count=100)
        self.assertLessEqual(relay.metrics()["postern_work"], 100)
        sim.remove_rule("busy")
        relay.cli("retry", "--all")
        relay.wait_event("delivered", count=400)
        sim.check_once([*((f"b{i}", "u@t1.example") for i in range(300)), *((f"m{i}", f"u@t{i + 2}.example") for i in range(100))])


class Expiry(RelayCase):
    """One wait for all of it: the shortest life that may be set is ten seconds."""

    def test_expiry_and_delay_notice(self):
        sim, relay = self.start(BASE + BUSY + """
            cluster "DEAD" { addresses = {"127.1.9.1"}  listen = "no" }
            tenant "dead.example" { cluster = {"DEAD"} }
            tenant "back.example" { cluster = {"A"} }
            """, queue={"retry": ["1s"], "retry_jitter": 0, "expire": "13s", "delay_notice": "10s"}, sim_options={"store": True})
        begun = time.monotonic()
        rows = {  # recipient → NOTIFY, and what is told
            "busy-default@t1.example": (None, {"delayed", "failed"}),
            "busy-never@t2.example": ("NEVER", set()),
            "busy-failure@t3.example": ("FAILURE", {"failed"}),
            "busy-delay@t4.example": ("DELAY", {"delayed"}),
            "busy-success@t5.example": ("SUCCESS", set()),
            "u@dead.example": (None, {"delayed", "failed"}),
        }
        for to, (notify, _) in rows.items():
            relay.send(to, to, sender="s@back.example", rcpt_options=[f"NOTIFY={notify}"] if notify else [])
        relay.send("null", "busy-null@t6.example", sender="")
        relay.wait_event("expired", count=len(rows) + 1, timeout=60)
        self.assertGreater(time.monotonic() - begun, 12)
        told = {to: set() for to in rows}
        sim.wait(deliveries=sum(len(t) for _, t in rows.values()))
        for d in sim.deliveries():
            text = open(d["file"]).read()
            self.assertEqual((d["from"], d["to"]), ("", "s@back.example"))
            for to in rows:
                if f"Final-Recipient: rfc822; {to}" in text:
                    action = "delayed" if "Action: delayed" in text else "failed"
                    self.assertNotIn(action, told[to], "told twice")
                    told[to].add(action)
                    self.assertIn("Will-Retry-Until:" if action == "delayed" else "Status: 4.4.7", text)
        self.assertEqual(told, {to: t for to, (_, t) in rows.items()})
        # whatever else there was would have been told by now: the queue is empty, and no null sender was written to
        self.wait_queue(relay, messages=0)
        self.assertEqual(relay.find("bounced"), [])
        self.assertEqual(self.wait_metric(relay, "postern_expired_total", 7), 7)


class Restart(RelayCase):
    def test_what_waits_survives_a_restart(self):
        sim, relay = self.start(BASE + BUSY, queue={"retry": ["10m"]})
        pairs = [(f"m{i}", f"busy@t{i}.example") for i in range(30)]
        relay.send_many(pairs)
        relay.wait_event("deferred", count=30)
        before = {r["id"]: (r["address"], r["attempts"], r["due"], r["reply"]) for r in self.waiting(relay)}
        self.assertEqual(len(before), 30)
        self.assertEqual(relay.stop(), 0)
        relay.start()
        self.assertEqual({r["id"]: (r["address"], r["attempts"], r["due"], r["reply"]) for r in self.waiting(relay)}, before)
        sim.remove_rule("busy")
        relay.cli("retry", "--all")
        relay.wait_event("delivered", count=30)
        sim.check_once(pairs)

    def test_ids_are_never_used_again(self):
        sim, relay = self.start(BASE)
        seen = set()
        for i in range(3):
            relay.send_many((f"m{i}-{k}", f"u@t{k}.example") for k in range(5))
            self.wait_settled(relay)
            ids = {e["id"] for e in relay.find("accepted")}
            self.assertEqual(len(ids), 5 * (i + 1))
            seen |= ids
            relay.kill() if i else relay.stop()
            relay.start()

    def test_killed_ten_times_under_load(self):
        """What was answered 250 is delivered; twice comes only what was under way at a kill."""
        sim, relay = self.start('defaults { latency = "2ms" }\n' + BASE, providers=FAST)
        acknowledged, stop, lock = [], threading.Event(), threading.Lock()

        def client(k):
            n = 0
            while not stop.is_set():
                try:
                    with relay.client() as c:
                        while not stop.is_set():
                            id, to = f"k{k}-{n}", f"u@t{n % 50}.example"
                            n += 1
                            c.sendmail("s@example.org", [to], f"X-Test-Id: {id}\r\n\r\nx\r\n")
                            with lock:
                                acknowledged.append((id, to))
                except (OSError, EOFError):
                    stop.wait(0.02)
                except Exception as e:  # smtplib's own: the connection ended in the middle
                    if type(e).__module__ != "smtplib":
                        raise

        threads = [threading.Thread(target=client, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        kills = []
        try:
            for i in range(10):
                want = len(acknowledged) + 40
                deadline = time.monotonic() + 30
                while len(acknowledged) < want:
                    self.assertLess(time.monotonic(), deadline, "no mail is taken")
                    time.sleep(0.005)
                kills.append(sim.summary()["time"])
                relay.kill()
                relay.listeners["in"]["address"] = ["{}:{}".format(*relay.address())]
                relay.write_config()
                relay.start()
        finally:
            stop.set()
            for t in threads:
                t.join()
        relay.wait_event("started", count=11)
        deadline = time.monotonic() + 60
        while self.queue_summary(relay)["messages"]:
            self.assertLess(time.monotonic(), deadline, "the queue does not empty")
            time.sleep(0.05)
        times = {}
        for d in sim.deliveries():
            times.setdefault((d["id"], d["to"]), []).append(d["time"])
        lost = [p for p in acknowledged if p not in times]
        self.assertEqual(lost, [])
        self.assertGreaterEqual(len(acknowledged), 400)
        for pair, at in times.items():
            for t in at[:-1]:
                self.assertTrue(any(k - 1 <= t <= k + 1 for k in kills), f"{pair} came at {at}, kills at {kills}")
        self.assertEqual(relay.find(("bounced", "expired", "queue-damaged")), [])
        relay.stop()
        self.assertEqual(relay.cli("check-queue").returncode, 0)


if __name__ == "__main__":
    unittest.main()
