#!/usr/bin/env python3
"""Builds the Debian packages and lives through a life with them: install, three lines of configuration, mail, upgrade, purge.

Usage: tests/package.py [--work DIRECTORY] [--debs DIRECTORY] [--m365sim FILE] [--debootstrap]

Where mounts are permitted (root, mount and network namespaces, overlay), all of it happens in a copy-on-write view of this system, or,
with --debootstrap, of a bare Debian 12 that is fetched first; nothing outside the work directory changes. Elsewhere the package is
unpacked and its binary run from there. The mail goes to the Microsoft 365 simulator of the packages themselves.
Ends with 77, and says which, where the tools to build packages are missing.
"""
import argparse
import ctypes
import fcntl
import gzip
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
from lib.process import DEADLINE, Failed  # noqa: E402
from lib.relay import Relay, section  # noqa: E402
from lib.sim import Simulator  # noqa: E402

BINARY = "/usr/sbin/postern"
PORT = 2525
NAMES = ["postern", "postern-doc", "postern-bench"]
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
# What an operator writes; README and the package's postern.conf show the same.
THREE_LINES = f"""hostname = "out.example.net"
listener "internal" {{ address = {{"127.0.0.1:{PORT}"}}  allow = {{"127.0.0.0/8"}} }}
source "a1" {{ address = "127.0.1.1"  ehlo = "a1.out.example.net" }}  pool "main" {{ sources = {{"a1"}} }}
"""
SCENARIO = """
cluster "EUR01" { form = "old"  site = "DB5"  addresses = {"127.1.1.1-8"} }
tenant "t{0..9}.example" { cluster = {"EUR01"} }
"""
CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE, MS_BIND = 0x20000, 0x40000000, 0x4000, 0x40000, 0x1000


def say(text):
    print(text, flush=True)


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **options)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout[-6000:]}")
    return done.stdout


def expect(ok, what):
    if not ok:
        raise Failed(what)


# ---- building ----

