//! The reader of redis.conf: one directive a line, `#` begins a comment line, quoting as in `quote`.

use super::nearest;
use super::quote::split_arguments;
use super::setting::Source;
use super::table::{Config, find};
use super::users::{Password, default_user, sha256_hex};
use thiserror::Error;

/// Files may include files this deep; deeper is taken for a circle.
const INCLUDE_DEPTH_MAX: usize = 16;

/// A line that cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{origin}, line {line}: {directive}: {reason}")]
pub struct FileError {
    /// The file.
    pub origin: String,
    /// Its line, from 1.
    pub line: usize,
    /// The line's first word.
    pub directive: String,
    /// What is wrong. Never holds the value, which may be a password.
    pub reason: String,
}

/// One file that an `include` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// Its path, for error messages.
    pub origin: String,
    /// Its content.
    pub text: String,
}

/// Reads a file into the configuration, which is left as it was on an error.
///
/// `include` resolves the argument of an `include` line: the one file, or all files that a pattern matches, in
/// order. Lines that say `save` replace the save points there are, then add to each other.
pub fn parse_file(
    text: &str,
    origin: &str,
    config: &mut Config,
    include: &mut dyn FnMut(&str) -> Result<Vec<Included>, String>,
) -> Result<(), FileError> {
    let mut wanted = config.clone();
    let mut directives = Directives::default();
    read(text, origin, 0, &mut wanted, &mut directives, include)?;
    directives.finish(&mut wanted).map_err(|reason| {
        let (origin, line) = std::mem::take(&mut directives.user_place);
        FileError {
            origin,
            line,
            directive: "user".into(),
            reason,
        }
    })?;
    *config = wanted;
    Ok(())
}

fn read(
    text: &str,
    origin: &str,
    depth: usize,
    config: &mut Config,
    directives: &mut Directives,
    include: &mut dyn FnMut(&str) -> Result<Vec<Included>, String>,
) -> Result<(), FileError> {
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_matches([' ', '\t', '\r', '\n']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |directive: &str, reason: String| FileError {
            origin: origin.into(),
            line: index + 1,
            directive: directive.into(),
            reason,
        };
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        let words = split_arguments(line).map_err(|wrong| error(first, wrong.to_string()))?;
        let [directive, words @ ..] = words.as_slice() else {
            continue;
        };
        if directive.eq_ignore_ascii_case("include") {
            let [pattern] = words else {
                return Err(error(directive, "wrong number of arguments".into()));
            };
            if depth == INCLUDE_DEPTH_MAX {
                return Err(error(
                    directive,
                    format!("files are nested more than {INCLUDE_DEPTH_MAX} deep"),
                ));
            }
            for file in include(pattern).map_err(|reason| error(directive, reason))? {
                read(
                    &file.text,
                    &file.origin,
                    depth + 1,
                    config,
                    directives,
                    include,
                )?;
            }
            continue;
        }
        directives
            .follow(config, directive, words)
            .map_err(|reason| error(directive, reason))?;
        if directive.eq_ignore_ascii_case("user") {
            directives.user_place = (origin.into(), index + 1);
        }
    }
    Ok(())
}

/// Directives that Redis still reads and no longer heeds.
const OBSOLETE: [&str; 3] = [
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
];

/// Directives that are not parameters, in the order of `Directives::follow`.
const NOT_PARAMETERS: [&str; 5] = [
    "user",
    "rename-command",
    "loadmodule",
    "sentinel",
    "include",
];

