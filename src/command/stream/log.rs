//! What followers are told of consumer groups: the outcome, record by record, since what a read delivers depends on times and on
//! who asks first.

use super::super::Effects;
use crate::structures::stream::{Group, Pending, StreamId};

/// Logs changes of one group. Made before the line changes anything: from then on the line itself is not logged.
pub(super) struct GroupLog<'a> {
    effects: &'a mut Effects,
    key: &'a [u8],
    group: &'a [u8],
}

impl<'a> GroupLog<'a> {
    pub(super) fn new(effects: &'a mut Effects, key: &'a [u8], group: &'a [u8]) -> GroupLog<'a> {
        effects.rewritten = true;
        GroupLog {
            effects,
            key,
            group,
        }
    }

    /// Something changed, whether or not followers are told.
    pub(super) fn changed(&mut self) {
        self.effects.dirty += 1;
    }

    /// An entry is pending as `pending` says; or it was, and its record is gone, which whoever claims it finds out.
    pub(super) fn claim(&mut self, group: &Group, id: StreamId, pending: Pending) {
        if !self.effects.logging {
            return;
        }
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        self.effects.log(&[
            b"XCLAIM",
            self.key,
            self.group,
            group.consumer(pending.consumer).name(),
            b"0",
            &id.text(),
            b"TIME",
            time.format(pending.delivered_ms).as_bytes(),
            b"RETRYCOUNT",
            count.format(pending.deliveries).as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &group.last_id.text(),
        ]);
    }

    /// How far the group has read.
    pub(super) fn set_id(&mut self, group: &Group) {
        if !self.effects.logging {
            return;
        }
        let mut read = itoa::Buffer::new();
        self.effects.log(&[
            b"XGROUP",
            b"SETID",
            self.key,
            self.group,
            &group.last_id.text(),
            b"ENTRIESREAD",
            read.format(group.read.unwrap_or(-1)).as_bytes(),
        ]);
    }

    /// There is a consumer that no claim names.
    pub(super) fn create_consumer(&mut self, name: &[u8]) {
        self.effects
            .log(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, name]);
    }
}
