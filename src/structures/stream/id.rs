//! The id of a record: a time in milliseconds and a number within it.

/// Two numbers of 20 digits and a minus.
const ID_TEXT_BYTES_MAX: usize = 41;

/// The id of a record. Ids of one stream only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970, if the server chose it.
    pub ms: u64,
    /// Tells records of one millisecond apart.
    pub seq: u64,
}

impl StreamId {
    /// `0-0`, which no record has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The last possible id.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// The id right behind this one; `None` behind the last.
    #[inline]
    pub fn next(self) -> Option<StreamId> {
        match (self.ms.checked_add(1), self.seq.checked_add(1)) {
            (_, Some(seq)) => Some(StreamId { seq, ..self }),
            (Some(ms), None) => Some(StreamId { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// The id right before this one; `None` before `0-0`.
    pub fn previous(self) -> Option<StreamId> {
        match (self.ms.checked_sub(1), self.seq.checked_sub(1)) {
            (_, Some(seq)) => Some(StreamId { seq, ..self }),
            (Some(ms), None) => Some(StreamId { ms, seq: u64::MAX }),
            (None, None) => None,
        }
    }

    /// The id as commands write it: `ms-seq`.
    #[inline]
    pub fn text(self) -> IdText {
        let mut text = IdText {
            bytes: [0; ID_TEXT_BYTES_MAX],
            len: 0,
        };
        let mut digits = itoa::Buffer::new();
        text.push(digits.format(self.ms).as_bytes());
        text.push(b"-");
        text.push(digits.format(self.seq).as_bytes());
        text
    }

    /// How far the id is from `master`, as a node stores it. The second number may wrap around.
    #[inline]
    pub(super) fn delta(self, master: StreamId) -> (i64, i64) {
        (
            self.ms.wrapping_sub(master.ms) as i64,
            self.seq.wrapping_sub(master.seq) as i64,
        )
    }

    /// The id that is as far from this one, a node's master, as [`StreamId::delta`] says.
    #[inline]
    pub(super) fn plus(self, (ms, seq): (i64, i64)) -> StreamId {
        StreamId {
            ms: self.ms.wrapping_add(ms as u64),
            seq: self.seq.wrapping_add(seq as u64),
        }
    }
}

/// An id in writing. Derefs to the bytes.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; ID_TEXT_BYTES_MAX],
    len: u8,
}

impl IdText {
    #[inline]
    fn push(&mut self, part: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
    }
}

impl std::ops::Deref for IdText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn neighbours_carry_over() {
        assert_eq!(id(1, 2).next(), Some(id(1, 3)));
        assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(id(1, 2).previous(), Some(id(1, 1)));
        assert_eq!(id(2, 0).previous(), Some(id(1, u64::MAX)));
        assert_eq!(StreamId::MIN.previous(), None);
    }

    #[test]
    fn the_longest_id_has_room() {
        let text = StreamId::MAX.text();
        assert_eq!(*text, *StreamId::MAX.to_string().as_bytes());
        assert_eq!(*id(1, 0).text(), *b"1-0");
    }

    #[test]
    fn deltas_lead_back() {
        for (master, other) in [
            (id(5, 100), id(6, 3)),
            (id(0, 1), StreamId::MAX),
            (id(7, 7), id(7, 7)),
        ] {
            assert_eq!(master.plus(other.delta(master)), other);
        }
    }
}
