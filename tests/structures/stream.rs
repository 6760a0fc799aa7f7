//! Streams against a sorted map of std: records, ranges, trims, nodes taken over from outside, hostile nodes.

use std::collections::BTreeMap;

use shardine::structures::entry::Collection;
use shardine::structures::listpack::Listpack;
use shardine::structures::stream::{
    Keep, NewId, NodeLimits, Pending, Record, Records, Stream, StreamId, Trim,
};

use super::{Random, rounds};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
type Model = BTreeMap<StreamId, Pairs>;

fn words(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => random.below(1 << 40).to_string().into_bytes(),
        1 => b"007".to_vec(),
        2 => Vec::new(),
        _ => vec![b'x'; random.below(90) as usize],
    }
}

fn pairs(random: &mut Random) -> Pairs {
    let fields = 1 + random.below(3);
    (0..fields)
        .map(|field| {
            let name = if random.chance(80) {
                format!("field{field}").into_bytes()
            } else {
                words(random)
            };
            (name, words(random))
        })
        .collect()
}

fn owned(record: Record<'_>) -> (StreamId, Pairs) {
    let id = record.id;
    let pairs = record.map(|(field, value)| (field.to_vec(), value.to_vec()));
    (id, pairs.collect())
}

fn add(records: &mut Records, id: StreamId, pairs: &Pairs, limits: NodeLimits) {
    let pairs = pairs.iter().map(|(field, value)| (&field[..], &value[..]));
    records
        .append(id, pairs, limits)
        .expect("small records fit");
}

/// An id near those that are there.
fn some_id(random: &mut Random, last: StreamId) -> StreamId {
    StreamId {
        ms: random.below(last.ms + 2),
        seq: random.below(3),
    }
}

fn check(records: &Records, model: &Model) {
    assert_eq!(records.len(), model.len() as u64);
    let all = records.range(StreamId::MIN, StreamId::MAX).map(owned);
    assert!(all.eq(model.iter().map(|(id, pairs)| (*id, pairs.clone()))));
    let back = records.range_back(StreamId::MIN, StreamId::MAX).map(owned);
    assert!(back.eq(model.iter().rev().map(|(id, pairs)| (*id, pairs.clone()))));
    let first = model.keys().next().copied();
    assert_eq!(records.first_id(), first.unwrap_or(StreamId::MIN));
    assert_eq!(records.last_present_id(), model.keys().next_back().copied());
}

/// The same records, through the serialised form of the nodes.
fn taken_over(records: &Records) -> Records {
    let mut copy = Records::new();
    for (master, listpack) in records.nodes().iter() {
        let listpack = Listpack::from_bytes(listpack.as_bytes()).expect("our own bytes are good");
        copy.add_node(master, listpack)
            .expect("our own nodes are good");
    }
    copy
}

#[test]
fn records_behave_as_a_sorted_map() {
    let mut random = Random::from_env();
    for round in 0..20 * rounds() {
        let limits = NodeLimits {
            bytes: [0, 200, 4096][round % 3],
            entries: [4, 100, 0, 1][round % 4],
        };
        let mut stream = Stream::default();
        let mut model = Model::new();
        let mut added = 0;
        for _ in 0..600 {
            let records = stream.records_mut();
            match random.below(20) {
                0..=11 => {
                    let request = match random.below(3) {
                        0 => NewId::Auto,
                        1 => NewId::Ms(records.last_id.ms + random.below(2)),
                        _ => NewId::Given(StreamId {
                            ms: records.last_id.ms + random.below(3),
                            seq: random.below(1 << 20),
                        }),
                    };
                    let Some(id) = records.new_id(request, (model.len() * 3) as i64) else {
                        continue;
                    };
                    let pairs = pairs(&mut random);
                    add(records, id, &pairs, limits);
                    model.insert(id, pairs);
                    added += 1;
                }
                12..=15 => {
                    let at = random.below(model.len() as u64 + 1) as usize;
                    let id = match model.keys().nth(at) {
                        Some(id) => *id,
                        None => some_id(&mut random, records.last_id),
                    };
                    assert_eq!(records.delete(id), model.remove(&id).is_some());
                    records.deleted();
                }
                16 => {
                    let len = model.len() as u64;
                    let keep = Keep::Len(random.below(len + 1).max(len.saturating_sub(9)));
                    let removed = records.trim(Trim {
                        keep,
                        whole_nodes: false,
                        limit: 0,
                    });
                    assert_eq!(keep, Keep::Len(len - removed));
                    for _ in 0..removed {
                        model.pop_first();
                    }
                }
                17 => {
                    let id = some_id(&mut random, records.first_id());
                    let removed = records.trim(Trim {
                        keep: Keep::From(id),
                        whole_nodes: false,
                        limit: 0,
                    });
                    let kept = model.split_off(&id);
                    assert_eq!(removed, model.len() as u64);
                    model = kept;
                }
                18 => {
                    let limit = random.below(10);
                    let left = model.len() as u64 / 2;
                    let removed = records.trim(Trim {
                        keep: Keep::Len(left),
                        whole_nodes: true,
                        limit,
                    });
                    assert!(limit == 0 || removed <= limit);
                    assert!(model.len() as u64 - removed >= left);
                    for _ in 0..removed {
                        model.pop_first();
                    }
                }
                _ => {
                    let (a, b) = (
                        some_id(&mut random, records.last_id),
                        some_id(&mut random, records.last_id),
                    );
                    let (from, to) = (a.min(b), a.max(b));
                    let range = records.range(from, to).map(|record| record.id);
                    assert!(range.eq(model.range(from..=to).map(|(id, _)| *id)));
                    let back = records.range_back(from, to).map(|record| record.id);
                    assert!(back.eq(model.range(from..=to).rev().map(|(id, _)| *id)));
                    assert_eq!(records.contains(a), model.contains_key(&a));
                    assert!(records.range(to, from).next().is_none() || from == to);
                }
            }
        }
        check(stream.records(), &model);
        assert_eq!(stream.records().added, added);
        check(&taken_over(stream.records()), &model);
        let copy = stream.clone();
        let nodes = stream.records().nodes();
        let node_bytes: usize = nodes.iter().map(|(_, node)| node.memory_bytes()).sum();
        assert!(stream.memory_bytes() >= node_bytes);
        while stream.free_some(3) > 0 {}
        assert!(stream.is_empty() || stream.records().nodes().is_empty());
        check(copy.records(), &model);
    }
}

