//! The operating system as commands see it: [`Os`] over the runtime.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use crate::command::Os;
use crate::rt::sys::{self, Whose};
use crate::rt::{Counters, Purger, monotonic_ns_fresh};

/// What a core's commands ask of the loop that runs it. Shared between the two, on one thread.
#[derive(Default)]
pub(super) struct Requests {
    /// The loop's counters, brought up to date once per turn.
    pub counters: Cell<Counters>,
    /// SHUTDOWN was called.
    pub shutdown: Cell<bool>,
}

/// The operating system.
pub(super) struct System {
    requests: Rc<Requests>,
    purger: Purger,
    random: RefCell<crate::base::random::Random>,
}

impl System {
    pub(super) fn new(requests: Rc<Requests>, purger: Purger, seed: u64) -> System {
        System {
            requests,
            purger,
            random: RefCell::new(crate::base::random::Random::new(seed)),
        }
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl Os for System {
    fn resident_bytes(&self) -> u64 {
        sys::resident_bytes()
    }

    fn machine_memory_bytes(&self) -> u64 {
        sys::machine_memory_bytes()
    }

    fn cpu_seconds(&self) -> [f64; 4] {
        let own = sys::usage(Whose::Process);
        let children = sys::usage(Whose::Children);
        [
            own.system_us,
            own.user_us,
            children.system_us,
            children.user_us,
        ]
        .map(seconds)
    }

    fn thread_cpu_seconds(&self) -> [f64; 2] {
        let own = sys::usage(Whose::Thread);
        [own.system_us, own.user_us].map(seconds)
    }

    fn runtime_counters(&self) -> Vec<(&'static str, u64)> {
        let counters = self.requests.counters.get();
        vec![
            ("turns", counters.turns),
            ("system_calls", counters.system_calls),
            ("sleeps", counters.sleeps),
            ("mesh_messages", counters.messages_sent),
            ("mesh_wakeups", counters.wakes_sent),
            ("mesh_refusals", counters.messages_refused),
            ("socket_reads", counters.receives),
            ("socket_writes", counters.sends),
        ]
    }

    fn purge_memory(&self) {
        sys::purge_memory();
    }

    fn collect_memory(&self) {
        sys::collect_memory();
    }

    fn trim_memory(&self) {
        self.purger.ask();
    }

    fn allocator_report(&self) -> String {
        sys::allocator_report()
    }

    fn read_file(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn write_file(&self, path: &str, text: &str) -> Result<(), String> {
        sys::write_file_atomically(Path::new(path), text.as_bytes())
            .map_err(|error| error.to_string())
    }

    fn sleep(&self, ms: u64) {
        sys::sleep_ms(ms);
    }

    fn monotonic_ns(&self) -> u64 {
        monotonic_ns_fresh()
    }

    fn log_warning(&self, text: &str) {
        tracing::warn!("{text}");
    }

    fn shutdown(&self) {
        self.requests.shutdown.set(true);
    }

    fn random(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }
}
