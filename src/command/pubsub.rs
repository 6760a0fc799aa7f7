//! Publish and subscribe: SUBSCRIBE and its kin, PUBLISH, SPUBLISH, the PUBSUB container.
//!
//! A subscription is taken in by every core before it is confirmed, so that no PUBLISH after the confirmation misses it;
//! PUBLISH itself asks nobody. What a session is told of a publication is written here too ([`write_message`]).

use bytes::Bytes;

use super::help::help;
use super::{
    Client, ClientCx, ClientHandler, Command, Fault, Flow, Group, KeySpec, Run, Where, flag,
    key_flag,
};
use crate::log::NO_DB;
use crate::pubsub::{Kind, Publication};
use crate::resp::{Reply, encode_args};

const LISTEN: u32 =
    flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::WHILE_SUBSCRIBED;
const SPEAK: u32 = flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST | flag::MAY_REPLICATE;
const ASK: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;

/// The family's rows.
pub const TABLE: &[Command] = &[
    Command {
        complexity: "O(N) where N is the number of patterns to subscribe to.",
        summary: "Listens for messages published to channels that match one or more patterns.",
        syntax: "pattern [pattern ...]",
        ..row("psubscribe", -2, LISTEN, psubscribe)
    },
    Command {
        complexity: "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total \
                     number of subscribed patterns (by any client).",
        summary: "Posts a message to a channel.",
        syntax: "channel message",
        ..row("publish", 3, SPEAK, publish)
    },
    Command {
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        summary: "A container for Pub/Sub commands.",
        group: Group::Pubsub,
        subcommands: SUBCOMMANDS,
        ..Command::new("pubsub", -2, 0, Run::Container)
    },
    Command {
        complexity: "O(N) where N is the number of patterns to unsubscribe.",
        summary: "Stops listening to messages published to channels that match one or more patterns.",
        syntax: "[pattern [pattern ...]]",
        ..row("punsubscribe", -1, LISTEN, punsubscribe)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        summary: "Posts a message to a shard channel.",
        syntax: "shardchannel message",
        keys: &[KeySpec::one(1, key_flag::NOT_KEY)],
        ..row("spublish", 3, SPEAK, spublish)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to subscribe to.",
        summary: "Listens for messages published to shard channels.",
        syntax: "shardchannel [shardchannel ...]",
        keys: &[KeySpec::range(1, -1, 1, key_flag::NOT_KEY)],
        ..row("ssubscribe", -2, LISTEN, ssubscribe)
    },
    Command {
        complexity: "O(N) where N is the number of channels to subscribe to.",
        summary: "Listens for messages published to channels.",
        syntax: "channel [channel ...]",
        ..row("subscribe", -2, LISTEN, subscribe)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to unsubscribe.",
        summary: "Stops listening to messages posted to shard channels.",
        syntax: "[shardchannel [shardchannel ...]]",
        keys: &[KeySpec::range(1, -1, 1, key_flag::NOT_KEY)],
        ..row("sunsubscribe", -1, LISTEN, sunsubscribe)
    },
    Command {
        complexity: "O(N) where N is the number of channels to unsubscribe.",
        summary: "Stops listening to messages posted to channels.",
        syntax: "[channel [channel ...]]",
        ..row("unsubscribe", -1, LISTEN, unsubscribe)
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        since: "2.8.0",
        complexity: "O(N) where N is the number of active channels, and assuming constant time pattern matching \
                     (relatively short channels and patterns)",
        summary: "Returns the active channels.",
        syntax: "[pattern]",
        ..row("pubsub|channels", -2, ASK, pubsub_channels)
    },
    Command {
        since: "6.2.0",
        summary: "Returns helpful text about the different subcommands.",
        ..row("pubsub|help", 2, flag::LOADING | flag::STALE, pubsub_help)
    },
    Command {
        since: "2.8.0",
        summary: "Returns a count of unique pattern subscriptions.",
        ..row("pubsub|numpat", 2, ASK, pubsub_numpat)
    },
    Command {
        since: "2.8.0",
        complexity: "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        summary: "Returns a count of subscribers to channels.",
        syntax: "[channel [channel ...]]",
        ..row("pubsub|numsub", -2, ASK, pubsub_numsub)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) where N is the number of active shard channels, and assuming constant time pattern matching \
                     (relatively short shard channels).",
        summary: "Returns the active shard channels.",
        syntax: "[pattern]",
        ..row("pubsub|shardchannels", -2, ASK, pubsub_shardchannels)
    },
    Command {
        since: "7.0.0",
        complexity: "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        summary: "Returns the count of subscribers of shard channels.",
        syntax: "[shardchannel [shardchannel ...]]",
        ..row("pubsub|shardnumsub", -2, ASK, pubsub_shardnumsub)
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, handler: ClientHandler) -> Command {
    Command {
        group: Group::Pubsub,
        since: "2.0.0",
        ..Command::new(name, arity, flags, Run::Client(handler))
    }
}

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
];

