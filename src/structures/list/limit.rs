//! How large a node of a list may become: the parameter `list-max-listpack-size`.

/// With a limit on elements, the bytes are limited all the same.
const SAFETY_BYTES_MAX: usize = 8192;

/// What Redis adds to an element's length when it asks whether a node has room for it.
const ELEMENT_OVERHEAD_BYTES: usize = 8;

/// The limits -1 to -5.
const BYTES_MAX: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];

/// The most that a node may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeLimit {
    /// Bytes of its listpack.
    Bytes(usize),
    /// Elements.
    Count(usize),
}

impl NodeLimit {
    /// The limit that the parameter's value stands for: elements, or below zero one of five sizes.
    #[inline]
    pub fn from_setting(setting: i64) -> NodeLimit {
        if setting >= 0 {
            return NodeLimit::Count(setting.max(1) as usize);
        }
        let level = (setting.unsigned_abs() as usize - 1).min(BYTES_MAX.len() - 1);
        NodeLimit::Bytes(BYTES_MAX[level])
    }

    /// A listpack of `bytes` bytes and `count` elements is not too large.
    #[inline]
    pub(super) fn allows(self, bytes: usize, count: usize) -> bool {
        match self {
            NodeLimit::Bytes(max) => bytes <= max,
            NodeLimit::Count(max) => bytes <= SAFETY_BYTES_MAX && count <= max,
        }
    }

    /// A node of `bytes` bytes and `count` elements has room for `extra` bytes more in one element.
    #[inline]
    pub(super) fn has_room(self, bytes: usize, count: usize, extra: usize) -> bool {
        self.allows(
            bytes
                .saturating_add(extra)
                .saturating_add(ELEMENT_OVERHEAD_BYTES),
            count + 1,
        )
    }

    /// A full list of one node with this much becomes compact; a list that shrinks only when it has come down to half of the limit, so
    /// that it does not go to and fro.
    #[inline]
    pub(super) fn allows_compact(self, bytes: usize, count: usize, shrinking: bool) -> bool {
        let part = if shrinking { 2 } else { 1 };
        match self {
            NodeLimit::Bytes(max) => bytes <= max / part,
            NodeLimit::Count(max) => count <= max / part,
        }
    }
}
