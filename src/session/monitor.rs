//! MONITOR: every line that runs is shown to the monitors of all cores.

use std::io::Write as _;
use std::sync::Arc;

use super::Core;
use crate::command::{Client, Command, flag};
use crate::mesh::Message;
use crate::resp::Line;

impl Core {
    /// Shows a line to all monitors of the node.
    #[cold]
    pub(super) fn feed_monitors(&mut self, client: &Client, command: &Command, line: &Line<'_>) {
        self.feed_monitors_in(client.db, client, command, line);
    }

    /// As [`Core::feed_monitors`], of a line that ran in the database `db`.
    pub(super) fn feed_monitors_in(
        &mut self,
        db: usize,
        client: &Client,
        command: &Command,
        line: &Line<'_>,
    ) {
        if command.flags & (flag::SKIP_MONITOR | flag::ADMIN) != 0 {
            return;
        }
        let shown: Arc<[u8]> =
            format_line(self.now.wall_us, db, client, command.shown_args(*line)).into();
        for core in 0..self.place.count {
            if core != self.place.index && self.monitors[core] > 0 {
                self.send(core, Message::Monitor(shown.clone()));
            }
        }
        self.feed_own_monitors(&shown);
    }

    /// A session of this core became a monitor, or is one no more.
    pub(super) fn monitors_changed(&mut self, by: i32) {
        let count = self.monitors[self.place.index].saturating_add_signed(by);
        for core in 0..self.place.count {
            if core != self.place.index {
                self.send(core, Message::Monitors(count));
            }
        }
        self.set_monitors(self.place.index, count);
    }

    /// So many sessions of `core` are monitors.
    pub(super) fn set_monitors(&mut self, core: usize, count: u32) {
        self.monitors[core] = count;
        self.monitored = self.monitors.iter().any(|&count| count > 0);
    }

    /// Shows a line to this core's monitors.
    pub(super) fn feed_own_monitors(&mut self, shown: &[u8]) {
        for id in self.sessions.monitors() {
            let mut session = self.sessions.take(id).expect("a monitor is in its place");
            if session.slots.is_empty() {
                session.out.extend(shown);
            } else {
                let mut out = crate::resp::Output::default();
                out.extend(shown);
                session.stage(&out, 0..shown.len());
            }
            self.check_output_limit(&mut session);
            self.touch(&mut session);
            self.sessions.put(session);
        }
    }
}

/// A line as MONITOR shows it: `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`.
fn format_line<'a>(
    wall_us: i64,
    db: usize,
    client: &Client,
    args: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(64);
    let addr = if client.unix {
        format!("unix:{}", client.laddr)
    } else {
        client.addr.to_string()
    };
    // Writing to a Vec cannot fail.
    let _ = write!(
        text,
        "+{}.{:06} [{} {}]",
        wall_us / 1_000_000,
        wall_us % 1_000_000,
        db,
        addr
    );
    for arg in args {
        text.extend_from_slice(b" \"");
        for &byte in arg {
            match byte {
                b'\\' | b'"' => text.extend_from_slice(&[b'\\', byte]),
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\r' => text.extend_from_slice(b"\\r"),
                b'\t' => text.extend_from_slice(b"\\t"),
                7 => text.extend_from_slice(b"\\a"),
                8 => text.extend_from_slice(b"\\b"),
                b' '..=b'~' => text.push(byte),
                _ => {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            }
        }
        text.push(b'"');
    }
    text.extend_from_slice(b"\r\n");
    text
}
