//! Where the API listens: a TCP address, or a Unix socket with its file.
//!
//! A socket file that somebody answers on is left alone; one that nobody answers on is a leftover of
//! a server that was killed, and is replaced. Any other file is never touched.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use vestibule_config::ApiListen;

/// Who may talk to the API by its socket file: its owner and its group.
const SOCKET_FILE_MODE: u32 = 0o660;

/// A listening socket of the API. A socket file goes with it when it is dropped.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "kept for its drop")] SocketFile),
}

/// Why the API cannot listen. The operator's to put right.
#[derive(Debug)]
pub enum ListenError {
    /// The TCP address cannot be bound.
    Tcp(SocketAddr, io::Error),
    /// The address of `api.tls-listen` cannot be bound.
    Tls(SocketAddr, io::Error),
    /// The address of `captive.listen` cannot be bound.
    Captive(SocketAddrV4, io::Error),
    /// An address of `portal.listen` or `portal.tls-listen` cannot be bound.
    Portal(SocketAddr, io::Error),
    /// Another server answers on the socket file.
    SocketInUse(PathBuf),
    /// There is a file at the path that is no socket.
    NotASocket(PathBuf),
    /// The socket file cannot be made.
    Unix(PathBuf, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address, error) => {
                write!(f, "the API cannot listen on {address}: {error}; ")?;
                tcp_remedy(f, address.port(), error, "api.listen")
            }
            Self::Tls(address, error) => {
                write!(f, "the API cannot listen on {address} for TLS: {error}; ")?;
                tcp_remedy(f, address.port(), error, "api.tls-listen")
            }
            Self::Captive(address, error) => {
                write!(f, "the captive portal API cannot listen on {address}: {error}; ")?;
                tcp_remedy(f, address.port(), error, "captive.listen")
            }
            Self::Portal(address, error) => {
                write!(f, "the built-in portal cannot listen on {address}: {error}; ")?;
                tcp_remedy(f, address.port(), error, "portal.listen")
            }
            Self::SocketInUse(path) => write!(
                f,
                "cannot listen on {}: another server answers there; end it, or choose another path",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "cannot listen on {}: there is a file of another kind; choose another path",
                path.display()
            ),
            Self::Unix(path, error) => write!(
                f,
                "cannot listen on {}: {error}; the directory has to exist and to be writable for the server",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ListenError {}

fn tcp_remedy(f: &mut fmt::Formatter<'_>, port: u16, error: &io::Error, key: &str) -> fmt::Result {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            write!(f, "another process does (`ss -ltnp sport = :{port}` names it)")
        }
        io::ErrorKind::AddrNotAvailable => {
            f.write_str("no interface of this host has that address")
        }
        _ => write!(f, "choose another `{key}`"),
    }
}

/// A Unix socket, and its file, which goes with it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub(crate) listener: UnixListener,
    #[expect(dead_code, reason = "kept for its drop")]
    file: SocketFile,
}

impl UnixSocket {
    /// Opens it, for this server's user and group. Call within a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`] if somebody listens there, or the file cannot be made.
    pub(crate) async fn bind(path: &Path) -> Result<Self, ListenError> {
        let (listener, file) = bind_unix(path).await?;
        Ok(Self { listener, file })
    }
}

impl Listener {
    /// Opens it. Call within a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`] if the address is taken or cannot be used.
    pub async fn bind(listen: &ApiListen) -> Result<Self, ListenError> {
        let socket = match listen {
            ApiListen::Tcp(address) => Socket::Tcp(
                TcpListener::bind(address)
                    .await
                    .map_err(|error| ListenError::Tcp(*address, error))?,
            ),
            ApiListen::Unix(path) => {
                let (listener, file) = bind_unix(path).await?;
                Socket::Unix(listener, file)
            }
        };
        Ok(Self { socket })
    }

    /// Opens `api.tls-listen`. Call within a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError::Tls`] if the address is taken or cannot be used.
    pub async fn bind_tls(listen: SocketAddr) -> Result<Self, ListenError> {
        let listener =
            TcpListener::bind(listen).await.map_err(|error| ListenError::Tls(listen, error))?;
        Ok(Self { socket: Socket::Tcp(listener) })
    }

    /// Opens `captive.listen`. Call within a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError::Captive`] if the address is taken or cannot be used.
    pub async fn bind_captive(listen: SocketAddrV4) -> Result<Self, ListenError> {
        let listener =
            TcpListener::bind(listen).await.map_err(|error| ListenError::Captive(listen, error))?;
        Ok(Self { socket: Socket::Tcp(listener) })
    }

    /// Opens an address of the built-in portal. Call within a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError::Portal`] if the address is taken or cannot be used.
    pub async fn bind_portal(listen: SocketAddr) -> Result<Self, ListenError> {
        let listener =
            TcpListener::bind(listen).await.map_err(|error| ListenError::Portal(listen, error))?;
        Ok(Self { socket: Socket::Tcp(listener) })
    }

    /// The TCP address that it listens on; `None` for a Unix socket.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }
}

/// Where a client on the same host reaches a server that listens on this address.
#[must_use]
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        let loopback: IpAddr = match listen {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(loopback, listen.port())
    } else {
        listen
    }
}

async fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // Full of waiting connections, or closed to us: in either case somebody listens.
            Ok(_) | Err(_) => return Err(ListenError::SocketInUse(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ListenError::Unix(path.to_owned(), error)),
    }
    bind_at(path).map_err(|error| ListenError::Unix(path.to_owned(), error))
}

/// Binds under another name first, so that nobody can connect before the mode is set, and so that
/// the leftover is replaced in one step.
fn bind_at(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    static BINDS: AtomicU64 = AtomicU64::new(0);
    let bind = BINDS.fetch_add(1, Relaxed);
    let beside = path.with_file_name(format!(".api-{}-{bind}", std::process::id()));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&beside)?;
    let named = fs::set_permissions(&beside, fs::Permissions::from_mode(SOCKET_FILE_MODE))
        .and_then(|()| fs::metadata(&beside))
        .and_then(|metadata| fs::rename(&beside, path).map(|()| metadata));
    match named {
        Ok(metadata) => {
            let file =
                SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
            Ok((listener, file))
        }
        Err(error) => {
            // The first error is the one to tell; what is left behind is replaced next time.
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// Removes the file when the server ends, if it is still the one that the server made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_ours {
            // A leftover does no harm: the next server finds that nobody answers on it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
