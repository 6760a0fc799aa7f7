//! Signals as events: blocked in every thread, read by core 0's loop like any other descriptor, so that
//! nothing of ours runs inside a signal handler.

use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::{io, ptr};

/// Asks the node to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: an administrator or a service manager.
    Terminate,
    /// SIGINT: somebody at the terminal.
    Interrupt,
}

fn set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set through a valid pointer, and it cannot fail; sigaddset
    // then works on an initialised set with signal numbers that exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
        set.assume_init()
    }
}

/// The signals blocked in this thread and in those that it starts; dropping it restores what was before.
pub(super) struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    /// Blocks the signals that core 0 reads, and ignores those that must not end the process: SIGPIPE (a
    /// write to a closed socket is an ordinary error) and SIGHUP (as Redis does).
    pub fn new() -> io::Result<Self> {
        let set = set();
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are valid for the call, which fills `before` when it succeeds.
        let error =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: ignoring a signal installs no handler of ours; both numbers exist, so it cannot fail.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
        }
        Ok(Self {
            // SAFETY: the call above succeeded and filled it.
            before: unsafe { before.assume_init() },
        })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `before` is a mask that the system handed out; the old mask is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut());
        }
    }
}

/// A descriptor that becomes readable when one of the blocked signals arrives.
pub(super) fn descriptor() -> io::Result<OwnedFd> {
    let set = set();
    let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
    // SAFETY: −1 asks for a new descriptor; the set is initialised and only read.
    let fd = unsafe { libc::signalfd(-1, &raw const set, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one pending signal, if there is one.
pub(super) fn read(fd: &OwnedFd) -> Option<Signal> {
    let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
    loop {
        match rustix::io::read(fd, &mut record[..]) {
            Ok(bytes) if bytes == record.len() => {}
            Err(rustix::io::Errno::INTR) => continue,
            _ => return None,
        }
        // The record starts with the signal's number.
        let (number, _) = record.split_first_chunk::<4>()?;
        match i32::from_ne_bytes(*number) {
            libc::SIGTERM => return Some(Signal::Terminate),
            libc::SIGINT => return Some(Signal::Interrupt),
            _ => {}
        }
    }
}
