//! GEOSEARCH, GEORADIUS and their relatives: the places within a circle or a box, replied or stored.

use super::super::sorted_set::{limits, store_members};
use super::super::string::missed;
use super::super::{Cx, Done, Fault};
use super::{parse_point, parse_unit, push_distance, push_point};
use crate::base::geohash::{Point, Shape};
use crate::base::number::{parse_f64, parse_i64};
use crate::resp::Line;
use crate::structures::sorted_set::SortedSet;

/// A search in the words of its command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Coordinates and a radius at fixed places.
    Radius { may_store: bool },
    /// A member and a radius at fixed places.
    RadiusByMember { may_store: bool },
    /// All in options.
    Search,
    /// All in options, behind the destination.
    SearchStore,
}

impl Form {
    fn source_at(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    fn options_at(self) -> usize {
        match self {
            Form::Radius { .. } => 6,
            Form::RadiusByMember { .. } => 5,
            Form::Search => 2,
            Form::SearchStore => 3,
        }
    }

    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn may_store(self) -> bool {
        matches!(
            self,
            Form::Radius { may_store: true } | Form::RadiusByMember { may_store: true }
        )
    }
}

/// The order of the places found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    AsFound,
    Nearest,
    Farthest,
}

/// Around where. Without the source key a member is somewhere, as nothing is looked for.
#[derive(Clone, Copy)]
enum Center {
    At(Point),
    Nowhere,
}

/// A search as a line asks for it.
struct Query {
    center: Option<Center>,
    /// The centre is a member.
    from_member: bool,
    shape: Option<Shape>,
    /// Metres of the unit of all distances.
    unit_m: f64,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    order: Order,
    /// The most places; 0 for all.
    count: usize,
    /// Any places will do, not the nearest.
    any: bool,
    /// The argument that names the key for the result.
    store_at: Option<usize>,
    /// Distances are stored as scores.
    store_distances: bool,
}

/// A number that is not negative, with errors of its own.
fn length(line: &Line<'_>, at: usize, what: &'static str) -> Result<f64, Fault> {
    parse_f64(line.arg(at)).ok_or(Fault::text(what))
}

impl Query {
    fn parse(line: &Line<'_>, form: Form, set: Option<&SortedSet>) -> Result<Query, Fault> {
        let mut query = Query {
            center: None,
            from_member: false,
            shape: None,
            unit_m: 1.0,
            with_distance: false,
            with_hash: false,
            with_point: false,
            order: Order::AsFound,
            count: 0,
            any: false,
            store_at: (form == Form::SearchStore).then_some(1),
            store_distances: false,
        };
        match form {
            Form::Radius { .. } => {
                query.center = Some(Center::At(parse_point(line, 2)?));
                query.parse_circle(line, 4)?;
            }
            Form::RadiusByMember { .. } => {
                query.parse_member(line, 2, set)?;
                // As in Redis, nobody looks at the radius when there is no key.
                if set.is_some() {
                    query.parse_circle(line, 3)?;
                }
            }
            Form::Search | Form::SearchStore => {}
        }
        let mut at = form.options_at();
        while at < line.len() {
            at += query.parse_option(line, at, form, set)?;
        }
        query.check(line, form)?;
        if query.count > 0 && query.order == Order::AsFound && !query.any {
            query.order = Order::Nearest;
        }
        Ok(query)
    }

