//! What the handlers tell and log.

use super::super::{sorted_set, testkit::Kit};
use super::TABLE;

#[test]
fn geoadd_is_logged_as_zadd() {
    let mut kit = Kit::new(&[TABLE, sorted_set::TABLE]);
    kit.expect(
        "GEOADD k NX CH 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
        ":2|",
    );
    kit.events("new k,zadd k");
    kit.logged(
        "*8|$4|ZADD|$1|k|$2|NX|$2|CH|$16|3479099956230698|$7|Palermo|$16|3479447370796909|$7|Catania|",
    );
    kit.expect("GEOADD k 13.361389 38.115556 Palermo", ":0|");
    kit.events("");
    kit.logged("");
}

#[test]
fn stored_searches_tell_of_their_destination() {
    let mut kit = Kit::new(&[TABLE, sorted_set::TABLE]);
    kit.expect(
        "GEOADD k 13.361389 38.115556 a 15.087269 37.502669 b",
        ":2|",
    );
    kit.expect("GEOSEARCHSTORE d k FROMLONLAT 15 37 BYRADIUS 200 km", ":2|");
    kit.events("new d,geosearchstore d");
    assert_eq!(kit.effects.dirty, 2);
    kit.expect("GEORADIUS k 15 37 200 km STORE d", ":2|");
    kit.events("georadiusstore d");
    kit.expect("GEORADIUSBYMEMBER k a 1 m STOREDIST d", ":1|");
    kit.events("georadiusstore d");
    kit.expect(
        "GEOSEARCHSTORE d nosuch FROMLONLAT 15 37 BYRADIUS 200 km",
        ":0|",
    );
    kit.events("keymiss nosuch,del d");
    assert_eq!(kit.effects.dirty, 1);
    kit.expect("GEOSEARCH k FROMLONLAT 0 0 BYRADIUS 1 km", "*0|");
    kit.events("");
}
