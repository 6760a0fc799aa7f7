"""Cells: one run of redis-benchmark each, with its checks, and the tables they end in."""

import re
import shlex
import statistics
import subprocess

from .server import CLIENT_CPU
from .wire import Failure


class Counts:
    """How much is done, full or quick."""

    def __init__(self, quick):
        self.keys = 2_000 if quick else 1_000_000
        self.memory_keys = 20_000 if quick else 2_000_000
        self.pause_keys = 20_000 if quick else 10_000_000
        self.cell_seconds = 0 if quick else 5
        self.probe_requests = 2_000 if quick else 60_000
        self.rounds = 1 if quick else 3
        self.type_requests = 500 if quick else 150_000
        self.large = 2_000 if quick else 100_000
        self.elements = 20_000 if quick else 2_000_000
        self.sync_keys = 20_000 if quick else 2_000_000
        self.pause_elements = 20_000 if quick else 10_000_000


class Cell:
    """One run of redis-benchmark."""

    def __init__(self, throughput, p50, p99, cpu_us, counters):
        self.throughput = throughput
        self.p50 = p50
        self.p99 = p99
        self.cpu_us = cpu_us
        self.counters = counters


class Test:
    """What a cell runs: redis-benchmark's arguments, either its own tests or a command line. `key(requests)` gives
    the lines that make its key; a test that takes elements away gets as many as there will be requests."""

    def __init__(self, name, *arguments, value_bytes=64, key=None, clients=50):
        self.name = name
        self.arguments = arguments
        self.value_bytes = value_bytes
        self.key = key
        self.clients = clients

    def run(self, server, depth, requests, keys, pinned=True):
        return run_benchmark(server, self, depth, requests, keys, pinned)


def benchmark_command(port, test, depth, requests, keys):
    return [
        "redis-benchmark", "-p", str(port), "-c", str(test.clients), "-d", str(test.value_bytes), "-r", str(keys),
        "-n", str(requests), "-P", str(depth), "--csv", *test.arguments,
    ]  # fmt: skip


def run_benchmark(server, test, depth, requests, keys, pinned=True):
    command = benchmark_command(server.port, test, depth, requests, keys)
    if pinned:
        command = ["taskset", "-c", str(CLIENT_CPU)] + command
    counters = server.mesh()
    cpu = server.cpu_seconds()
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    cpu = server.cpu_seconds() - cpu
    after = server.mesh()
    rows = result.stdout.splitlines()
    if result.returncode != 0 or len(rows) != 2:
        raise Failure(f"{shlex.join(command)} failed: {result.stdout}{result.stderr}")
    # "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",…
    # The name of a command line may hold anything; seven figures follow it.
    fields = [field.strip('"') for field in rows[1].rsplit(",", 7)]
    counters = {name: (after[name] - counters.get(name, 0)) / requests for name in after}
    return Cell(float(fields[1]), float(fields[4]), float(fields[6]), cpu * 1e6 / requests, counters)


def measure(server, test, depth, counts, pinned=True):
    """A cell that lasts long enough to mean something."""
    requests = counts.probe_requests * (1 if depth == 1 else 4)
    cell = test.run(server, depth, requests, counts.keys, pinned)
    wanted = int(cell.throughput * counts.cell_seconds)
    if wanted > requests:
        cell = test.run(server, depth, wanted, counts.keys, pinned)
    return cell


def median(cells, field):
    return statistics.median(getattr(cell, field) for cell in cells)


def ratio(ours, theirs):
    return f"{ours / theirs:.2f}" if theirs else "-"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    print("\n".join(lines) + "\n", flush=True)


def check(condition, what):
    if not condition:
        raise Failure("check failed: " + what)
