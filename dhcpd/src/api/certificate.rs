//! The certificate of a listener that speaks TLS: loaded, checked against its key, loaded anew when its files
//! change.
//!
//! It promises that what is served is always a certificate with its own key: files that cannot be used
//! refuse a start, and later leave the former ones in use, which the log says. What is legal but keeps
//! devices away (an end in the past, another name) is said and served. It never writes a key anywhere.

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use vestibule_config::Tls;

/// Bytes of a file of certificates or of a key, at most.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// How long before its end a certificate is warned of.
const WARN_BEFORE_END: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How often the files are looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How often the same is said of a certificate that is still in use.
const REMIND_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The permission bit that lets everybody on the host read a file.
const READABLE_BY_OTHERS: u32 = 0o004;

/// A certificate with its key, as the newest of its files that can be used say.
pub struct Certificate {
    files: Tls,
    /// The name in `captive.url`, which the certificate should be for.
    host_name: Option<Box<str>>,
    newest: Mutex<Newest>,
}

struct Newest {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    /// What the files looked like when they were last read.
    seen: Option<[Seen; 2]>,
    reminded: SystemTime,
}

/// What tells a file that was replaced or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// Why a certificate cannot be used. The operator's.
#[derive(Debug)]
pub enum CertificateError {
    /// A file cannot be opened or read.
    Unreadable(PathBuf, io::Error),
    /// A file is no file, or too large to hold what it should.
    NotPem(PathBuf),
    /// Everybody on the host may read the key.
    KeyReadableByOthers(PathBuf),
    /// There is no certificate in the file.
    NoCertificate(PathBuf),
    /// There is no private key in the file.
    NoKey(PathBuf),
    /// The key is not that of the first certificate in the file.
    Mismatch(Tls),
    /// The certificate or the key is of a kind that TLS has no use for.
    Unusable(Tls, rustls::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "{} cannot be read: {error}; ", path.display())?;
                f.write_str(if error.kind() == io::ErrorKind::PermissionDenied {
                    "let the daemon's group read it: chgrp GROUP FILE; chmod 640 FILE"
                } else {
                    "tls-certificate and tls-key name the files"
                })
            }
            Self::NotPem(path) => write!(
                f,
                "{} is no file in PEM: convert it, as by `openssl x509 -inform der` or `openssl pkey -inform der`",
                path.display()
            ),
            Self::KeyReadableByOthers(path) => write!(
                f,
                "everybody on this host may read the private key {0}: chmod 640 {0}, and get a new one if others may \
                 have read it",
                path.display()
            ),
            Self::NoCertificate(path) => write!(
                f,
                "{} holds no certificate: tls-certificate takes a PEM file with `BEGIN CERTIFICATE`, the \
                 server's own first",
                path.display()
            ),
            Self::NoKey(path) => write!(
                f,
                "{} holds no private key: tls-key takes a PEM file with `BEGIN PRIVATE KEY`, without a passphrase",
                path.display()
            ),
            Self::Mismatch(Tls { certificate, key }) => write!(
                f,
                "the key in {} is not that of the first certificate in {}: give the pair that was made together, the \
                 server's own certificate before those above it",
                key.display(),
                certificate.display()
            ),
            Self::Unusable(Tls { certificate, key }, error) => write!(
                f,
                "TLS cannot use {} with {}: {error}; RSA from 2048 bits on, ECDSA P-256 and P-384, and Ed25519 can be used",
                certificate.display(),
                key.display()
            ),
        }
    }
}

impl std::error::Error for CertificateError {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Loads a certificate with its key, and says in the log what would keep devices away from it.
    ///
    /// # Errors
    /// [`CertificateError`] if they cannot be used.
    pub fn load(files: Tls, host_name: Option<&str>) -> Result<Self, CertificateError> {
        let seen = look(&files);
        let (config, leaf) = read(&files)?;
        let host_name: Option<Box<str>> = host_name.map(Box::from);
        let now = SystemTime::now();
        for complaint in complaints(&leaf, host_name.as_deref(), now) {
            tracing::warn!("{}: {complaint}", files.certificate.display());
        }
        let newest = Mutex::new(Newest { config, leaf, seen, reminded: now });
        Ok(Self { files, host_name, newest })
    }

