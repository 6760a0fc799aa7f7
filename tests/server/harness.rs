//! Starts and stops servers for tests: ours, and the real Redis beside it.
//!
//! - A server listens on a port that was free a moment ago; when somebody else was faster it is started again.
//! - It works in a directory of its own, which goes with it.
//! - It is killed by its process id when the test ends, however the test ends; a failing test shows its log.
//!
//! `SHARDINE_TEST_SERVER=PROGRAM` runs the tests against another server, to judge the tests themselves:
//! with `redis-server`, all that does not ask for Shardine's own ways must pass.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::peers;
use super::wire::{REPLY_TIMEOUT, Wire};

/// How long a server may take until it accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; the test fails with `what` after `timeout`.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port on the loopback address")
        .port()
}

/// The server under test.
pub fn program() -> PathBuf {
    std::env::var_os("SHARDINE_TEST_SERVER")
        .map_or_else(|| env!("CARGO_BIN_EXE_shardine").into(), PathBuf::from)
}

/// The server under test is Redis itself, which lacks Shardine's parameters and INFO fields.
pub fn judging_the_tests() -> bool {
    std::env::var_os("SHARDINE_TEST_SERVER").is_some()
}

/// What a server that ended by itself left behind.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Both streams.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs the server under test with exactly these arguments until it ends by itself.
#[track_caller]
pub fn run(args: &[&str]) -> Outcome {
    run_command(command(args))
}

/// The same command run by `wrapper` (a program that execs its remaining arguments, so that the id stays).
pub fn wrapped(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped
        .args(&wrapper[1..])
        .arg(command.get_program())
        .args(command.get_args());
    wrapped
}

/// The server under test with these arguments, not yet started.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(own_args(args));
    command
}

/// Runs a command until it ends by itself; kills it and fails the test when it takes too long.
#[track_caller]
pub fn run_command(mut command: Command) -> Outcome {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("stdout");
    let err = dir.path().join("stderr");
    let file = |path: &Path| File::create(path).expect("a file in the temporary directory");
    let mut child = command
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(file(&out))
        .stderr(file(&err))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + START_TIMEOUT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{command:?} did not end by itself: {}",
                text(&out) + &text(&err)
            );
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    Outcome {
        status,
        stdout: text(&out),
        stderr: text(&err),
    }
}

/// The arguments as the program under test takes them: Redis knows nothing of shards.
fn own_args<'a>(args: &[&'a str]) -> Vec<&'a str> {
    if !judging_the_tests() {
        return args.to_vec();
    }
    let mut kept = vec![];
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if *arg == "--shards" {
            rest.next();
        } else {
            kept.push(*arg);
        }
    }
    kept
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// A running server.
pub struct Server {
    child: Child,
    /// The port on the loopback address.
    pub port: u16,
    dir: TempDir,
    name: String,
    /// What it was started with.
    command: Vec<std::ffi::OsString>,
}

impl Server {
    /// The server under test with `args` after its port; it runs when this returns.
    #[track_caller]
    pub fn start(args: &[&str]) -> Server {
        let program = program();
        let mut args = own_args(args);
        if judging_the_tests() {
            args.extend(["--save", ""]);
        }
        Server::start_program(&program, &args, |command| command)
    }

    /// The server under test, with its command changed before it starts (a wrapper, limits, environment).
    #[track_caller]
    pub fn start_with(args: &[&str], change: impl Fn(Command) -> Command) -> Server {
        Server::start_program(&program(), &own_args(args), change)
    }

    /// The real Redis, without persistence; `None` (said loudly) when it is not installed.
    #[track_caller]
    pub fn redis(args: &[&str]) -> Option<Server> {
        let program = peers::require("redis-server")?;
        let mut all = vec!["--save", "", "--appendonly", "no", "--loglevel", "warning"];
        all.extend(args);
        Some(Server::start_program(&program, &all, |command| command))
    }

    /// The real Redis with exactly the arguments that `args` makes of its port; `None` (said loudly) when it is not installed.
    #[track_caller]
    pub fn redis_exactly(args: impl Fn(u16) -> Vec<String>) -> Option<Server> {
        let program = peers::require("redis-server")?;
        Some(Server::start_on_free_port(&program, args, |command| {
            command
        }))
    }

    /// The server under test with exactly the arguments that `args` makes of its port.
    #[track_caller]
    pub fn start_exactly(args: impl Fn(u16) -> Vec<String>) -> Server {
        Server::start_on_free_port(&program(), args, |command| command)
    }

    #[track_caller]
    fn start_program(program: &Path, args: &[&str], change: impl Fn(Command) -> Command) -> Server {
        let with_port = |port: u16| {
            let port = port.to_string();
            let all = ["--port", &port].into_iter().chain(args.iter().copied());
            all.map(str::to_owned).collect()
        };
        Server::start_on_free_port(program, with_port, change)
    }

