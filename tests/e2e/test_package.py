"""What an installation puts beside the binary: the shell's completion, the unit file, and that packages agree with the build files."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.process import find_program  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
POSTERN = find_program("POSTERN", "postern")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.script = output(POSTERN, "completion", "bash")
        cls.commands = re.findall(r"^  ([a-z-]+) ", output(POSTERN, "--help"), re.M)

    def complete(self, *words, directory="/"):
        """What is offered for the last word."""
        quoted = " ".join("'" + w + "'" for w in words)
        ask = f"{self.script}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n_postern\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "-eu", "-c", ask], capture_output=True, text=True, cwd=directory, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_commands(self):
        self.assertGreater(len(self.commands), 20)
        self.assertEqual(sorted(w for w in self.complete("postern", "") if not w.startswith("-")), sorted(self.commands))
        self.assertEqual(self.complete("postern", "check-"), ["check-queue"])

    def test_every_option_of_every_command(self):
        for command in self.commands:
            with self.subTest(command):
                help_text = output(POSTERN, command, "--help")
                told = set(re.findall(r"^  (?:-\w, |    )?(--[a-z0-9-]+)", help_text, re.M))
                self.assertIn("--help", told)
                self.assertEqual({w for w in self.complete("postern", command, "--")}, told)

    def test_values_and_files(self):
        self.assertEqual(self.complete("postern", "hold", "--user", ""), [])
        self.assertEqual(self.complete("postern", "dkim", "key"), ["keygen"])
        with tempfile.TemporaryDirectory() as tmp:
            (pathlib.Path(tmp) / "month.scenario").touch()
            self.assertEqual(self.complete("postern", "rehearse", "mon", directory=tmp), ["month.scenario"])
            self.assertEqual(self.complete("postern", "check", "-c", "mon", directory=tmp), ["month.scenario"])

    def test_another_shell(self):
        done = subprocess.run([POSTERN, "completion", "csh"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 64)
        self.assertIn("bash", done.stderr)


class Installed(unittest.TestCase):
    def test_unit_names_the_installed_binary(self):
        build = pathlib.Path(POSTERN).parents[2]
        with tempfile.TemporaryDirectory() as tmp:
            output("meson", "install", "-C", str(build), "--no-rebuild", "--quiet", "--destdir", tmp)
            found = {p.name: p for p in pathlib.Path(tmp).rglob("*") if p.is_file()}
            unit = found["postern.service"]
            lines = dict(x.split("=", 1) for x in unit.read_text().splitlines() if "=" in x and not x.startswith("#"))
            for key in ["ExecStart", "ExecStartPre", "ExecReload"]:
                binary = lines[key].split()[0]
                self.assertTrue(pathlib.Path(tmp + binary).is_file(), f"{key}: {binary} is not installed")
            self.assertEqual(unit.parent.name, "system")
            self.assertEqual({p.parent.name for p in pathlib.Path(tmp).rglob("postern.conf") if p.parent.name.endswith(".d")},
                             {"sysusers.d", "tmpfiles.d"})
            self.assertNotIn("@sbindir@", unit.read_text())


class Packages(unittest.TestCase):
    """What would drift apart unseen."""

    def test_build_dependencies(self):
        script = (ROOT / "tests/install.sh").read_text()
        wanted = set(re.search(r'^build="([^"]+)"', script, re.M).group(1).split()) - {"gcc", "libc6-dev", "libcmocka-dev"}
        control = (ROOT / "debian/control").read_text()
        named = re.search(r"^Build-Depends:\n((?: .*\n)+)", control, re.M).group(1)
        named = {re.split(r"[ :(]", line.strip(" ,"))[0] for line in named.splitlines()}
        self.assertEqual(named - {"debhelper-compat", "dh-apparmor"}, wanted)

    def test_versions(self):
        version = re.search(r"^  version: '([^']+)'", (ROOT / "meson.build").read_text(), re.M).group(1)
        self.assertEqual(re.match(r"postern \(([^)]+)\)", (ROOT / "debian/changelog").read_text()).group(1), version)
        self.assertEqual(re.search(r"^Version: *(\S+)", (ROOT / "packaging/postern.spec").read_text(), re.M).group(1), version)

    def test_the_spec_needs_what_the_build_files_need(self):
        build = (ROOT / "meson.build").read_text() + (ROOT / "tests/sim/meson.build").read_text()
        wanted = set(re.findall(r"dependency\('([a-z0-9]+)'", build)) - {"threads", "cmocka"}
        spec = (ROOT / "packaging/postern.spec").read_text()
        self.assertEqual(set(re.findall(r"^BuildRequires: *pkgconfig\(([^)]+)\)", spec, re.M)), wanted)

    def test_the_package_s_configuration_needs_three_lines(self):
        sample = (ROOT / "conf/system/postern.conf").read_text()
        three = [line[4:] for line in sample.splitlines() if line.startswith("#   ")]
        self.assertEqual(len(three), 3)
        with tempfile.TemporaryDirectory() as tmp:
            (pathlib.Path(tmp) / "conf.d").mkdir()
            (pathlib.Path(tmp) / "postern.conf").write_text(sample.replace('user = "postern"', ""))
            (pathlib.Path(tmp) / "conf.d/10-relay.conf").write_text("\n".join(three) + "\n")
            self.assertIn("ok", output(POSTERN, "check", "-c", tmp + "/postern.conf"))


if __name__ == "__main__":
    unittest.main()
