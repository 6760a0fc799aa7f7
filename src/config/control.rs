//! CONFIG GET and CONFIG SET on a [`Config`], with Redis's rules and error texts.

use super::setting::Source;
use super::table::{Change, Config, PARAMETERS, Parameter, Status, find_spelling};
use crate::base::glob;
use std::borrow::Cow;
use thiserror::Error;

/// The parameters that a CONFIG SET changed. Those set to the value that they had are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed(Vec<&'static str>);

impl Changed {
    /// Whether the parameter of this name changed. Aliases do not count: ask for the name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// The names of those that changed.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// Whether none changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why CONFIG SET changed nothing; shown as the whole error reply, without the leading `-`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SetError {
    /// There is no such parameter.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{}'", String::from_utf8_lossy(.0))]
    Unknown(Vec<u8>),
    /// A parameter cannot be set, or not to this value.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused {
        /// The parameter as the reply names it.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Config {
    /// The parameters that any of the patterns matches, aliases under their own names, with their values.
    ///
    /// Hidden parameters answer only to their exact name. A name without pattern characters comes back in the
    /// caller's spelling. Redis replies in the order of a hash table; here it is that of the patterns and, for
    /// each, of the alphabet, each name once.
    pub fn get<'p>(
        &self,
        patterns: impl IntoIterator<Item = &'p [u8]>,
    ) -> Vec<(Cow<'static, str>, String)> {
        let mut found: Vec<(Cow<'static, str>, String)> = Vec::new();
        let mut add = |name: Cow<'static, str>, parameter: &Parameter| {
            if !found
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(&name))
            {
                found.push((name, parameter.show(self)));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"[*?".contains(byte)) {
                let name = std::str::from_utf8(pattern).ok();
                if let Some((name, (parameter, _))) =
                    name.and_then(|name| Some((name, find_spelling(name)?)))
                {
                    add(name.to_string().into(), parameter);
                }
                continue;
            }
            let shown = PARAMETERS
                .iter()
                .filter(|parameter| !parameter.access.hidden);
            let names =
                shown.flat_map(|parameter| parameter.names().map(move |name| (name, parameter)));
            let mut matching: Vec<_> = names
                .filter(|(name, _)| glob::matches(pattern, name.as_bytes(), true))
                .collect();
            matching.sort_unstable_by_key(|(name, _)| *name);
            for (name, parameter) in matching {
                add(name.into(), parameter);
            }
        }
        found
    }

    /// Sets all parameters of the pairs of name and value, or none.
    ///
    /// `protected_allowed` says whether this client may set protected parameters (`enable-protected-configs`).
    /// As in Redis, a name and its alias in one call are not duplicates, and the later one holds.
    pub fn set(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        protected_allowed: bool,
    ) -> Result<Changed, SetError> {
        let refused = |name: &str, reason: &str| SetError::Refused {
            name: name.into(),
            reason: reason.into(),
        };
        let mut rows: Vec<(&Parameter, &'static str, &[u8])> = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let unknown = || SetError::Unknown(name.to_vec());
            let name = std::str::from_utf8(name).map_err(|_| unknown())?;
            let (parameter, spelling) = find_spelling(name).ok_or_else(unknown)?;
            match parameter.access.change {
                Change::Immutable => return Err(refused(name, "can't set immutable config")),
                Change::Protected if !protected_allowed => {
                    return Err(refused(name, "can't set protected config"));
                }
                _ => {}
            }
            if rows.iter().any(|(_, known, _)| *known == spelling) {
                return Err(refused(name, "duplicate parameter"));
            }
            rows.push((parameter, spelling, value));
        }
        let mut wanted = self.clone();
        for (parameter, spelling, value) in &rows {
            let value = std::str::from_utf8(value)
                .map_err(|_| refused(spelling, "argument must be valid UTF-8"))?;
            // Words are parted by exactly one blank, so that `60  1` is refused as in Redis.
            let words: Vec<&str> = if parameter.several {
                value.split(' ').collect()
            } else {
                vec![value]
            };
            let assigned = parameter.assign(&mut wanted, &words, Source::Whole);
            assigned.map_err(|reason| refused(spelling, &reason))?;
        }
        let changed = PARAMETERS
            .iter()
            .filter(|parameter| (parameter.differs)(self, &wanted));
        let changed = Changed(changed.map(|parameter| parameter.name).collect());
        *self = wanted;
        Ok(changed)
    }

    /// The parameters that were set but do nothing here, each with the reason: worth a line of the log at start.
    pub fn ineffective(&self) -> Vec<(&'static str, String)> {
        let default = Config::default();
        let set = PARAMETERS
            .iter()
            .filter(|parameter| (parameter.differs)(self, &default));
        let reasons = set.filter_map(|parameter| match parameter.status {
            Status::Works => None,
            Status::Later(feature) => Some((parameter.name, format!("comes with {feature}"))),
            Status::Accepted(reason) => Some((parameter.name, reason.into())),
        });
        reasons.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        ClientsMemory, EvictionPolicy, KeyspaceEvents, LogLevel, OomScoreAdj, OutputBufferLimit,
        find,
    };

    fn get(config: &Config, patterns: &[&str]) -> Vec<(String, String)> {
        let found = config.get(patterns.iter().map(|pattern| pattern.as_bytes()));
        found
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value))
            .collect()
    }

    fn value(config: &Config, name: &str) -> String {
        get(config, &[name]).pop().expect("known").1
    }

    fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Changed, String> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        config.set(&pairs, false).map_err(|error| error.to_string())
    }

    /// The part of the error after the name.
    fn reason(name: &str, value: &str) -> String {
        let mut config = Config::default();
        let error = set(&mut config, &[(name, value)]).expect_err("must be refused");
        assert_eq!(config, Config::default());
        let start = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - ");
        error
            .strip_prefix(&start)
            .unwrap_or_else(|| panic!("{error}"))
            .to_string()
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<_> = PARAMETERS.iter().flat_map(Parameter::names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(
            names
                .iter()
                .all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()))
        );
        let field_names = PARAMETERS
            .iter()
            .filter(|parameter| parameter.name.contains('_'));
        assert_eq!(field_names.count(), 0);
    }

    #[test]
    fn every_parameter_has_a_doc_that_ends() {
        for parameter in PARAMETERS {
            assert!(parameter.doc.trim().ends_with('.'), "{}", parameter.name);
        }
    }

    #[test]
    fn what_get_shows_set_takes_back() {
        let default = Config::default();
        for parameter in PARAMETERS {
            for name in parameter.names() {
                let shown = value(&default, name);
                let mut config = Config::default();
                let words: Vec<&str> = if parameter.several {
                    shown.split(' ').collect()
                } else {
                    vec![&shown]
                };
                parameter
                    .assign(&mut config, &words, Source::Whole)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(config == default, "{name}");
                let set = config.set(&[(name.as_bytes(), shown.as_bytes())], true);
                match parameter.access.change {
                    Change::Immutable => assert!(set.is_err(), "{name}"),
                    _ => assert!(set.expect(name).is_empty(), "{name}"),
                }
            }
        }
    }

    #[test]
    fn every_alias_reads_and_writes_its_parameter() {
        for (alias, name) in [
            ("slaveof", "replicaof"),
            ("slave-priority", "replica-priority"),
            ("slave-serve-stale-data", "replica-serve-stale-data"),
            ("slave-read-only", "replica-read-only"),
            ("slave-ignore-maxmemory", "replica-ignore-maxmemory"),
            ("slave-lazy-flush", "replica-lazy-flush"),
            ("slave-announce-ip", "replica-announce-ip"),
            ("slave-announce-port", "replica-announce-port"),
            ("repl-ping-slave-period", "repl-ping-replica-period"),
            ("min-slaves-to-write", "min-replicas-to-write"),
            ("min-slaves-max-lag", "min-replicas-max-lag"),
            (
                "cluster-slave-validity-factor",
                "cluster-replica-validity-factor",
            ),
            ("cluster-slave-no-failover", "cluster-replica-no-failover"),
            ("hash-max-ziplist-entries", "hash-max-listpack-entries"),
            ("hash-max-ziplist-value", "hash-max-listpack-value"),
            ("list-max-ziplist-size", "list-max-listpack-size"),
            ("zset-max-ziplist-entries", "zset-max-listpack-entries"),
            ("zset-max-ziplist-value", "zset-max-listpack-value"),
            ("lua-time-limit", "busy-reply-threshold"),
            ("server_cpulist", "server-cpulist"),
            ("bio_cpulist", "bio-cpulist"),
            ("aof_rewrite_cpulist", "aof-rewrite-cpulist"),
            ("bgsave_cpulist", "bgsave-cpulist"),
        ] {
            assert_eq!(find(alias).expect(alias).name, name);
            assert_eq!(get(&Config::default(), &[alias])[0].0, alias);
        }
        let mut config = Config::default();
        let changed = set(&mut config, &[("slave-priority", "7")]).unwrap();
        assert!(changed.contains("replica-priority"));
        assert_eq!(config.replica_priority, 7);
        assert_eq!(
            get(&config, &["*-priority"]),
            [
                ("replica-priority".into(), "7".into()),
                ("slave-priority".into(), "7".into())
            ]
        );
        assert_eq!(
            PARAMETERS
                .iter()
                .map(|parameter| parameter.aliases.len())
                .sum::<usize>(),
            23
        );
    }

    #[test]
    fn get_knows_globs_cases_and_hidden_names() {
        let config = Config::default();
        assert_eq!(
            get(&config, &["MAXMEMORY"]),
            [("MAXMEMORY".into(), "0".into())]
        );
        assert_eq!(
            get(&config, &["maxmemory", "MAXMEMORY", "max[m]emor?"]).len(),
            1
        );
        let names: Vec<_> = get(&config, &["tcp-*", "port"])
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["tcp-backlog", "tcp-keepalive", "port"]);
        assert!(get(&config, &["watchdog*"]).is_empty());
        assert_eq!(get(&config, &["watchdog-period"]).len(), 1);
        assert!(get(&config, &["nothing", "no*such"]).is_empty());
        assert!(config.get([&b"\xff"[..]]).is_empty());
        assert!(get(&config, &["*"]).len() > 200);
    }

    #[test]
    fn defaults_are_those_of_redis() {
        let config = Config::default();
        for (name, expected) in [
            ("save", "3600 1 300 100 60 10000"),
            ("bind", "* -::*"),
            (
                "client-output-buffer-limit",
                "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            ),
            ("latency-tracking-info-percentiles", "50 99 99.9"),
            ("oom-score-adj-values", "0 200 800"),
            ("notify-keyspace-events", ""),
            ("shutdown-on-sigterm", "default"),
            ("unixsocketperm", "0"),
            ("repl-backlog-size", "1048576"),
            ("proto-max-bulk-len", "536870912"),
            ("auto-aof-rewrite-min-size", "67108864"),
            ("maxmemory-clients", "0"),
            ("maxmemory-policy", "noeviction"),
            ("replicaof", ""),
            ("databases", "16"),
            ("proc-title-template", "{title} {listen-addr} {server-mode}"),
        ] {
            assert_eq!(value(&config, name), expected, "{name}");
        }
    }

    #[test]
    fn refusals_read_as_in_redis() {
        for (name, value, expected) in [
            ("maxmemory", "1x", "argument must be a memory value"),
            ("maxmemory", "-1", "argument must be a memory value"),
            (
                "timeout",
                "abc",
                "argument couldn't be parsed into an integer",
            ),
            (
                "timeout",
                "99999999999999999999",
                "argument couldn't be parsed into an integer",
            ),
            (
                "timeout",
                "-1",
                "argument must be between 0 and 2147483647 inclusive",
            ),
            (
                "maxclients",
                "0",
                "argument must be between 1 and 4294967295 inclusive",
            ),
            (
                "port",
                "99999999",
                "argument must be between 0 and 65535 inclusive",
            ),
            (
                "slowlog-log-slower-than",
                "-2",
                "argument must be between -1 and 9223372036854775807 inclusive",
            ),
            (
                "slowlog-max-len",
                "-1",
                "argument must be between 0 and 9223372036854775807 inclusive",
            ),
            (
                "proto-max-bulk-len",
                "1",
                "argument must be between 1048576 and 9223372036854775807 inclusive",
            ),
            (
                "repl-backlog-size",
                "0",
                "argument must be between 1 and 9223372036854775807 inclusive",
            ),
            (
                "hz",
                "-1",
                "argument must be between 0 and 2147483647 inclusive",
            ),
            ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
            (
                "loglevel",
                "",
                "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
            ),
            (
                "maxmemory-policy",
                "foo",
                "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, \
                 volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
            ),
            (
                "oom-score-adj",
                "x",
                "argument(s) must be one of the following: no, yes, relative, absolute",
            ),
            (
                "shutdown-on-sigint",
                "",
                "argument(s) must be one of the following: default, save, nosave, now, force",
            ),
            (
                "shutdown-on-sigint",
                "save nosave",
                "shutdown options SAVE and NOSAVE can't be used simultaneously",
            ),
            (
                "maxmemory-clients",
                "101%",
                "percentage argument must be less or equal to 100",
            ),
            (
                "maxmemory-clients",
                "-5",
                "argument must be a memory or percent value",
            ),
            ("oom-score-adj-values", "1 2", "wrong number of arguments"),
            (
                "oom-score-adj-values",
                "1 2 3000",
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
            ),
            ("save", "1", "Invalid save parameters"),
            ("save", "0 1", "Invalid save parameters"),
            ("save", "60  1", "Invalid save parameters"),
            ("save", " ", "Invalid save parameters"),
            (
                "notify-keyspace-events",
                "q",
                "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            ),
            (
                "client-output-buffer-limit",
                "normal 1",
                "Wrong number of arguments in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "master 1 1 1",
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "normal 1mb x 1",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "normal 1 1 -1",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
            (
                "latency-tracking-info-percentiles",
                "50 200",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            (
                "latency-tracking-info-percentiles",
                "50 x",
                "Invalid latency-tracking-info-percentiles parameters",
            ),
            (
                "proc-title-template",
                "{title} ",
                "template format is invalid or contains unknown variables",
            ),
            (
                "proc-title-template",
                "{foo}",
                "template format is invalid or contains unknown variables",
            ),
            (
                "cluster-announce-hostname",
                "a b",
                "Hostnames may only contain alphanumeric characters, hyphens or dots",
            ),
            ("databases", "3", "can't set immutable config"),
            ("replicaof", "a 1", "can't set immutable config"),
            ("dir", "/", "can't set protected config"),
            ("dbfilename", "x", "can't set protected config"),
        ] {
            assert_eq!(reason(name, value), expected, "{name} {value:?}");
        }
        assert!(reason("tls-port", "6380").contains("TLS"));
    }

    #[test]
    fn octal_bounds_are_octal() {
        let perm = find("unixsocketperm").unwrap();
        let mut config = Config::default();
        let mut assign = |text: &str| perm.assign(&mut config, &[text], Source::Whole);
        assert_eq!(
            assign("999").unwrap_err(),
            "argument couldn't be parsed as an octal number"
        );
        assert_eq!(
            assign("7777").unwrap_err(),
            "argument must be between 0 and 777 inclusive"
        );
        assign("700").unwrap();
        assert_eq!(config.unixsocketperm, 0o700);
        assert_eq!(value(&config, "unixsocketperm"), "700");
    }

    #[test]
    fn both_bounds_of_every_integer_hold() {
        use crate::config::Shape;
        for parameter in PARAMETERS {
            let (min, max) = match parameter.shape {
                Shape::Integer(min, max) => (min, max),
                Shape::Memory(min, max) => (min.into(), max.into()),
                _ => continue,
            };
            for (number, inside) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
                let mut config = Config::default();
                let result = parameter.assign(&mut config, &[&number.to_string()], Source::Whole);
                assert_eq!(result.is_ok(), inside, "{} {number}", parameter.name);
                if inside {
                    assert_eq!(
                        parameter.show(&config),
                        number.to_string(),
                        "{}",
                        parameter.name
                    );
                }
            }
        }
    }

    #[test]
    fn errors_name_the_argument_as_redis_does() {
        let mut config = Config::default();
        for (pairs, expected) in [
            (
                &[("nosuch", "1")][..],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            ),
            (
                &[("port", "1"), ("port", "2")],
                "ERR CONFIG SET failed (possibly related to argument 'port') - duplicate parameter",
            ),
            (
                &[("DATABASES", "1")],
                "ERR CONFIG SET failed (possibly related to argument 'DATABASES') - can't set immutable config",
            ),
            (
                &[("SLAVE-PRIORITY", "-1")],
                "ERR CONFIG SET failed (possibly related to argument 'slave-priority') - argument must be \
                 between 0 and 2147483647 inclusive",
            ),
        ] {
            assert_eq!(set(&mut config, pairs).unwrap_err(), expected);
        }
        assert!(config.set(&[(b"requirepass", b"\xff")], false).is_err());
    }

    #[test]
    fn set_is_all_or_nothing_and_tells_what_changed() {
        let mut config = Config::default();
        assert!(set(&mut config, &[("requirepass", "x"), ("timeout", "x")]).is_err());
        assert_eq!(config, Config::default());
        let changed = set(
            &mut config,
            &[
                ("timeout", "5"),
                ("loglevel", "NOTICE"),
                ("maxmemory", "1gb"),
            ],
        )
        .unwrap();
        assert_eq!(changed.iter().collect::<Vec<_>>(), ["timeout", "maxmemory"]);
        assert!(changed.contains("timeout") && !changed.contains("loglevel"));
        assert_eq!((config.timeout, config.maxmemory), (5, 1 << 30));
        assert!(set(&mut config, &[("timeout", "5")]).unwrap().is_empty());
        set(
            &mut config,
            &[("slave-priority", "1"), ("replica-priority", "2")],
        )
        .unwrap();
        assert_eq!(config.replica_priority, 2);
        assert!(
            config
                .set(&[(b"dir", b"/tmp")], true)
                .unwrap()
                .contains("dir")
        );
    }

    #[test]
    fn values_have_one_form() {
        for (name, given, shown) in [
            ("notify-keyspace-events", "KEA", "AKE"),
            ("notify-keyspace-events", "Kg", "gK"),
            ("notify-keyspace-events", "g$lshzxetdnmKE", "AKEmn"),
            ("notify-keyspace-events", "nmxxl$", "$lxnm"),
            ("notify-keyspace-events", "", ""),
            ("shutdown-on-sigint", "force NOW", "now force"),
            ("shutdown-on-sigint", "default now", "now"),
            ("oom-score-adj", "relative", "yes"),
            ("maxmemory", "5gB", "5368709120"),
            ("maxmemory", "", "0"),
            ("maxmemory-clients", "5%", "5%"),
            ("maxmemory-clients", "0%", "0"),
            ("maxmemory-clients", "1kb", "1024"),
            ("save", "60 1 70 2", "60 1 70 2"),
            ("save", "", ""),
            (
                "latency-tracking-info-percentiles",
                "50.5 99 99.999 0",
                "50.5 99 99.999 0",
            ),
            (
                "latency-tracking-info-percentiles",
                "99.9999999 1e1 100",
                "100 10 100",
            ),
            ("latency-tracking-info-percentiles", "", ""),
            ("hz", "1000", "500"),
            ("hz", "0", "1"),
            ("repl-backlog-size", "1kb", "16384"),
            ("proc-title-template", "{title} x", "{title} x"),
            ("loglevel", "WARNING", "warning"),
            ("dynamic-hz", "NO", "no"),
            ("bind", "127.0.0.1 -::1", "127.0.0.1 -::1"),
            ("bind", "", ""),
            (
                "client-output-buffer-limit",
                "replica 1mb 1kb 1 SLAVE 2 2 2",
                "normal 0 0 0 slave 2 2 2 pubsub 33554432 8388608 60",
            ),
        ] {
            let mut config = Config::default();
            set(&mut config, &[(name, given)]).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(value(&config, name), shown, "{name} {given}");
        }
    }

    #[test]
    fn fields_have_their_types() {
        let mut config = Config::default();
        set(
            &mut config,
            &[
                ("maxmemory-policy", "allkeys-lru"),
                ("loglevel", "debug"),
                ("maxmemory-clients", "7%"),
                ("notify-keyspace-events", "Ex"),
                ("client-output-buffer-limit", "normal 1mb 1kb 3"),
                ("oom-score-adj", "absolute"),
            ],
        )
        .unwrap();
        assert_eq!(config.maxmemory_policy, EvictionPolicy::AllkeysLru);
        assert_eq!(config.loglevel, LogLevel::Debug);
        assert_eq!(config.maxmemory_clients, ClientsMemory::Percent(7));
        assert!(config.notify_keyspace_events.any(KeyspaceEvents::EXPIRED));
        assert!(!config.notify_keyspace_events.any(KeyspaceEvents::KEYSPACE));
        let limit = OutputBufferLimit {
            hard_bytes: 1 << 20,
            soft_bytes: 1024,
            soft_seconds: 3,
        };
        assert_eq!(config.client_output_buffer_limit.normal, limit);
        assert_eq!(config.oom_score_adj, OomScoreAdj::Absolute);
    }

    #[test]
    fn what_is_set_and_does_nothing_is_told() {
        let mut config = Config::default();
        assert!(config.ineffective().is_empty());
        set(&mut config, &[("timeout", "5"), ("activedefrag", "yes")]).unwrap();
        let told = config.ineffective();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, "activedefrag");
    }
}
