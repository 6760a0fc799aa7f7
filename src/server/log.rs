//! The server's log: one line an event, to standard output or `logfile`, at `loglevel`, which may change while it runs.

use std::fs::OpenOptions;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::LogLevel;

/// The [`rank`] in force, 0 for none. A log line is rare; reading this is all that a line left out costs.
static LEVEL: AtomicU8 = AtomicU8::new(3);

/// Begins logging. Returns one sentence when the file cannot be written.
pub(super) fn start(level: LogLevel, file: &str) -> Result<(), String> {
    set_level(level);
    let enabled = filter_fn(|metadata| rank(*metadata.level()) <= LEVEL.load(Ordering::Relaxed));
    let layer = fmt::layer().with_target(false).with_ansi(false);
    // Setting it a second time (a test that starts twice in one process) keeps the first.
    if file.is_empty() {
        let _ = tracing::subscriber::set_global_default(
            tracing_subscriber::registry().with(layer.with_filter(enabled)),
        );
    } else {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .map_err(|error| format!("the log file {file} cannot be opened: {error}"))?;
        let layer = layer
            .with_writer(std::sync::Mutex::new(file))
            .with_filter(enabled);
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    }
    Ok(())
}

/// Changes the level.
pub(super) fn set_level(level: LogLevel) {
    let filter = match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    };
    let rank = filter.into_level().map_or(0, rank);
    LEVEL.store(rank, Ordering::Relaxed);
}

fn rank(level: tracing::Level) -> u8 {
    match level {
        tracing::Level::ERROR => 1,
        tracing::Level::WARN => 2,
        tracing::Level::INFO => 3,
        tracing::Level::DEBUG => 4,
        tracing::Level::TRACE => 5,
    }
}
