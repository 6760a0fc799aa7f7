//! How CLIENT LIST and CLIENT INFO show a client, and which clients CLIENT LIST and CLIENT KILL mean.

use std::fmt::Write as _;

use super::client_tracking::shown_redirect;
use super::{Client, Close, Fault};
use crate::base::number::parse_i64;
use crate::pubsub::Kind;
use crate::resp::Line;
use crate::tracking::Mode;

/// The kinds of clients that the filters know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// A plain client, a MONITOR included.
    Normal,
    /// The leader of this node.
    Master,
    /// A follower of this node.
    Replica,
    /// A subscriber.
    Pubsub,
}

impl ClientType {
    /// The type that an argument names.
    pub fn parse(name: &[u8]) -> Result<ClientType, Fault> {
        let known = [
            ("normal", ClientType::Normal),
            ("slave", ClientType::Replica),
            ("replica", ClientType::Replica),
            ("pubsub", ClientType::Pubsub),
            ("master", ClientType::Master),
        ];
        match known
            .iter()
            .find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes()))
        {
            Some((_, kind)) => Ok(*kind),
            None => Err(Fault::showing("ERR Unknown client type '{}'", &[name])),
        }
    }

    /// The type of a client.
    pub fn of(client: &Client) -> ClientType {
        if client.leader {
            ClientType::Master
        } else if client.follows {
            ClientType::Replica
        } else if client.is_subscriber() {
            ClientType::Pubsub
        } else {
            ClientType::Normal
        }
    }
}

/// Appends a client's line, without a line end.
pub fn describe(client: &Client, now_ms: i64, out: &mut Vec<u8>) {
    let mut head = String::with_capacity(320);
    let seconds_since = |ms: i64| (now_ms - ms).max(0) / 1000;
    let _ = write!(
        head,
        "id={} addr={} laddr={} fd={} name=",
        client.id, client.addr, client.laddr, client.fd
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&client.name);
    head.clear();
    let _ = write!(
        head,
        " age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={}",
        seconds_since(client.created_ms),
        seconds_since(client.active_ms),
        flags(client),
        client.db,
        client.subscribed(Kind::Channel),
        client.subscribed(Kind::Pattern),
        client.subscribed(Kind::ShardChannel),
        client.multi.map_or(-1, i64::from),
        client.watching,
    );
    let free = client
        .query_capacity_bytes
        .saturating_sub(client.query_bytes);
    let events = if client.output_bytes > 0 { "rw" } else { "r" };
    let _ = write!(
        head,
        " qbuf={} qbuf-free={free} argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} \
         events={events} cmd={} user={} redir={} resp={}",
        client.query_bytes,
        client.output_bytes,
        client.output_bytes,
        client.memory_bytes,
        client.last_command.map_or("NULL", |command| command.name),
        client.user,
        shown_redirect(client),
        client.proto.number(),
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b" lib-name=");
    out.extend_from_slice(&client.lib_name);
    out.extend_from_slice(b" lib-ver=");
    out.extend_from_slice(&client.lib_version);
}

fn flags(client: &Client) -> String {
    let tracking = client.tracking.as_deref();
    let flags = [
        (client.follows, 'S'),
        (client.leader, 'M'),
        (client.monitor, 'O'),
        (client.is_subscriber(), 'P'),
        (client.multi.is_some(), 'x'),
        (client.blocked, 'b'),
        (tracking.is_some(), 't'),
        (tracking.is_some_and(|tracking| tracking.broken), 'R'),
        (
            tracking.is_some_and(|tracking| tracking.mode == Mode::Broadcast),
            'B',
        ),
        (client.close == Some(Close::AfterReply), 'c'),
        (client.close == Some(Close::Now), 'A'),
        (client.unix, 'U'),
        (client.no_evict, 'e'),
        (client.no_touch, 'T'),
    ];
    let set: String = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, letter)| letter)
        .collect();
    if set.is_empty() { "N".into() } else { set }
}

/// Which clients CLIENT KILL means: those for which everything given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillFilter {
    /// The id.
    pub id: Option<u64>,
    /// The type.
    pub kind: Option<ClientType>,
    /// The user.
    pub user: Option<Box<[u8]>>,
    /// The peer's address.
    pub addr: Option<Box<[u8]>>,
    /// The local address.
    pub laddr: Option<Box<[u8]>>,
    /// At least so many seconds old.
    pub age_s_min: Option<i64>,
    /// Everyone but this client.
    pub spare: Option<u64>,
}

