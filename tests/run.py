#!/usr/bin/env python3
"""Runs all checks of the project, stage by stage, and ends with one line: N passed, N failed.

Usage: tests/run.py [--quick] [--only STAGE[,STAGE…]] [--build DIRECTORY] [--fuzz-seconds N]
Stages: format, gcc, clang, asan, tsan, fuzz, tidy, package. --quick: format and gcc alone.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
JOBS = os.cpu_count() or 2
TESTS_AT_ONCE = JOBS + 1  # many wait for events more than they work


class Tally:
    def __init__(self):
        self.passed = self.failed = 0
        self.failures = []
        self.unsteady = []

    def add(self, name, ok):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            self.failures.append(name)


def run(command, log, env=None, timeout=None):
    with open(log, "ab") as out:
        try:
            return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                  env={**os.environ, **(env or {})}, timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            out.write(b"timed out\n")
            return 124


def tail(log, lines=60):
    text = pathlib.Path(log).read_text(errors="replace").splitlines()
    return "\n".join("    " + t for t in text[-lines:])


def build(directory, cc, options, log):
    env = {"CC": cc}
    if not (directory / "build.ninja").exists():
        if run(["meson", "setup", str(directory), str(ROOT), "-Dwerror=true", *options], log, env):
            return False
    return run(["ninja", "-C", str(directory)], log, env) == 0


def results(directory):
    path = directory / "meson-logs/testlog.json"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def passed(test):
    return test["result"] in ("OK", "EXPECTEDFAIL")


def again(directory, test, multiplier, log, env):
    """A test with real time in it can fail for a machine that stood still. It gets one more try, alone; what passes only then is
    named as unsteady, so that it is seen."""
    name = test["name"].split(" / ", 1)[-1]
    (directory / "meson-logs/testlog.json").unlink(missing_ok=True)
    run(["meson", "test", "-C", str(directory), "--no-rebuild", "-t", str(multiplier), name], log, env)
    second = [t for t in results(directory) if t["name"] == test["name"]]
    return bool(second) and all(passed(t) for t in second)


def read_results(directory, label, tally, multiplier, log, env):
    """Adds each test that ran; prints what failed with its output."""
    tests = results(directory)
    for test in tests:
        name = f"{label}: {test['name']}"
        ok = passed(test)
        if not ok:
            text = (test.get("stdout") or "") + (test.get("stderr") or "")
            print(f"  FAILED {name} ({test['result']})", flush=True)
            print("\n".join("    " + t for t in text.splitlines()[-60:]), flush=True)
            ok = again(directory, test, multiplier, log, env)
            if ok:
                tally.unsteady.append(name)
        tally.add(name, ok)
    if not tests:
        tally.add(f"{label}: no test ran", False)
        print(tail(log), flush=True)


def stage_suite(args, tally, label, cc, options, env=None, multiplier=1, suites=()):
    directory = args.build / label
    log = args.build / f"{label}.log"
    ok = build(directory, cc, options, log)
    tally.add(f"{label}: builds without warnings", ok)
    if not ok:
        print(tail(log), flush=True)
        return
    (directory / "meson-logs/testlog.json").unlink(missing_ok=True)
    command = ["meson", "test", "-C", str(directory), "--no-rebuild", "-t", str(multiplier), "--num-processes", str(TESTS_AT_ONCE)]
    for s in suites:
        command += ["--suite", s]
    run(command, log, env)
    read_results(directory, label, tally, multiplier, log, env)


def stage_gcc(args, tally):
    stage_suite(args, tally, "gcc", "gcc", [])


def stage_clang(args, tally):
    directory, log = args.build / "clang", args.build / "clang.log"
    ok = build(directory, "clang", [], log)
    tally.add("clang: builds without warnings", ok)
    if not ok:
        print(tail(log), flush=True)


def stage_asan(args, tally):
    stage_suite(args, tally, "asan", "clang", ["-Db_sanitize=address,undefined"],
                {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}, 4)


def stage_tsan(args, tally):
    stage_suite(args, tally, "tsan", "clang", ["-Db_sanitize=thread"],
                {"TSAN_OPTIONS": f"halt_on_error=1:exitcode=98:suppressions={ROOT}/tests/tsan.supp"}, 6)


def fuzz_one(args, target, corpus):
    work = args.build / "fuzz-work" / target.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log = args.build / f"{target.name}.log"
    log.unlink(missing_ok=True)
    code = run([str(target), f"-max_total_time={args.fuzz_seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
                f"-artifact_prefix={work}/", str(work), str(corpus)], log, timeout=args.fuzz_seconds + 120)
    return target, code, log


def stage_fuzz(args, tally):
    directory, log = args.build / "fuzz", args.build / "fuzz.log"
    ok = build(directory, "clang", ["-Dfuzz=true", "-Db_sanitize=address,undefined", "-Dtests=false", "-Dbench=false"], log)
    tally.add("fuzz: builds without warnings", ok)
    if not ok:
        print(tail(log), flush=True)
        return
    targets = sorted(t for t in (directory / "tests/fuzz").glob("fuzz_*") if t.is_file() and os.access(t, os.X_OK))
    if not targets:
        tally.add("fuzz: no targets", False)
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        jobs = [pool.submit(fuzz_one, args, t, ROOT / "tests/fuzz/corpus" / t.name.removeprefix("fuzz_")) for t in targets]
        for job in concurrent.futures.as_completed(jobs):
            target, code, out = job.result()
            tally.add(f"fuzz: {target.name}", code == 0)
            if code:
                print(f"  FAILED fuzz: {target.name}\n{tail(out)}", flush=True)


def sources():
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.c", "*.h"], cwd=ROOT, check=True,
                         capture_output=True, text=True).stdout
    return [f for f in out.splitlines() if (ROOT / f).exists()]


def stage_format(args, tally):
    log = args.build / "format.log"
    ok = run(["clang-format", "--dry-run", "--Werror", *sources()], log) == 0
    tally.add("format: clang-format", ok)
    if not ok:
        print(tail(log, 20), flush=True)


def stage_tidy(args, tally):
    """The compilation database of the clang build; tests are compiled like the rest, but held to fewer rules."""
    directory, log = args.build / "clang", args.build / "tidy.log"
    if not build(directory, "clang", [], log):
        tally.add("tidy: clang build", False)
        return
    files = [f for f in sources() if f.endswith(".c") and f.split("/")[0] in ("relay", "queue", "conf")]

    def one(f):
        r = subprocess.run(["clang-tidy", "-quiet", "-p", str(directory), f], cwd=ROOT, capture_output=True, text=True)
        return f, r.returncode, r.stdout

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for f, code, out in pool.map(one, files):
            if code:
                bad += 1
                print("\n".join("    " + t for t in out.splitlines()[:20]), flush=True)
    tally.add(f"tidy: {len(files)} files", bad == 0 and bool(files))


def stage_package(args, tally):
    """The Debian packages: built, and installed in a view of this system where that is permitted."""
    log = args.build / "package.log"
    log.unlink(missing_ok=True)
    code = run([sys.executable, "tests/package.py"], log, timeout=900)
    print(tail(log, 8 if code in (0, 77) else 60), flush=True)
    if code != 77:
        tally.add("package: built, installed, upgraded, purged", code == 0)


STAGES = {"format": stage_format, "gcc": stage_gcc, "clang": stage_clang, "asan": stage_asan, "tsan": stage_tsan, "fuzz": stage_fuzz,
          "tidy": stage_tidy, "package": stage_package}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--only", default="")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build-tests")
    p.add_argument("--fuzz-seconds", type=int, default=8)
    args = p.parse_args()
    args.build = args.build.resolve()
    args.build.mkdir(exist_ok=True)
    names = args.only.split(",") if args.only else ["format", "gcc"] if args.quick else list(STAGES)
    unknown = [n for n in names if n not in STAGES]
    if unknown:
        p.error(f"no such stage: {', '.join(unknown)} (there are: {', '.join(STAGES)})")
    tally = Tally()
    start = time.monotonic()
    for name in names:
        begun, failed = time.monotonic(), tally.failed
        print(f"== {name} …", flush=True)
        STAGES[name](args, tally)
        print(f"== {name}: {'ok' if tally.failed == failed else 'FAILED'} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{time.monotonic() - start:.0f} seconds; logs in {args.build}")
    for f in tally.unsteady:
        print(f"unsteady (passed the second time, alone): {f}")
    for f in tally.failures:
        print(f"failed: {f}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
