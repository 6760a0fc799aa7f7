//! The binary: hands the command line to the library and turns its result into an exit code.

/// Small entries get eight-byte size classes; see docs/benchmarks.md for the measurement.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    shardine::server::main(std::env::args_os().skip(1))
}
