"""Sections growth and pauses: the longest answer to PING while a table grows, and while a large key goes."""

import os
import sys
import time

from .cells import check, table
from .server import CLIENT_CPU
from .strings import check_loaded
from .types import LINE_ELEMENTS, fill, member, pair, scored
from .wire import Connection, Failure, encode, load, pipe

def loader_process(port, count, key, value):
    """Loads keys in a process of its own, behind the probe in the scheduler's eyes."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.sched_setaffinity(0, {CLIENT_CPU})
            os.nice(19)
            load(port, count, key, value)
            code = 0
        except Exception as error:  # the parent reads the exit code
            print(f"loading: {error}", file=sys.stderr)
        finally:
            os._exit(code)
    return child


def growth(programs, options, counts):
    print("## Pauses while the table grows\n")
    print(
        f"PING a thousand times per second while {counts.pause_keys:,} keys are loaded through one pipelining "
        "connection; milliseconds. Beside it the same without load: what the machine itself adds.\n"
    )
    affinity = os.sched_getaffinity(0)
    key, value = b"k:%014d", b"v%031d"
    rows = []
    for program in programs:
        with program.start(options.shards) as server:
            os.sched_setaffinity(0, {CLIENT_CPU})
            try:
                idle_until = time.monotonic() + (0.2 if options.quick else 5)
                idle = probe(server.port, lambda: time.monotonic() > idle_until)
                child = loader_process(server.port, counts.pause_keys, key, value)
                status = []

                def loaded():
                    pid, code = os.waitpid(child, os.WNOHANG)
                    if pid:
                        status.append(code)
                    return bool(pid)

                busy = probe(server.port, loaded)
            finally:
                os.sched_setaffinity(0, affinity)
            check(status == [0], f"{program.name}: the keys were loaded")
            check_loaded(server, counts.pause_keys, key, value)
            rows.append([
                program.name, f"{max(idle):.2f}", f"{quantile(busy, 0.5):.2f}", f"{quantile(busy, 0.99):.2f}",
                f"{quantile(busy, 0.999):.2f}", f"{max(busy):.2f}", f"{len(busy):,}",
            ])  # fmt: skip
    table(["server", "longest, idle", "p50", "p99", "p99.9", "longest", "PINGs"], rows)


def quantile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


def probe(port, ended):
    """Milliseconds of each PING, one per millisecond at most, until `ended()`; at least one."""
    connection = Connection(port)
    times = []
    asked = time.monotonic()
    while True:
        start = time.perf_counter()
        connection.call("PING")
        took = time.perf_counter() - start
        times.append(took * 1e3)
        now = time.monotonic()
        if now - asked > 0.02:
            asked = now
            if ended():
                break
        time.sleep(max(0.0, 0.001 - took))
    connection.close()
    return times


class RealtimeClient:
    """As a context: this process is the only one on the client's CPU, as far as that is permitted."""

    def __enter__(self):
        self.affinity = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {CLIENT_CPU})
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
        except PermissionError:
            pass

    def __exit__(self, *_):
        try:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        except PermissionError:
            pass
        os.sched_setaffinity(0, self.affinity)


def records(key, count):
    """Lines that put `count` records into a stream."""
    line = encode("XADD", key, "*", "field", "value")
    yield encode("CLIENT", "REPLY", "OFF"), 0
    for start in range(0, count, LINE_ELEMENTS):
        yield line * min(LINE_ELEMENTS, count - start), 0
    yield encode("CLIENT", "REPLY", "ON"), 1


# What goes, the lines that fill a key with so many elements, and the command that counts them.
KINDS = [
    ("list", lambda key, count: fill("RPUSH", key, count, member), "LLEN"),
    ("set", lambda key, count: fill("SADD", key, count, member), "SCARD"),
    ("sorted set", lambda key, count: fill("ZADD", key, count, scored), "ZCARD"),
    ("hash", lambda key, count: fill("HSET", key, count, pair), "HLEN"),
    ("stream", records, "XLEN"),
]
# What makes the key `victim` go: lines, the first of which begins it.
WAYS = [
    ("DEL", ["DEL", "victim"]),
    ("UNLINK", ["UNLINK", "victim"]),
    ("expiry", ["PEXPIRE", "victim", "50"]),
    ("FLUSHALL ASYNC", ["FLUSHALL", "ASYNC"]),
]


def disturbed(server, line, busy_part, seconds):
    """Milliseconds of PINGs while `line` runs and until the server is hardly busier than the PINGs made it before, at
    least for `seconds`."""
    connection = Connection(server.port)
    connection.socket.settimeout(300)
    start = time.monotonic()
    marks = [(start, server.cpu_seconds())]
    connection.socket.sendall(encode(*line))

    def quiet():
        now = time.monotonic()
        marks.append((now, server.cpu_seconds()))
        while now - marks[1][0] > 0.3:
            marks.pop(0)
        took, used = now - marks[0][0], marks[-1][1] - marks[0][1]
        return now - start > seconds and took >= 0.3 and used < (1.5 * busy_part + 0.05) * took

    times = probe(server.port, quiet)
    reply = connection.reply()
    connection.close()
    check(not isinstance(reply, Failure), f"{server.name}: {' '.join(line)} says {reply}")
    return times


def pauses(programs, options, counts):
    count = counts.pause_elements
    print("## Pauses while a large key goes\n")
    print(
        f"PING a thousand times per second while a key of {count:,} elements goes, until the server has nothing to do any "
        "more; the longest, in milliseconds. The column idle is the same without anything that goes. Server and client "
        "have real-time priority (SCHED_FIFO) where that is permitted, which the last column tells.\n"
    )
    rows = []
    for kind, lines, counting in KINDS:
        for program in programs:
            with program.start(options.shards) as server:
                connection = Connection(server.port)
                connection.socket.settimeout(300)
                pipe(server.port, lines("original", count))
                found = connection.call(counting, "original")
                check(found == count, f"{server.name}: {counting} is {count} after filling, not {found}")
                permitted = server.take_precedence()
                with RealtimeClient():
                    start, used = time.monotonic(), server.cpu_seconds()
                    idle = probe(server.port, after(0.2 if options.quick else 2))
                    busy_part = (server.cpu_seconds() - used) / (time.monotonic() - start)
                longest = []
                for _, line in WAYS:
                    copied = connection.call("COPY", "original", "victim")
                    check(copied == 1, f"{server.name}: COPY says {copied}")
                    server.settle(0.3)
                    with RealtimeClient():
                        longest.append(max(disturbed(server, line, busy_part, 0.1 if options.quick else 1)))
                    left = connection.call("EXISTS", "victim")
                    check(left == 0, f"{server.name}: EXISTS after {' '.join(line)} says {left}")
                connection.close()
                rows.append([
                    kind, program.name, f"{max(idle):.2f}", *(f"{each:.2f}" for each in longest),
                    "yes" if permitted else "no",
                ])  # fmt: skip
                if not options.quick:
                    print(f"pauses: {' | '.join(rows[-1])}", file=sys.stderr)
    table(["type", "server", "idle", *(name for name, _ in WAYS), "real-time"], rows)


def after(seconds):
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until
