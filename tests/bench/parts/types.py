"""Section types: what lists, sets, hashes, sorted sets and streams cost, beside the reference."""

import contextlib
import shlex

from .cells import Test, benchmark_command, check, median, ratio, table
from .server import CLIENT_CPU, SERVER_CPU
from .wire import Connection, encode, pipe

DEPTHS = [1, 16]
LINE_ELEMENTS = 100


def fill(command, key, count, element):
    """Lines that put `count` elements into `key`; `element(n)` is the list of the arguments of one."""
    for start in range(0, count, LINE_ELEMENTS):
        arguments = [part for n in range(start, min(start + LINE_ELEMENTS, count)) for part in element(n)]
        yield encode(command, key, *arguments), 1


def member(n):
    return [b"element:%012d" % n]


def pair(n):
    return [b"element:%012d" % n, b"x" * 16]


def scored(n):
    return [b"%d" % n, b"element:%012d" % n]


class TypeTest(Test):
    """A test on one key: how it is filled, how many requests it gets for each hundred of the usual number, and the
    command that counts its elements with what that must say afterwards: `grows` by one with each request, `empties`,
    is `some` or stays as it was `filled`."""

    def __init__(self, name, arguments, counting, after, fill=None, share=100, clients=50):
        super().__init__(name, *arguments, value_bytes=3, key=fill, clients=clients)
        self.counting = counting.split()
        self.after = after
        self.share = share

    def requests(self, depth, counts):
        usual = counts.type_requests * (1 if depth == 1 else 4)
        return max(usual * self.share // 100, min(usual, 160))

    def cell(self, server, depth, counts):
        requests = self.requests(depth, counts)
        # A test that takes elements away gets one for each request.
        elements = requests if self.after == "empties" else counts.large
        connection = Connection(server.port)
        connection.call("FLUSHALL")
        if self.key:
            pipe(server.port, self.key(elements))
        server.settle()
        cell = self.run(server, depth, requests, counts.large)
        found = connection.call(*self.counting)
        connection.close()
        slack = self.clients * depth
        low, high = {
            "grows": (requests, requests + slack),
            "empties": (0, 0),
            "some": (1, counts.large),
            "filled": (counts.large, counts.large),
        }[self.after]
        check(
            isinstance(found, int) and low <= found <= high,
            f"{server.name}: {' '.join(self.counting)} after {self.name} is between {low} and {high}, not {found}",
        )
        return cell


def tests():
    def a_list(count):
        return fill("RPUSH", "mylist", count, lambda _: [b"VXK"])

    def a_set(count):
        return fill("SADD", "myset", count, member)

    def a_sorted_set(count):
        return fill("ZADD", "myzset", count, scored)

    def a_hash(count):
        return fill("HSET", "myhash", count, pair)

    def two_sets(count):
        yield from a_set(count)
        yield from fill("SADD", "other", count, lambda n: member(n * 2))

    own = [
        ("lpush", "LLEN mylist", "grows", None), ("rpush", "LLEN mylist", "grows", None),
        ("lpop", "LLEN mylist", "empties", a_list), ("rpop", "LLEN mylist", "empties", a_list),
        ("sadd", "SCARD myset", "some", None), ("hset", "HLEN myhash", "some", None),
        ("spop", "SCARD myset", "empties", a_set), ("zadd", "ZCARD myzset", "some", None),
        ("zpopmin", "ZCARD myzset", "empties", a_sorted_set),
    ]  # fmt: skip
    # What a request costs that does nothing: the most that the client and the connections allow.
    made = [TypeTest("PING", ["-t", "ping_mbulk"], "DBSIZE", "empties")]
    made += [TypeTest(name.upper(), ["-t", name], counting, after, lines) for name, counting, after, lines in own]
    made += [
        TypeTest("XADD", ["XADD", "mystream", "MAXLEN", "~", "10000", "*", "f", "v"], "EXISTS mystream", "some"),
        TypeTest("ZRANGEBYSCORE, 10 of many", ["ZRANGEBYSCORE", "myzset", "__rand_int__", "+inf", "LIMIT", "0", "10"],
                 "ZCARD myzset", "filled", a_sorted_set),
        TypeTest("ZRANK", ["ZRANK", "myzset", "element:__rand_int__"], "ZCARD myzset", "filled", a_sorted_set),
    ]  # fmt: skip
    # redis-benchmark's own LRANGE tests push before they read, which would count as well.
    made += [
        TypeTest(f"LRANGE_{count}", ["LRANGE", "mylist", "0", str(count - 1)], "LLEN mylist", "filled", a_list, share)
        for count, share in [(100, 30), (300, 10), (500, 7), (600, 6)]
    ]
    # A reply is megabytes: fewer clients, or the replies that wait for them are what is measured.
    made += [
        TypeTest("HGETALL, all of many", ["HGETALL", "myhash"], "HLEN myhash", "filled", a_hash, 0, 4),
        TypeTest("SINTER, half of many", ["SINTER", "myset", "other"], "SCARD myset", "filled", two_sets, 0, 4),
    ]
    return made


def types(programs, options, counts):
    print("## Types\n")
    made = tests()
    print(
        f"1 shard; keys that are read have {counts.large:,} members; server on CPU {SERVER_CPU}, client on CPU "
        f"{CLIENT_CPU}; medians of {counts.rounds} rounds. The servers run at the same time and take turns, test by "
        "test, with the same number of requests. Ratios are to the reference: more requests and less CPU are better.\n"
    )
    for test in [made[1], made[-1]]:
        command = benchmark_command(0, test, 16, test.requests(16, counts), counts.large)
        print(f"    taskset -c {CLIENT_CPU} {shlex.join(command)}")
    print()
    cells = {}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(program.start(options.shards)) for program in programs]
        for _ in range(counts.rounds):
            for test in made:
                for depth in DEPTHS:
                    for server in servers:
                        cell = test.cell(server, depth, counts)
                        cells.setdefault((server.name, test.name, depth), []).append(cell)
    reference = programs[1].name
    rows = []
    for test in made:
        for depth in DEPTHS:
            base = cells[reference, test.name, depth]
            base_rate, base_cpu = median(base, "throughput"), median(base, "cpu_us")
            for program in programs:
                if program.name == reference:
                    continue
                found = cells[program.name, test.name, depth]
                rate, cpu = median(found, "throughput"), median(found, "cpu_us")
                rows.append([
                    f"{test.name} -P {depth}", program.name, f"{rate:,.0f}", f"{base_rate:,.0f}",
                    ratio(rate, base_rate), f"{cpu:.2f}", f"{base_cpu:.2f}", ratio(cpu, base_cpu),
                ])  # fmt: skip
    table(
        ["test", "server", "requests/s", f"{reference}'s", "throughput ratio", "server CPU µs/request",
         f"{reference}'s", "CPU ratio"],
        rows,
    )  # fmt: skip


