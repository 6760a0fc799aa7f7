//! What the system must grant before a core can run: a recent kernel, io_uring, locked memory, CPUs,
//! descriptors. Each refusal becomes one sentence; limits that the process may raise itself are raised.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::sched_getaffinity;

use super::start::StartError;

/// The oldest kernel that is tested against.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// glommio refuses to make an executor when the soft limit is below this.
const MEMLOCK_FLOOR_BYTES: u64 = 512 * 1024;
/// What one executor locks at most: 24 KiB of rings (at [`RING_DEPTH`](super::start::RING_DEPTH); newer
/// kernels count them as locked, older ones as ordinary memory) and its 64 KiB of I/O memory once per ring,
/// rounded up. Measured on Linux 6.18 as an unprivileged user: 217 KiB each were enough for every number of
/// executors. With less, glommio first does without the registered I/O memory, which nothing here uses.
const MEMLOCK_PER_EXECUTOR_BYTES: u64 = 256 * 1024;

/// Checks that this many executors can run here, and raises the soft limit of locked memory to the hard one.
///
/// Whether the locked memory suffices can only be tried: kernels differ in what they count, and all processes
/// of a user share it. So only a limit that can never be enough is an error here; [`run`](super::run) reports
/// the same error when an executor then cannot be made.
pub fn probe(executor_count: usize) -> Result<(), StartError> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    check_kernel(&release)?;
    raise_memlock(executor_count)?;
    let setup = io_uring_setup();
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    check_io_uring(setup, disabled.as_deref(), executor_count)
}

fn check_kernel(release: &str) -> Result<(), StartError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|digits| digits.parse::<u32>().ok());
    // A name that does not start with two numbers is somebody's own build: assume that he knows.
    let (Some(major), Some(minor)) = (number(), number()) else {
        return Ok(());
    };
    if (major, minor) < KERNEL_MIN {
        return Err(StartError::KernelTooOld {
            needed: format!("{}.{}", KERNEL_MIN.0, KERNEL_MIN.1),
            found: release.to_owned(),
        });
    }
    Ok(())
}

/// Makes the smallest ring there is, and closes it again.
fn io_uring_setup() -> io::Result<()> {
    // struct io_uring_params: 120 bytes, all zero for the defaults; eight-byte aligned.
    let mut params = [0u64; 15];
    // SAFETY: the call reads and writes `params`, which is as large and aligned as the kernel's structure and
    // outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just made this descriptor, so nobody else owns it; the kernel's descriptors fit.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    Ok(())
}

/// Tells apart why io_uring is refused. `disabled` is the content of the sysctl's file, absent before 6.6.
fn check_io_uring(
    setup: io::Result<()>,
    disabled: Option<&str>,
    executor_count: usize,
) -> Result<(), StartError> {
    let Err(error) = setup else { return Ok(()) };
    let disabled = disabled.and_then(|text| text.trim().parse().ok());
    match Errno::from_io_error(&error) {
        Some(Errno::NOSYS) => Err(StartError::IoUringMissing),
        // 1 forbids it to processes without privilege or the right group, 2 to all.
        Some(Errno::PERM | Errno::ACCESS) => Err(match disabled {
            Some(value @ 1..) => StartError::IoUringDisabled { value },
            _ => StartError::IoUringBlocked,
        }),
        Some(Errno::NOMEM) => Err(memlock_too_low(executor_count)),
        _ => Err(StartError::IoUring(error)),
    }
}

fn raise_memlock(executor_count: usize) -> Result<(), StartError> {
    let limit = getrlimit(Resource::Memlock);
    if limit.maximum.unwrap_or(u64::MAX) < MEMLOCK_FLOOR_BYTES {
        return Err(memlock_too_low(executor_count));
    }
    if limit.current == limit.maximum {
        return Ok(());
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Memlock, raised).map_err(|errno| StartError::System {
        what: "the limit of locked memory cannot be raised",
        source: errno.into(),
    })
}

/// The error for this many executors under the limit as it is.
pub(super) fn memlock_too_low(executor_count: usize) -> StartError {
    let limit_bytes = getrlimit(Resource::Memlock).maximum.unwrap_or(u64::MAX);
    memlock_error(executor_count, limit_bytes)
}

fn memlock_error(executor_count: usize, limit_bytes: u64) -> StartError {
    let needed_bytes = (executor_count as u64)
        .saturating_mul(MEMLOCK_PER_EXECUTOR_BYTES)
        .max(MEMLOCK_FLOOR_BYTES);
    // Enough by itself and yet used up: other processes of the user hold the difference.
    let others_bytes = if limit_bytes < needed_bytes {
        0
    } else {
        limit_bytes
    };
    StartError::MemlockTooLow {
        core_count: executor_count,
        needed_bytes,
        limit_bytes,
        raise_to_bytes: needed_bytes.saturating_add(others_bytes),
    }
}