    /// Parses the option at `at`; returns the number of its arguments.
    fn parse_option(
        &mut self,
        line: &Line<'_>,
        at: usize,
        form: Form,
        set: Option<&SortedSet>,
    ) -> Result<usize, Fault> {
        let behind = line.len() - at - 1;
        let searches = form.is_search();
        let used = if line.is(at, "withdist") {
            self.with_distance = true;
            1
        } else if line.is(at, "withhash") {
            self.with_hash = true;
            1
        } else if line.is(at, "withcoord") {
            self.with_point = true;
            1
        } else if line.is(at, "any") {
            self.any = true;
            1
        } else if line.is(at, "asc") {
            self.order = Order::Nearest;
            1
        } else if line.is(at, "desc") {
            self.order = Order::Farthest;
            1
        } else if line.is(at, "count") && behind >= 1 {
            let count = parse_i64(line.arg(at + 1)).ok_or(Fault::NotInteger)?;
            if count <= 0 {
                return Err(Fault::text("ERR COUNT must be > 0"));
            }
            self.count = usize::try_from(count).unwrap_or(usize::MAX);
            2
        } else if form.may_store()
            && behind >= 1
            && (line.is(at, "store") || line.is(at, "storedist"))
        {
            self.store_at = Some(at + 1);
            self.store_distances = line.is(at, "storedist");
            2
        } else if searches && self.may_be_from(true) && behind >= 1 && line.is(at, "frommember") {
            self.parse_member(line, at + 1, set)?;
            2
        } else if searches && self.may_be_from(false) && behind >= 2 && line.is(at, "fromlonlat") {
            self.center = Some(Center::At(parse_point(line, at + 1)?));
            3
        } else if searches
            && !matches!(self.shape, Some(Shape::Box(..)))
            && behind >= 2
            && line.is(at, "byradius")
        {
            self.parse_circle(line, at + 1)?;
            3
        } else if searches
            && !matches!(self.shape, Some(Shape::Circle(_)))
            && behind >= 3
            && line.is(at, "bybox")
        {
            self.parse_box(line, at + 1)?;
            4
        } else if form == Form::SearchStore && line.is(at, "storedist") {
            self.store_distances = true;
            1
        } else {
            return Err(Fault::Syntax);
        };
        Ok(used)
    }

    fn parse_member(
        &mut self,
        line: &Line<'_>,
        at: usize,
        set: Option<&SortedSet>,
    ) -> Result<(), Fault> {
        self.from_member = true;
        self.center = Some(match set {
            None => Center::Nowhere,
            Some(set) => {
                let score = set
                    .score(line.arg(at))
                    .ok_or(Fault::text("ERR could not decode requested zset member"))?;
                Center::At(Point::of_score(score))
            }
        });
        Ok(())
    }

    /// A radius and its unit.
    fn parse_circle(&mut self, line: &Line<'_>, at: usize) -> Result<(), Fault> {
        let radius = length(line, at, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(Fault::text("ERR radius cannot be negative"));
        }
        self.unit_m = parse_unit(line, at + 1)?;
        self.shape = Some(Shape::Circle(radius * self.unit_m));
        Ok(())
    }

    /// A width, a height and their unit.
    fn parse_box(&mut self, line: &Line<'_>, at: usize) -> Result<(), Fault> {
        let width = length(line, at, "ERR need numeric width")?;
        let height = length(line, at + 1, "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(Fault::text("ERR height or width cannot be negative"));
        }
        self.unit_m = parse_unit(line, at + 2)?;
        self.shape = Some(Shape::Box(width * self.unit_m, height * self.unit_m));
        Ok(())
    }

    /// No centre of the other kind was given before.
    fn may_be_from(&self, member: bool) -> bool {
        self.center.is_none() || self.from_member == member
    }