fn subscribe(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(join(cx, Kind::Channel, "subscribe"))
}

fn psubscribe(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(join(cx, Kind::Pattern, "psubscribe"))
}

fn ssubscribe(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(join(cx, Kind::ShardChannel, "ssubscribe"))
}

fn unsubscribe(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(leave(cx, Kind::Channel, "unsubscribe"))
}

fn punsubscribe(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(leave(cx, Kind::Pattern, "punsubscribe"))
}

fn sunsubscribe(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(leave(cx, Kind::ShardChannel, "sunsubscribe"))
}

/// A change as its client is told: each name, and the client's subscriptions after it. Without a name: there was
/// nothing to unsubscribe from.
struct Confirmation {
    word: &'static str,
    names: Vec<(Option<Bytes>, usize)>,
}

impl Confirmation {
    fn write(&self, reply: &mut Reply<'_>) {
        for (name, count) in &self.names {
            reply.push(3);
            reply.bulk(self.word.as_bytes());
            match name {
                Some(name) => reply.bulk_shared(name),
                None => reply.null(),
            }
            reply.count(*count);
        }
    }
}

/// The names of the line, each in memory of its own: what a subscription keeps must not hold its line's buffer.
fn names(cx: &ClientCx<'_, '_>) -> Vec<Bytes> {
    cx.line.args().skip(1).map(Bytes::copy_from_slice).collect()
}

/// The count that a confirmation shows: channels and patterns together, or shard channels.
fn shown_count(client: &Client, kind: Kind) -> usize {
    match kind {
        Kind::ShardChannel => client.subscribed(Kind::ShardChannel),
        _ => client.subscribed(Kind::Channel) + client.subscribed(Kind::Pattern),
    }
}

fn join(cx: &mut ClientCx<'_, '_>, kind: Kind, word: &'static str) -> Flow {
    let mut fresh = Vec::new();
    let mut confirmation = Confirmation {
        word,
        names: Vec::new(),
    };
    for name in names(cx) {
        let own = cx.client.subscriptions.get_or_insert_default();
        if own.add(kind, name.clone()) {
            fresh.push(name.clone());
        }
        let count = shown_count(cx.client, kind);
        confirmation.names.push((Some(name), count));
    }
    if fresh.is_empty() {
        confirmation.write(&mut cx.reply);
        return Flow::Done;
    }
    let change = cx.core.pubsub.join(cx.client.subscriber, kind, &fresh);
    let own = cx.core.place.index;
    visit_others(
        cx,
        move |core| core.pubsub.join_elsewhere(own, kind, &fresh, change),
        move |cx| confirmation.write(&mut cx.reply),
    )
}

fn leave(cx: &mut ClientCx<'_, '_>, kind: Kind, word: &'static str) -> Flow {
    let asked = match cx.line.len() {
        1 => match &cx.client.subscriptions {
            Some(own) => own.names(kind).cloned().collect(),
            None => Vec::new(),
        },
        _ => names(cx),
    };
    let mut ended = Vec::new();
    let mut confirmation = Confirmation {
        word,
        names: Vec::new(),
    };
    for name in asked {
        if let Some(own) = &mut cx.client.subscriptions
            && own.end(kind, &name)
        {
            ended.push(name.clone());
        }
        let count = shown_count(cx.client, kind);
        confirmation.names.push((Some(name), count));
    }
    if confirmation.names.is_empty() {
        confirmation
            .names
            .push((None, shown_count(cx.client, kind)));
    }
    if ended.is_empty() {
        confirmation.write(&mut cx.reply);
        return Flow::Done;
    }
    end(cx, vec![(kind, ended)], move |cx| {
        confirmation.write(&mut cx.reply)
    })
}

/// Ends subscriptions that the client has marked as ending, then runs `then`.
fn end(
    cx: &mut ClientCx<'_, '_>,
    ended: Vec<(Kind, Vec<Bytes>)>,
    then: impl FnOnce(&mut ClientCx<'_, '_>) + 'static,
) -> Flow {
    let subscriber = cx.client.subscriber;
    let ended: Vec<(Kind, Vec<Bytes>, u64)> = ended
        .into_iter()
        .map(|(kind, names)| {
            let change = cx.core.pubsub.end(subscriber, kind, &names);
            (kind, names, change)
        })
        .collect();
    let own = cx.core.place.index;
    visit_others(
        cx,
        move |core| {
            for (kind, names, change) in &ended {
                core.pubsub.leave_elsewhere(own, *kind, names, *change);
            }
        },
        |cx| {
            if let Some(own) = &mut cx.client.subscriptions {
                own.finish_ending(cx.client.subscriber, cx.core.pubsub);
                if own.is_empty() {
                    cx.client.subscriptions = None;
                }
            }
            then(cx);
        },
    )
}

