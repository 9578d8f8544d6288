"""What a newcomer sees first: the demonstration of the README, and that nothing of it is left however it ends."""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import DEADLINE, find_program  # noqa: E402

DEMO = pathlib.Path(__file__).resolve().parents[1] / "demo.py"


class Demo(unittest.TestCase):
    def begin(self, *args):
        self.tmp = self.enterContext(tempfile.TemporaryDirectory())
        env = {**os.environ, "TMPDIR": self.tmp, "POSTERN": find_program("POSTERN", "postern"), "M365SIM": find_program("M365SIM", "m365sim")}
        process = subprocess.Popen([sys.executable, DEMO, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=env, start_new_session=True)
        self.addCleanup(self.kill, process)
        return process

    def kill(self, process):
        process.stdout.close()
        process.stderr.close()
        for pid in self.session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()

    def session(self, sid):
        """Processes of the demonstration that still run."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == sid and fields[0] != "Z":
                found.append(int(path.parent.name))
        return found

    def nothing_left(self, process):
        self.assertEqual(self.session(process.pid), [])
        self.assertEqual(os.listdir(self.tmp), [])

    def read_until(self, process, text):
        seen = ""
        for line in process.stdout:
            seen += line
            if text in line:
                return seen
        self.fail(f"{text!r} was not said:\n{seen}\n{process.stderr.read()}")

    def row(self, out, source):
        """What the table has in a source's row, by cluster."""
        line = next(x for x in out.split("What went where")[1].splitlines() if x.split()[:1] == [source])
        return line.split()[3:6]

    def test_tells_what_went_where(self):
        process = self.begin("--messages", "240")
        out, err = process.communicate(timeout=4 * DEADLINE)
        self.assertEqual((process.returncode, err), (0, ""), out)
        self.assertEqual(self.row(out, "source"), ["EUR01", "EUR05", "NAM04"])
        self.assertEqual([self.row(out, s)[0] for s in ("a1", "a2")], ["0", "0"], "the deferred subnet delivered there")
        self.assertEqual(sum(int(n) for s in ("a1", "a2", "b1", "b2") for n in self.row(out, s)), 240)
        self.assertRegex(out, r"127\.0\.11\.0/24 met [1-9]\d* deferrals at EUR01")
        self.assertRegex(out, r"240 messages delivered in [\d.]+ s: 0 twice, 0 bounced, 0 still queued")
        self.assertIn("ATTR3", out)
        self.assertIn("To point an application", out)
        self.nothing_left(process)

    def test_interrupted(self):
        """As Ctrl-C does it: the signal reaches the relay and the simulator, too."""
        process = self.begin("--messages", "5000")
        self.read_until(process, "Sending 5000 messages")
        self.read_until(process, "delivered [")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=4 * DEADLINE)
        self.assertEqual((process.returncode, err), (130, ""), out)
        self.assertIn("Stopped", out)
        self.nothing_left(process)

    def test_terminated(self):
        process = self.begin("--messages", "5000")
        self.read_until(process, "Sending 5000 messages")
        process.terminate()
        process.communicate(timeout=4 * DEADLINE)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.nothing_left(process)

    def test_stays_for_own_mail(self):
        process = self.begin("--messages", "20", "--stay")
        said = self.read_until(process, "takes mail at")
        host, port = said.split("takes mail at ")[1].split()[0].rsplit(":", 1)
        code = (f"import smtplib; c = smtplib.SMTP({host!r}, {port}); "
                "c.sendmail('me@example.org', ['own@t1.example'], 'Subject: hi\\r\\n\\r\\nhi\\r\\n'); c.quit()")
        subprocess.run([sys.executable, "-c", code], check=True, timeout=DEADLINE)
        self.read_until(process, "event=delivered")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=4 * DEADLINE)
        self.assertEqual(process.returncode, 130)
        self.nothing_left(process)


if __name__ == "__main__":
    unittest.main()