    /// The options fit together.
    fn check(&self, line: &Line<'_>, form: Form) -> Done {
        let shows = self.with_distance || self.with_hash || self.with_point;
        if self.store_at.is_some() && shows {
            let command = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(Fault::text(format!(
                "ERR {command} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let command = line.arg(0);
        if form.is_search() && self.center.is_none() {
            return Err(Fault::showing(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {}",
                &[command],
            ));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(Fault::showing(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {}",
                &[command],
            ));
        }
        if self.any && self.count == 0 {
            return Err(Fault::text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The places that are asked for, in their order.
    fn find(&self, set: &SortedSet) -> Vec<Found> {
        let (Some(Center::At(center)), Some(shape)) = (self.center, self.shape) else {
            return Vec::new();
        };
        let enough = if self.any { self.count } else { 0 };
        let mut found = Vec::new();
        'cells: for scores in shape.score_ranges(&center) {
            let start = set.count_while_score(|score| score < scores.start as f64);
            for (rank, (_, score)) in (start..).zip(set.range(start..usize::MAX, false)) {
                if score >= scores.end as f64 {
                    break;
                }
                let point = Point::of_score(score);
                let Some(distance_m) = shape.distance_within_m(&center, &point) else {
                    continue;
                };
                found.push(Found {
                    rank,
                    score,
                    point,
                    distance: distance_m,
                });
                if enough > 0 && found.len() >= enough {
                    break 'cells;
                }
            }
        }
        self.sort(&mut found);
        for place in &mut found {
            place.distance /= self.unit_m;
        }
        found
    }

    /// Puts the places in order and leaves the first ones only, as many as are asked for.
    fn sort(&self, found: &mut Vec<Found>) {
        let compare = |one: &Found, other: &Found| match self.order {
            Order::Farthest => other.distance.total_cmp(&one.distance),
            Order::Nearest | Order::AsFound => one.distance.total_cmp(&other.distance),
        };
        let count = if self.count == 0 {
            found.len()
        } else {
            self.count.min(found.len())
        };
        if self.order != Order::AsFound {
            if count < found.len() {
                // Ties are decided by what was found first, as a stable sort would.
                let mut numbered: Vec<(usize, Found)> = found.drain(..).enumerate().collect();
                let compare = |one: &(usize, Found), other: &(usize, Found)| {
                    compare(&one.1, &other.1).then(one.0.cmp(&other.0))
                };
                numbered.select_nth_unstable_by(count, compare);
                numbered.truncate(count);
                numbered.sort_unstable_by(compare);
                found.extend(numbered.into_iter().map(|(_, place)| place));
            } else {
                found.sort_by(compare);
            }
        }
        found.truncate(count);
    }
}

/// A place within the shape.
struct Found {
    /// Where the set has it.
    rank: usize,
    score: f64,
    point: Point,
    /// From the centre, in metres at first, then in the line's unit.
    distance: f64,
}

pub(super) fn geosearch(cx: &mut Cx<'_>) -> Done {
    search(cx, Form::Search)
}

pub(super) fn geosearchstore(cx: &mut Cx<'_>) -> Done {
    search(cx, Form::SearchStore)
}

pub(super) fn georadius(cx: &mut Cx<'_>) -> Done {
    search(cx, Form::Radius { may_store: true })
}

pub(super) fn georadius_ro(cx: &mut Cx<'_>) -> Done {
    search(cx, Form::Radius { may_store: false })
}

pub(super) fn georadiusbymember(cx: &mut Cx<'_>) -> Done {
    search(cx, Form::RadiusByMember { may_store: true })
}

pub(super) fn georadiusbymember_ro(cx: &mut Cx<'_>) -> Done {
    search(cx, Form::RadiusByMember { may_store: false })
}

fn search(cx: &mut Cx<'_>, form: Form) -> Done {
    let (line, source, limits) = (cx.line, cx.key(form.source_at()), limits(cx));
    let set = cx.keyspace.read_collection::<SortedSet>(cx.db, source)?;
    let query = Query::parse(&line, form, set)?;
    let found = set.map(|set| query.find(set)).unwrap_or_default();
    if let Some(store_at) = query.store_at {
        let mut result = SortedSet::default();
        if let Some(set) = set {
            let mut digits = itoa::Buffer::new();
            for place in &found {
                let score = if query.store_distances {
                    place.distance
                } else {
                    place.score
                };
                if let Some((member, _)) = set.get(place.rank) {
                    result.insert(member.to_bytes(&mut digits), score, &limits);
                }
            }
        } else {
            missed(cx, source);
        }
        let event = match form {
            Form::SearchStore => "geosearchstore",
            _ => "georadiusstore",
        };
        let destination = cx.key(store_at);
        store_members(cx, destination, result, event);
        return Ok(());
    }
    let Some(set) = set else {
        missed(cx, source);
        cx.reply.empty_array();
        return Ok(());
    };
    let reply = &mut cx.reply;
    reply.array(found.len());
    let shown = [query.with_distance, query.with_hash, query.with_point];
    let shown = shown.into_iter().filter(|&shown| shown).count();
    for place in &found {
        if shown > 0 {
            reply.array(1 + shown);
        }
        if let Some((member, _)) = set.get(place.rank) {
            reply.bulk(member.to_bytes(&mut itoa::Buffer::new()));
        }
        if query.with_distance {
            push_distance(reply, place.distance);
        }
        if query.with_hash {
            reply.int(place.score as i64);
        }
        if query.with_point {
            push_point(reply, &place.point);
        }
    }
    Ok(())
}
