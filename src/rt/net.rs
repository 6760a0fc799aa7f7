//! Sockets as the runtime hands them around: an accepted connection that may still cross to another core,
//! and the listening sockets.
//!
//! Invariants:
//! - Every descriptor here is non-blocking and closed on exec.
//! - A listening TCP socket never shares its port (no SO_REUSEPORT): a second server on the port fails to
//!   start instead of stealing connections.
//! - A unix socket's file belongs to its listener: it is removed with it, unless somebody replaced it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use socket2::{Domain, Protocol, SockAddr, Type};

/// An accepted connection that no core serves yet. Goes to the core that adopts it, through a message when
/// that is another one than the listener's.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    peer: Option<SocketAddr>,
}

impl Socket {
    /// The peer's address as accept reported it; none on a unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The address that the peer connected to; none on a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        local_addr(self.fd.as_fd())
    }

    /// Did the peer come through the unix socket?
    pub fn is_unix(&self) -> bool {
        self.peer.is_none()
    }

    /// The number of the descriptor, for CLIENT LIST and the log.
    pub fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// See [`Io::set_keepalive`](super::Io::set_keepalive).
    pub fn set_keepalive(&self, idle_s: u32) -> io::Result<()> {
        if self.is_unix() {
            return Ok(());
        }
        set_keepalive(self.fd.as_fd(), idle_s)
    }

    /// Sends a last word to a connection that no core will adopt (too many clients, protected mode), as much
    /// of it as fits into the socket's buffer.
    pub fn reject(self, farewell: &[u8]) {
        // Who is turned away and does not listen misses nothing else.
        let _ = rustix::net::send(
            &self.fd,
            farewell,
            rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT,
        );
    }

    pub(super) fn from_parts(fd: OwnedFd) -> Socket {
        Socket {
            peer: peer_addr(fd.as_fd()),
            fd,
        }
    }

    pub(super) fn into_parts(self) -> (OwnedFd, bool) {
        let unix = self.is_unix();
        (self.fd, unix)
    }
}

pub(super) fn peer_addr(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    rustix::net::getpeername(fd).ok()??.try_into().ok()
}

pub(super) fn local_addr(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    rustix::net::getsockname(fd).ok()?.try_into().ok()
}

/// Probes a silent peer after `idle_s` seconds, three times within as much again; zero switches probing off.
pub(super) fn set_keepalive(fd: BorrowedFd<'_>, idle_s: u32) -> io::Result<()> {
    sockopt::set_socket_keepalive(fd, idle_s != 0)?;
    if idle_s != 0 {
        sockopt::set_tcp_keepidle(fd, Duration::from_secs(idle_s.into()))?;
        sockopt::set_tcp_keepintvl(fd, Duration::from_secs((idle_s / 3).max(1).into()))?;
        sockopt::set_tcp_keepcnt(fd, 3)?;
    }
    Ok(())
}

/// Why a listening socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("cannot listen on {address}: the port is in use by another process")]
    PortTaken { address: SocketAddr },
    /// The address belongs to no interface of this machine.
    #[error("cannot listen on {address}: that address does not belong to this machine")]
    AddressNotLocal { address: SocketAddr },
    /// The machine does not speak this family (IPv6 switched off).
    #[error("cannot listen on {address}: this machine does not support that kind of address")]
    FamilyUnsupported { address: SocketAddr },
    /// A port under 1024 without the right to it, usually.
    #[error("cannot listen on {address}: {source}")]
    Tcp {
        address: SocketAddr,
        source: io::Error,
    },
    /// A living server listens on the path.
    #[error("cannot listen on the unix socket {path:?}: another process is listening on it")]
    PathTaken { path: PathBuf },
    /// Something that is no socket lies at the path, and is not ours to remove.
    #[error("cannot listen on the unix socket {path:?}: a file that is no socket is in the way")]
    PathNotSocket { path: PathBuf },
    /// The directory is missing or not writable, the path is too long, and so on.
    #[error("cannot listen on the unix socket {path:?}: {source}")]
    Unix { path: PathBuf, source: io::Error },
}

impl BindError {
    /// This machine does not have the address: an optional one is then left out.
    pub fn is_address_unavailable(&self) -> bool {
        matches!(
            self,
            BindError::AddressNotLocal { .. } | BindError::FamilyUnsupported { .. }
        )
    }
}

/// A listening socket. Made at boot (so that errors end the start) or later for a changed port, then given
/// to a core with [`run`](super::run) or [`Io::listen`](super::Io::listen).
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    file: Option<SocketFile>,
}

impl Listener {
    /// Listens on one address; port 0 lets the kernel choose. An IPv6 socket serves IPv6 alone, so that both
    /// families can be bound side by side.
    pub fn tcp(address: IpAddr, port: u16, backlog: u32) -> Result<Self, BindError> {
        let address = SocketAddr::new(address, port);
        tcp_socket(address, backlog)
            .map(|fd| Self { fd, file: None })
            .map_err(|source| match Errno::from_io_error(&source) {
                Some(Errno::ADDRINUSE) => BindError::PortTaken { address },
                Some(Errno::ADDRNOTAVAIL) => BindError::AddressNotLocal { address },
                Some(Errno::AFNOSUPPORT) => BindError::FamilyUnsupported { address },
                _ => BindError::Tcp { address, source },
            })
    }