#[test]
fn hostile_nodes_are_refused_or_harmless() {
    let mut random = Random::from_env();
    let limits = NodeLimits {
        bytes: 0,
        entries: 0,
    };
    let mut records = Records::new();
    for ms in 1..12 {
        let pairs = pairs(&mut random);
        add(&mut records, StreamId { ms, seq: 0 }, &pairs, limits);
    }
    records.delete(StreamId { ms: 3, seq: 0 });
    let (master, node) = records.nodes().first().expect("a node");
    let good = node.as_bytes().to_vec();
    for _ in 0..20_000 * rounds() {
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        let Ok(listpack) = Listpack::from_bytes(&bytes) else {
            continue;
        };
        let mut hostile = Records::new();
        if hostile.add_node(master, listpack).is_err() {
            continue;
        }
        let ids: Vec<StreamId> = hostile
            .range(StreamId::MIN, StreamId::MAX)
            .map(|record| owned(record).0)
            .collect();
        assert_eq!(ids.len() as u64, hostile.len());
        assert_eq!(
            hostile.range_back(StreamId::MIN, StreamId::MAX).count(),
            ids.len()
        );
        for id in ids {
            assert!(hostile.delete(id));
        }
        assert!(hostile.is_empty());
    }
}

#[test]
fn nodes_come_in_their_order() {
    let limits = NodeLimits {
        bytes: 0,
        entries: 1,
    };
    let mut records = Records::new();
    for ms in 1..3 {
        let pairs = vec![(b"a".to_vec(), b"1".to_vec())];
        add(&mut records, StreamId { ms, seq: 0 }, &pairs, limits);
    }
    let nodes: Vec<(StreamId, Listpack)> = records
        .nodes()
        .iter()
        .map(|(master, node)| (master, node.clone()))
        .collect();
    let mut copy = Records::new();
    for (master, node) in nodes.iter().rev() {
        let added = copy.add_node(*master, node.clone());
        assert_eq!(added.is_ok(), *master == nodes[1].0);
    }
    assert!(copy.add_node(nodes[1].0, nodes[1].1.clone()).is_err());
    assert!(copy.add_node(StreamId::MAX, Listpack::new()).is_err());
}

/// Pending entries of one group as a map from id to consumer, deliveries.
#[test]
fn groups_keep_both_lists_of_pending_entries() {
    let mut random = Random::from_env();
    let names: Vec<Vec<u8>> = (0..5u64)
        .map(|name| name.to_string().into_bytes())
        .collect();
    let mut stream = Stream::default();
    assert!(!stream.groups_mut().remove(b"g"));
    let empty = stream.memory_bytes();
    assert!(stream.groups_mut().add(b"g", StreamId::MIN, None));
    assert!(!stream.groups_mut().add(b"g", StreamId::MIN, None));
    let mut model: BTreeMap<StreamId, (Vec<u8>, i64)> = BTreeMap::new();
    for step in 0..5_000 * rounds() as i64 {
        let id = StreamId {
            ms: random.below(300),
            seq: 0,
        };
        let name = &names[random.below(5) as usize];
        stream.edit_group(b"g", |_, group| match random.below(10) {
            0..=5 => {
                let (consumer, _) = group.consumer_or_new(name, step);
                group.assign(
                    id,
                    Pending {
                        delivered_ms: step,
                        deliveries: step,
                        consumer,
                    },
                );
                model.insert(id, (name.clone(), step));
            }
            6..=8 => assert_eq!(group.acknowledge(id), model.remove(&id).is_some()),
            _ if random.chance(10) => {
                let before = model.len();
                model.retain(|_, (owner, _)| owner != name);
                let deleted = group.delete_consumer(name);
                assert_eq!(deleted.unwrap_or(0), before - model.len());
            }
            _ => {}
        });
        let group = stream.groups().get(b"g").expect("the group");
        assert_eq!(group.pending().len(), model.len());
        if step % 100 > 0 {
            continue;
        }
        let pending = group.pending().iter().map(|(id, entry)| {
            let owner = group.consumer(entry.consumer).name().to_vec();
            (id, (owner, entry.deliveries))
        });
        assert!(pending.eq(model.iter().map(|(id, entry)| (*id, entry.clone()))));
        for consumer in group.consumers() {
            let own = consumer.pending().iter().map(|(id, ())| id);
            let of_model = model
                .iter()
                .filter(|(_, (owner, _))| owner == consumer.name());
            assert!(own.eq(of_model.map(|(id, _)| *id)));
        }
    }
    let full = stream.memory_bytes();
    let mut copy = stream.clone();
    while copy.free_some(1) > 0 {
        assert!(copy.memory_bytes() <= full);
    }
    assert!(stream.groups_mut().remove(b"g"));
    assert_eq!((stream.memory_bytes(), copy.memory_bytes()), (empty, empty));
}
