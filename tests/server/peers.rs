//! Programs that tests need and this package does not build: Redis's server and tools.

use std::path::PathBuf;

/// The path of `program`, or `None` after a loud note when it is not installed.
///
/// With `SHARDINE_REQUIRE_PEERS=1` (continuous integration) its absence fails the test.
pub fn require(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        let required = std::env::var("SHARDINE_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "{program} is not installed and SHARDINE_REQUIRE_PEERS=1; \
             on Debian: apt-get install redis-server redis-tools"
        );
        // Written past the test's captured output, so that a passing run shows it too.
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "\n*** NOT TESTED: {program} is not installed \
             (on Debian: apt-get install redis-server redis-tools) ***\n"
        );
    }
    found
}
