//! The arguments of stream commands: ids, intervals, trimming.

use super::super::Fault;
use crate::base::number::{parse_i64, parse_u64};
use crate::config::Config;
use crate::resp::Line;
use crate::structures::stream::{Keep, NewId, StreamId, Trim};

/// No id is longer, however many zeros it begins with.
const ID_BYTES_MAX: usize = 127;

/// Records that one trim of whole nodes looks at when the nodes have no greatest number of records.
const TRIM_LIMIT_WITHOUT_NODES: u64 = 10_000;
const TRIM_LIMIT_MAX: u64 = 1_000_000;
const TRIM_NODES: u64 = 100;

fn invalid_id() -> Fault {
    Fault::text("ERR Invalid stream ID specified as stream command argument")
}

/// An id; one without its second number gets `missing_seq` for it.
pub(super) fn parse_id(text: &[u8], missing_seq: u64) -> Result<StreamId, Fault> {
    if text.len() > ID_BYTES_MAX {
        return Err(invalid_id());
    }
    let (ms, seq) = match memchr::memchr(b'-', text) {
        Some(at) => (&text[..at], parse_u64(&text[at + 1..])),
        None => (text, Some(missing_seq)),
    };
    match (parse_u64(ms), seq) {
        (Some(ms), Some(seq)) => Ok(StreamId { ms, seq }),
        _ => Err(invalid_id()),
    }
}

/// An id, or `-` and `+` for the first and the last possible one.
pub(super) fn parse_id_or_edge(text: &[u8], missing_seq: u64) -> Result<StreamId, Fault> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse_id(text, missing_seq),
    }
}

/// The id that XADD asks for.
fn parse_new_id(text: &[u8]) -> Result<NewId, Fault> {
    match text {
        b"*" => Ok(NewId::Auto),
        [ms @ .., b'-', b'*'] if text.len() <= ID_BYTES_MAX => {
            parse_u64(ms).map(NewId::Ms).ok_or_else(invalid_id)
        }
        _ => parse_id(text, 0).map(NewId::Given),
    }
}

/// The first id of an interval; `(` leaves the id itself out.
pub(super) fn parse_from(text: &[u8]) -> Result<StreamId, Fault> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => parse_id(id, 0)?
            .next()
            .ok_or(Fault::text("ERR invalid start ID for the interval")),
        _ => parse_id_or_edge(text, 0),
    }
}

/// The last id of an interval; `(` leaves the id itself out.
pub(super) fn parse_to(text: &[u8]) -> Result<StreamId, Fault> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => parse_id(id, u64::MAX)?
            .previous()
            .ok_or(Fault::text("ERR invalid end ID for the interval")),
        _ => parse_id_or_edge(text, u64::MAX),
    }
}

/// The arguments from `first` on as ids.
pub(super) fn parse_ids(line: &Line<'_>, first: usize) -> Result<Vec<StreamId>, Fault> {
    (first..line.len())
        .map(|index| parse_id(line.arg(index), 0))
        .collect()
}

/// An integer argument, with the text of the error when it is none.
pub(super) fn parse_int(text: &[u8], error: &'static str) -> Result<i64, Fault> {
    parse_i64(text).ok_or(Fault::text(error))
}

/// How a line trims, and where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrimArgs {
    pub(super) trim: Trim,
    /// The word MAXLEN or MINID.
    pub(super) word_at: usize,
    /// The number or id behind it.
    pub(super) value_at: usize,
    /// The word LIMIT, which a number follows.
    pub(super) limit_at: Option<usize>,
}

/// The options of XADD and XTRIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) trim: Option<TrimArgs>,
    /// XADD: the stream must be there.
    pub(super) only_existing: bool,
    /// XADD: the id, and the argument that it is in; `None` when the line ends before it.
    pub(super) id: Option<(NewId, usize)>,
}