    /// What a new session is served with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().config)
    }

    /// Looks at the files, and takes them if they have changed. Reads files.
    pub fn look_again(&self) {
        let seen = look(&self.files);
        let mut newest = self.lock();
        let now = SystemTime::now();
        let certificate = self.files.certificate.display();
        // Files that are away for a moment are being replaced.
        if seen.is_some() && seen != newest.seen {
            match read(&self.files) {
                Ok((config, leaf)) => {
                    tracing::info!(
                        "{certificate}: the certificate or its key has changed, and is in use now"
                    );
                    *newest = Newest { config, leaf, seen, reminded: SystemTime::UNIX_EPOCH };
                }
                Err(error) => {
                    newest.seen = seen;
                    tracing::warn!("the former certificate stays in use: {error}");
                    return;
                }
            }
        }
        // A clock that was set back reminds once more.
        if now.duration_since(newest.reminded).is_ok_and(|since| since < REMIND_INTERVAL) {
            return;
        }
        newest.reminded = now;
        for complaint in complaints(&newest.leaf, self.host_name.as_deref(), now) {
            tracing::warn!("{certificate}: {complaint}");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(files: &Tls) -> Option<[Seen; 2]> {
    let of = |path: &Path| fs::metadata(path).ok().map(|metadata| Seen::of(&metadata));
    Some([of(&files.certificate)?, of(&files.key)?])
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

type Loaded = (Arc<ServerConfig>, CertificateDer<'static>);

fn read(files: &Tls) -> Result<Loaded, CertificateError> {
    let pem = text(&files.certificate)?;
    let not_pem = |path: &Path| CertificateError::NotPem(path.to_owned());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| not_pem(&files.certificate))?;
    let Some(leaf) = chain.first().cloned() else {
        return Err(CertificateError::NoCertificate(files.certificate.clone()));
    };
    let pem = text(&files.key)?;
    let mode = fs::metadata(&files.key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & READABLE_BY_OTHERS != 0 {
        return Err(CertificateError::KeyReadableByOthers(files.key.clone()));
    }
    let key = match PrivateKeyDer::pem_slice_iter(&pem).next() {
        Some(Ok(key)) => key,
        Some(Err(_)) => return Err(not_pem(&files.key)),
        None => return Err(CertificateError::NoKey(files.key.clone())),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch(files.clone()),
            error => CertificateError::Unusable(files.clone(), error),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), leaf))
}

fn text(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |error| CertificateError::Unreadable(path.to_owned(), error);
    // Looked at before it is opened: to open a pipe would wait for somebody who writes to it.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(CertificateError::NotPem(path.to_owned()));
    }
    fs::read(path).map_err(unreadable)
}

/// What keeps devices away from a certificate.
fn complaints(leaf: &CertificateDer<'_>, host_name: Option<&str>, now: SystemTime) -> Vec<String> {
    let mut complaints = Vec::new();
    let now = OffsetDateTime::from(now);
    match validity(leaf) {
        Some((from, _)) if now < from => {
            complaints.push(format!("the certificate is valid only from {} on", from.date()));
        }
        Some((_, until)) if until < now => complaints.push(format!(
            "the certificate ended on {}: devices ignore captive.url until there is a new one",
            until.date()
        )),
        Some((_, until)) if until < now + WARN_BEFORE_END => {
            complaints.push(format!("the certificate ends on {}: renew it", until.date()));
        }
        Some(_) => {}
        None => complaints.push("the certificate does not say how long it is valid".to_owned()),
    }
    let name = host_name.and_then(|name| ServerName::try_from(name).ok());
    if let (Some(name), Ok(parsed)) = (name, ParsedCertificate::try_from(leaf))
        && verify_server_name(&parsed, &name).is_err()
    {
        complaints.push(format!(
            "the certificate is not for {}, the name in captive.url: devices refuse it",
            name.to_str()
        ));
    }
    complaints
}

/// From when until when a certificate is valid (RFC 5280 section 4.1.2.5). `None` if it does not say.
fn validity(certificate: &CertificateDer<'_>) -> Option<(OffsetDateTime, OffsetDateTime)> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const VERSION: u8 = 0xa0;
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, mut fields, _) = element(certificate)? else { return None };
    let (tag, _, rest) = element(fields)?;
    if tag == VERSION {
        fields = rest;
    }
    // Serial number, signature algorithm, issuer.
    for expected in [INTEGER, SEQUENCE, SEQUENCE] {
        let (tag, _, rest) = element(fields)?;
        if tag != expected {
            return None;
        }
        fields = rest;
    }
    let (SEQUENCE, validity, _) = element(fields)? else { return None };
    let (from_tag, from, rest) = element(validity)?;
    let (until_tag, until, _) = element(rest)?;
    Some((moment(from_tag, from)?, moment(until_tag, until)?))
}

