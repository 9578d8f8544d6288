"""doc/OPERATIONS.md as an operator would use it: every command on the page is given, in its order, to a relay with mail that waits.
What the incidents look like in log and lanes is in test_policy, test_alarms and test_why."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import RelayCase  # noqa: E402
from lib.process import DEADLINE, find_program  # noqa: E402

EX_DATAERR = 65
PAGE = pathlib.Path(__file__).resolve().parents[2] / "doc/OPERATIONS.md"
WORLD = """
cluster "EUR01" { form = "old"  site = "DB5"  forest = "eurprd01"  addresses = {"127.1.1.1-4"} }
cluster "namprd04" { form = "new"  forest = "namprd04"  addresses = {"127.1.4.1-4"} }
tenant "e{0..9}.example" { cluster = {"EUR01"} }
tenant "n{0..9}.example" { cluster = {"namprd04"} }
rule "full" { recipient = {"*@e1.example"}  phase = "rcpt"  reply = "452 4.2.2 Mailbox is full {tail}" }
"""
REPLY = "microsoft365\tmail\t451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77714)\n"


def commands():
    """(section, words) of each `postern …` in the page's text and blocks, without comments; those that want the relay stopped come last."""
    found, section, block = [], "", False
    text = re.sub(r"(`[^`\n]*)\n\s*([^`\n]*`)", r"\1 \2", PAGE.read_text())  # a command may go on in the next line
    for line in text.splitlines():
        if line.startswith("```"):
            block = not block
        elif line.startswith("## "):
            section = line[3:]
        for code in [line] if block else re.findall(r"`(postern [^`]*)`", line):
            words = shlex.split(code, comments=True)
            if words[:1] == ["postern"] and len(words) > 1:
                found.append((section, words[1:]))
    return sorted(found, key=lambda c: "--repair" in c[1])


class Page(RelayCase):
    def run_command(self, relay, words):
        """As it stands, with the page's NAME, CLUSTER, ID, DOMAIN and FILE filled in. The finished process."""
        names = {"NAME": "e1.example", "CLUSTER": "EUR01", "DOMAIN": "example.org", "FILE": str(self.rules)}
        if "ID" in words or "NAME" in words:  # what an earlier command took away is there again
            relay.send("more", "user@e1.example")
        if "ID" in words:
            names["ID"] = self.waiting(relay)[-1]["id"]
        words = [names.get(w, w) for w in words]
        if "--repair" in words:
            relay.stop()
        if words[0] == "classify":  # asks no relay
            return subprocess.run([find_program("POSTERN", "postern"), *words], input=REPLY, capture_output=True, text=True, timeout=DEADLINE)
        return relay.cli(*words, check=False)

    def test_every_command(self):
        _, relay = self.start(WORLD, sources={"a1": "127.0.1.1", "b1": "127.0.2.1"}, queue={"retry": ["1h"]},
                              providers={"microsoft365": {"tls": "none", "lane_connect_rate": "none", "lane_message_rate": "none"}})
        self.rules = relay.config_path.parent / "own.rules"
        self.rules.write_text('microsoft365 mail * * * "server busy" -> source-throttle\n')
        relay.send_many((f"{c}{k}", f"user@{c}{k}.example") for c in "en" for k in range(10))
        relay.wait_event("deferred", to="user@e1.example")
        relay.wait_event("delivered", count=19)  # so both clusters are known by their names
        given = commands()
        self.assertGreater(len(given), 35)
        for section, words in given:
            with self.subTest(section=section, command=" ".join(words)):
                done = self.run_command(relay, words)
                if words[0] == "resume" and done.returncode == EX_DATAERR:  # that incident is not on, which is said
                    self.assertEqual(done.stderr, "postern: nothing like that is suspended\n")
                else:
                    self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
