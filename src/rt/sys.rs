//! Facts about the process for INFO, and the one file operation of the administration: small functions that
//! read /proc or ask the kernel. They cost system calls; call them when somebody asks, not per turn.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// CPU time and page faults, counted by the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub user_us: u64,
    pub system_us: u64,
    /// Faults that were served from memory, and those that had to wait for a disk.
    pub minor_faults: u64,
    pub major_faults: u64,
    /// The largest resident set so far.
    pub resident_max_bytes: u64,
}

/// Whose usage is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The whole process.
    Process,
    /// Children that have ended and were waited for.
    Children,
    /// The calling thread.
    Thread,
}

/// What the process, its children or this thread have used so far.
pub fn usage(whose: Whose) -> Usage {
    let whose = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
        Whose::Thread => libc::RUSAGE_THREAD,
    };
    let mut raw = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for the call; the structure consists of integers, for which all zeroes is
    // a value, so it is initialised even if the call failed.
    let raw = unsafe {
        libc::getrusage(whose, raw.as_mut_ptr());
        raw.assume_init()
    };
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    Usage {
        user_us: us(raw.ru_utime),
        system_us: us(raw.ru_stime),
        minor_faults: raw.ru_minflt as u64,
        major_faults: raw.ru_majflt as u64,
        resident_max_bytes: raw.ru_maxrss as u64 * 1024,
    }
}

/// Memory of the process that is in RAM now; zero where /proc is not mounted.
pub fn resident_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else {
        return 0;
    };
    let pages: u64 = text
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// RAM of the machine.
pub fn machine_memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

/// `Linux 6.1.0-13-amd64 x86_64`, as INFO shows it.
pub fn kernel_name() -> String {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!(
        "{} {} {}",
        text(name.sysname()),
        text(name.release()),
        text(name.machine())
    )
}

/// Fills `bytes` with random ones of the kernel.
pub fn fill_random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        // An interrupted call is made again; without a random source a server must not start.
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
}

/// Blocks this thread.
pub fn sleep_ms(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}

/// The allocator that this binary is built with.
pub fn allocator_name() -> String {
    // SAFETY: the function takes nothing and returns a number.
    let version = unsafe { libmimalloc_sys::mi_version() };
    format!(
        "mimalloc-{}.{}.{}",
        version / 100,
        version / 10 % 10,
        version % 10
    )
}

/// Keeps the kernel from backing this process with huge pages (`disable-thp`). A first touch then costs a fault of four
/// kilobytes instead of two megabytes at once, which was seen to stop a core for ten milliseconds.
pub fn disable_huge_pages() -> bool {
    // SAFETY: the call takes numbers and changes a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0 }
}

/// Settings of the allocator, before the cores start: it gives memory back to the system when it is told to
/// ([`purge_memory`]), and by itself only what has been free for a day. Not at all would keep it from noting what is free.
pub fn tune_allocator() {
    /// Milliseconds; the number is the place in mimalloc 3's `mi_option_e`.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const DAY_MS: std::ffi::c_long = 86_400_000;
    // SAFETY: setting a number in the allocator's table of options, before there are other threads.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, DAY_MS) };
}

/// This thread runs only while its CPU has nothing else to do.
pub fn yield_to_all() {
    // SAFETY: all zeroes is a value of this structure of integers.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: zero is the calling thread, and the pointer is valid for the call. Nobody is refused less than he had.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const param) };
}

/// Collects what this thread, or others for it, freed, so that [`purge_memory`] in any thread finds it.
pub fn collect_memory() {
    // SAFETY: as below.
    unsafe { libmimalloc_sys::mi_collect(false) };
}

/// Gives free memory of the allocator back to the system: some 125 µs for a megabyte.
pub fn purge_memory() {
    // SAFETY: collecting touches only the allocator's own free pages, on the calling thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// The allocator's statistics as text.
pub fn allocator_report() -> String {
    extern "C" fn append(message: *const std::ffi::c_char, report: *mut std::ffi::c_void) {
        // SAFETY: mimalloc passes a terminated string, and `report` is the String given below, borrowed for the call.
        let (message, report) = unsafe {
            (
                std::ffi::CStr::from_ptr(message),
                &mut *report.cast::<String>(),
            )
        };
        report.push_str(&message.to_string_lossy());
    }
    let mut report = String::new();
    // SAFETY: `append` has the signature that is asked for, and `report` outlives the call.
    unsafe { libmimalloc_sys::mi_stats_print_out(Some(append), (&raw mut report).cast()) };
    report
}

pub fn process_id() -> u32 {
    std::process::id()
}

/// Replaces a file so that a reader, and a machine that loses power, sees the old content or the new one and
/// nothing between: a temporary file beside it, flushed, renamed over it, and the directory flushed.
///
/// Keeps the permissions of an existing file; follows a symbolic link instead of replacing it.
pub fn write_file_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?
        .to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(name);
    let written = write_and_rename(&temporary, &path, content);
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
        return written;
    }
    File::open(&directory)?.sync_all()
}

fn write_and_rename(temporary: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let existing = std::fs::metadata(path).ok();
    // Never wider than the final permissions, not even for a moment: it may hold passwords.
    let mode = existing.as_ref().map_or(0o644, |file| file.mode() & 0o777);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(temporary)?;
    if let Some(existing) = existing {
        file.set_permissions(existing.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn facts_are_plausible() {
        assert!(resident_bytes() > 100_000);
        assert!(machine_memory_bytes() > resident_bytes());
        assert!(kernel_name().starts_with("Linux "));
        assert_eq!(process_id(), std::process::id());
        let before = usage(Whose::Thread);
        while usage(Whose::Thread).user_us + usage(Whose::Thread).system_us
            < before.user_us + before.system_us + 1_000
        {}
        let process = usage(Whose::Process);
        assert!(process.user_us + process.system_us >= 1_000);
        assert!(process.resident_max_bytes > 100_000);
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        write_file_atomically(&path, b"one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = directory.path().join("link.conf");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_file_atomically(&link, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write_file_atomically(&directory.path().join("no/such"), b"x").is_err());
        // A directory cannot be replaced by a file.
        let path = directory.path().join("occupied");
        std::fs::create_dir(&path).unwrap();
        assert!(write_file_atomically(&path, b"x").is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
