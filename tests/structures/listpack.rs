//! The listpack against a vector.

use shardine::structures::listpack::{Builder, Listpack};

use super::{Random, rounds};

/// Something of every encoding.
fn element(random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0..3 => (random.below(300) as i64 - 100).to_string().into_bytes(),
        3..5 => {
            let bits = random.below(64);
            (random.next() as i64 >> bits).to_string().into_bytes()
        }
        5..9 => vec![b'a' + random.below(3) as u8; random.below(70) as usize],
        _ => vec![b'x'; random.below(9_000) as usize],
    }
}

fn check(pack: &Listpack, model: &[Vec<u8>]) {
    assert_eq!(pack.len(), model.len());
    assert_eq!(pack.is_empty(), model.is_empty());
    assert!(
        pack.iter()
            .map(|element| element.to_vec())
            .eq(model.iter().cloned())
    );
    assert!(
        pack.iter()
            .rev()
            .map(|element| element.to_vec())
            .eq(model.iter().rev().cloned())
    );
    let copy = Listpack::from_bytes(pack.as_bytes()).expect("valid");
    assert_eq!(copy.as_bytes(), pack.as_bytes());
}

#[test]
fn listpack_behaves_as_a_vector() {
    let mut random = Random::from_env();
    let random = &mut random;
    for _ in 0..20 * rounds() {
        let mut pack = Listpack::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        let grows = 50 + random.below(40);
        for _ in 0..300 {
            let index = random.below(model.len() as u64 + 1) as usize;
            let from_end = index as isize - model.len() as isize;
            let pos = if random.chance(50) || from_end == 0 {
                pack.seek(index as isize)
            } else {
                pack.seek(from_end)
            };
            assert_eq!(pos.is_some(), index < model.len());
            let new = element(random);
            if random.chance(grows) {
                match (random.below(4), pos) {
                    (0, _) => {
                        pack.push_front(&new);
                        model.insert(0, new);
                    }
                    (1, Some(pos)) => {
                        let at = pack.insert_before(pos, &new);
                        assert_eq!(pack.get(at), *new);
                        model.insert(index, new);
                    }
                    (2, Some(pos)) => {
                        let at = pack.insert_after(pos, &new);
                        assert_eq!(pack.get(at), *new);
                        model.insert(index + 1, new);
                    }
                    _ => {
                        pack.push_back(&new);
                        model.push(new);
                    }
                }
            } else if let Some(pos) = pos {
                match random.below(7) {
                    0 => {
                        pack.replace(pos, &new);
                        model[index] = new;
                    }
                    1 => {
                        let count = random.below(10) as usize;
                        let next = pack.remove_range(pos, count);
                        model.drain(index..(index + count).min(model.len()));
                        assert_eq!(next, pack.seek(index as isize));
                    }
                    2 => {
                        let needle = model[random.below(model.len() as u64) as usize].clone();
                        pack.retain(|element| element != *needle);
                        model.retain(|element| *element != needle);
                    }
                    3 => {
                        let tail = pack.split_off(pos);
                        check(&tail, &model[index..]);
                        check(&pack, &model[..index]);
                        pack.append(&tail);
                    }
                    4 => {
                        let skip = random.below(3) as usize;
                        let needle = model[random.below(model.len() as u64) as usize].clone();
                        let found = (index..model.len())
                            .step_by(skip + 1)
                            .find(|&at| model[at] == needle);
                        let found = found.map(|at| pack.seek(at as isize));
                        assert_eq!(pack.find(pos, &needle, skip), found.flatten());
                    }
                    _ => {
                        let next = pack.remove(pos);
                        model.remove(index);
                        assert_eq!(next, pack.seek(index as isize));
                    }
                }
            }
            check(&pack, &model);
        }
        let mut builder = Builder::with_capacity(100);
        model.iter().for_each(|element| builder.push(element));
        assert_eq!(builder.finish().as_bytes(), pack.as_bytes());
        check(&pack.clone(), &model);
        pack.truncate(model.len() / 2);
        check(&pack, &model[..model.len() / 2]);
    }
}
