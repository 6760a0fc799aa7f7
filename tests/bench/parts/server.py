"""Servers that are started, asked for their costs, and stopped."""

import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time

from .wire import Connection, Failure

SERVER_CPU, CLIENT_CPU = 0, 1


class Program:
    """A server that can be started: its name and its command with `{port}` and `{shards}`."""

    def __init__(self, name, command):
        self.name = name
        self.command = command

    def start(self, shards=1, cpu=SERVER_CPU):
        return Server(self, shards, cpu)


class Server:
    """A running server; use as a context."""

    def __init__(self, program, shards, cpu):
        self.name = program.name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        text = program.command.replace("{port}", str(self.port)).replace("{shards}", str(shards))
        self.command = ([] if cpu is None else ["taskset", "-c", str(cpu)]) + shlex.split(text)
        self.dir = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.dir.name, "log"), "w+b")
        self.process = subprocess.Popen(
            self.command, cwd=self.dir.name, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )

    def __enter__(self):
        deadline = time.monotonic() + 60
        while True:
            if self.process.poll() is not None:
                self.log.seek(0)
                raise Failure(
                    f"{shlex.join(self.command)} ended with {self.process.returncode}:\n"
                    + self.log.read().decode(errors="replace")
                )
            try:
                connection = Connection(self.port)
                reply = connection.call("PING")
                connection.close()
                if reply == b"PONG":
                    return self
            except (OSError, Failure):
                pass
            if time.monotonic() > deadline:
                self.__exit__()
                raise Failure(f"{shlex.join(self.command)} does not answer")
            time.sleep(0.02)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.dir.cleanup()

    def cpu_seconds(self):
        """CPU time of all threads: nanoseconds from schedstat where the kernel has it, else ticks."""
        total = 0
        base = f"/proc/{self.process.pid}/task"
        try:
            for thread in os.listdir(base):
                with open(f"{base}/{thread}/schedstat") as file:
                    total += int(file.read().split()[0])
            if total:
                return total / 1e9
        except OSError:
            pass
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024

    def take_precedence(self):
        """Gives the server precedence over all else on its CPU, but not to threads for the background, which
        are meant to yield to the one that answers. Says whether that is permitted."""
        base = f"/proc/{self.process.pid}/task"
        try:
            for thread in os.listdir(base):
                with open(f"{base}/{thread}/comm") as file:
                    background = file.read().startswith(("bio_", "jemalloc_bg", "purge"))
                if not background:
                    os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(5))
        except PermissionError:
            return False
        return True

    def settle(self, seconds=0.05):
        """Waits until the server has nothing to do but its clock: what was freed in the background is freed."""
        while True:
            before = self.cpu_seconds()
            time.sleep(seconds)
            if self.cpu_seconds() - before < seconds / 10:
                return

    def mesh(self):
        """The counters of INFO mesh summed over the cores; those that are missing are left out."""
        connection = Connection(self.port)
        text = connection.call("INFO", "mesh")
        connection.close()
        counters = {}
        for line in text.decode().splitlines() if isinstance(text, bytes) else []:
            match = re.match(r"(\w+):(.*)", line)
            if match:
                numbers = [int(number) for number in re.findall(r"\d+", match.group(2).split("=")[-1])]
                counters[match.group(1)] = sum(numbers)
        return counters