    /// Listens on a path, with the file's permissions set to `mode` when given. The socket file that a
    /// killed server left behind is removed first; one that still answers, or any other file, is not.
    pub fn unix(path: &Path, mode: Option<u32>, backlog: u32) -> Result<Self, BindError> {
        let failed = |source| BindError::Unix {
            path: path.to_owned(),
            source,
        };
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(BindError::PathNotSocket {
                    path: path.to_owned(),
                });
            }
            if UnixStream::connect(path).is_ok() {
                return Err(BindError::PathTaken {
                    path: path.to_owned(),
                });
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        unix_socket(path, mode, backlog).map_err(failed)
    }

    /// The bound address (with the port that the kernel chose); none for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        local_addr(self.fd.as_fd())
    }

    /// The path of a unix socket.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes one waiting connection; `WOULDBLOCK` when there is none.
    pub(super) fn accept(&self) -> Result<Socket, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, peer) = rustix::net::acceptfrom_with(&self.fd, flags)?;
        let peer = match &self.file {
            Some(_) => None,
            None => Some(
                peer.and_then(|address| address.try_into().ok())
                    .ok_or(Errno::CONNABORTED)?,
            ),
        };
        Ok(Socket { fd, peer })
    }
}

fn tcp_socket(address: SocketAddr, backlog: u32) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it: one call here instead of one per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// A socket that is connecting, or connected already.
pub(super) fn begin_connection(address: SocketAddr, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

fn unix_socket(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<Listener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let metadata = std::fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    // Before listen, when nobody can connect yet: the file is never open to more people than it should be.
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(Listener {
        fd: socket.into(),
        file: Some(file),
    })
}

/// The file of a unix socket, removed on drop.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Ok(metadata) = std::fs::symlink_metadata(&self.path) else {
            return;
        };
        // Somebody else may have put a socket of his own there since.
        if (metadata.dev(), metadata.ino()) == (self.device, self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_taken_port_is_reported_as_taken() {
        let first = Listener::tcp(LOOPBACK, 0, 16).unwrap();
        let address = first.local_addr().unwrap();
        let error = Listener::tcp(LOOPBACK, address.port(), 16).unwrap_err();
        assert!(matches!(error, BindError::PortTaken { .. }));
        assert_eq!(
            error.to_string(),
            format!("cannot listen on {address}: the port is in use by another process")
        );
        drop(first);
        Listener::tcp(LOOPBACK, address.port(), 16).unwrap();
    }

    #[test]
    fn a_foreign_address_is_reported_as_not_local() {
        let foreign = IpAddr::from([192, 0, 2, 1]);
        let error = Listener::tcp(foreign, 0, 16).unwrap_err();
        assert!(matches!(error, BindError::AddressNotLocal { .. }));
    }

    #[test]
    fn accepted_connections_do_not_delay_small_writes() {
        let listener = Listener::tcp(LOOPBACK, 0, 16).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = loop {
            match listener.accept() {
                Ok(socket) => break socket,
                Err(Errno::WOULDBLOCK) => std::thread::yield_now(),
                Err(error) => panic!("accept: {error}"),
            }
        };
        assert!(sockopt::tcp_nodelay(&socket.fd).unwrap());
        assert_eq!(socket.peer_addr(), Some(client.local_addr().unwrap()));
        assert_eq!(socket.local_addr(), listener.local_addr());
        socket.set_keepalive(300).unwrap();
        assert_eq!(
            sockopt::tcp_keepintvl(&socket.fd).unwrap(),
            Duration::from_secs(100)
        );
        assert!(sockopt::socket_keepalive(&socket.fd).unwrap());
        socket.set_keepalive(0).unwrap();
        assert!(!sockopt::socket_keepalive(&socket.fd).unwrap());
    }

    #[test]
    fn a_unix_socket_replaces_a_stale_file_and_leaves_others_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let listener = Listener::unix(&path, Some(0o700), 16).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(matches!(
            Listener::unix(&path, None, 16).unwrap_err(),
            BindError::PathTaken { .. }
        ));
        drop(listener);
        assert!(!path.exists());

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Listener::unix(&path, None, 16).unwrap_err(),
            BindError::PathNotSocket { .. }
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let missing = directory.path().join("missing/socket");
        assert!(matches!(
            Listener::unix(&missing, None, 16).unwrap_err(),
            BindError::Unix { .. }
        ));
    }

    #[test]
    fn a_replaced_socket_file_survives_its_first_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = Listener::unix(&path, None, 16).unwrap();
        std::fs::remove_file(&path).unwrap();
        // A second file first, so that the inode number cannot be the same one again.
        std::fs::write(directory.path().join("other"), "").unwrap();
        let second = Listener::unix(&path, None, 16).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
