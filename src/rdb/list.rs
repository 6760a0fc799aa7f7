//! Lists.
//!
//! ```text
//!   LIST              count | element …
//!   LIST_ZIPLIST      ziplist
//!   LIST_QUICKLIST    count | ziplist …
//!   LIST_QUICKLIST_2  count | 1, large element or 2, listpack …        what is written
//! ```

use super::blob::ziplist;
use super::cursor::Cursor;
use super::encode::{Encoder, push_length};
use super::error::{Error, Problem};
use super::grammar::kind;
use crate::structures::list::{End, List, NodeLimit};
use crate::structures::listpack::{Element, Listpack};

/// A node of a quicklist that is one large element.
const NODE_PLAIN: u64 = 1;
/// A node that is a listpack.
const NODE_PACKED: u64 = 2;

/// Reads a list.
pub(super) fn read(type_: u8, cursor: &mut Cursor<'_>, limit: NodeLimit) -> Result<List, Error> {
    let start = cursor.clone();
    let mut list = List::default();
    match type_ {
        kind::LIST => {
            for _ in 0..cursor.count(1)? {
                element(&mut list, cursor, limit)?;
            }
        }
        kind::LIST_ZIPLIST => elements(&mut list, cursor, limit)?,
        kind::LIST_QUICKLIST => {
            for _ in 0..cursor.count(1)? {
                elements(&mut list, cursor, limit)?;
            }
        }
        _ => {
            for _ in 0..cursor.count(2)? {
                let at = cursor.clone();
                match cursor.length()? {
                    NODE_PLAIN => element(&mut list, cursor, limit)?,
                    NODE_PACKED => list.push_node(cursor.listpack()?),
                    _ => return Err(at.error(Problem::Corrupt("list"))),
                }
            }
        }
    }
    if list.is_empty() {
        return Err(start.error(Problem::Empty("list")));
    }
    list.compact(limit, false);
    Ok(list)
}

/// Reads an element.
fn element(list: &mut List, cursor: &mut Cursor<'_>, limit: NodeLimit) -> Result<(), Error> {
    let start = cursor.clone();
    let text = cursor.text()?;
    push(list, text.element(), limit).map_err(|problem| start.error(problem))
}

/// Reads the elements of a ziplist.
fn elements(list: &mut List, cursor: &mut Cursor<'_>, limit: NodeLimit) -> Result<(), Error> {
    let (blob, start) = cursor.blob()?;
    ziplist::elements(&blob)
        .and_then(|mut elements| elements.try_for_each(|element| push(list, element?, limit)))
        .map_err(|problem| start.error(problem))
}

fn push(list: &mut List, element: Element<'_>, limit: NodeLimit) -> Result<(), Problem> {
    let mut digits = itoa::Buffer::new();
    let bytes = element.to_bytes(&mut digits);
    if !Listpack::new().would_fit(bytes.len()) {
        return Err(Problem::Length(bytes.len() as u64));
    }
    list.make_room(bytes.len(), 1, limit);
    list.push(End::Back, bytes, limit);
    Ok(())
}

/// Appends a list and returns its type.
pub(super) fn write(list: &List, encoder: &mut Encoder, out: &mut Vec<u8>) -> u8 {
    let mut node = |listpack: &Listpack, out: &mut Vec<u8>| {
        push_length(NODE_PACKED, out);
        encoder.string(listpack.as_bytes(), out);
    };
    if let Some(listpack) = list.listpack() {
        push_length(1, out);
        node(listpack, out);
    } else if let Some(nodes) = list.nodes() {
        push_length(nodes.len() as u64, out);
        for each in nodes {
            node(each.pack(), out);
        }
    }
    kind::LIST_QUICKLIST_2
}
