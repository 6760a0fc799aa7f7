//! The page `docs/config.md`, made from the table.

use super::table::{Access, Change, Config, Group, PARAMETERS, Status};
use std::fmt::Write;

const HEAD: &str = "\
# Configuration

Parameters are read from a file (`shardine redis.conf`), from standard input (`shardine -`) and from the command
line (`shardine --port 6380 --save \"\"`), of which the command line wins. The file has the format of redis.conf, and
an existing redis.conf works. CONFIG GET shows all parameters, CONFIG SET changes those marked *any time* and
CONFIG REWRITE writes them back. This page is made from the table in `src/config/table.rs`.

Amounts of memory take the units `k` `m` `g` (thousands) and `kb` `mb` `gb` (1,024s), in either case.

**Status.** Empty: it does what it says. *Later*: it is kept and shown, and has no effect until the named feature is
there. *No effect*: it is kept and shown so that configurations and tools written for Redis work, and means nothing
here, for the reason given.
";

const TAIL: &str = "
## Directives that are not parameters

| Directive | What becomes of it |
|---|---|
| `include FILE` | Reads the file at that place; a pattern reads all files it matches, or none. |
| `user default on nopass ~* &* +@all` | Accepted, as Redis writes it into every file that it rewrites. With `>password`, sets `requirepass`; with `#hash`, the hash has to be that of `requirepass`. Any other user is an error: without ACL its rules would not hold. |
| `rename-command` | An error: the command would stay open under its own name. |
| `loadmodule`, and parameters with a dot | An error: there are no modules. |
| `sentinel` | An error: there is no sentinel mode. |
| `list-max-ziplist-entries`, `list-max-ziplist-value`, `lua-replicate-commands` | Ignored, as Redis does. |
";

/// The text of `docs/config.md`.
pub fn markdown() -> String {
    let config = Config::default();
    let mut page = String::from(HEAD);
    let mut group = None;
    for parameter in PARAMETERS {
        if group != Some(parameter.group) {
            let Group(name) = parameter.group;
            group = Some(parameter.group);
            page.push_str(&format!(
                "\n## {name}\n\n| Parameter | Meaning | Value | Default | Change | Status |\n|---|---|---|---|---|---|\n"
            ));
        }
        let aliases: Vec<_> = parameter
            .aliases
            .iter()
            .map(|alias| format!("`{alias}`"))
            .collect();
        let aliases = if aliases.is_empty() {
            String::new()
        } else {
            format!(" ({})", aliases.join(", "))
        };
        let default = match parameter.show(&config) {
            empty if empty.is_empty() => String::new(),
            shown => format!("`{shown}`"),
        };
        let Access { change, hidden } = parameter.access;
        let change = match change {
            Change::Mutable => "any time",
            Change::Immutable => "at start",
            Change::Protected => "at start, or with `enable-protected-configs`",
        };
        let hidden = if hidden { ", hidden" } else { "" };
        let status = match parameter.status {
            Status::Works => String::new(),
            Status::Later(feature) => format!("Later: {feature}"),
            Status::Accepted(reason) => format!("No effect: {reason}"),
        };
        let cells = [
            parameter.doc.trim().to_string(),
            parameter.describe(),
            default,
        ];
        let [doc, value, default] = cells.map(|cell| cell.replace('|', "\\|"));
        let name = parameter.name;
        writeln!(
            page,
            "| `{name}`{aliases} | {doc} | {value} | {default} | {change}{hidden} | {status} |"
        )
        .expect("writing to a string cannot fail");
    }
    page.push_str(TAIL);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SHARDINE_BLESS=1` writes the page instead.
    #[test]
    fn the_page_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
        if std::env::var_os("SHARDINE_BLESS").is_some() {
            std::fs::write(path, markdown()).expect("docs can be written");
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/config.md is not that of the table; SHARDINE_BLESS=1 writes it anew"
        );
    }
}
