//! From a list of cores to running threads and back: every thread makes what may fail first, and only when
//! all of them could does the first core run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use glommio::{
    CpuLocation, CpuSet, GlommioError, LocalExecutor, LocalExecutorBuilder, Placement,
    PoolPlacement,
};

use super::driver::{Driver, Parts};
use super::mesh::{Inbound, Outbound, mesh};
use super::net::Listener;
use super::probe;
use super::signals::Blocked;
use super::{Core, Options};

/// glommio sets aside at least this much per executor for its own file I/O, which is not used.
const IO_MEMORY_BYTES: usize = 65_536;
/// Entries of glommio's three rings, which carry one timer and one poll: small, for the sake of locked memory.
pub(super) const RING_DEPTH: usize = 8;
/// Far away: see the head of the module on preemption.
const PREEMPT_TIMER: Duration = Duration::from_secs(3_600);

/// One core to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreSpec {
    /// The thread's name: at most 15 bytes show in ps and top.
    pub name: String,
    /// The CPU to pin it to; none leaves it to the scheduler.
    pub cpu: Option<usize>,
}

/// Why the cores could not start. Each is one sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("there must be at least one core")]
    NoCores,
    #[error("Linux {needed} or newer is needed, but this is {found}")]
    KernelTooOld { needed: String, found: String },
    #[error("this kernel was built without io_uring, which is needed")]
    IoUringMissing,
    /// The administrator's switch.
    #[error(
        "io_uring is needed, but the sysctl kernel.io_uring_disabled is {value}: set it to 0 (sysctl -w kernel.io_uring_disabled=0)"
    )]
    IoUringDisabled { value: u32 },
    /// Allowed by the kernel's settings and refused all the same.
    #[error(
        "io_uring is needed, but a seccomp profile blocks it (the default one of a container runtime, for example): allow io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt seccomp=…)"
    )]
    IoUringBlocked,
    #[error("io_uring is needed, but setting it up fails: {0}")]
    IoUring(std::io::Error),
    /// See the probe: what counts as locked depends on the kernel.
    #[error(
        "{core_count} core(s) need {needed_bytes} bytes of locked memory, and the limit (RLIMIT_MEMLOCK, shared by all processes of this user) is {limit_bytes}: raise it with ulimit -l {} or LimitMEMLOCK={raise_to_bytes} in the systemd unit",
        raise_to_bytes / 1024
    )]
    MemlockTooLow {
        core_count: usize,
        needed_bytes: u64,
        limit_bytes: u64,
        raise_to_bytes: u64,
    },
    #[error("CPU {cpu} is not among the CPUs that this process may use ({available})")]
    CpuNotAvailable { cpu: usize, available: String },
    #[error("the executor of {core} could not be made: {message}")]
    Executor { core: String, message: String },
    #[error("{core} could not be started: {source}")]
    Thread {
        core: String,
        source: std::io::Error,
    },
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: std::io::Error,
    },
}