def elements(programs, options, counts):
    """The second table of section memory."""
    print("## Memory of elements\n")
    print(
        f"Resident bytes per element after loading {counts.elements:,} elements, many to a key. Elements, fields and "
        "values are of 16 bytes, scores are whole numbers.\n"
    )
    kinds = [
        ("list", "RPUSH", lambda n: [b"e:%014d" % n]),
        ("set", "SADD", lambda n: [b"e:%014d" % n]),
        ("hash", "HSET", lambda n: [b"f:%014d" % n, b"v:%014d" % n]),
        ("sorted set", "ZADD", lambda n: [b"%d" % n, b"e:%014d" % n]),
    ]
    reference = programs[1].name
    rows = []
    for kind, command, element in kinds:
        for size in [10, 100, 10_000]:
            count = counts.elements // size
            found = {}
            for program in programs:
                with program.start(options.shards) as server:
                    before = server.resident_bytes()
                    pipe(server.port, (
                        group for key in range(count) for group in fill(command, b"key:%012d" % key, size, element)
                    ))  # fmt: skip
                    server.settle()
                    found[program.name] = (server.resident_bytes() - before) / (count * size)
                    connection = Connection(server.port)
                    keys = connection.call("DBSIZE")
                    connection.close()
                    check(keys == count, f"{program.name}: DBSIZE is {count} after loading, not {keys}")
            for name, bytes_each in found.items():
                if name != reference:
                    rows.append([
                        kind, f"{count:,} × {size:,}", name, f"{bytes_each:.1f}", f"{found[reference]:.1f}",
                        ratio(bytes_each, found[reference]),
                    ])  # fmt: skip
    table(["type", "keys × elements", "server", "bytes per element", f"{reference}'s", "ratio"], rows)
