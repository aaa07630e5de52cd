"""What every benchmark shares: environments for the peers, processes, and the results page."""

import contextlib
import json
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "bench/.work"
RESULTS = ROOT / "docs/benchmarks.md"
ACCESS_KEY, SECRET_KEY, REGION = "AKIABENCHROOT0000001", "bench-root-secret-access-key-00000000001", "us-east-1"


def python_with(name: str, *requirements: str) -> pathlib.Path:
    """A virtual environment with pinned packages, made once; returns its python."""
    home = WORK / name
    stamp = home / ".requirements"
    if not stamp.exists() or stamp.read_text() != "\n".join(requirements):
        print(f"installing {', '.join(requirements)}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin/pip", "install", "-q", "--disable-pip-version-check", *requirements], check=True)
        stamp.write_text("\n".join(requirements))
    return home / "bin/python"


# BENCH_QUICK=1 shows that a benchmark runs, in little time and with debug builds: its numbers mean nothing and are not
# published.
QUICK = os.environ.get("BENCH_QUICK") == "1"


# How what is measured is compiled.
PROFILE = os.environ.get("PROFILE", "dev" if QUICK else "release")


def built(package: str, *options: str) -> pathlib.Path:
    """A program of the workspace, compiled by these options of Cargo's, the last of which names it.

    Together with the server, whose dependencies it shares: alone it would have them with other features, and most of
    them would be compiled once more.
    """
    command = ["cargo", "build", "-q", f"--profile={PROFILE}", "-p", "craton-cli", "-p", package, *options]
    subprocess.run(command, cwd=ROOT, check=True)
    target = json.loads(subprocess.check_output(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT))["target_directory"]
    folder = pathlib.Path(target) / ("debug" if PROFILE == "dev" else PROFILE)
    return folder / ("examples" if "--example" in options else "") / options[-1]


def tools() -> pathlib.Path:
    """The stand-in upstream and load generator."""
    return built("craton-bench", "--bin", "craton-bench")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def process(command, ready_port: int, env=None, log="process.log", timeout_s=120):
    """Runs a server until the block ends; yields it once its port accepts connections."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / log).open("wb") as out:
        running = subprocess.Popen([str(part) for part in command], env=env, stdout=out, stderr=out, cwd=WORK)
        try:
            deadline = time.monotonic() + timeout_s
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ready_port), 0.2):
                    break
                if running.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start: {(WORK / log).read_text(errors='replace')[-3000:]}")
                time.sleep(0.05)
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def craton_environment() -> dict:
    return dict(os.environ, CRATON_ROOT_ACCESS_KEY_ID=ACCESS_KEY, CRATON_ROOT_SECRET_ACCESS_KEY=SECRET_KEY)


def wait_healthy(url: str, timeout_s=240, path="/health") -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url + path, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{url} did not become healthy")


def memory_mib(pid: int) -> float:
    """Resident memory of a process and its children."""
    total, pending = 0, [pid]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):
            pending += [int(child) for child in
                        pathlib.Path(f"/proc/{current}/task/{current}/children").read_text().split()]
            status = pathlib.Path(f"/proc/{current}/status").read_text()
            total += int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
    return total / 1024


def machine() -> str:
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores of {cpu.group(1) if cpu else platform.machine()}, {platform.system()}"


def publish(section: str, body: str) -> None:
    """Replaces one section of the results page."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    text = RESULTS.read_text() if RESULTS.exists() else "# Benchmarks\n"
    block = f"{begin}\n{body.strip()}\n{end}"
    if begin in text:
        text = text[: text.index(begin)] + block + text[text.index(end) + len(end):]
    else:
        text = text.rstrip() + "\n\n" + block + "\n"
    print(body)
    if not QUICK:
        RESULTS.write_text(text)
