//! The page `docs/commands.md`, made from the registry.

use crate::command::syntax::plain;
use crate::command::{Command, Group, Registry};

const HEAD: &str = "\
# Commands

Every command that this server knows, with its arguments in Redis's notation. This page is made from the command
tables; COMMAND DOCS and COMMAND INFO tell a client the same. *Since* is the version of Redis that brought the command.
Any other command is answered with `ERR unknown command`.
";

const GROUPS: &[(Group, &str)] = &[
    (Group::Connection, "Connection"),
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Bitmap, "Bitmaps"),
    (Group::Transactions, "Transactions"),
    (Group::List, "Lists"),
    (Group::Hash, "Hashes"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Stream, "Streams"),
    (Group::HyperLogLog, "HyperLogLogs"),
    (Group::Geo, "Geospatial"),
    (Group::Cluster, "Cluster"),
    (Group::Pubsub, "Publish and subscribe"),
    (Group::Server, "Server"),
];

/// The text of `docs/commands.md`.
pub fn markdown(registry: &Registry) -> String {
    let mut page = String::from(HEAD);
    for &(group, title) in GROUPS {
        let mut rows: Vec<&Command> = registry
            .all()
            .iter()
            .map(|registered| registered.command)
            .filter(|command| command.group == group && command.subcommands.is_empty())
            .collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_unstable_by_key(|command| command.name);
        page.push_str(&format!(
            "\n## {title}\n\n| Command | Summary | Since |\n|---|---|---|\n"
        ));
        for command in rows {
            let name = command.name.to_ascii_uppercase().replace('|', " ");
            let arguments = plain(command.syntax).replace('|', "\\|");
            let usage = format!("{name} {arguments}");
            let (usage, summary) = (usage.trim_end(), command.summary.trim_end_matches('.'));
            page.push_str(&format!("| `{usage}` | {summary}. | {} |\n", command.since));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        let page = markdown(crate::admin::registry());
        if std::env::var_os("SHARDINE_BLESS").is_some() {
            std::fs::write(path, &page).expect("docs/commands.md can be written");
        }
        let kept = std::fs::read_to_string(path).expect("docs/commands.md is there");
        assert!(
            kept == page,
            "docs/commands.md is out of date: run the tests with SHARDINE_BLESS=1"
        );
    }

    #[test]
    fn every_row_is_documented() {
        for registered in crate::admin::registry().all() {
            let command = registered.command;
            assert!(
                command.summary.ends_with('.'),
                "{}: the summary is a sentence",
                command.name
            );
            let groups = GROUPS.iter().any(|(group, _)| *group == command.group);
            assert!(groups, "{}: its group has a title", command.name);
        }
    }
}
