//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR, and how a client is told what it must forget.
//!
//! The rows are CLIENT's ([`client_command`](super::client_command)). Prefixes are taken in by every core before they
//! are confirmed, so that no change after the confirmation is missed; that a client tracks no more the others
//! hear later.

use std::sync::Arc;

use super::{Client, ClientCx, Fault, Flow, Where};
use crate::base::number::parse_i64;
use crate::resp::{Line, Reply};
use crate::tracking::{Mode, Redirect, Stale, Tables, Tracking};

/// What a RESP2 client hears of on this channel, whatever it is subscribed to.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// CLIENT TRACKING's options.
#[derive(Default)]
struct Options {
    on: bool,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    noloop: bool,
    prefixes: Vec<Arc<[u8]>>,
}

/// The line as far as it can be read. The redirection's client must be there before the rest of the line counts.
struct Request {
    redirect: Option<i64>,
    options: Result<Options, Fault>,
}

impl Request {
    fn parse(line: &Line<'_>) -> Request {
        let mut redirect = None;
        let options = Request::parse_options(line, &mut redirect);
        Request { redirect, options }
    }

    fn parse_options(line: &Line<'_>, redirect: &mut Option<i64>) -> Result<Options, Fault> {
        let mut options = Options::default();
        let mut at = 3;
        while at < line.len() {
            let more = at + 1 < line.len();
            if line.is(at, "REDIRECT") && more {
                if redirect.is_some() {
                    return Err(Fault::text(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                at += 1;
                *redirect = Some(parse_i64(line.arg(at)).ok_or(Fault::NotInteger)?);
            } else if line.is(at, "BCAST") {
                options.broadcast = true;
            } else if line.is(at, "OPTIN") {
                options.opt_in = true;
            } else if line.is(at, "OPTOUT") {
                options.opt_out = true;
            } else if line.is(at, "NOLOOP") {
                options.noloop = true;
            } else if line.is(at, "PREFIX") && more {
                at += 1;
                options.prefixes.push(line.arg(at).into());
            } else {
                return Err(Fault::Syntax);
            }
            at += 1;
        }
        options.on = line.is(2, "ON");
        if options.on || line.is(2, "OFF") {
            Ok(options)
        } else {
            Err(Fault::Syntax)
        }
    }
}

pub(super) fn tracking(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let Request { redirect, options } = Request::parse(&cx.line);
    let Some(id) = redirect else {
        return switch(cx, options?, None);
    };
    Ok(Flow::visit_tables(
        Where::All,
        move |core| {
            let place = core.place.index;
            let mut found = None;
            core.clients.each(&mut |client| {
                if client.id as i64 == id {
                    found = Some(Redirect {
                        id: client.id,
                        core: place,
                        session: client.subscriber,
                    });
                }
            });
            found
        },
        move |found, cx| {
            let target = found.into_iter().flatten().next();
            let target = target.ok_or_else(|| {
                Fault::text("ERR The client ID you want redirect to does not exist")
            })?;
            switch(cx, options?, Some(target))
        },
    ))
}

/// Turns tracking on or off as the options say.
fn switch(
    cx: &mut ClientCx<'_, '_>,
    options: Options,
    redirect: Option<Redirect>,
) -> Result<Flow, Fault> {
    if !options.on {
        end(cx.client, cx.core.tracking);
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    let mode = checked_mode(cx.client.tracking.as_deref(), &options)?;
    if cx.client.is_nobody() {
        // The client has gone meanwhile: what it would track could never be ended.
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    let tracking = cx.client.tracking.get_or_insert_default();
    tracking.mode = mode;
    tracking.noloop = options.noloop;
    tracking.redirect = redirect;
    tracking.broken = false;
    let mut fresh = Vec::new();
    if mode == Mode::Broadcast {
        let mut wanted = options.prefixes;
        if wanted.is_empty() {
            wanted.push(Arc::default());
        }
        for prefix in wanted {
            if tracking.prefixes.insert(prefix.clone()) {
                cx.core.tracking.join(cx.client.subscriber, &prefix);
                fresh.push(prefix);
            }
        }
    }
    cx.core.tracking.start(cx.client.subscriber);
    if fresh.is_empty() || cx.core.place.count == 1 {
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    let own = cx.core.place.index;
    Ok(Flow::visit_tables(
        Where::All,
        move |core| {
            if core.place.index != own {
                core.tracking.join_elsewhere(own, &fresh);
            }
        },
        |_, cx| {
            cx.reply.ok();
            Ok(Flow::Done)
        },
    ))
}

/// The mode that the options ask for, if they fit together and to what the client has.
fn checked_mode(held: Option<&Tracking>, options: &Options) -> Result<Mode, Fault> {
    if !options.broadcast && !options.prefixes.is_empty() {
        return Err(Fault::text(
            "ERR PREFIX option requires BCAST mode to be enabled",
        ));
    }
    if held.is_some_and(|held| (held.mode == Mode::Broadcast) != options.broadcast) {
        return Err(Fault::text(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    if options.broadcast && (options.opt_in || options.opt_out) {
        return Err(Fault::text(
            "ERR OPTIN and OPTOUT are not compatible with BCAST",
        ));
    }
    if options.opt_in && options.opt_out {
        return Err(Fault::text(
            "ERR You can't specify both OPTIN mode and OPTOUT mode",
        ));
    }
    let held_mode = held.map_or(Mode::Reads, |held| held.mode);
    if (options.opt_in && held_mode == Mode::OptOut)
        || (options.opt_out && held_mode == Mode::OptIn)
    {
        return Err(Fault::text(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    check_prefixes(held, &options.prefixes)?;
    Ok(match options {
        Options {
            broadcast: true, ..
        } => Mode::Broadcast,
        Options { opt_in: true, .. } => Mode::OptIn,
        Options { opt_out: true, .. } => Mode::OptOut,
        _ => Mode::Reads,
    })
}

/// No prefix of a client may begin with another: a change would be told twice.
fn check_prefixes(held: Option<&Tracking>, prefixes: &[Arc<[u8]>]) -> Result<(), Fault> {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let fault = |prefix: &[u8], kind: &str, other: &[u8]| {
        Fault::showing(
            "ERR Prefix '{}' overlaps with {} prefix '{}'. Prefixes for a single client must not overlap.",
            &[prefix, kind.as_bytes(), other],
        )
    };
    for (at, prefix) in prefixes.iter().enumerate() {
        let mut known = held.into_iter().flat_map(|held| &held.prefixes);
        if let Some(other) = known.find(|other| overlap(other, prefix)) {
            return Err(fault(prefix, "an existing", other));
        }
        if let Some(other) = prefixes[at + 1..]
            .iter()
            .find(|other| overlap(other, prefix))
        {
            return Err(fault(prefix, "another provided", other));
        }
    }
    Ok(())
}

/// The client tracks no more, if it did.
pub(super) fn end(client: &mut Client, tables: &mut Tables) {
    if let Some(tracking) = client.tracking.take() {
        tables.stop(client.subscriber, *tracking);
    }
}

pub(super) fn caching(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let Some(tracking) = &mut cx.client.tracking else {
        return Err(Fault::text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled",
        ));
    };
    let (mode, text) = if cx.line.is(2, "YES") {
        let text = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
        (Mode::OptIn, text)
    } else if cx.line.is(2, "NO") {
        let text = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
        (Mode::OptOut, text)
    } else {
        return Err(Fault::Syntax);
    };
    if tracking.mode != mode {
        return Err(Fault::text(text));
    }
    tracking.caching = true;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The id that CLIENT shows: 0 without a redirection, -1 without tracking.
pub(super) fn shown_redirect(client: &Client) -> i64 {
    match &client.tracking {
        None => -1,
        Some(tracking) => tracking.redirect.map_or(0, |redirect| redirect.id as i64),
    }
}

pub(super) fn getredir(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.reply.int(shown_redirect(cx.client));
    Ok(Flow::Done)
}

pub(super) fn trackinginfo(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    let mut flags = Vec::new();
    match cx.client.tracking.as_deref() {
        None => flags.push("off"),
        Some(tracking) => {
            flags.push("on");
            let (mode, caching) = match tracking.mode {
                Mode::Reads => (None, None),
                Mode::OptIn => (Some("optin"), Some("caching-yes")),
                Mode::OptOut => (Some("optout"), Some("caching-no")),
                Mode::Broadcast => (Some("bcast"), None),
            };
            flags.extend(mode);
            flags.extend(caching.filter(|_| tracking.caching));
            flags.extend(tracking.noloop.then_some("noloop"));
            flags.extend(tracking.broken.then_some("broken_redirect"));
        }
    }
    let reply = &mut cx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"redirect");
    reply.int(shown_redirect(cx.client));
    reply.bulk(b"prefixes");
    match &cx.client.tracking {
        Some(tracking) => reply.bulks(tracking.prefixes.iter().map(|prefix| &**prefix)),
        None => reply.empty_array(),
    }
    Ok(Flow::Done)
}

/// What a client is told of stale keys. In RESP2 only a subscriber can be told, for another client: as a message.
pub fn write_stale(reply: &mut Reply<'_>, stale: &Stale) {
    if reply.is_resp3() {
        reply.push(2);
        reply.bulk(b"invalidate");
    } else {
        reply.push(3);
        reply.bulk(b"message");
        reply.bulk(CHANNEL);
    }
    match stale {
        Stale::Keys(keys) => reply.bulks(keys.iter().map(|key| &**key)),
        Stale::All => reply.null(),
    }
}

/// What a RESP3 client is told when the client that should hear for it is gone.
pub fn write_broken(reply: &mut Reply<'_>, id: u64) {
    reply.push(2);
    reply.bulk(b"tracking-redir-broken");
    reply.int(id as i64);
}
