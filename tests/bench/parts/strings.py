"""Sections about strings: throughput, memory of keys, two shards beside one, several keys."""

import os
import random
import select
import shlex
import socket
import statistics
import time

from .cells import Cell, Test, benchmark_command, check, measure, median, ratio, table
from .server import CLIENT_CPU, SERVER_CPU
from .wire import Connection, Failure, encode, load

DEPTHS = [1, 16, 64]
TESTS = [Test("SET", "-t", "set"), Test("GET", "-t", "get")]


class Blocks(Test):
    """MULTI, four SETs, EXEC: the script's own client sends them."""

    def run(self, server, depth, requests, keys, pinned=True):
        return run_blocks(server, depth, requests, keys, pinned)


def run_blocks(server, depth, blocks, keys, pinned=True):
    """As run_benchmark, of MULTI, four SETs and EXEC, which redis-benchmark cannot send: the same 50 connections, each
    with `depth` blocks under way. What is sent is made beforehand and replies are only counted, so that the client
    is not what is measured; latencies are not taken."""
    made = []
    for _ in range(64):
        lines = []
        for _ in range(depth):
            sets = [encode("SET", b"key:%012d" % random.randrange(keys), b"x" * 64) for _ in range(4)]
            lines += [encode("MULTI"), *sets, encode("EXEC")]
        made.append(b"".join(lines))
    reply_bytes = depth * len(b"+OK\r\n" + b"+QUEUED\r\n" * 4 + b"*4\r\n" + b"+OK\r\n" * 4)
    affinity = os.sched_getaffinity(0)
    if pinned:
        os.sched_setaffinity(0, {CLIENT_CPU})
    poll = select.epoll()
    missing, sockets = {}, {}
    for _ in range(50):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
    try:
        counters, cpu, start = server.mesh(), server.cpu_seconds(), time.monotonic()
        groups = max(1, blocks // depth)
        sent = 0
        for number, connection in sockets.items():
            connection.sendall(made[sent % 64])
            missing[number] = reply_bytes
            sent += 1
        done = 0
        while done < sent:
            ready = poll.poll(60)
            if not ready:
                raise Failure("no reply to EXEC for a minute")
            for number, _ in ready:
                data = sockets[number].recv(1 << 16)
                if not data or b"-" in data:
                    raise Failure(f"MULTI failed: {data[:200]!r}")
                missing[number] -= len(data)
                if missing[number] == 0:
                    done += 1
                    if sent < groups:
                        sockets[number].sendall(made[sent % 64])
                        missing[number] = reply_bytes
                        sent += 1
        seconds = time.monotonic() - start
        cpu, after = server.cpu_seconds() - cpu, server.mesh()
    finally:
        for connection in sockets.values():
            connection.close()
        os.sched_setaffinity(0, affinity)
    requests = done * depth
    counters = {name: (after[name] - counters.get(name, 0)) / requests for name in after}
    return Cell(requests / seconds, 0.0, 0.0, cpu * 1e6 / requests, counters)


def check_benchmark_values(server):
    """redis-benchmark's keys hold 64 bytes each."""
    connection = Connection(server.port)
    size = connection.call("DBSIZE")
    key = connection.call("RANDOMKEY")
    length = connection.call("STRLEN", key)
    connection.close()
    check(isinstance(size, int) and size > 0, f"{server.name} holds keys after SET, DBSIZE says {size}")
    check(length == 64, f"{server.name}: STRLEN {key!r} is 64, not {length}")


def check_loaded(server, count, key, value):
    connection = Connection(server.port)
    size = connection.call("DBSIZE")
    check(size == count, f"{server.name}: DBSIZE is {count} after loading, not {size}")
    for n in sorted({0, 1, count // 2, count - 1}):
        got = connection.call("GET", key % n)
        check(got == value % n, f"{server.name}: GET {key % n!r} is {value % n!r}, not {got!r}")
    connection.close()


def throughput(programs, options, counts):
    print("## Throughput\n")
    print(
        f"1 shard; 50 connections, 64-byte values, {counts.keys:,} random keys; server on CPU {SERVER_CPU}, "
        f"client on CPU {CLIENT_CPU}; medians of {counts.rounds} alternating rounds.\n"
        if options.shards == 1
        else f"{options.shards} shards; medians of {counts.rounds} alternating rounds.\n"
    )
    print(f"    taskset -c {CLIENT_CPU} {shlex.join(benchmark_command(0, TESTS[0], 16, 0, counts.keys))}\n")
    cells = {}
    for _ in range(counts.rounds):
        for program in programs:
            with program.start(options.shards) as server:
                load(server.port, counts.keys, b"key:%012d", b"%064d")
                for depth in DEPTHS:
                    for test in TESTS:
                        cell = measure(server, test, depth, counts)
                        cells.setdefault((program.name, test, depth), []).append(cell)
                check_benchmark_values(server)
    reference = programs[1].name
    rows = []
    for depth in DEPTHS:
        for test in TESTS:
            base = median(cells[reference, test, depth], "throughput")
            for program in programs:
                found = cells[program.name, test, depth]
                rate = median(found, "throughput")
                rows.append([
                    f"{test.name} -P {depth}", program.name, f"{rate:,.0f}",
                    f"{median(found, 'p50'):.3f}", f"{median(found, 'p99'):.3f}",
                    f"{median(found, 'cpu_us'):.2f}", ratio(rate, base),
                ])  # fmt: skip
    table(["test", "server", "requests/s", "p50 ms", "p99 ms", "server CPU µs/request", f"ratio to {reference}"], rows)


def keys(programs, options, counts):
    print("## Memory of keys\n")
    print(f"Resident bytes per key after loading {counts.memory_keys:,} keys of 16 bytes with 32-byte values.\n")
    key, value = b"k:%014d", b"v%031d"
    found = {}
    for program in programs:
        with program.start(options.shards) as server:
            before = server.resident_bytes()
            load(server.port, counts.memory_keys, key, value)
            found[program.name] = (server.resident_bytes() - before) / counts.memory_keys
            check_loaded(server, counts.memory_keys, key, value)
    reference = programs[1].name
    rows = [[name, f"{size:.1f}", ratio(size, found[reference])] for name, size in found.items()]
    table(["server", "bytes per key", f"ratio to {reference}"], rows)


def shards(programs, options, counts):
    print("## Two shards beside one\n")
    print(
        "Shardine, server and client unpinned on the same CPUs; random keys. Messages, wake-ups and system calls "
        "are per request, from INFO's section `mesh`.\n"
    )
    cells = {}
    for _ in range(counts.rounds):
        for count in [1, 2]:
            with programs[0].start(count, cpu=None) as server:
                load(server.port, counts.keys, b"key:%012d", b"%064d")
                for depth in DEPTHS:
                    for test in TESTS:
                        cell = measure(server, test, depth, counts, pinned=False)
                        cells.setdefault((count, test, depth), []).append(cell)
                check_benchmark_values(server)

    def counter(found, name):
        values = [cell.counters[name] for cell in found if name in cell.counters]
        return f"{statistics.median(values):.3f}" if values else "-"

    rows = []
    for depth in DEPTHS:
        for test in TESTS:
            base = median(cells[1, test, depth], "cpu_us")
            for count in [1, 2]:
                found = cells[count, test, depth]
                cpu = median(found, "cpu_us")
                rows.append([
                    f"{test.name} -P {depth}", str(count), f"{median(found, 'throughput'):,.0f}",
                    f"{median(found, 'p99'):.3f}", f"{cpu:.2f}", ratio(cpu, base),
                    counter(found, "mesh_messages"), counter(found, "mesh_wakeups"),
                    counter(found, "system_calls"),
                ])  # fmt: skip
    table(
        ["test", "shards", "requests/s", "p99 ms", "server CPU µs/request", "CPU ratio to 1 shard",
         "messages", "wake-ups", "system calls"],
        rows,
    )  # fmt: skip


def several(programs, options, counts):
    tests = [Test("MSET", "-t", "mset"), Blocks("MULTI")]
    print("## Several keys\n")
    print(
        "MSET of 10 random keys (redis-benchmark's), and MULTI, 4 SETs of random keys, EXEC (the script's own client); 64-byte "
        f"values, {counts.keys:,} keys, 50 connections. Pinned: server on CPU {SERVER_CPU}, client on CPU {CLIENT_CPU}. "
        "CPU and messages are per MSET or per EXEC.\n"
    )
    print(f"    taskset -c {CLIENT_CPU} {shlex.join(benchmark_command(0, tests[0], 16, 0, counts.keys))}\n")
    # Two shards and the client want more than two CPUs: one shard is measured beside them in the same way.
    kinds = [
        (f"{programs[1].name}, pinned", programs[1], 1, True),
        ("1 shard, pinned", programs[0], 1, True),
        ("1 shard", programs[0], 1, False),
        ("2 shards", programs[0], 2, False),
    ]
    depths, cells = [1, 16], {}
    for _ in range(counts.rounds):
        for name, program, count, pinned in kinds:
            with program.start(count, cpu=SERVER_CPU if pinned else None) as server:
                load(server.port, counts.keys, b"key:%012d", b"%064d")
                for depth in depths:
                    for test in tests:
                        cell = measure(server, test, depth, counts, pinned)
                        cells.setdefault((name, test, depth), []).append(cell)
                check_benchmark_values(server)
    rows = []
    for depth in depths:
        for test in tests:
            for name, *_ in kinds:
                found = cells[name, test, depth]
                rate, cpu = median(found, "throughput"), median(found, "cpu_us")
                pinned = name.endswith("pinned")
                beside = cells[kinds[0][0] if pinned else "1 shard", test, depth]
                messages = [cell.counters["mesh_messages"] for cell in found if "mesh_messages" in cell.counters]
                rows.append([
                    f"{test.name} -P {depth}", name, f"{rate:,.0f}",
                    ratio(rate, median(beside, "throughput")), f"{cpu:.2f}", ratio(cpu, median(beside, "cpu_us")),
                    f"{statistics.median(messages):.3f}" if messages else "-",
                ])  # fmt: skip
    table(
        ["test", "server", "requests/s", "throughput ratio", "server CPU µs/request", "CPU ratio", "messages"],
        rows,
    )
    print("Ratios: pinned ones to Redis, the others to one shard that is not pinned.\n")
