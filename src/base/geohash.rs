//! Geohashes as Redis counts them: places on the earth as integers whose order keeps neighbours together.
//!
//! ```text
//!   longitude  -180 .. 180           halved `step` times: an integer of `step` bits
//!   latitude   -85.05.. .. 85.05..   likewise
//!   hash       their bits in turn, the longitude's first; at the finest step 52 bits, which a double holds exactly
//! ```
//!
//! A cell of a coarser step is the range of hashes that begin with its bits. A search looks at the cell of its centre and at
//! the eight around it, of a step at which they cover the shape.
//!
//! Invariant: numbers are computed in Redis's order of operations, so that the last digit agrees.

use std::ops::Range;

/// Longitudes, in degrees.
pub const LONGITUDES: (f64, f64) = (-180.0, 180.0);
/// Latitudes, in degrees: where a square Mercator map ends.
pub const LATITUDES: (f64, f64) = (-85.05112878, 85.05112878);

/// Bits of each coordinate at the finest step.
const STEP_MAX: u32 = 26;

const EARTH_RADIUS_M: f64 = 6_372_797.560856;

/// Half of the Mercator map's width.
const MERCATOR_MAX_M: f64 = 20_037_726.37;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

impl Point {
    /// The place lies within what can be hashed.
    pub fn is_valid(&self) -> bool {
        let within = |value: f64, (min, max): (f64, f64)| (min..=max).contains(&value);
        within(self.longitude, LONGITUDES) && within(self.latitude, LATITUDES)
    }

    /// The hash at the finest step, as the score that stands for the place.
    pub fn score(&self) -> u64 {
        Cell::around(*self, STEP_MAX, LATITUDES).first_score()
    }

    /// The place that a score stands for: the middle of its cell.
    pub fn of_score(score: f64) -> Point {
        // As C converts on the usual machines: numbers below zero wrap, those beyond any integer do not matter.
        let bits = if score < (1u64 << 63) as f64 {
            (score as i64).cast_unsigned()
        } else {
            score as u64
        };
        let area = Cell::of_bits(bits, STEP_MAX).area();
        let middle = |(low, high): (f64, f64), (min, max): (f64, f64)| {
            ((low + high) / 2.0).min(max).max(min)
        };
        Point {
            longitude: middle(area.longitudes, LONGITUDES),
            latitude: middle(area.latitudes, LATITUDES),
        }
    }

    /// The geohash that other systems know, of eleven characters, the last of which is always `0`.
    pub fn text(&self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::around(*self, STEP_MAX, (-90.0, 90.0)).bits();
        std::array::from_fn(|index| match index {
            10 => ALPHABET[0],
            _ => ALPHABET[(bits >> (52 - (index + 1) * 5) & 0x1f) as usize],
        })
    }

    /// Metres along a great circle.
    pub fn distance_m(&self, other: &Point) -> f64 {
        let v = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if v == 0.0 {
            return latitude_distance_m(self.latitude, other.latitude);
        }
        let (one, two) = (radians(self.latitude), radians(other.latitude));
        let u = ((two - one) / 2.0).sin();
        let a = u * u + one.cos() * two.cos() * v * v;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }
}

fn latitude_distance_m(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_M * (radians(other) - radians(one)).abs()
}

/// What a search looks for places in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A circle of this radius, in metres.
    Circle(f64),
    /// A box of this width and height, in metres.
    Box(f64, f64),
}

