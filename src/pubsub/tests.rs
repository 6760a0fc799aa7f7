//! The tables of all cores of a node, with messages that take their time.

use std::collections::VecDeque;

use super::*;
use crate::base::random::Random;

fn name(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn subscriber(slot: u32) -> Subscriber {
    Subscriber {
        slot,
        generation: 0,
    }
}

fn received(tables: &Tables, publication: &Publication) -> usize {
    let mut into = Vec::new();
    if publication.named {
        tables.receivers(
            publication.kind,
            &publication.channel,
            publication.changes,
            &mut into,
        );
    }
    for pattern in &publication.patterns {
        tables.receivers(Kind::Pattern, pattern, publication.changes, &mut into);
    }
    into.len()
}

#[test]
fn a_channel_counts_names_and_patterns() {
    let mut tables = Tables::new(0, 1);
    tables.join(subscriber(1), Kind::Channel, &[name("news"), name("other")]);
    tables.join(subscriber(2), Kind::Channel, &[name("news")]);
    tables.join(
        subscriber(2),
        Kind::Pattern,
        &[name("n*"), name("*s"), name("x*")],
    );
    tables.join(subscriber(3), Kind::ShardChannel, &[name("news")]);
    assert_eq!(tables.publish(Kind::Channel, b"news", b"x"), 4);
    assert_eq!(tables.publish(Kind::ShardChannel, b"news", b"x"), 1);
    assert_eq!(tables.publish(Kind::Channel, b"nobody", b"x"), 1);
    assert_eq!(tables.publish(Kind::Channel, b"a", b"x"), 0);
    let sent = tables.take_outgoing();
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0].1.patterns, [name("*s"), name("n*")]);
    assert!(!sent[2].1.named && sent[2].1.patterns == [name("n*")]);
    assert!(!tables.has_outgoing());
    assert_eq!(
        tables.names(Kind::Channel, None),
        [name("news"), name("other")]
    );
    assert_eq!(tables.names(Kind::Channel, Some(b"o*")), [name("other")]);
    assert_eq!(tables.count(Kind::Channel, b"news"), 2);
    assert_eq!(tables.len(Kind::Pattern), 3);
}

#[test]
fn names_without_subscriptions_are_gone() {
    let mut tables = Tables::new(0, 2);
    let mut client = Subscriptions::default();
    assert!(client.add(Kind::Channel, name("a")) && client.add(Kind::Pattern, name("p")));
    assert!(!client.add(Kind::Channel, name("a")));
    tables.join(subscriber(1), Kind::Channel, &[name("a")]);
    tables.join(subscriber(1), Kind::Pattern, &[name("p")]);
    tables.join_elsewhere(1, Kind::Channel, &[name("a"), name("b")], 1);
    assert!(client.end(Kind::Channel, b"a") && !client.end(Kind::Channel, b"a"));
    tables.end(subscriber(1), Kind::Channel, &[name("a")]);
    assert!(client.is_ending());
    assert_eq!(tables.count(Kind::Channel, b"a"), 1);
    assert_eq!(
        client.leave_all(subscriber(1), &mut tables),
        [(Kind::Pattern, vec![name("p")])]
    );
    assert_eq!(
        (tables.len(Kind::Channel), tables.len(Kind::Pattern)),
        (2, 0)
    );
    tables.leave_elsewhere(1, Kind::Channel, &[name("a")], 2);
    tables.gone_elsewhere(1, Kind::Channel, &[name("b")]);
    assert!(tables.is_empty());
}

#[test]
fn only_cores_with_subscriptions_are_told() {
    let mut tables = Tables::new(1, 4);
    tables.join_elsewhere(0, Kind::Channel, &[name("a")], 1);
    tables.join_elsewhere(3, Kind::Pattern, &[name("?")], 5);
    tables.join_elsewhere(3, Kind::Pattern, &[name("?")], 6);
    assert_eq!(tables.publish(Kind::Channel, b"a", b"x"), 3);
    let cores: Vec<usize> = tables
        .take_outgoing()
        .iter()
        .map(|(core, _)| *core)
        .collect();
    assert_eq!(cores, [0, 3]);
}

/// What travels between the cores of the model.
enum Travelling {
    Join(Kind, Bytes, u64),
    Leave(Kind, Bytes, u64),
    Publication(Publication),
    /// All before it has arrived.
    Confirm(usize),
}

