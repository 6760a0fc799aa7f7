//! All commands of a node, found by name. Built once at start from the families' tables, then only read.
//!
//! Names are at most [`NAME_BYTES_MAX`] bytes, so a name is one 128-bit number with its case folded, and the
//! look-up is a multiply, one probe and one compare.

use super::{Command, Run};
use crate::resp::Line;

/// The longest command name.
pub const NAME_BYTES_MAX: usize = 24;

/// Slots of the look-up table; a power of two, sparse enough for one probe in nearly all cases.
const SLOTS: usize = 1024;

/// Index of a command or subcommand in its [`Registry`]; counters are kept under it.
pub type CommandId = u16;

/// A name with its case folded, as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Folded([u64; 3]);

impl Folded {
    #[inline]
    fn new(name: &[u8]) -> Option<Folded> {
        if name.len() > NAME_BYTES_MAX || name.is_empty() {
            return None;
        }
        let mut words = [0u64; 3];
        for (word, chunk) in words.iter_mut().zip(name.chunks(8)) {
            *word = fold(word_of(chunk));
        }
        Some(Folded(words))
    }

    #[inline]
    fn slot(self) -> usize {
        let [a, b, c] = self.0;
        let mixed = (a ^ b.rotate_left(29) ^ c.rotate_left(43)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 54) as usize & (SLOTS - 1)
    }
}

/// One to eight bytes as a number, without a copy through memory: a command is found for every line.
#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    let four = |at: usize| {
        u64::from(u32::from_le_bytes([
            bytes[at],
            bytes[at + 1],
            bytes[at + 2],
            bytes[at + 3],
        ]))
    };
    match bytes.len() {
        0 => 0,
        1 => u64::from(bytes[0]),
        2 | 3 => {
            let last = bytes.len() - 1;
            u64::from(bytes[0]) | u64::from(bytes[1]) << 8 | u64::from(bytes[last]) << (8 * last)
        }
        len => four(0) | four(len - 4) << (8 * (len - 4)),
    }
}

/// Upper-case ASCII letters of eight bytes to lower case.
#[inline]
fn fold(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let heptets = word & (0x7f * ONES);
    let above_z = heptets + (0x7f - b'Z' as u64) * ONES;
    let from_a = heptets + (0x80 - b'A' as u64) * ONES;
    let ascii = !word & (0x80 * ONES);
    let upper = ascii & (from_a ^ above_z);
    word | (upper >> 2)
}

/// A command in the registry.
pub struct Registered {
    /// The row.
    pub command: &'static Command,
    /// The ids of its subcommands, in the order of the rows.
    pub subcommands: Vec<CommandId>,
    /// The container of a subcommand.
    pub parent: Option<CommandId>,
    /// The argument of the only key, where the row says that there is at most one.
    pub only_key: Option<usize>,
}

/// All commands of a node.
pub struct Registry {
    all: Vec<Registered>,
    slots: Vec<(Folded, CommandId)>,
}

impl Registry {
    /// Builds the registry. Panics on two rows of one name: tables are constants, a start finds it.
    pub fn new(tables: &[&'static [Command]]) -> Registry {
        let mut registry = Registry {
            all: Vec::new(),
            slots: vec![(Folded::default(), 0); SLOTS],
        };
        for command in tables.iter().copied().flatten() {
            let id = registry.add(command, None);
            let folded = Folded::new(command.name.as_bytes()).expect("a command's name is short");
            let mut slot = folded.slot();
            while registry.slots[slot].0 != Folded::default() {
                assert!(
                    registry.slots[slot].0 != folded,
                    "two rows for {}",
                    command.name
                );
                slot = (slot + 1) % SLOTS;
            }
            registry.slots[slot] = (folded, id);
            for subcommand in command.subcommands {
                let sub = registry.add(subcommand, Some(id));
                registry.all[id as usize].subcommands.push(sub);
            }
        }
        registry
    }

    fn add(&mut self, command: &'static Command, parent: Option<CommandId>) -> CommandId {
        use super::{Begin, Find};
        let only_key = match command.keys {
            [spec] if spec.db.is_none() && command.other_db.is_none() => {
                match (spec.begin, spec.find) {
                    (Begin::Index(index), Find::Range { last: 0, .. }) => Some(index),
                    _ => None,
                }
            }
            _ => None,
        };
        self.all.push(Registered {
            command,
            subcommands: Vec::new(),
            parent,
            only_key,
        });
        CommandId::try_from(self.all.len() - 1).expect("fewer than 65,536 commands")
    }

    /// The command of that name in any case, without subcommands.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<CommandId> {
        let folded = Folded::new(name)?;
        let mut slot = folded.slot();
        loop {
            let (at, id) = self.slots[slot];
            if at == folded {
                return Some(id);
            }
            if at == Folded::default() {
                return None;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The subcommand `name` of the container `id`.
    pub fn find_subcommand(&self, id: CommandId, name: &[u8]) -> Option<CommandId> {
        let container = &self.all[id as usize];
        container.subcommands.iter().copied().find(|&sub| {
            let full = self.all[sub as usize].command.name;
            let own = &full[container.command.name.len() + 1..];
            own.as_bytes().eq_ignore_ascii_case(name)
        })
    }

    /// What runs for a line: the command, or the subcommand when its first argument names one of a container's.
    pub fn resolve(&self, line: &Line<'_>) -> Option<CommandId> {
        let id = self.find(line.arg(0))?;
        if self.all[id as usize].subcommands.is_empty() || line.len() < 2 {
            return Some(id);
        }
        match self.find_subcommand(id, line.arg(1)) {
            Some(sub) => Some(sub),
            None if matches!(self.all[id as usize].command.run, Run::Container) => None,
            None => Some(id),
        }
    }

    /// The command under an id.
    #[inline]
    pub fn get(&self, id: CommandId) -> &Registered {
        &self.all[id as usize]
    }

    /// All commands and subcommands; the index is the id.
    pub fn all(&self) -> &[Registered] {
        &self.all
    }

    /// The commands without the subcommands, in the order of the tables.
    pub fn commands(&self) -> impl Iterator<Item = (CommandId, &Registered)> {
        self.all
            .iter()
            .enumerate()
            .filter(|(_, registered)| registered.parent.is_none())
            .map(|(id, registered)| (id as CommandId, registered))
    }
}
