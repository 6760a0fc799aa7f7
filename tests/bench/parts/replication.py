"""Section replication: what a follower costs its leader, and a full synchronisation under writes."""

import subprocess
import time

from .cells import Test, check, measure, median, ratio, table
from .server import CLIENT_CPU, SERVER_CPU
from .wire import Connection, Failure, load


def follow(follower, leader):
    """Makes `follower` follow `leader`; returns the seconds until its link is up."""
    connection = Connection(follower.port)
    start = time.monotonic()
    reply = connection.call("REPLICAOF", "127.0.0.1", leader.port)
    if reply != b"OK":
        raise Failure(f"{follower.name}: REPLICAOF says {reply}")
    while b"master_link_status:up" not in connection.call("INFO", "replication"):
        if time.monotonic() - start > 300:
            raise Failure(f"{follower.name} does not get in step with {leader.name}")
        time.sleep(0.01)
        yield
    connection.close()
    yield time.monotonic() - start


def followed(follower, leader):
    return [step for step in follow(follower, leader) if step is not None][-1]


def quick_start(server):
    """Synchronisations begin at once, where the server would wait for further followers."""
    connection = Connection(server.port)
    connection.call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    connection.close()


def check_same(leader, follower):
    """The follower has the leader's keys, at the latest ten seconds after the last write."""
    deadline = time.monotonic() + 10
    ours, theirs = Connection(leader.port), Connection(follower.port)
    while (sizes := (ours.call("DBSIZE"), theirs.call("DBSIZE")))[0] != sizes[1] and time.monotonic() < deadline:
        time.sleep(0.05)
    key = ours.call("RANDOMKEY")
    values = [ours.call("GET", key)]
    while (other := theirs.call("GET", key)) != values[0] and time.monotonic() < deadline:
        time.sleep(0.05)
    ours.close()
    theirs.close()
    pair = f"{leader.name} and its follower {follower.name}"
    check(sizes[0] == sizes[1], f"{pair} have as many keys, not {sizes}")
    check(values[0] == other, f"{pair} have the same value of {key!r}, not {values[0]!r} and {other!r}")


def memory_bytes(server):
    """Of the server and of the children it forked, pages that they share counted once."""
    total = 0
    pids = [server.process.pid]
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                pids += [int(child) for child in file.read().split()]
        except OSError:
            pass  # a child that has ended
    return total


def replication(programs, options, counts):
    reference = programs[1]
    # Each leads a follower of its own kind, and of the reference's.
    pairs = [(leader, leader) for leader in programs] + [(programs[0], reference)]
    print("## Replication\n")
    print(
        f"SET -P 16 without and with one follower; leader on CPU {SERVER_CPU}, client and follower on CPU {CLIENT_CPU}; "
        f"{counts.keys:,} random keys, 64-byte values.\n"
    )
    test, cells = Test("SET", "-t", "set"), {}
    for _ in range(counts.rounds):
        for leader, follower in pairs:
            pair = f"{leader.name} → {follower.name}"
            with leader.start(options.shards) as server, follower.start(options.shards, CLIENT_CPU) as other:
                quick_start(server)
                load(server.port, counts.keys, b"key:%012d", b"%064d")
                cells.setdefault((pair, False), []).append(measure(server, test, 16, counts))
                followed(other, server)
                cells.setdefault((pair, True), []).append(measure(server, test, 16, counts))
                check_same(server, other)
    rows = []
    for leader, follower in pairs:
        pair = f"{leader.name} → {follower.name}"
        alone, with_one = cells[pair, False], cells[pair, True]
        rates = [median(found, "throughput") for found in (alone, with_one)]
        cpus = [median(found, "cpu_us") for found in (alone, with_one)]
        rows.append([
            pair, f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", ratio(rates[1], rates[0]),
            f"{cpus[0]:.2f}", f"{cpus[1]:.2f}", ratio(cpus[0], cpus[1]),
        ])  # fmt: skip
    table(
        ["pair", "requests/s alone", "with a follower", "ratio", "leader CPU µs/request alone", "with a follower",
         "ratio, alone to with"],
        rows,
    )  # fmt: skip

    print("### Full synchronisation\n")
    print(
        f"{counts.sync_keys:,} keys of 16 bytes with 32-byte values, while redis-benchmark sends SETs of others of the "
        "same size unpipelined: until the follower says that its link is up, and the leader's memory, with that of "
        "a process it forks, before and at its highest.\n"
    )
    rows = []
    for leader, follower in pairs:
        with leader.start(options.shards) as server, follower.start(options.shards, CLIENT_CPU) as other:
            quick_start(server)
            load(server.port, counts.sync_keys, b"k:%014d", b"v%031d")
            writer = subprocess.Popen(
                ["taskset", "-c", str(CLIENT_CPU), "redis-benchmark", "-p", str(server.port), "-t", "set", "-d", "32",
                 "-r", str(counts.keys), "-c", "8", "-n", "1000000000", "--csv"],
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                before = highest = memory_bytes(server)
                sampled, seconds = time.monotonic(), None
                for seconds in follow(other, server):
                    if time.monotonic() - sampled > 0.1:
                        highest = max(highest, memory_bytes(server))
                        sampled = time.monotonic()
                check(writer.poll() is None, f"{server.name}: the writes went on during the synchronisation")
            finally:
                writer.terminate()
                writer.wait()
            check_same(server, other)
            rows.append([
                f"{leader.name} → {follower.name}", f"{seconds:.2f}", f"{before / 1e6:.0f}", f"{highest / 1e6:.0f}",
                f"{(highest - before) / 1e6:.0f}",
            ])  # fmt: skip
    table(["pair", "seconds", "leader MB before", "highest", "growth"], rows)