    #[track_caller]
    fn start_on_free_port(
        program: &Path,
        args: impl Fn(u16) -> Vec<String>,
        change: impl Fn(Command) -> Command,
    ) -> Server {
        let mut log = String::new();
        for _ in 0..5 {
            let port = free_port();
            let dir = tempfile::tempdir().expect("a temporary directory");
            let out = File::create(dir.path().join("log")).expect("a log file");
            let err = out.try_clone().expect("a second handle of the log file");
            let mut command = Command::new(program);
            command.args(args(port));
            let mut command = change(command);
            command
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err);
            let child = command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}"));
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let mut server = Server {
                child,
                port,
                dir,
                name: program.display().to_string(),
                command: words.map(Into::into).collect(),
            };
            if server.wait_until_ready() {
                return server;
            }
            log = server.log();
            let taken = log.to_lowercase();
            if !taken.contains("in use") && !taken.contains("taken") {
                break;
            }
        }
        panic!("{program:?} ended instead of serving:\n{log}");
    }

    /// True when the server accepts connections, false when it ended.
    #[track_caller]
    fn wait_until_ready(&mut self) -> bool {
        let mut ended = false;
        let what = format!("{} accepts connections on port {}", self.name, self.port);
        wait_until(&what, START_TIMEOUT, || {
            ended = self.ended().is_some();
            ended || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
        !ended
    }

    /// Ends the server without warning (`kill -9`).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after its end, on its port and in its directory.
    #[track_caller]
    pub fn start_again(&mut self) {
        let log = File::options()
            .append(true)
            .open(self.dir.path().join("log"));
        let out = log.expect("the log file");
        let err = out.try_clone().expect("a second handle of the log file");
        self.child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        assert!(self.wait_until_ready(), "it does not start again");
    }

    /// The exit status when the server has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be waited for")
    }

    /// Waits for the server's end; the test fails after `timeout`.
    #[track_caller]
    pub fn wait_for_end(&mut self, timeout: Duration) -> ExitStatus {
        wait_until("the server ends", timeout, || self.ended().is_some());
        self.ended().expect("it has ended")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .expect("the server can be signalled");
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        text(&self.dir.path().join("log"))
    }

    /// The directory that it works in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A new connection.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        Wire::connect(self.port)
    }

    /// A new connection of the `redis` crate.
    #[track_caller]
    pub fn client(&self) -> redis::Connection {
        let connection = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port))
            .and_then(|client| client.get_connection_with_timeout(REPLY_TIMEOUT))
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", self.name));
        connection
            .set_read_timeout(Some(REPLY_TIMEOUT))
            .expect("a read timeout");
        connection
    }

    /// The output of redis-cli with `args`; `None` when it is not installed.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Option<String> {
        self.cli_with_input(args, b"")
    }

    /// The output of redis-cli with `args`, fed with `input`.
    #[track_caller]
    pub fn cli_with_input(&self, args: &[&str], input: &[u8]) -> Option<String> {
        self.tool("redis-cli", args, input)
    }

    /// The output (both streams) of one of Redis's tools on this server; it must end within a minute.
    #[track_caller]
    pub fn tool(&self, tool: &str, args: &[&str], input: &[u8]) -> Option<String> {
        self.tool_until(tool, args, input, |_| false)
    }

    /// As [`Server::tool`], for a tool that runs for ever: it is ended when its output is `enough`.
    #[track_caller]
    pub fn tool_until(
        &self,
        tool: &str,
        args: &[&str],
        input: &[u8],
        enough: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let program = peers::require(tool)?;
        let out_path = self.dir.path().join(format!("{tool}.out"));
        let in_path = self.dir.path().join(format!("{tool}.in"));
        std::fs::write(&in_path, input).expect("the tool's input");
        let out = File::create(&out_path).expect("the tool's output");
        let err = out.try_clone().expect("a second handle");
        let mut child = Command::new(program)
            .args(["-p", &self.port.to_string()])
            .args(args)
            .stdin(File::open(&in_path).expect("the tool's input"))
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{tool}: {error}"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while child
            .try_wait()
            .expect("the tool can be waited for")
            .is_none()
        {
            let shown = enough(&text(&out_path));
            if shown || Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                assert!(shown, "{tool} {args:?} did not end: {}", text(&out_path));
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Some(text(&out_path))
    }

    /// One field of INFO.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let text = self.wire().run("INFO everything").text();
        text.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("no field {field} in INFO:\n{text}"))
            .to_owned()
    }

    /// A field of `/proc/PID/status` in bytes (`VmRSS`, `RssAnon` …).
    #[track_caller]
    pub fn memory_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the server's status");
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no {field} in {status}"))
            * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("log of {} on port {}:\n{tail}", self.name, self.port);
        }
    }
}
