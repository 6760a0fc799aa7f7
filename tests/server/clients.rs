//! CLIENT's view of connections that no session serves any more: followers.

use super::harness::wait_until;
use super::on_all_shards;
use super::wire::Wire;

use std::time::Duration;

/// A connection that follows, by what it announced.
fn follower(port: u16) -> Wire {
    let mut wire = Wire::connect(port);
    for line in [
        "CLIENT SETNAME copy",
        "REPLCONF listening-port 7777 capa eof capa psync2",
    ] {
        assert_eq!(wire.run(line).text(), "OK");
    }
    wire.send(b"PSYNC ? -1\r\n");
    wire
}

#[test]
fn followers_are_listed_and_killed_as_clients() {
    on_all_shards(&[], |server| {
        let mut admin = server.wire();
        assert_eq!(admin.run("CLIENT LIST TYPE replica").text(), "");
        let mut copy = follower(server.port);
        wait_until("the follower", Duration::from_secs(10), || {
            server.info("connected_slaves") == "1"
        });
        let list = admin.run("CLIENT LIST TYPE replica").text();
        assert!(list.starts_with("id="), "{list}");
        assert_eq!(list.lines().count(), 1, "{list}");
        for part in [" name=copy ", " flags=S ", " cmd=psync "] {
            assert!(list.contains(part), "no {part:?} in {list}");
        }
        let all = admin.run("CLIENT LIST").text();
        assert!(all.contains(" flags=S "), "{all}");
        let normal = admin.run("CLIENT LIST TYPE normal").text();
        assert!(!normal.contains(" flags=S "), "{normal}");
        let id = list
            .strip_prefix("id=")
            .and_then(|rest| rest.split(' ').next());
        let id = id.expect("an id").to_owned();
        assert_eq!(
            admin
                .run(&format!("CLIENT LIST ID {id}"))
                .text()
                .lines()
                .count(),
            1
        );
        assert_eq!(admin.run("CLIENT KILL TYPE pubsub").int(), 0);
        assert_eq!(admin.run(&format!("CLIENT KILL ID {id}")).int(), 1);
        copy.read_to_end();
        wait_until("nobody to follow", Duration::from_secs(10), || {
            server.info("connected_slaves") == "0"
        });
        assert_eq!(admin.run("CLIENT KILL TYPE replica").int(), 0);
    });
}
