//! Places on the earth, kept in sorted sets: a place's score is its geohash.
//!
//! | file | what |
//! |---|---|
//! | `geo` | rows; single places |
//! | `geo/search` | GEOSEARCH, GEORADIUS and their relatives |

mod search;
#[cfg(test)]
mod tests;

use super::sorted_set::{AddOptions, Addition, add_members};
use super::string::missed;
use super::{Begin, Find};
use super::{Command, Cx, Done, Fault, Group, KeySpec, Run, Spread, category, flag, key_flag};
use crate::base::geohash::Point;
use crate::base::number::parse_f64;
use crate::resp::{Line, Reply};
use crate::structures::sorted_set::SortedSet;

const ACCESS: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const STORES: &[KeySpec] = &[
    KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
    KeySpec::one(2, key_flag::RO | key_flag::ACCESS),
];

/// A key that may be read, and one behind STORE or STOREDIST, searched from an argument on.
const fn may_store(from: i32) -> [KeySpec; 3] {
    const fn behind(word: &'static str, from: i32) -> KeySpec {
        KeySpec {
            begin: Begin::Keyword(word, from),
            find: Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
            ..KeySpec::one(1, key_flag::OW | key_flag::UPDATE)
        }
    }
    [
        KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
        behind("STORE", from),
        behind("STOREDIST", from),
    ]
}

const RADIUS_KEYS: &[KeySpec] = &may_store(6);
const RADIUS_BY_MEMBER_KEYS: &[KeySpec] = &may_store(5);

const READS: u32 = flag::READONLY;
const WRITES: u32 = flag::WRITE | flag::DENYOOM;
const MAY_STORE: u32 = flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS;

const SEARCH_COST: &str = "O(N+log(M)) where N is the number of members in the grid cells around the shape, and M the number of \
     members of the sorted set.";

/// The rows of the commands on places.
pub const TABLE: &[Command] = &[
    Command {
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
        complexity: "O(log(N)) for each place added, where N is the number of members.",
        summary: "Adds places to a sorted set, or moves them.",
        syntax: "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
        ..row("geoadd", -5, WRITES, Run::Keys(geoadd, Spread::One))
    },
    Command {
        keys: ACCESS,
        complexity: "O(1) for each member.",
        summary: "Returns the coordinates of places.",
        syntax: "key [member [member ...]]",
        ..row("geopos", -2, READS, Run::Keys(geopos, Spread::One))
    },
    Command {
        keys: ACCESS,
        complexity: "O(1)",
        summary: "Returns the distance between two places.",
        syntax: "key member1 member2 [M | KM | FT | MI]",
        ..row("geodist", -4, READS, Run::Keys(geodist, Spread::One))
    },
    Command {
        keys: ACCESS,
        complexity: "O(1) for each member.",
        summary: "Returns places as geohash texts.",
        syntax: "key [member [member ...]]",
        ..row("geohash", -2, READS, Run::Keys(geohash, Spread::One))
    },
    Command {
        keys: ACCESS,
        since: "6.2.0",
        summary: "Returns the places within a circle or a box.",
        syntax: "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | \
                 BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        ..row(
            "geosearch",
            -7,
            READS,
            Run::Keys(search::geosearch, Spread::One),
        )
    },
    Command {
        keys: STORES,
        since: "6.2.0",
        summary: "Stores the places within a circle or a box in another key.",
        syntax: "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius \
                 <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        ..row(
            "geosearchstore",
            -8,
            WRITES,
            Run::Keys(search::geosearchstore, Spread::Gather),
        )
    },
    Command {
        keys: RADIUS_KEYS,
        deprecated: Some((
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
        )),
        summary: "Returns the places within a circle, or stores them.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
                 [ASC | DESC] [STORE destkey | STOREDIST destkey]",
        ..row(
            "georadius",
            -6,
            MAY_STORE,
            Run::Keys(search::georadius, Spread::Gather),
        )
    },
    Command {
        keys: ACCESS,
        since: "3.2.10",
        deprecated: Some(("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")),
        summary: "Returns the places within a circle.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
                 [ASC | DESC]",
        ..row(
            "georadius_ro",
            -6,
            READS,
            Run::Keys(search::georadius_ro, Spread::One),
        )
    },
    Command {
        keys: RADIUS_BY_MEMBER_KEYS,
        deprecated: Some((
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        )),
        summary: "Returns the places within a circle around a member, or stores them.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] \
                 [STORE destkey | STOREDIST destkey]",
        ..row(
            "georadiusbymember",
            -5,
            MAY_STORE,
            Run::Keys(search::georadiusbymember, Spread::Gather),
        )
    },
    Command {
        keys: ACCESS,
        since: "3.2.10",
        deprecated: Some((
            "6.2.0",
            "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
        )),
        summary: "Returns the places within a circle around a member.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        ..row(
            "georadiusbymember_ro",
            -5,
            READS,
            Run::Keys(search::georadiusbymember_ro, Spread::One),
        )
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        group: Group::Geo,
        categories: category::GEO,
        since: "3.2.0",
        complexity: SEARCH_COST,
        ..Command::new(name, arity, flags, run)
    }
}