/// The CPUs that this process may run on, ascending: taskset, cpusets and containers hold.
pub fn available_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect())
}

/// Checks that every CPU of a requested list may be used by this process.
pub fn check_cpus(requested: &[usize]) -> Result<(), StartError> {
    if requested.is_empty() {
        return Ok(());
    }
    let available = available_cpus().map_err(|source| StartError::System {
        what: "the CPUs of this process cannot be listed",
        source,
    })?;
    match requested.iter().find(|cpu| !available.contains(cpu)) {
        None => Ok(()),
        Some(&cpu) => Err(StartError::CpuNotAvailable {
            cpu,
            available: ranges(&available),
        }),
    }
}

/// `0-3,8` for ascending numbers.
fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|before, after| before + 1 == *after);
    let texts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            [single] => single.to_string(),
            [] => String::new(),
        })
        .collect();
    texts.join(",")
}

/// Raises the number of descriptors that the process may open towards `wanted`: beyond the hard limit with
/// the privilege for it, else up to it. Returns what is granted now, which may be more or less than wanted.
pub fn raise_nofile(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    if soft >= wanted {
        return soft;
    }
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let beyond = Rlimit {
        current: Some(wanted),
        maximum: Some(wanted.max(hard)).filter(|&maximum| maximum != u64::MAX),
    };
    if setrlimit(Resource::Nofile, beyond).is_ok() {
        return wanted;
    }
    let up_to = Rlimit {
        current: Some(hard.min(wanted)),
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, up_to).is_ok() {
        return hard.min(wanted);
    }
    soft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_named() {
        assert!(check_kernel("6.1.0-13-amd64").is_ok());
        assert!(check_kernel("6.18.44-fc").is_ok());
        assert!(check_kernel("10.0").is_ok());
        assert!(check_kernel("custom").is_ok());
        assert_eq!(
            check_kernel("5.15.0-91-generic").unwrap_err().to_string(),
            "Linux 6.1 or newer is needed, but this is 5.15.0-91-generic"
        );
        assert!(check_kernel("6.0.19").is_err());
    }

    #[test]
    fn each_way_to_forbid_io_uring_is_told_apart() {
        let refuse = |errno: i32| Err(io::Error::from_raw_os_error(errno));
        let check = |setup, disabled| check_io_uring(setup, disabled, 1).unwrap_err();
        assert!(check_io_uring(Ok(()), Some("2\n"), 1).is_ok());
        assert!(matches!(
            check(refuse(libc::ENOSYS), None),
            StartError::IoUringMissing
        ));
        let disabled = check(refuse(libc::EPERM), Some("2\n"));
        assert!(
            disabled
                .to_string()
                .contains("kernel.io_uring_disabled is 2")
        );
        let blocked = check(refuse(libc::EPERM), Some("0\n"));
        assert!(blocked.to_string().contains("seccomp"));
        assert!(matches!(
            check(refuse(libc::EPERM), None),
            StartError::IoUringBlocked
        ));
        assert!(matches!(
            check(refuse(libc::EMFILE), Some("0")),
            StartError::IoUring(_)
        ));
        assert!(matches!(
            check(refuse(libc::ENOMEM), Some("0")),
            StartError::MemlockTooLow { .. }
        ));
    }

    #[test]
    fn too_little_locked_memory_is_reported_with_what_to_do() {
        assert_eq!(
            memlock_error(1, 65_536).to_string(),
            "1 core(s) need 524288 bytes of locked memory, and the limit (RLIMIT_MEMLOCK, shared by all \
             processes of this user) is 65536: raise it with ulimit -l 512 or LimitMEMLOCK=524288 in the \
             systemd unit"
        );
        let shared = memlock_error(4, 8 << 20);
        assert!(shared.to_string().contains("LimitMEMLOCK=9437184"));
    }

    #[test]
    fn the_soft_limit_of_locked_memory_is_raised() {
        raise_memlock(1).unwrap();
        let limit = getrlimit(Resource::Memlock);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn cpu_lists_must_be_subsets() {
        let cpus = available_cpus().unwrap();
        assert!(!cpus.is_empty());
        check_cpus(&cpus).unwrap();
        let error = check_cpus(&[cpus[0], 1023]).unwrap_err();
        assert!(error.to_string().starts_with("CPU 1023 is not among"));
        assert_eq!(ranges(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
    }

    #[test]
    fn this_machine_passes() {
        probe(4).unwrap();
        assert!(raise_nofile(64) >= 64);
    }
}
