//! Commands that wait for keys, over real connections: who gives and who takes at once, timeouts, clients that go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::harness::wait_until;
use super::on_all_shards;
use super::wire::{REPLY_TIMEOUT, Value};

const TAKERS: usize = 8;
const GIVERS: usize = 4;
const EACH: usize = 200;
/// What ends a taker.
const END: &str = "end";

#[test]
fn every_element_is_given_to_one_client() {
    on_all_shards(&[], |server| {
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..TAKERS)
                .map(|n| {
                    let mut wire = server.wire();
                    scope.spawn(move || {
                        let mut taken = Vec::new();
                        let keys: Vec<String> =
                            (0..3).map(|k| format!("q{}", (n + k) % 4)).collect();
                        let mut line = vec![if n % 2 == 0 { "BLPOP" } else { "BRPOP" }];
                        line.extend(keys.iter().map(String::as_str));
                        let own = format!("end{n}");
                        line.extend([own.as_str(), "0"]);
                        loop {
                            let element = wire.call(&line).elements()[1].text();
                            if element == END {
                                return taken;
                            }
                            taken.push(element);
                        }
                    })
                })
                .collect();
            let givers: Vec<_> = (0..GIVERS)
                .map(|n| {
                    let mut wire = server.wire();
                    scope.spawn(move || {
                        for step in 0..EACH {
                            let key = format!("q{}", (n + step) % 4);
                            let element = format!("{n}-{step}");
                            if step % 5 == 0 {
                                wire.run("MULTI");
                                wire.call(&["RPUSH", "hidden", &element]);
                                wire.call(&["LMOVE", "hidden", &key, "LEFT", "LEFT"]);
                                assert!(!wire.run("EXEC").is_error());
                            } else {
                                wire.call(&["LPUSH", &key, &element]);
                            }
                        }
                    })
                })
                .collect();
            for giver in givers {
                giver.join().expect("a giver ends");
            }
            let mut wire = server.wire();
            wait_until("all is taken", REPLY_TIMEOUT, || {
                (0..4).all(|n| wire.call(&["EXISTS", &format!("q{n}")]).int() == 0)
            });
            for n in 0..TAKERS {
                wire.call(&["RPUSH", &format!("end{n}"), END]);
            }
            let taken = takers
                .into_iter()
                .map(|taker| taker.join().expect("a taker ends"));
            taken.collect::<Vec<_>>().concat()
        });
        assert_eq!(taken.len(), GIVERS * EACH);
        assert_eq!(
            taken.into_iter().collect::<BTreeSet<_>>().len(),
            GIVERS * EACH
        );
    });
}

#[test]
fn the_time_is_kept_and_a_fraction_of_a_second_counts() {
    on_all_shards(&[], |server| {
        let mut wire = server.wire();
        let began = Instant::now();
        assert_eq!(wire.run("BLPOP a b c d 0.15"), Value::Null);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(149), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn a_client_that_hangs_up_takes_nothing() {
    on_all_shards(&[], |server| {
        let mut control = server.wire();
        for line in ["BLPOP a b c 0", "BLMOVE a b LEFT LEFT 0", "BRPOP a 0"] {
            let mut gone = server.wire();
            gone.send(format!("{line}\r\nSET behind it\r\n").as_bytes());
            wait_until("it waits", REPLY_TIMEOUT, || {
                server.info("blocked_clients") == "1"
            });
            drop(gone);
            wait_until("it is gone", REPLY_TIMEOUT, || {
                server.info("blocked_clients") == "0" && server.info("total_blocking_keys") == "0"
            });
            control.run("RPUSH a x");
            assert_eq!(control.run("LPOP a").text(), "x");
            assert_eq!(control.run("GET behind"), Value::Null);
        }
    });
}

#[test]
fn a_server_stops_while_clients_wait() {
    on_all_shards(&[], |server| {
        let mut waiting = server.wire();
        waiting.send(b"BLPOP a b c d 0\r\n");
        wait_until("it waits", REPLY_TIMEOUT, || {
            server.info("blocked_clients") == "1"
        });
        server.signal(rustix::process::Signal::TERM);
        assert_eq!(waiting.read_to_end(), b"");
    });
}
