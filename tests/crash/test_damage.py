"""Queues that are damaged, foreign, in use, older or newer: a clear answer that names the file, never a crash, and nothing dropped."""
import gzip
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from lib.case import RelayCase  # noqa: E402
from lib.process import find_program  # noqa: E402

SCENARIO = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-8"} }
tenant "t{0..999}.example" { cluster = {"EUR01"} }
rule "wait" { phase = "mail"  reply = "451 4.7.0 Temporary server error. Please try again later. PRX5 {tail}" }
"""
SAMPLES = pathlib.Path(__file__).resolve().parent / "data"
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "40"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
PAGE = 4096


def used(file):
    """Without what is only allocated: up to the last page that is not all zero."""
    data = file.read_bytes()
    return data.rstrip(b"\0")


class Damage(RelayCase):
    MESSAGES = 60

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="postern-damage-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        cls.whole = cls.dir / "whole"
        case = cls("runTest")
        try:
            sim = case.simulator(SCENARIO, hash=False)
            relay = case.relay(sim, queue={"path": cls.whole, "retry": ["1h"]})
            relay.send_many((f"m{i}", [f"u{k}@t{(i * 7 + k) % 40}.example" for k in range(1 + i % 3)]) for i in range(cls.MESSAGES))
            for i in range(3):
                relay.send(f"large{i}", f"u@t{i}.example", size=300000)
            relay.wait_event("deferred", count=3)
            relay.kill()
            relay.reader = relay.process = None
        finally:
            case.doCleanups()
        cls.recipients = sum(1 + i % 3 for i in range(cls.MESSAGES)) + 3
        cls.bytes = used(cls.whole / "data.mdb")

    def runTest(self):
        pass

    def tool(self, path, *args):
        config = self.dir / "conf"
        config.write_text(f'hostname = "x.example"\nqueue {{ path = "{path}"  max_size = "64MiB" }}\nsource "a1" {{ address = "127.0.1.1" }}\n'
                          'pool "main" { sources = {"a1"} }\nlistener "in" { address = {"127.0.0.1:0"}  allow = {"127.0.0.0/8"}  pool = "main" }\n')
        done = subprocess.run([find_program("POSTERN", "postern"), *args, "-c", config], capture_output=True, text=True, timeout=60)
        self.assertGreaterEqual(done.returncode, 0, f"{args}: signal {-done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        self.assertNotIn("Sanitizer", done.stderr)
        return done

    def place(self, data, name="case"):
        path = self.dir / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        with open(path / "data.mdb", "wb") as file:
            file.write(data)
            file.truncate((self.whole / "data.mdb").stat().st_size)
        return path

    def judge(self, path):
        """check, repair, check again: what each of them says must fit. Whether the queue can be used then."""
        found = self.tool(path, "check-queue")
        if found.returncode not in (0, 65):
            self.assertIn(str(path), found.stderr)
            return False
        if found.returncode == 65:
            self.assertGreater(len(found.stdout.splitlines()), 1)
        repaired = self.tool(path, "check-queue", "--repair")
        if repaired.returncode not in (0, 65):
            self.assertIn(str(path), repaired.stderr)
            return False
        return self.tool(path, "check-queue").returncode in (0, 65)

    def test_flipped_bits(self):
        rng = random.Random(SEED)
        usable = 0
        for round in range(ROUNDS):
            data = bytearray(self.bytes)
            for _ in range(rng.choice([1, 1, 2, 8, 64])):
                at = rng.randrange(len(data))
                data[at] ^= 1 << rng.randrange(8)
            with self.subTest(seed=SEED, round=round):
                usable += self.judge(self.place(data))
        self.assertGreater(usable, 0)

    def test_pages_lost(self):
        rng = random.Random(SEED + 1)
        for round in range(ROUNDS // 2):
            data = bytearray(self.bytes)
            page = rng.randrange(len(data) // PAGE)
            kind = rng.randrange(3)
            if kind == 0:
                data[page * PAGE:(page + 1) * PAGE] = bytes(PAGE)
            elif kind == 1:
                data[page * PAGE:(page + 1) * PAGE] = rng.randbytes(PAGE)
            else:  # written to the wrong place
                other = rng.randrange(len(data) // PAGE)
                data[page * PAGE:(page + 1) * PAGE] = data[other * PAGE:(other + 1) * PAGE]
            with self.subTest(seed=SEED, round=round, page=page, kind=kind):
                self.judge(self.place(data))

    def test_truncated(self):
        for size in (1, 100, 4096, 5000, 8192, 3 * PAGE, len(self.bytes) // 2):
            with self.subTest(size=size):
                path = self.dir / "cut"
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
                (path / "data.mdb").write_bytes(self.bytes[:size])
                done = self.tool(path, "check-queue")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("data.mdb", done.stderr)

    def test_foreign_files(self):
        for name, data in (("text", b"This is no queue.\n" * 1000), ("zeros", bytes(100000)), ("noise", random.Random(1).randbytes(100000))):
            with self.subTest(name):
                path = self.dir / f"foreign-{name}"
                path.mkdir()
                (path / "data.mdb").write_bytes(data)
                done = self.tool(path, "check-queue")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("data.mdb", done.stderr)
                self.assertEqual((path / "data.mdb").read_bytes(), data)

    def test_newer_schema(self):
        data = self.bytes.replace(b"schema\x04\x00\x00\x00", b"schema\x63\x00\x00\x00")
        self.assertNotEqual(data, self.bytes)
        path = self.place(data, "newer")
        for args in (("check-queue",), ("check-queue", "--repair")):
            done = self.tool(path, *args)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("newer version", done.stderr)

    def test_in_use(self):
        sim = self.simulator(SCENARIO, hash=False)
        relay = self.relay(sim)
        done = relay.cli("check-queue", "--repair", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(relay.pid), done.stderr)
        self.assertEqual(relay.cli("check-queue").returncode, 0)

    def test_samples_of_each_schema_are_opened(self):
        """Mail that an older version left is delivered by this one."""
        for sample in sorted(SAMPLES.glob("schema-*.mdb.gz")):
            with self.subTest(sample.name):
                sim = self.simulator(SCENARIO, hash=False)
                relay = self.relay(sim, start=False, queue={"expire": "30d", "delay_notice": "0"})
                relay.queue["path"].mkdir()
                (relay.queue["path"] / "data.mdb").write_bytes(gzip.decompress(sample.read_bytes()))
                self.assertEqual(relay.cli("check-queue").returncode, 0)
                relay.start()
                self.assertEqual(relay.json("queue")["summary"]["messages"], 5)
                sim.disable_rule("wait")
                relay.cli("release", "--all")
                relay.cli("retry", "--all")
                # older than it may become where the clock says so: then it is bounced, and still dealt with
                relay.wait_event(("delivered", "expired"), count=6)


if __name__ == "__main__":
    sys.exit(unittest.main())
