"""Faults of the system under the running relay: new mail is put off with the right code, nothing that was answered 250 is lost, nothing
that was refused is kept, deliveries go on where they can, and all is well again when the fault is gone."""
import errno
import os
import pty
import smtplib
import subprocess
import sys
import unittest

from faults import DISK_FULL, Faults, Failed
from lib.case import RelayCase
from lib.process import Deadline, find_program
from lib.relay import message

SCENARIO = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-8"} }
tenant "t{0..999}.example" { cluster = {"EUR01"} }
tenant "w{0..999}.example" { cluster = {"EUR01"} }
rule "wait" { phase = "rcpt"  tenant = {"w*.example"}  reply = "452 4.2.2 Mailbox full {tail}" }
"""
PROVIDERS = {"microsoft365": {"tls": "none", "lane_message_rate": "1000000/1m", "lane_connect_rate": "100000/1m"}}
LONG = bool(os.environ.get("CRASH_LONG"))


class FaultCase(RelayCase):
    def begin(self, **options):
        sim = self.simulator(SCENARIO, hash=False)
        relay = self.relay(sim, start=False, providers=PROVIDERS, **options)
        self.faults = Faults(relay.dir)
        relay.env = self.faults.env()
        self.addCleanup(self.faults.clear)
        self.acked, self.refused = [], []
        return sim, relay.start()

    def try_send(self, relay, id, to="u@t1.example", **options):
        """The reply, or None when the connection broke before it came."""
        try:
            relay.send(id, to, **options)
        except smtplib.SMTPResponseException as e:
            self.refused.append(id)
            return e.smtp_code, e.smtp_error.decode()
        except smtplib.SMTPRecipientsRefused as e:
            self.refused.append(id)
            (code, text), = e.recipients.values()
            return code, text.decode()
        except (smtplib.SMTPException, OSError):
            return None
        self.acked.append((id, to))
        return 250, ""

    def send_until(self, relay, prefix, code, timeout=None, limit=100000, **options):
        """One after the other until one is answered so; how many were sent."""
        deadline = Deadline(timeout)
        for n in range(limit):
            reply = self.try_send(relay, f"{prefix}-{n}", **options)
            if reply and reply[0] == code:
                return n, reply[1]
            if deadline.passed:
                break
        raise Failed(f"{prefix}: {code} did not come; the last answer was {reply}")

    def alive(self, relay):
        self.assertTrue(relay.running, relay.stderr())
        relay.cli("queue")

    def finish(self, sim, relay, exactly=True):
        """Everything is let through: what was answered 250 comes, what was refused does not."""
        self.faults.clear()
        sim.remove_rule("wait")
        relay.cli("retry", "--all")
        deadline = Deadline(60)
        expected = set(self.acked)
        while not deadline.passed:
            got = [(d["id"], d["to"]) for d in sim.deliveries()]
            if expected <= set(got) and relay.json("queue")["summary"]["messages"] == 0:
                break
            relay.cli("retry", "--all")
            try:
                sim.wait(timeout=0.3, deliveries=len(got) + 1)
            except Failed:
                pass
        self.assertEqual(expected - set(got), set(), "answered 250 and not delivered")
        self.assertEqual(set(self.refused) & {id for id, _ in got}, set(), "refused and delivered")
        if exactly:
            self.assertEqual(len(got), len(set(got)), "delivered twice")
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertEqual(relay.cli("check-queue", check=False).stdout.splitlines()[-1].split(": ")[-1], "no damage found")


class Disk(FaultCase):
    def one(self, fault, code, enhanced):
        sim, relay = self.begin()
        for i in range(20):
            self.try_send(relay, f"before-{i}", f"u@{'w' if i % 2 else 't'}{i}.example")
        sim.wait(deliveries=10)
        self.faults.set(**fault)
        for i in range(5):
            reply = self.try_send(relay, f"while-{i}")
            self.assertEqual(reply and reply[0], code, reply)
            self.assertTrue(reply[1].startswith(enhanced), reply)
            self.alive(relay)
        self.faults.clear()
        self.send_until(relay, "after", 250, timeout=10)
        self.finish(sim, relay)

    def test_no_space_left(self):
        self.one(DISK_FULL, 452, "4.3.1")

    def test_write_fails(self):
        self.one({"write_errno": errno.EIO}, 451, "4.3.0")

    def test_sync_fails(self):
        self.one({"sync_errno": errno.EIO}, 451, "4.3.0")

    def test_read_only_file_system(self):
        self.one({"write_errno": errno.EROFS, "allocate_errno": errno.EROFS}, 451, "4.3.0")

    def test_quota(self):
        self.one({"write_errno": errno.EDQUOT, "allocate_errno": errno.EDQUOT}, 452, "4.3.1")

    def test_one_sync_fails_now_and_then(self):
        """Nothing of the commit that failed is acknowledged, and nothing of it is there after a restart."""
        sim, relay = self.begin()
        deadline = Deadline(60)
        sent = 0
        while len(self.refused) < 3 and not deadline.passed:  # some of the faults hit commits that settle
            if sent % 4 == 3:
                self.faults.sync_errno_once = errno.EIO
            self.try_send(relay, f"m{sent}", f"u@{'w' if sent % 2 else 't'}{sent % 1000}.example")
            sent += 1
        self.assertGreaterEqual(len(self.refused), 3, f"{sent} were sent")
        relay.kill()
        relay.start()
        self.finish(sim, relay, exactly=False)

    def test_outcomes_are_recorded_once_writing_works_again(self):
        sim, relay = self.begin()
        for i in range(10):
            self.try_send(relay, f"m{i}", f"u@w{i}.example")
        relay.wait_event("deferred", count=10)
        self.faults.set(**DISK_FULL)
        sim.remove_rule("wait")
        relay.cli("retry", "--all", check=False)
        relay.wait_event("settle-failed")
        sim.add_rule('rule "wait" { phase = "rcpt"  tenant = {"w*.example"}  reply = "451 4.7.0 Later" }')
        self.finish(sim, relay)


class Space(FaultCase):
    def fill(self, relay, prefix):
        return self.send_until(relay, prefix, 452, to="u@w1.example", size=40000, timeout=60)

    def test_map_full(self):
        """Deliveries make room, and the room is used again: three times."""
        sim, relay = self.begin(queue={"max_size": "16MiB"})
        accepted = []
        for round in range(3):
            n, text = self.fill(relay, f"r{round}")
            self.assertTrue(text.startswith("4.3.1"), text)
            accepted.append(n)
            sim.disable_rule("wait")
            relay.cli("retry", "--all")
            sim.wait(deliveries=sum(accepted), timeout=60)
            self.send_until(relay, f"again-{round}", 250, timeout=20)
            accepted[-1] += 1
            sim.wait(deliveries=sum(accepted), timeout=60)
            sim.enable_rule("wait")
        self.assertGreater(min(accepted), 0.8 * max(accepted))
        self.finish(sim, relay)

    def test_disk_full_deliveries_go_on(self):
        """The file cannot grow; what was allocated ahead is there for settling."""
        sim, relay = self.begin()
        self.faults.allocate_errno = errno.ENOSPC
        n, _ = self.fill(relay, "full")
        self.assertGreater(n, 10)
        sim.disable_rule("wait")
        relay.cli("retry", "--all")
        sim.wait(deliveries=n, timeout=60)
        relay.wait_event("delivered", count=n)
        self.assertEqual(relay.find("settle-failed"), [])
        self.send_until(relay, "again", 250, timeout=20)
        self.finish(sim, relay)


class Slow(FaultCase):
    def test_an_operation_that_takes_long_says_how_far_it_is(self):
        """On a terminal alone: a program that reads the answer gets the answer."""
        sim, relay = self.begin()
        for i in range(0, 1000, 100):
            relay.send(f"m{i}", [f"u{k}@w{k}.example" for k in range(i, i + 100)])
        relay.wait_event("deferred", count=1000)
        self.faults.set(sync_delay_us=500000)
        terminal, end = pty.openpty()
        process = subprocess.Popen([find_program("POSTERN", "postern"), "hold", "-c", relay.config_path, "--all"], stdout=subprocess.PIPE, stderr=end, text=True)
        out, _ = process.communicate(timeout=60)
        quiet = relay.cli("release", "--all", timeout=60)
        self.faults.clear()
        os.close(end)
        with os.fdopen(terminal, "rb", buffering=0) as f:
            self.assertRegex(f.read(4096).decode(), r"\r\d+ recipients so far …")
        self.assertEqual((out, quiet.stderr), ("1000 recipients\n", ""))
        self.finish(sim, relay)


class Descriptors(FaultCase):
    def test_none_left(self):
        sim, relay = self.begin()
        with relay.client() as open_already:
            self.faults.open_errno = errno.EMFILE
            open_already.sendmail("s@a.example", ["u@t2.example"], message("inside"))
            self.acked.append(("inside", "u@t2.example"))
            self.faults.wait_failed()
            self.alive_without_descriptors(relay)
        self.faults.clear()
        self.assertEqual(self.try_send(relay, "after")[0], 250)
        self.finish(sim, relay)

    def alive_without_descriptors(self, relay):
        self.assertTrue(relay.running)


class Memory(FaultCase):
    def test_each_allocation_fails_once(self):
        """In one process, one after the other: each message makes the next allocation fail."""
        sim, relay = self.begin()
        self.assertEqual(self.try_send(relay, "warm")[0], 250)
        sim.wait(deliveries=1)
        relay.wait_event("delivered")
        self.faults.allocation_fails = 1 << 40
        self.assertEqual(self.try_send(relay, "count", "u@t2.example")[0], 250)
        sim.wait(deliveries=2)
        relay.wait_event("delivered", count=2)
        total = self.faults.allocations + 20
        self.assertGreater(total, 20)
        for n in range(1, total, 1 if LONG else 3):
            self.faults.allocations = 0
            self.faults.allocation_fails = n
            self.try_send(relay, f"n{n}", f"u@t{n % 50}.example")
            self.assertTrue(relay.running, f"allocation {n} of {total}: {relay.stderr()[-2000:]}")
        self.finish(sim, relay, exactly=False)


if __name__ == "__main__":
    sys.exit(unittest.main())