def copy_sources(to):
    """What git knows, as it is now; all of it where this is no checkout."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = [n for n in listed.stdout.split("\0") if n and (ROOT / n).exists()] if listed.returncode == 0 else []
    if not names:
        shutil.copytree(ROOT, to, symlinks=True, ignore=shutil.ignore_patterns("build*", ".git", "__pycache__"))
        return
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name, follow_symlinks=False)


def build(work):
    missing = [t for t in ["dpkg-buildpackage", "dh", "dh_apparmor", "fakeroot"] if not shutil.which(t)]
    if missing:
        say(f"skipped: no {', '.join(missing)} here (tests/install.sh test)")
        sys.exit(77)
    source = work / "postern"
    shutil.rmtree(source, ignore_errors=True)
    copy_sources(source)
    run("dpkg-buildpackage", "-us", "-uc", "-b", cwd=source)
    return {name: next(work.glob(f"{name}_*.deb")) for name in NAMES}


def lint(debs):
    if not shutil.which("lintian"):
        say("  lintian is not here: not asked")
        return
    out = run("lintian", "--allow-root", "--fail-on", "error,warning", *debs.values())
    say("  lintian: no error, no warning" + (f"\n{out}" if out.strip() else ""))


def version_before(deb, work):
    """The same package with a lower version: what dpkg does at an upgrade does not depend on what changed."""
    tree, old = work / "before", work / "postern_before.deb"
    shutil.rmtree(tree, ignore_errors=True)
    run("dpkg-deb", "-R", deb, tree)
    control = tree / "DEBIAN/control"
    control.write_text("".join("Version: 0.0.1\n" if line.startswith("Version:") else line for line in control.open()))
    run("dpkg-deb", "--root-owner-group", "-b", tree, old)
    return old


# ---- a system of its own ----

def libc(call, *args):
    lib = ctypes.CDLL(None, use_errno=True)
    if getattr(lib, call)(*args):
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def mount(source, target, kind, flags=0, data=None):
    target.mkdir(parents=True, exist_ok=True)
    libc("mount", str(source).encode(), str(target).encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode() if data else None)


def loopback_up():
    with socket.socket() as s:
        request = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(s, 0x8914, request.ljust(40, b"\0"))


def enter(work, base):
    """Namespaces of our own, and below work a view of base in which everything may be changed. They end with this process."""
    libc("unshare", CLONE_NEWNS | CLONE_NEWNET)
    libc("mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    layers = work / "layers"
    mount("tmpfs", layers, "tmpfs")
    for name in ["upper", "inner", "root"]:
        (layers / name).mkdir()
    mount("overlay", layers / "root", "overlay", 0, f"lowerdir={base},upperdir={layers}/upper,workdir={layers}/inner")
    mount("proc", layers / "root/proc", "proc")
    mount("/dev", layers / "root/dev", None, MS_BIND | MS_REC)
    mount("tmpfs", layers / "root/run", "tmpfs")
    loopback_up()
    return layers / "root"


def debootstrap(work, deb):
    """A bare Debian 12 with what the package depends on, and nothing else."""
    base = work / "debian"
    if not (base / "etc/debian_version").exists():
        shutil.rmtree(base, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "bookworm", base, MIRROR)
        shutil.copy2(deb, base / "tmp/postern.deb")
        run("chroot", base, "apt-get", "install", "-q", "-y", "--no-install-recommends", "/tmp/postern.deb",
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        run("chroot", base, "dpkg", "-P", "postern")
    return base


# ---- the relay of the package ----

class Installed(Relay):
    """The packaged relay as a supervisor without systemd starts it."""

    def __init__(self, sim, root):
        super().__init__(sim, listeners={"internal": {"address": [f"127.0.0.1:{PORT}"]}}, http=False)
        self.wrapper = ("chroot", root)
        self.config_path = "/etc/postern/postern.conf"
        os.environ["POSTERN"] = BINARY

    def start(self, ready=True, wrapper=()):
        return super().start(ready, self.wrapper)

    def command(self, *args):
        return run(*self.wrapper, BINARY, *args, timeout=DEADLINE)


def owner(path):
    found = path.stat()
    return found.st_uid, oct(found.st_mode & 0o7777)


def check_installed(root):
    user = int(run("chroot", root, "id", "-u", "postern"))
    expect(user, "the user postern is root")
    expect(run("chroot", root, "getent", "passwd", "postern").strip().endswith("/usr/sbin/nologin"), "the user postern may log in")
    for name, mode in [("var/lib/postern", "0o700"), ("var/log/postern", "0o750"), ("run/postern", "0o750")]:
        expect(owner(root / name) == (user, mode), f"/{name} is {owner(root / name)}, not {user}, {mode}")
    expect((root / "etc/postern/conf.d").is_dir(), "no /etc/postern/conf.d")
    unit = root / "lib/systemd/system/postern.service"
    expect(f"ExecStart={BINARY} run" in unit.read_text(), "the unit starts another binary")
    if (root / "usr/bin/systemd-analyze").exists():
        run("chroot", root, "systemd-analyze", "verify", "--man=no", "/lib/systemd/system/postern.service")
    if shutil.which("apparmor_parser"):
        run("apparmor_parser", "-Q", "-K", root / "etc/apparmor.d/postern")
    if (root / "usr/sbin/logrotate").exists():
        run("chroot", root, "logrotate", "--debug", "/etc/logrotate.d/postern")


def first_queue(root):
    """A queue as the first release wrote it."""
    user = int(run("chroot", root, "id", "-u", "postern"))
    file = root / "var/lib/postern/data.mdb"
    file.write_bytes(gzip.decompress((ROOT / "tests/crash/data/schema-1.mdb.gz").read_bytes()))
    os.chown(file, user, user)
    file.chmod(0o600)


def configure(root, sim):
    (root / "etc/postern/conf.d/10-relay.conf").write_text(THREE_LINES)
    # what the test's Internet has otherwise
    (root / "etc/postern/conf.d/90-test.conf").write_text(
        section("dns", {"servers": [sim.dns]}) + "".join(section("provider", {"port": sim.smtp_port}, p) for p in ["microsoft365", "default"]))


def purged(root):
    left = [p for p in ["usr/sbin/postern", "etc/postern", "var/lib/postern", "var/log/postern", "run/postern", "etc/logrotate.d/postern",
                        "etc/apparmor.d/postern"] if (root / p).exists()]
    expect(not left, f"left behind by purge: {left}")


def life(root, before, deb):
    """Install, mail, upgrade with mail waiting, purge."""
    for path in (before, deb):
        shutil.copy2(path, root / "tmp")
    run("chroot", root, "dpkg", "-i", f"/tmp/{before.name}")
    check_installed(root)
    say("  installed: user, directories, unit, profiles")
    with Simulator(SCENARIO) as sim:
        configure(root, sim)
        first_queue(root)
        relay = Installed(sim, root)
        try:
            relay.command("check")
            relay.start()
            # older than it may become, where the clock says so: returned then
            relay.wait_event(("delivered", "expired"), count=6)
            say("  three lines of configuration; what waited in a queue of the first release is delivered")
            relay.send("first", "user@t1.example")
            relay.wait_event("delivered", to="user@t1.example")
            relay.command("hold", "--to", "@t2.example")
            relay.send("kept", "user@t2.example")
            relay.wait_event("accepted", count=2)
            relay.stop()
            say("  mail flows; one message is held, and the relay stopped")
            run("chroot", root, "dpkg", "-i", "--force-confnew", f"/tmp/{deb.name}")
            expect((root / "etc/postern/conf.d/10-relay.conf").read_text() == THREE_LINES, "the upgrade changed the operator's lines")
            relay.start()
            relay.command("release", "--to", "@t2.example")
            relay.wait_event("delivered", to="user@t2.example")
            relay.stop()
            say("  upgraded; what was held is delivered by the new version")
            run("chroot", root, "dpkg", "-P", "postern")
            purged(root)
            say("  purged, nothing left")
        finally:
            relay.close()


def unpacked(root):
    """Without the right to mount: the binary out of the package, configured for a directory of its own."""
    with Simulator(SCENARIO) as sim:
        os.environ["POSTERN"] = str(root / BINARY[1:])
        with Relay(sim) as relay:
            relay.send("first", "user@t1.example")
            relay.wait_event("delivered", to="user@t1.example")
    shell = f"source {root}/usr/share/bash-completion/completions/postern; COMP_WORDS=(postern che) COMP_CWORD=1; _postern; echo ${{COMPREPLY[*]}}"
    expect(run("bash", "-c", shell).split() == ["check", "check-queue"], "the completion does not complete")
    say("  unpacked (no right to mount here): its binary relays, its completion completes")


def try_packages(args, work, debs):
    tools = work / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    for deb in debs.values():
        run("dpkg-deb", "-x", deb, tools)
    os.environ["M365SIM"] = str(args.m365sim or tools / "usr/libexec/postern/m365sim")
    unpacked(tools)
    base = debootstrap(work, debs["postern"]) if args.debootstrap else pathlib.Path("/")
    try:
        root = enter(work, base)
    except OSError as e:
        expect(not args.debootstrap, f"no namespaces or mounts here: {e}")
        say(f"  not installed: no namespaces or mounts here ({e})")
        return
    life(root, version_before(debs["postern"], work), debs["postern"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=pathlib.Path, help="where to build; kept (default: a temporary directory)")
    p.add_argument("--debs", type=pathlib.Path, help="directory with packages that are built already")
    p.add_argument("--m365sim", type=pathlib.Path, help="simulator to send to (default: that of postern-bench)")
    p.add_argument("--debootstrap", action="store_true", help="in a bare Debian 12, fetched into the work directory")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="postern-package-") as tmp:
        work = (args.work or pathlib.Path(tmp)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        debs = {n: next(args.debs.glob(f"{n}_*.deb")).resolve() for n in NAMES} if args.debs else build(work)
        say(f"built: {' '.join(d.name for d in debs.values())}")
        lint(debs)
        try_packages(args, work, debs)
        say("packages: ok")
        # the view of the system is gone with our namespace; its mount point only once nothing is mounted there
        subprocess.run(["umount", "-R", work / "layers"], stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        say(f"FAILED: {e}")
        sys.exit(1)
