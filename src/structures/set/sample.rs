//! Random members: drawn with or without repetition, left in or taken out.

use std::collections::HashSet;

use super::super::entry::Collection as _;
use super::super::listpack::{Element, Listpack};
use super::super::pairs::{Pairs, hash_state};
use super::{Form, Limits, Set, member_of};
use crate::base::random::Random;

/// A part of a large set up to one in so many is drawn member by member, a larger one in a walk over all of them.
const DRAWN_PART_MIN: usize = 3;

/// Of a full set where the members that stay are fewer than one in so many that go, those that stay are drawn.
const STAYING_PART_MIN: usize = 5;

/// Chooses a number of elements out of a number of them in one walk, each choice as likely as any other.
struct Chooser<'r> {
    random: &'r mut Random,
    wanted: usize,
    left: usize,
}

impl Chooser<'_> {
    /// The element that comes next is chosen.
    #[inline]
    fn takes_next(&mut self) -> bool {
        let taken = self.wanted > 0 && self.random.index(self.left) < self.wanted;
        self.left -= 1;
        self.wanted -= usize::from(taken);
        taken
    }
}

impl Set {
    /// A random member, each as likely as any other; `None` of an empty set.
    pub fn random(&self, random: &mut Random) -> Option<Element<'_>> {
        if self.is_empty() {
            return None;
        }
        match &self.0 {
            Form::Ints(ints) => Some(Element::Int(ints.get(random.index(ints.len())))),
            Form::Pack(pack) => {
                let at = pack.seek(random.index(pack.len()) as isize)?;
                Some(pack.get(at))
            }
            Form::Full(pairs) => pairs.random(random).map(member_of),
        }
    }

    /// Emits `count` random members, the same ones again and again if it comes to that.
    pub fn draw(&self, count: usize, random: &mut Random, mut emit: impl FnMut(Element<'_>)) {
        if let Form::Pack(pack) = &self.0
            && count > 1
        {
            // Walking to a place takes longer than looking it up.
            let members: Vec<Element<'_>> = pack.iter().collect();
            (0..count).for_each(|_| emit(members[random.index(members.len())]));
            return;
        }
        for _ in 0..count {
            self.random(random).into_iter().for_each(&mut emit);
        }
    }

    /// Emits `count` different random members, fewer than there are.
    pub fn sample<'a>(
        &'a self,
        count: usize,
        random: &mut Random,
        mut emit: impl FnMut(Element<'a>),
    ) {
        debug_assert!(count < self.len());
        let few = count <= self.len() / DRAWN_PART_MIN;
        match &self.0 {
            Form::Full(pairs) if few => {
                let mut seen = HashSet::with_capacity_and_hasher(count, hash_state());
                while seen.len() < count
                    && let Some(pair) = pairs.random(random)
                {
                    if seen.insert(pair.key().as_ptr()) {
                        emit(member_of(pair));
                    }
                }
            }
            _ => {
                let mut chooser = self.chooser(count, random);
                self.iter()
                    .filter(|_| chooser.takes_next())
                    .for_each(&mut emit);
            }
        }
    }

    /// Takes out `count` different random members, no more than there are, and emits them. A full set that keeps few members
    /// becomes one of the form that suits those.
    pub fn take(
        &mut self,
        count: usize,
        random: &mut Random,
        limits: Limits,
        mut emit: impl FnMut(Element<'_>),
    ) {
        debug_assert!(count <= self.len());
        let staying = self.len() - count;
        match &mut self.0 {
            Form::Ints(ints) if count == 1 => {
                let index = random.index(ints.len());
                emit(Element::Int(ints.get(index)));
                ints.remove_at(index);
            }
            Form::Pack(pack) if count == 1 => {
                if let Some(at) = pack.seek(random.index(pack.len()) as isize) {
                    emit(pack.get(at));
                    pack.remove(at);
                }
            }
            Form::Full(pairs) if staying.saturating_mul(STAYING_PART_MIN) > count => {
                take_drawn(pairs, count, random, |member| emit(Element::Bytes(member)));
            }
            Form::Full(pairs) => {
                let mut rest = Set(Form::Pack(Listpack::new()));
                take_drawn(pairs, staying, random, |member| {
                    rest.insert(member, limits);
                });
                pairs.iter().map(member_of).for_each(emit);
                *self = rest;
            }
            Form::Ints(_) | Form::Pack(_) => {
                let mut chooser = self.chooser(count, random);
                let mut keep = |member: Element<'_>| {
                    let taken = chooser.takes_next();
                    if taken {
                        emit(member);
                    }
                    !taken
                };
                match &mut self.0 {
                    Form::Ints(ints) => ints.retain(|value| keep(Element::Int(value))),
                    Form::Pack(pack) => pack.retain(keep),
                    Form::Full(_) => {}
                }
            }
        }
    }

    fn chooser<'r>(&self, count: usize, random: &'r mut Random) -> Chooser<'r> {
        Chooser {
            random,
            wanted: count,
            left: self.len(),
        }
    }
}

/// Takes out random members one by one.
fn take_drawn(pairs: &mut Pairs, count: usize, random: &mut Random, mut take: impl FnMut(&[u8])) {
    let mut name = Vec::new();
    for _ in 0..count {
        let Some(pair) = pairs.random(random) else {
            return;
        };
        name.clear();
        name.extend_from_slice(pair.key());
        pairs.remove(&name);
        take(&name);
    }
}