/// Ends all subscriptions of the client, then runs `then`: RESET.
pub(super) fn end_all(
    cx: &mut ClientCx<'_, '_>,
    then: impl FnOnce(&mut ClientCx<'_, '_>) + 'static,
) -> Flow {
    let mut ended = Vec::new();
    if let Some(own) = &mut cx.client.subscriptions {
        for kind in Kind::ALL {
            let names: Vec<Bytes> = own.names(kind).cloned().collect();
            for name in &names {
                own.end(kind, name);
            }
            ended.push((kind, names));
        }
        ended.retain(|(_, names)| !names.is_empty());
    }
    end(cx, ended, then)
}

/// Runs `part` on all other cores, then `then` here.
fn visit_others(
    cx: &mut ClientCx<'_, '_>,
    part: impl Fn(&mut super::CoreView<'_>) + Send + Sync + 'static,
    then: impl FnOnce(&mut ClientCx<'_, '_>) + 'static,
) -> Flow {
    if cx.core.place.count == 1 {
        then(cx);
        return Flow::Done;
    }
    let own = cx.core.place.index;
    Flow::visit_tables(
        Where::All,
        move |core| {
            if core.place.index != own {
                part(core);
            }
        },
        move |_, cx| {
            then(cx);
            Ok(Flow::Done)
        },
    )
}

fn publish(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(publish_to(cx, Kind::Channel))
}

fn spublish(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(publish_to(cx, Kind::ShardChannel))
}

fn publish_to(cx: &mut ClientCx<'_, '_>, kind: Kind) -> Flow {
    let line = cx.line;
    let payload = || match line.shared(2) {
        Some(shared) => shared.clone(),
        None => Bytes::copy_from_slice(line.arg(2)),
    };
    let receivers = cx.core.pubsub.publish_with(kind, line.arg(1), payload);
    // Followers have subscribers too.
    cx.core
        .lane
        .append(NO_DB, |bytes| encode_args(line.args(), bytes));
    cx.reply.count(receivers);
    Flow::Done
}

fn pubsub_channels(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    channels(cx, Kind::Channel)
}

fn pubsub_shardchannels(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    channels(cx, Kind::ShardChannel)
}

fn channels(cx: &mut ClientCx<'_, '_>, kind: Kind) -> Result<Flow, Fault> {
    let line = cx.line;
    if line.len() > 3 {
        return Err(Fault::subcommand("PUBSUB", line.arg(1)));
    }
    let pattern = (line.len() == 3).then(|| line.arg(2));
    let names = cx.core.pubsub.names(kind, pattern);
    cx.reply.array(names.len());
    for name in &names {
        cx.reply.bulk(name);
    }
    Ok(Flow::Done)
}

fn pubsub_numsub(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(counts(cx, Kind::Channel))
}

fn pubsub_shardnumsub(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    Ok(counts(cx, Kind::ShardChannel))
}

fn counts(cx: &mut ClientCx<'_, '_>, kind: Kind) -> Flow {
    let line = cx.line;
    cx.reply.array((line.len() - 2) * 2);
    for name in line.args().skip(2) {
        cx.reply.bulk(name);
        cx.reply.count(cx.core.pubsub.count(kind, name));
    }
    Flow::Done
}

fn pubsub_numpat(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    cx.reply.count(cx.core.pubsub.len(Kind::Pattern));
    Ok(Flow::Done)
}

fn pubsub_help(cx: &mut ClientCx<'_, '_>) -> Result<Flow, Fault> {
    help(&mut cx.reply, "PUBSUB", HELP);
    Ok(Flow::Done)
}

/// The reply consists of pushes, which reach the client whatever CLIENT REPLY says.
pub fn replies_with_pushes(command: &Command) -> bool {
    command.has(flag::PUBSUB | flag::WHILE_SUBSCRIBED)
}

/// What a subscriber is told of a publication: through the channel's own name, or through `pattern`.
pub fn write_message(reply: &mut Reply<'_>, publication: &Publication, pattern: Option<&Bytes>) {
    match (publication.kind, pattern) {
        (_, Some(pattern)) => {
            reply.push(4);
            reply.bulk(b"pmessage");
            reply.bulk_shared(pattern);
        }
        (Kind::ShardChannel, None) => {
            reply.push(3);
            reply.bulk(b"smessage");
        }
        (_, None) => {
            reply.push(3);
            reply.bulk(b"message");
        }
    }
    reply.bulk_shared(&publication.channel);
    reply.bulk_shared(&publication.payload);
}
