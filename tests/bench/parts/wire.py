"""The protocol, as much of it as is needed, and lines sent through one connection."""

import select
import socket


class Failure(Exception):
    """The run cannot go on, or a check failed."""


def encode(*args):
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        arg = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)

    def call(self, *args):
        self.socket.sendall(encode(*args))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Failure("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Failure(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        raise Failure(f"unexpected reply {line!r}")

    def close(self):
        self.file.close()
        self.socket.close()


def pipe(port, groups):
    """Sends the lines of `groups`, pairs of bytes and a count of replies, through one connection, receiving at the
    same time, until one is empty. Each reply must be one line: a status, an integer or an error, which ends the run."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setblocking(False)
    groups = iter(groups)
    missing, more = 0, True
    pending = memoryview(b"")
    while more or pending or missing:
        if more and not pending:
            sent, replies = next(groups, (b"", 0))
            pending, more = memoryview(sent), bool(sent)
            missing += replies
            continue
        readable, writable, _ = select.select([connection], [connection] if pending else [], [], 60)
        if not readable and not writable:
            raise Failure("no progress while lines were sent for a minute")
        if writable:
            try:
                pending = pending[connection.send(pending) :]
            except BlockingIOError:
                pass
        if readable:
            data = connection.recv(1 << 18)
            if not data:
                raise Failure("the server closed while lines were sent")
            if b"-" in data:
                raise Failure(f"an error while lines were sent: {data[:200]!r}")
            missing -= data.count(b"\n")
    connection.close()


def load(port, count, key, value):
    """Sets `count` keys."""
    step = 5_000
    pipe(port, (
        (b"".join(encode(b"SET", key % n, value % n) for n in range(made, min(made + step, count))),
         min(step, count - made))
        for made in range(0, count, step)
    ))  # fmt: skip
