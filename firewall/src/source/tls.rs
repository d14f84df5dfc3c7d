//! TLS to a server: by the authorities of its `ca-file`, and by nobody else's word.

use super::SourceError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes of a file of authorities at most: a system's whole list has about 200 KB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What sessions with one server are made with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads the authorities that may vouch for a server of this name or address.
    pub(super) fn load(path: &Path, host: &str) -> Result<Self, SourceError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| SourceError::ServerName(host.to_owned()))?;
        let bad = |why: String| SourceError::Authorities(path.to_owned(), why);
        let metadata = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(bad("it is no file, or too large".to_owned()));
        }
        let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        // A system's list may have one that this program does not read.
        let found = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        let (added, _) = roots.add_parsable_certificates(found);
        if added == 0 {
            return Err(bad("no certificate is in it".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// A session with the server.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}