/// Runs a node: one thread per element of `cores`, each with the core that `make` builds for its index inside
/// the thread. Core 0 gets the listeners and, if asked for, the signals. Returns when every core has stopped.
///
/// A panic in a core aborts the process after its message.
pub fn run<C, F>(
    cores: &[CoreSpec],
    make: F,
    listeners: Vec<Listener>,
    options: &Options,
) -> Result<(), StartError>
where
    C: Core,
    F: Fn(usize) -> C + Send + Clone + 'static,
{
    if cores.is_empty() {
        return Err(StartError::NoCores);
    }
    probe::probe(cores.len())?;
    super::clock::calibrate_ticks();
    let cpus: Vec<usize> = cores.iter().filter_map(|core| core.cpu).collect();
    probe::check_cpus(&cpus)?;
    // Before the threads, which inherit the mask; restored when all of them are gone.
    let _blocked = options
        .signals
        .then(Blocked::new)
        .transpose()
        .map_err(|source| StartError::System {
            what: "signals cannot be blocked",
            source,
        })?;
    let ends = mesh::<C::Message>(cores.len(), options.ring_capacity).map_err(|errno| {
        StartError::System {
            what: "the event descriptors of the cores cannot be made",
            source: errno.into(),
        }
    })?;

    let (report, reports) = channel();
    let mut threads = Vec::with_capacity(cores.len());
    let mut listeners = Some(listeners);
    let mut failed = None;
    for (index, (spec, ends)) in cores.iter().zip(ends).enumerate() {
        let seat = Seat {
            index,
            spec: spec.clone(),
            ends,
            listeners: listeners.take().unwrap_or_default(),
            options: options.clone(),
        };
        match seat.start(make.clone(), report.clone()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(report);
    while let Ok(outcome) = reports.recv() {
        if let Err(error) = outcome {
            failed.get_or_insert(error);
        }
    }
    // Every thread has reported and waits at its gate: open all of them, or drop all of them.
    for (_, gate) in &threads {
        if failed.is_none() {
            // A thread waits for this word, and reported that it could; it cannot be gone.
            gate.send(()).expect("a core waits at its gate");
        }
    }
    for (thread, gate) in threads {
        drop(gate);
        // A panic in a thread has aborted the process: this can only succeed.
        let _ = thread.join();
    }
    failed.map_or(Ok(()), Err)
}

/// What one thread takes with it.
struct Seat<M> {
    index: usize,
    spec: CoreSpec,
    ends: (Outbound<M>, Inbound<M>),
    listeners: Vec<Listener>,
    options: Options,
}

type Started = (JoinHandle<()>, Sender<()>);

impl<M: Send + 'static> Seat<M> {
    /// Starts the thread. It reports once whether it has all that it needs, dropping `report` with that, and
    /// goes on when the gate opens.
    fn start<C, F>(
        self,
        make: F,
        report: Sender<Result<(), StartError>>,
    ) -> Result<Started, StartError>
    where
        C: Core<Message = M>,
        F: Fn(usize) -> C + Send + 'static,
    {
        let (gate, open) = channel();
        let name = self.spec.name.clone();
        let thread = Builder::new()
            .name(name.clone())
            .spawn(move || abort_on_panic(|| self.sit(make, report, &open)))
            .map_err(|source| StartError::Thread { core: name, source })?;
        Ok((thread, gate))
    }

    fn sit<C, F>(self, make: F, report: Sender<Result<(), StartError>>, open: &Receiver<()>)
    where
        C: Core<Message = M>,
        F: Fn(usize) -> C,
    {
        let with_signals = self.options.signals && self.index == 0;
        let made = executor(&self.spec, self.ends.0.core_count()).and_then(|executor| {
            let parts = Parts::new(self.index, self.ends, self.listeners, with_signals);
            let parts = parts.map_err(|source| StartError::Thread {
                core: self.spec.name.clone(),
                source,
            })?;
            Ok((executor, parts))
        });
        let (executor, parts) = match made {
            Ok(made) => made,
            Err(error) => {
                // The starter listens until every reporter is gone.
                let _ = report.send(Err(error));
                return;
            }
        };
        let _ = report.send(Ok(()));
        drop(report);
        if open.recv().is_err() {
            // Another core could not start.
            return;
        }
        let index = self.index;
        let options = self.options;
        executor.run(async move {
            // Caught here already: a panic must not unwind through the executor's frames.
            abort_on_panic(|| Driver::new(make(index), parts, options).run());
        });
    }
}

/// One executor, without any of the machinery that is not used here.
fn executor(spec: &CoreSpec, core_count: usize) -> Result<LocalExecutor, StartError> {
    let placement = match spec.cpu {
        None => Placement::Unbound,
        // A set made by hand: glommio's own placement by number reads the machine's topology from /sys, and
        // panics where a sandbox hides that. Only `cpu` is used to bind.
        Some(cpu) => Placement::Fenced(CpuSet::from_iter([CpuLocation {
            cpu,
            core: 0,
            package: 0,
            numa_node: 0,
        }])),
    };
    LocalExecutorBuilder::new(placement)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER)
        // No threads at all: `Unbound(0)` would be refused.
        .blocking_thread_pool_placement(PoolPlacement::Custom(Vec::new()))
        .make()
        .map_err(|error| match &error {
            GlommioError::IoError(cause) if cause.raw_os_error() == Some(libc::ENOMEM) => {
                probe::memlock_too_low(core_count)
            }
            _ => StartError::Executor {
                core: spec.name.clone(),
                message: error.to_string(),
            },
        })
}

fn abort_on_panic(body: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a core").to_owned();
        tracing::error!("{name} panicked, the process ends: {}", text(&*panic));
        std::process::abort();
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