/// A longitude and a latitude at `at` and behind it.
fn parse_point(line: &Line<'_>, at: usize) -> Result<Point, Fault> {
    let coordinate = |index: usize| parse_f64(line.arg(index)).ok_or(Fault::NotFloat);
    let point = Point {
        longitude: coordinate(at)?,
        latitude: coordinate(at + 1)?,
    };
    if !point.is_valid() {
        return Err(Fault::text(format!(
            "ERR invalid longitude,latitude pair {:.6},{:.6}",
            point.longitude, point.latitude
        )));
    }
    Ok(point)
}

/// Metres of the unit at `at`.
fn parse_unit(line: &Line<'_>, at: usize) -> Result<f64, Fault> {
    if line.is(at, "m") {
        Ok(1.0)
    } else if line.is(at, "km") {
        Ok(1000.0)
    } else if line.is(at, "ft") {
        Ok(0.3048)
    } else if line.is(at, "mi") {
        Ok(1609.34)
    } else {
        Err(Fault::text(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        ))
    }
}

fn geoadd(cx: &mut Cx<'_>) -> Done {
    let line = cx.line;
    let mut options = AddOptions::default();
    let mut at = 2;
    while at < line.len() {
        if line.is(at, "nx") {
            options.only_new = true;
        } else if line.is(at, "xx") {
            options.only_existing = true;
        } else if line.is(at, "ch") {
            options.count_changed = true;
        } else {
            break;
        }
        at += 1;
    }
    let left = line.len() - at;
    if !left.is_multiple_of(3) || left == 0 || options.only_new && options.only_existing {
        return Err(Fault::Syntax);
    }
    let addition = Addition::parse(&line, at + 2, 3, |index| {
        Ok(parse_point(&line, index - 2)?.score() as f64)
    })?;
    add_members(cx, &options, &addition)?;
    if cx.effects.dirty > 0 && cx.effects.logging {
        // Followers get the scores, which another version might compute otherwise.
        let scores: Vec<String> = addition
            .iter()
            .map(|(_, score)| (score as u64).to_string())
            .collect();
        let mut args: Vec<&[u8]> = vec![b"ZADD"];
        args.extend((1..at).map(|index| line.arg(index)));
        for ((index, _), score) in addition.iter().zip(&scores) {
            args.extend([score.as_bytes(), line.arg(index)]);
        }
        cx.log(&args);
    }
    Ok(())
}

/// Replies with a coordinate as people read it: seventeen digits behind the point, without the zeros at the end.
fn push_coordinate(reply: &mut Reply<'_>, coordinate: f64) {
    let text = format!("{coordinate:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    reply.double_text(if text == "-0" { "0" } else { text }.as_bytes());
}

fn push_point(reply: &mut Reply<'_>, point: &Point) {
    reply.array(2);
    push_coordinate(reply, point.longitude);
    push_coordinate(reply, point.latitude);
}

/// Replies with a distance: four digits behind the point.
fn push_distance(reply: &mut Reply<'_>, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even() as u64;
    let text = format!("{}.{:04}", scaled / 10_000, scaled % 10_000);
    reply.bulk(text.as_bytes());
}

/// Replies with something for each member of the line, `None` for those that are not there.
fn for_each_member(cx: &mut Cx<'_>, push: impl Fn(&mut Reply<'_>, Option<Point>)) -> Done {
    let key = cx.key(1);
    let set = cx.keyspace.read_collection::<SortedSet>(cx.db, key)?;
    let missing = set.is_none();
    cx.reply.array(cx.line.len() - 2);
    for index in 2..cx.line.len() {
        let score = set.and_then(|set| set.score(cx.line.arg(index)));
        push(&mut cx.reply, score.map(Point::of_score));
    }
    if missing {
        missed(cx, key);
    }
    Ok(())
}

fn geopos(cx: &mut Cx<'_>) -> Done {
    for_each_member(cx, |reply, place| match place {
        Some(point) => push_point(reply, &point),
        None => reply.null_array(),
    })
}

fn geohash(cx: &mut Cx<'_>) -> Done {
    for_each_member(cx, |reply, place| match place {
        Some(point) => reply.bulk(&point.text()),
        None => reply.null(),
    })
}

fn geodist(cx: &mut Cx<'_>) -> Done {
    let unit_m = match cx.line.len() {
        4 => 1.0,
        5 => parse_unit(&cx.line, 4)?,
        _ => return Err(Fault::Syntax),
    };
    let key = cx.key(1);
    let Some(set) = cx.keyspace.read_collection::<SortedSet>(cx.db, key)? else {
        missed(cx, key);
        cx.reply.null();
        return Ok(());
    };
    let place = |index: usize| set.score(cx.line.arg(index)).map(Point::of_score);
    match (place(2), place(3)) {
        (Some(one), Some(other)) => {
            push_distance(&mut cx.reply, one.distance_m(&other) / unit_m);
        }
        _ => cx.reply.null(),
    }
    Ok(())
}