/// Random joins, ends and publications on three cores, delivered late but in order per pair: every publication
/// reaches exactly as many subscriptions as its publisher counted.
#[test]
fn counts_are_exact_whatever_is_on_its_way() {
    const CORES: usize = 3;
    const NAMES: [&str; 4] = ["a", "b", "ab", "*"];
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut pick = |count: usize| random.below(count as u64) as usize;
        let mut tables: Vec<Tables> = (0..CORES).map(|core| Tables::new(core, CORES)).collect();
        let mut links: Vec<Vec<VecDeque<Travelling>>> = (0..CORES)
            .map(|_| (0..CORES).map(|_| VecDeque::new()).collect())
            .collect();
        // Per core: what its one session has, and the ends that wait for how many cores.
        let mut held: Vec<Vec<(Kind, Bytes)>> = vec![Vec::new(); CORES];
        let mut ending: Vec<Option<(Kind, Bytes, usize)>> = vec![None; CORES];
        let (mut counted, mut delivered) = (0, 0);
        for step in 0..400 {
            let core = pick(CORES);
            match pick(if step < 300 { 8 } else { 1 }) {
                1 => {
                    let kind = if pick(3) == 0 {
                        Kind::Pattern
                    } else {
                        Kind::Channel
                    };
                    let joined = name(NAMES[pick(NAMES.len())]);
                    let entry = (kind, joined.clone());
                    let busy = ending[core].is_some();
                    if !busy && !held[core].contains(&entry) {
                        let change =
                            tables[core].join(subscriber(0), kind, std::slice::from_ref(&joined));
                        held[core].push(entry);
                        for peer in (0..CORES).filter(|peer| *peer != core) {
                            links[core][peer].push_back(Travelling::Join(
                                kind,
                                joined.clone(),
                                change,
                            ));
                        }
                    }
                }
                2 if ending[core].is_none() && !held[core].is_empty() => {
                    let at = pick(held[core].len());
                    let (kind, left) = held[core].swap_remove(at);
                    let change = tables[core].end(subscriber(0), kind, std::slice::from_ref(&left));
                    for peer in (0..CORES).filter(|peer| *peer != core) {
                        links[core][peer].push_back(Travelling::Leave(kind, left.clone(), change));
                    }
                    ending[core] = Some((kind, left, CORES - 1));
                }
                3 | 4 => {
                    counted += tables[core].publish(Kind::Channel, NAMES[pick(3)].as_bytes(), b"x");
                    for (peer, publication) in tables[core].take_outgoing() {
                        if peer == core {
                            delivered += received(&tables[core], &publication);
                        } else {
                            links[core][peer].push_back(Travelling::Publication(publication));
                        }
                    }
                }
                _ => {
                    let peer = pick(CORES);
                    let drain = if step < 300 { 1 } else { usize::MAX };
                    for _ in 0..drain {
                        let Some(message) = links[peer][core].pop_front() else {
                            break;
                        };
                        match message {
                            Travelling::Join(kind, joined, change) => {
                                tables[core].join_elsewhere(peer, kind, &[joined], change);
                            }
                            Travelling::Leave(kind, left, change) => {
                                tables[core].leave_elsewhere(peer, kind, &[left], change);
                                links[core][peer].push_back(Travelling::Confirm(peer));
                            }
                            Travelling::Publication(publication) => {
                                delivered += received(&tables[core], &publication);
                            }
                            Travelling::Confirm(owner) => {
                                let (kind, left, missing) =
                                    ending[owner].take().expect("an end is under way");
                                if missing > 1 {
                                    ending[owner] = Some((kind, left, missing - 1));
                                } else {
                                    tables[owner].forget(subscriber(0), kind, &left);
                                }
                            }
                        }
                    }
                }
            }
        }
        for (peer, to) in links.iter_mut().enumerate() {
            for (core, link) in to.iter_mut().enumerate() {
                for message in link.drain(..) {
                    match message {
                        Travelling::Publication(publication) => {
                            delivered += received(&tables[core], &publication);
                        }
                        Travelling::Join(kind, joined, change) => {
                            tables[core].join_elsewhere(peer, kind, &[joined], change);
                        }
                        Travelling::Leave(kind, left, change) => {
                            tables[core].leave_elsewhere(peer, kind, &[left], change);
                        }
                        // Nobody hears of an end that nothing comes behind.
                        Travelling::Confirm(_) => {}
                    }
                }
            }
        }
        assert_eq!(counted, delivered, "seed {seed}");
    }
}