impl KillFilter {
    /// The filter of `CLIENT KILL option value …`; `own` is the client that asks.
    pub fn parse(line: &Line<'_>, own: u64) -> Result<KillFilter, Fault> {
        let mut filter = KillFilter {
            spare: Some(own),
            ..KillFilter::default()
        };
        let mut at = 2;
        while at < line.len() {
            if at + 1 == line.len() {
                return Err(Fault::Syntax);
            }
            let value = line.arg(at + 1);
            if line.is(at, "ID") {
                let id = parse_i64(value).filter(|id| *id > 0);
                let id = id.ok_or_else(|| Fault::text("ERR client-id should be greater than 0"))?;
                filter.id = Some(id as u64);
            } else if line.is(at, "TYPE") {
                filter.kind = Some(ClientType::parse(value)?);
            } else if line.is(at, "ADDR") {
                filter.addr = Some(value.into());
            } else if line.is(at, "LADDR") {
                filter.laddr = Some(value.into());
            } else if line.is(at, "USER") {
                if value != b"default" {
                    return Err(Fault::showing("ERR No such user '{}'", &[value]));
                }
                filter.user = Some(value.into());
            } else if line.is(at, "MAXAGE") {
                let age = parse_i64(value);
                let age =
                    age.ok_or_else(|| Fault::text("ERR maxage is not an integer or out of range"))?;
                if age <= 0 {
                    return Err(Fault::text("ERR maxage should be greater than 0"));
                }
                filter.age_s_min = Some(age);
            } else if line.is(at, "SKIPME") {
                filter.spare = if line.is(at + 1, "yes") {
                    Some(own)
                } else if line.is(at + 1, "no") {
                    None
                } else {
                    return Err(Fault::Syntax);
                };
            } else {
                return Err(Fault::Syntax);
            }
            at += 2;
        }
        Ok(filter)
    }

    /// Followers may be meant.
    pub fn follower(&self) -> bool {
        self.kind.is_none_or(|kind| kind == ClientType::Replica)
    }

    /// The client is meant.
    pub fn matches(&self, client: &Client, now_ms: i64) -> bool {
        let is = |wanted: &Option<Box<[u8]>>, text: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == text.as_bytes())
        };
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == ClientType::of(client))
            && is(&self.user, &client.user)
            && is(&self.addr, &client.addr)
            && is(&self.laddr, &client.laddr)
            && self
                .age_s_min
                .is_none_or(|age_s| (now_ms - client.created_ms) / 1000 >= age_s)
            && self.spare != Some(client.id)
            && client.close.is_none()
    }
}

/// Which clients CLIENT LIST shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListFilter {
    /// Each.
    All,
    /// Those of a type.
    Type(ClientType),
    /// Those with one of these ids, ascending.
    Ids(Vec<i64>),
}

impl ListFilter {
    /// The filter of a `CLIENT LIST …` line.
    pub fn parse(line: &Line<'_>) -> Result<ListFilter, Fault> {
        if line.len() == 4 && line.is(2, "TYPE") {
            return Ok(ListFilter::Type(ClientType::parse(line.arg(3))?));
        }
        if line.len() >= 4 && line.is(2, "ID") {
            let ids: Option<Vec<i64>> = line.args().skip(3).map(parse_i64).collect();
            let mut ids = ids.ok_or_else(|| Fault::text("ERR Invalid client ID"))?;
            ids.sort_unstable();
            return Ok(ListFilter::Ids(ids));
        }
        if line.len() > 2 {
            return Err(Fault::Syntax);
        }
        Ok(ListFilter::All)
    }

    /// Followers may be shown.
    pub fn follower(&self) -> bool {
        !matches!(self, ListFilter::Type(kind) if *kind != ClientType::Replica)
    }

    /// The client is shown.
    pub fn matches(&self, client: &Client) -> bool {
        match self {
            ListFilter::All => true,
            ListFilter::Type(kind) => ClientType::of(client) == *kind,
            ListFilter::Ids(ids) => ids.binary_search(&(client.id as i64)).is_ok(),
        }
    }
}