/// The first element of some DER: its tag, its contents, and what follows (X.690 section 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

/// A UTCTime or GeneralizedTime as certificates have it: to the second, in UTC (RFC 5280 section 4.1.2.5).
fn moment(tag: u8, contents: &[u8]) -> Option<OffsetDateTime> {
    let text = std::str::from_utf8(contents).ok()?.strip_suffix('Z')?;
    let (century, rest) = match (tag, text.len()) {
        // Years from 50 on are of the last century.
        (0x17, 12) => (if text.as_bytes().first()? >= &b'5' { "19" } else { "20" }, text),
        (0x18, 14) => text.split_at_checked(2)?,
        _ => return None,
    };
    if !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let year = century.parse::<i32>().ok()? * 100 + i32::from(number(0)?);
    let month = time::Month::try_from(number(2)?).ok()?;
    let date = time::Date::from_calendar_date(year, month, number(4)?).ok()?;
    let time = time::Time::from_hms(number(6)?, number(8)?, number(10)?).ok()?;
    Some(date.with_time(time).assume_utc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use tempfile::TempDir;

    const LEAF: &str = include_str!("../../tests/certificates/leaf.pem");
    const ENDED: &str = include_str!("../../tests/certificates/ended.pem");
    const KEY: &str = include_str!("../../tests/certificates/leaf.key");
    const OTHER_KEY: &str = include_str!("../../tests/certificates/other.key");

    struct Files {
        folder: TempDir,
    }

    impl Files {
        fn new(certificate: &str, key: &str) -> Self {
            let files = Self { folder: tempfile::tempdir().unwrap() };
            files.put("certificate", certificate);
            files.put("key", key);
            files
        }

        /// As those who replace certificates should: a new file takes the place of the old one.
        fn put(&self, name: &str, text: &str) {
            let (new, path) = (self.folder.path().join("new"), self.folder.path().join(name));
            fs::write(&new, text).unwrap();
            fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
            fs::rename(new, path).unwrap();
        }

        fn tls(&self) -> Tls {
            let [certificate, key] =
                ["certificate", "key"].map(|name| self.folder.path().join(name));
            Tls { certificate, key }
        }

        fn load(&self) -> Result<Certificate, CertificateError> {
            Certificate::load(self.tls(), Some("captive.campus.example"))
        }
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn at(text: &str) -> SystemTime {
        crate::api::parse_time(text)
            .map(|time| SystemTime::UNIX_EPOCH + Duration::from_millis(time.milliseconds()))
            .unwrap()
    }

    /// Certificate, key, what is found, a part of what is said.
    type Refusal = (&'static str, &'static str, fn(&CertificateError) -> bool, &'static str);

    #[test]
    fn what_cannot_be_used_is_refused_with_a_remedy() {
        use CertificateError as E;
        Files::new(LEAF, KEY).load().unwrap();
        #[rustfmt::skip]
        let table: &[Refusal] = &[
            (LEAF, OTHER_KEY, |e| matches!(e, E::Mismatch(_)),      "the pair that was made together"),
            (KEY, KEY,        |e| matches!(e, E::NoCertificate(_)), "`BEGIN CERTIFICATE`"),
            ("", KEY,         |e| matches!(e, E::NoCertificate(_)), "the server's own first"),
            (LEAF, LEAF,      |e| matches!(e, E::NoKey(_)),         "without a passphrase"),
            (LEAF, "",        |e| matches!(e, E::NoKey(_)),         "`BEGIN PRIVATE KEY`"),
            ("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", KEY,
                              |e| matches!(e, E::NotPem(_)),        "openssl x509"),
            (LEAF, "-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----\n",
                              |e| matches!(e, E::NotPem(_)),        "openssl pkey"),
            (LEAF, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                              |e| matches!(e, E::Unusable(..)),     "Ed25519 can be used"),
        ];
        for (certificate, key, expected, remedy) in table {
            let error = Files::new(certificate, key).load().unwrap_err();
            assert!(expected(&error), "{error:?}");
            assert!(error.to_string().contains(remedy), "{error}");
            assert!(!error.to_string().contains("MIG"), "a key stays out of messages");
        }
        let files = Files::new(LEAF, KEY);
        fs::set_permissions(files.tls().key, Permissions::from_mode(0o644)).unwrap();
        let error = files.load().unwrap_err();
        assert!(error.to_string().contains("chmod 640"), "{error}");
        fs::remove_file(files.tls().certificate).unwrap();
        let error = files.load().unwrap_err();
        assert!(error.to_string().contains("tls-certificate and"), "{error}");
        let large = "x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1);
        let error = Files::new(&large, KEY).load().unwrap_err();
        assert!(matches!(error, E::NotPem(_)), "{error}");
    }

    #[test]
    fn what_keeps_devices_away_is_said() {
        let (leaf, ended) = (der(LEAF), der(ENDED));
        let (from, until) = validity(&ended).unwrap();
        assert_eq!(from.to_string(), "2001-02-03 4:05:06.0 +00:00:00");
        assert_eq!(until.to_string(), "2002-01-01 0:00:00.0 +00:00:00");
        // Years from 2050 on are written in another way.
        assert_eq!(validity(&leaf).unwrap().1.to_string(), "2124-01-01 0:00:00.0 +00:00:00");
        let name = Some("captive.campus.example");
        let said =
            |leaf: &CertificateDer<'_>, name, now| complaints(leaf, name, at(now)).join("; ");
        assert_eq!(said(&leaf, name, "2026-11-20T13:00:00Z"), "");
        assert_eq!(said(&leaf, None, "2026-11-20T13:00:00Z"), "");
        let other = Some("captive.elsewhere.example");
        assert!(
            said(&leaf, other, "2026-11-20T13:00:00Z").contains("is not for captive.elsewhere")
        );
        assert!(said(&ended, name, "2026-11-20T13:00:00Z").contains("ended on 2002-01-01:"));
        assert!(said(&ended, name, "2001-12-25T00:00:00Z").contains("renew it"));
        assert_eq!(said(&ended, name, "2001-12-01T00:00:00Z"), "");
        assert!(said(&ended, name, "2001-01-01T00:00:00Z").contains("valid only from 2001-02-03"));
    }

    #[test]
    fn a_damaged_certificate_says_nothing_and_harms_nothing() {
        let whole = der(LEAF);
        for length in 0..whole.len() {
            let cut = CertificateDer::from(whole[..length].to_vec());
            let _ = validity(&cut);
            for flipped in [0x01, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[length] ^= flipped;
                let _ = validity(&CertificateDer::from(bytes));
            }
        }
        assert_eq!(validity(&CertificateDer::from(Vec::new())), None);
        assert_eq!(validity(&CertificateDer::from(vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff])), None);
    }

    #[test]
    fn new_files_are_taken_and_bad_ones_are_not() {
        let files = Files::new(ENDED, KEY);
        let certificate = files.load().unwrap();
        let first = certificate.current();
        certificate.look_again();
        assert!(Arc::ptr_eq(&first, &certificate.current()), "nothing has changed");

        files.put("key", OTHER_KEY);
        certificate.look_again();
        assert!(
            Arc::ptr_eq(&first, &certificate.current()),
            "a pair that does not fit is not taken"
        );
        fs::remove_file(files.tls().key).unwrap();
        certificate.look_again();
        assert!(Arc::ptr_eq(&first, &certificate.current()));

        files.put("certificate", LEAF);
        files.put("key", KEY);
        certificate.look_again();
        assert!(!Arc::ptr_eq(&first, &certificate.current()));
        assert_eq!(certificate.lock().leaf, der(LEAF));
    }
}