/// The options before XADD's id.
pub(super) fn parse_add(line: &Line<'_>, config: &Config, obey: bool) -> Result<Options, Fault> {
    parse_options(line, config, obey, true)
}

/// The options of XTRIM, which cannot do without trimming.
pub(super) fn parse_trim(line: &Line<'_>, config: &Config, obey: bool) -> Result<TrimArgs, Fault> {
    parse_options(line, config, obey, false)?
        .trim
        .ok_or_else(no_strategy)
}

fn no_strategy() -> Fault {
    Fault::text("ERR syntax error, XTRIM must be called with a trimming strategy")
}

/// `obey` is for lines of a leader, which may limit a trim that is exact: it has rewritten the trim, not the limit.
fn parse_options(
    line: &Line<'_>,
    config: &Config,
    obey: bool,
    add: bool,
) -> Result<Options, Fault> {
    let mut options = Options {
        trim: None,
        only_existing: false,
        id: None,
    };
    let (mut limit, mut limit_at) = (0, None);
    let mut at = 2;
    while at < line.len() {
        let more = line.len() - 1 - at;
        if add && line.arg(at) == b"*" {
            options.id = Some((NewId::Auto, at));
            break;
        } else if more > 0 && (line.is(at, "maxlen") || line.is(at, "minid")) {
            if options.trim.is_some() {
                return Err(Fault::text(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            let trim = parse_strategy(line, at)?;
            options.trim = Some(trim);
            at = trim.value_at;
        } else if more > 0 && line.is(at, "limit") {
            let number = parse_i64(line.arg(at + 1)).ok_or(Fault::NotInteger)?;
            limit = u64::try_from(number)
                .map_err(|_| Fault::text("ERR The LIMIT argument must be >= 0."))?;
            limit_at = Some(at);
            at += 1;
        } else if add && line.is(at, "nomkstream") {
            options.only_existing = true;
        } else if add {
            options.id = Some((parse_new_id(line.arg(at))?, at));
            break;
        } else {
            return Err(Fault::Syntax);
        }
        at += 1;
    }
    if limit > 0 && options.trim.is_none() {
        return Err(Fault::text(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if !add && options.trim.is_none() {
        return Err(no_strategy());
    }
    if obey {
        return Ok(options);
    }
    match &mut options.trim {
        Some(args) if args.trim.whole_nodes => {
            args.limit_at = limit_at;
            args.trim.limit = match limit_at {
                Some(_) => limit,
                None => default_limit(config),
            };
        }
        _ if limit_at.is_some() => {
            return Err(Fault::text(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        _ => {}
    }
    Ok(options)
}

/// `MAXLEN [= | ~] count` or `MINID [= | ~] id`.
fn parse_strategy(line: &Line<'_>, word_at: usize) -> Result<TrimArgs, Fault> {
    let mark = (word_at + 2 < line.len())
        .then(|| line.arg(word_at + 1))
        .filter(|mark| matches!(*mark, b"~" | b"="));
    let value_at = word_at + 1 + usize::from(mark.is_some());
    let value = line.arg(value_at);
    let keep = if line.is(word_at, "maxlen") {
        let len = parse_i64(value).ok_or(Fault::NotInteger)?;
        let len =
            u64::try_from(len).map_err(|_| Fault::text("ERR The MAXLEN argument must be >= 0."))?;
        Keep::Len(len)
    } else {
        Keep::From(parse_id(value, 0)?)
    };
    Ok(TrimArgs {
        trim: Trim {
            keep,
            whole_nodes: mark == Some(b"~"),
            limit: 0,
        },
        word_at,
        value_at,
        limit_at: None,
    })
}

/// How many records a trim of whole nodes removes at most when the line says nothing.
fn default_limit(config: &Config) -> u64 {
    match config.stream_node_max_entries {
        0 => TRIM_LIMIT_WITHOUT_NODES,
        entries => entries.saturating_mul(TRIM_NODES).min(TRIM_LIMIT_MAX),
    }
}