/// Whether the name is a directive though not a parameter.
pub(super) fn is_special(name: &str) -> bool {
    NOT_PARAMETERS
        .iter()
        .chain(&OBSOLETE)
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// What has to be remembered between the directives of one file or command line.
#[derive(Debug, Default)]
pub(super) struct Directives {
    /// The parameters that had a line already.
    seen: Vec<&'static str>,
    /// What the last `user default` line says.
    password: Option<Password>,
    /// The file and the line where that is.
    user_place: (String, usize),
}

impl Directives {
    /// Follows one directive.
    pub(super) fn follow(
        &mut self,
        config: &mut Config,
        name: &str,
        words: &[String],
    ) -> Result<(), String> {
        if let Some(parameter) = find(name) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let again = self.seen.contains(&parameter.name);
            let source = if again {
                Source::Further
            } else {
                Source::Whole
            };
            parameter.assign(config, &words, source)?;
            if config.cluster_enabled && config.replicaof.is_some() {
                return Err("replicaof directive not allowed in cluster mode".into());
            }
            self.seen.push(parameter.name);
            return Ok(());
        }
        match name.to_ascii_lowercase().as_str() {
            "user" => self.password = Some(default_user(words)?),
            "rename-command" => {
                return Err("commands cannot be renamed here: the command would stay open under its own name".into());
            }
            "loadmodule" => return Err("modules cannot be loaded here".into()),
            "sentinel" => return Err("there is no sentinel mode here".into()),
            "include" => return Err("only a file can include files".into()),
            obsolete if OBSOLETE.contains(&obsolete) && words.len() == 1 => {}
            obsolete if OBSOLETE.contains(&obsolete) => {
                return Err("wrong number of arguments".into());
            }
            module if module.contains('.') => {
                return Err(
                    "parameters with a dot belong to modules, which cannot be loaded here".into(),
                );
            }
            _ => return Err(nearest::unknown(name)),
        }
        Ok(())
    }

    /// Does what had to wait until all lines were read.
    pub(super) fn finish(&mut self, config: &mut Config) -> Result<(), String> {
        match self.password.take() {
            // A password that the same file sets stays: to ask for it is the safe reading of the two lines.
            None | Some(Password::None) => Ok(()),
            Some(Password::Clear(password)) => {
                config.requirepass = password;
                Ok(())
            }
            Some(Password::Hashed(hash)) if !config.requirepass.is_empty() && sha256_hex(&config.requirepass) == hash => {
                Ok(())
            }
            Some(Password::Hashed(_)) => {
                Err("the default user's hashed password is not that of requirepass; set requirepass instead".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ReplicaOf, SavePoint};

    fn parse(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        let mut include = |pattern: &str| match pattern {
            "more.conf" => Ok(vec![Included {
                origin: "more.conf".into(),
                text: "timeout 7\nsave 5 5".into(),
            }]),
            "bad.conf" => Ok(vec![Included {
                origin: "bad.conf".into(),
                text: "\ntimeout x".into(),
            }]),
            "self.conf" => Ok(vec![Included {
                origin: "self.conf".into(),
                text: "include self.conf".into(),
            }]),
            "none*.conf" => Ok(Vec::new()),
            _ => Err("no such file".into()),
        };
        match parse_file(text, "redis.conf", &mut config, &mut include) {
            Ok(()) => Ok(config),
            Err(error) => {
                assert_eq!(config, Config::default());
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn a_usual_file_is_read() {
        let config = parse(
            "# a comment\r\n\n  bind 127.0.0.1 -::1  \nPORT 6390\nloglevel notice\nlogfile \"\"\ndatabases 4\n\
             daemonize yes\nsave 900 1\nsave 300 10 60 10000\nappendonly no\nproc-title-template \"{title} {port}\"\n\
             requirepass 'it\\'s \"secret\"'\nclient-output-buffer-limit normal 0 0 0\n\
             client-output-buffer-limit replica 256mb 64mb 60\nslaveof 10.0.0.1 6379\nnotify-keyspace-events \"\"\n\
             hash-max-ziplist-entries 100\nlist-max-ziplist-entries 5\nmaxmemory 1gb\nlua-replicate-commands yes",
        )
        .unwrap();
        assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
        assert_eq!(
            (config.port, config.databases, config.daemonize),
            (6390, 4, true)
        );
        assert_eq!(config.requirepass, "it's \"secret\"");
        assert_eq!(config.save.len(), 3);
        assert_eq!(
            config.save[0],
            SavePoint {
                seconds: 900,
                changes: 1
            }
        );
        assert_eq!(
            config.replicaof,
            Some(ReplicaOf {
                host: "10.0.0.1".into(),
                port: 6379
            })
        );
        assert_eq!(
            (config.hash_max_listpack_entries, config.maxmemory),
            (100, 1 << 30)
        );
    }

    #[test]
    fn errors_name_file_line_and_directive() {
        for (text, expected) in [
            (
                "\n\ntimeout x",
                "redis.conf, line 3: timeout: argument couldn't be parsed into an integer",
            ),
            (
                "port",
                "redis.conf, line 1: port: wrong number of arguments",
            ),
            (
                "port 1 2",
                "redis.conf, line 1: port: wrong number of arguments",
            ),
            (
                "maxmemroy 1",
                "redis.conf, line 1: maxmemroy: unknown parameter 'maxmemroy' (did you mean 'maxmemory'?)",
            ),
            (
                "qwertyuiop 1",
                "redis.conf, line 1: qwertyuiop: unknown parameter 'qwertyuiop'",
            ),
            (
                "maxmemory \"1gb",
                "redis.conf, line 1: maxmemory: unbalanced quotes",
            ),
            (
                "save 1",
                "redis.conf, line 1: save: Invalid save parameters",
            ),
            (
                "replicaof a",
                "redis.conf, line 1: replicaof: wrong number of arguments",
            ),
            (
                "replicaof a b",
                "redis.conf, line 1: replicaof: Invalid master port",
            ),
            (
                "loadmodule x.so",
                "redis.conf, line 1: loadmodule: modules cannot be loaded here",
            ),
            (
                "include bad.conf",
                "bad.conf, line 2: timeout: argument couldn't be parsed into an integer",
            ),
            (
                "include gone.conf",
                "redis.conf, line 1: include: no such file",
            ),
            (
                "include self.conf",
                "self.conf, line 1: include: files are nested more than 16 deep",
            ),
            (
                "\nlua-replicate-commands",
                "redis.conf, line 2: lua-replicate-commands: wrong number of arguments",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        for text in [
            "replicaof a 1\ncluster-enabled yes",
            "cluster-enabled yes\nreplicaof a 1",
            "rename-command FLUSHALL \"\"",
            "user alice on",
            "aclfile /etc/users.acl",
            "tls-port 6380",
            "a.b 1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_error_tells_a_value() {
        let error = parse("requirepass one two-secrets").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn save_lines_replace_the_defaults_and_add_up() {
        let points = |text: &str| parse(text).unwrap().save.len();
        assert_eq!(points(""), 3);
        assert_eq!(points("save 1 1"), 1);
        assert_eq!(points("save 1 1\nsave 2 2"), 2);
        assert_eq!(points("save 1 1\nsave \"\""), 0);
        assert_eq!(points("save \"\"\nsave 1 1"), 1);
        assert_eq!(points("save 1 1\ninclude more.conf"), 2);
    }

    #[test]
    fn includes_are_read_where_they_stand() {
        assert_eq!(parse("timeout 5\ninclude more.conf").unwrap().timeout, 7);
        assert_eq!(parse("include more.conf\ntimeout 5").unwrap().timeout, 5);
        assert_eq!(parse("include none*.conf\ntimeout 5").unwrap().timeout, 5);
    }

    #[test]
    fn the_default_user_is_its_password() {
        assert_eq!(
            parse("user default on nopass ~* &* +@all").unwrap(),
            Config::default()
        );
        assert_eq!(
            parse("user default on >x ~* &* +@all\nrequirepass y")
                .unwrap()
                .requirepass,
            "x"
        );
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let line = format!("user default on #{hash} ~* &* +@all");
        assert_eq!(
            parse(&format!("{line}\nrequirepass abc"))
                .unwrap()
                .requirepass,
            "abc"
        );
        assert!(
            parse(&format!("\nrequirepass abd\n{line}"))
                .unwrap_err()
                .starts_with("redis.conf, line 3: user: ")
        );
        assert!(parse(&line).is_err());
    }
}