impl Shape {
    /// The distance of a place from the centre, in metres; `None` when it lies outside.
    pub fn distance_within_m(&self, center: &Point, place: &Point) -> Option<f64> {
        match *self {
            Shape::Circle(radius) => {
                let distance = center.distance_m(place);
                (distance <= radius).then_some(distance)
            }
            Shape::Box(width, height) => {
                if latitude_distance_m(place.latitude, center.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Point {
                    longitude: center.longitude,
                    latitude: place.latitude,
                };
                if place.distance_m(&beside) > width / 2.0 {
                    return None;
                }
                Some(center.distance_m(place))
            }
        }
    }

    /// The stretches of scores that hold all places within the shape, and others, in the order in which they are searched.
    pub fn score_ranges(&self, center: &Point) -> Vec<Range<u64>> {
        let bounds = self.bounds(center);
        let radius = match *self {
            Shape::Circle(radius) => radius,
            Shape::Box(width, height) => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        let mut step = step_for(radius, center.latitude);
        let mut cell = Cell::around(*center, step, LATITUDES);
        let too_small = cell.moved(0, 1).area().latitudes.1 < bounds.latitudes.1
            || cell.moved(0, -1).area().latitudes.0 > bounds.latitudes.0
            || cell.moved(1, 0).area().longitudes.1 < bounds.longitudes.1
            || cell.moved(-1, 0).area().longitudes.0 > bounds.longitudes.0;
        if step > 1 && too_small {
            step -= 1;
            cell = Cell::around(*center, step, LATITUDES);
        }
        let area = cell.area();
        let covers = |east: i32, north: i32| {
            let outside = (north < 0 && area.latitudes.0 < bounds.latitudes.0)
                || (north > 0 && area.latitudes.1 > bounds.latitudes.1)
                || (east < 0 && area.longitudes.0 < bounds.longitudes.0)
                || (east > 0 && area.longitudes.1 > bounds.longitudes.1);
            step < 2 || !outside
        };
        const AROUND: [(i32, i32); 9] = [
            (0, 0),
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ];
        let mut cells: Vec<Cell> = Vec::with_capacity(AROUND.len());
        for (index, (east, north)) in AROUND.into_iter().enumerate() {
            if index > 0 && !covers(east, north) {
                continue;
            }
            let cell = cell.moved(east, north);
            // The world is small at coarse steps: neighbours may be one cell, which is searched once.
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
        cells.iter().map(Cell::scores).collect()
    }

    /// The box of degrees around the shape.
    fn bounds(&self, center: &Point) -> Area {
        let (width, height) = match *self {
            Shape::Circle(radius) => (radius, radius),
            Shape::Box(width, height) => (width / 2.0, height / 2.0),
        };
        let latitude_delta = degrees(height / EARTH_RADIUS_M);
        // The side nearer to a pole is the wider one in degrees.
        let wide = if center.latitude < 0.0 {
            center.latitude - latitude_delta
        } else {
            center.latitude + latitude_delta
        };
        let longitude_delta = degrees(width / EARTH_RADIUS_M / radians(wide).cos());
        Area {
            longitudes: (
                center.longitude - longitude_delta,
                center.longitude + longitude_delta,
            ),
            latitudes: (
                center.latitude - latitude_delta,
                center.latitude + latitude_delta,
            ),
        }
    }
}

/// The finest step whose cells are larger than the radius.
fn step_for(radius_m: f64, latitude: f64) -> u32 {
    if radius_m == 0.0 {
        return STEP_MAX;
    }
    let (mut range, mut step) = (radius_m, 1i32);
    while range < MERCATOR_MAX_M {
        range *= 2.0;
        step += 1;
    }
    // Nine cells have to cover the shape in most cases.
    step -= 2;
    // Towards the poles a cell is narrower.
    if latitude.abs() > 66.0 {
        step -= 1;
        if latitude.abs() > 80.0 {
            step -= 1;
        }
    }
    step.clamp(1, STEP_MAX as i32).cast_unsigned()
}

/// A rectangle of degrees.
#[derive(Clone, Copy, Debug)]
struct Area {
    longitudes: (f64, f64),
    latitudes: (f64, f64),
}

/// A cell of the grid of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    column: u32,
    row: u32,
    step: u32,
}

impl Cell {
    /// The cell of a place within the bounds.
    fn around(point: Point, step: u32, latitudes: (f64, f64)) -> Cell {
        let index = |value: f64, (min, max): (f64, f64)| {
            let offset = (value - min) / (max - min);
            (offset * (1u64 << step) as f64) as u32
        };
        Cell {
            column: index(point.longitude, LONGITUDES),
            row: index(point.latitude, latitudes),
            step,
        }
    }

    fn of_bits(bits: u64, step: u32) -> Cell {
        Cell {
            column: every_second_bit(bits >> 1),
            row: every_second_bit(bits),
            step,
        }
    }

    fn bits(&self) -> u64 {
        spread_bits(self.row) | spread_bits(self.column) << 1
    }

    /// The neighbour so many cells to the east and to the north; the world is round in both directions.
    fn moved(&self, east: i32, north: i32) -> Cell {
        let mask = (1u32 << self.step) - 1;
        let shift = |index: u32, by: i32| match by {
            0 => index,
            _ => index.wrapping_add_signed(by) & mask,
        };
        Cell {
            column: shift(self.column, east),
            row: shift(self.row, north),
            step: self.step,
        }
    }

    fn area(&self) -> Area {
        let side = |index: u32, (min, max): (f64, f64)| {
            let scale = max - min;
            let cells = (1u64 << self.step) as f64;
            (
                min + (f64::from(index) / cells) * scale,
                min + ((f64::from(index) + 1.0) / cells) * scale,
            )
        };
        Area {
            longitudes: side(self.column, LONGITUDES),
            latitudes: side(self.row, LATITUDES),
        }
    }

    fn first_score(&self) -> u64 {
        self.bits() << (52 - self.step * 2)
    }

    fn scores(&self) -> Range<u64> {
        let shift = 52 - self.step * 2;
        self.bits() << shift..(self.bits() + 1) << shift
    }
}

/// Puts a zero before each bit.
fn spread_bits(bits: u32) -> u64 {
    let mut spread = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    spread
}

/// The reverse of [`spread_bits`]; passes the other bits over.
fn every_second_bit(spread: u64) -> u32 {
    let mut bits = spread & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Point = Point {
        longitude: 13.361389,
        latitude: 38.115556,
    };
    const CATANIA: Point = Point {
        longitude: 15.087269,
        latitude: 37.502669,
    };

    #[test]
    fn bits_are_spread_and_gathered() {
        let mut random = crate::base::random::Random::new(5);
        for _ in 0..1000 {
            let (column, row) = (random.next_u64() as u32, random.next_u64() as u32);
            let step = STEP_MAX;
            let cell = Cell { column, row, step };
            assert_eq!(Cell::of_bits(cell.bits(), step), cell);
        }
        assert_eq!(spread_bits(0b1011), 0b100_0101);
    }

    #[test]
    fn known_places_have_the_known_hashes() {
        assert_eq!(PALERMO.score(), 3479099956230698);
        assert_eq!(CATANIA.score(), 3479447370796909);
        assert_eq!(&Point::of_score(3479099956230698.0).text(), b"sqc8b49rny0");
        assert_eq!(&Point::of_score(3479447370796909.0).text(), b"sqdtr74hyu0");
        let distance = PALERMO.distance_m(&CATANIA);
        assert!((166_274.0..166_275.0).contains(&distance), "{distance}");
    }

    #[test]
    fn any_score_is_some_place() {
        let mut random = crate::base::random::Random::new(6);
        let far = [f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, -0.0, 1.5];
        let random = std::iter::repeat_with(|| f64::from_bits(random.next_u64()));
        for score in far.into_iter().chain(random.take(1000)) {
            if !score.is_nan() {
                assert!(Point::of_score(score).is_valid(), "{score}");
            }
        }
    }

    #[test]
    fn a_search_looks_wherever_places_within_may_be() {
        let mut random = crate::base::random::Random::new(7);
        let mut place = || Point {
            longitude: random.fraction() * 360.0 - 180.0,
            latitude: random.fraction() * 170.0 - 85.0,
        };
        let places: Vec<Point> = (0..300).map(|_| place()).collect();
        for (index, center) in places.iter().take(60).enumerate() {
            // Searches that reach across the map's edges miss what lies behind them, as Redis's do.
            let metres = 1000.0 * 1.4f64.powi(index as i32 % 18);
            if center.longitude.abs() > 150.0 || center.latitude.abs() > 70.0 {
                continue;
            }
            for shape in [Shape::Circle(metres), Shape::Box(metres, metres * 2.0)] {
                let ranges = shape.score_ranges(center);
                for other in places.iter().chain([center]) {
                    if shape.distance_within_m(center, other).is_some() {
                        let score = other.score();
                        assert!(ranges.iter().any(|range| range.contains(&score)));
                    }
                }
            }
        }
    }
}
