//! A certificate and its key, read from files, checked before anything is answered with them, and read again on request.

use nerve_tls::{TlsError, certificates, contents, name, provider};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a server shows to its clients: a certificate with those that vouch for it, and the key.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Tls {
    /// From files in PEM: the certificate of the server first, those that signed it behind; a key that is not encrypted
    /// (PKCS #8, PKCS #1 or SEC 1; RSA, P-256, P-384 or Ed25519).
    ///
    /// # Errors
    /// A file that cannot be read or holds something else, a certificate that is not valid today, a key of another one.
    pub fn open(cert: &Path, key: &Path) -> Result<Tls, TlsError> {
        let current = RwLock::new(read(cert, key)?);
        Ok(Tls { cert: cert.to_path_buf(), key: key.to_path_buf(), current })
    }

    /// Reads the files again: connections that come later get what stands there now. After an error they get what they
    /// would have got before.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.cert, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Shakes hands.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(current).accept(stream).await
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider()?;
    let chain = certificates(cert)?;
    let signer = signer(&provider, key)?;
    valid_now(cert, &chain[0])?;
    belongs(&provider, &chain[0], &*signer)
        .ok_or_else(|| TlsError::Pair { cert: name(cert), key: name(key) })?;
    let own = SingleCertAndKey::from(CertifiedKey::new(chain, signer));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::content(cert, error.to_string()))?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(own));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn signer(provider: &CryptoProvider, file: &Path) -> Result<Arc<dyn SigningKey>, TlsError> {
    let text = contents(file)?;
    let none = "no private key in it: expected -----BEGIN PRIVATE KEY-----; encrypted keys are not read \
                (openssl pkey -in KEY -out PLAIN decrypts one)";
    let der = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::content(file, none),
        other => TlsError::content(file, format!("damaged PEM: {other:?}")),
    })?;
    let kinds =
        "a key that cannot be used: expected RSA of 2048 bits or more, P-256, P-384 or Ed25519";
    provider.key_provider.load_private_key(der).map_err(|_| TlsError::content(file, kinds))
}

/// Whether what the key signs is signed by the certificate.
fn belongs(
    provider: &CryptoProvider,
    cert: &CertificateDer<'_>,
    key: &dyn SigningKey,
) -> Option<()> {
    const MESSAGE: &[u8] = b"a key and its certificate";
    let algorithms = provider.signature_verification_algorithms;
    let cert = webpki::EndEntityCert::try_from(cert).ok()?;
    let schemes: Vec<_> = algorithms.mapping.iter().map(|(scheme, _)| *scheme).collect();
    let signer = key.choose_scheme(&schemes)?;
    let signature = signer.sign(MESSAGE).ok()?;
    let (_, checks) = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signer.scheme())?;
    let fits = |check| cert.verify_signature(check, MESSAGE, &signature).is_ok();
    checks.iter().any(|&check| fits(check)).then_some(())
}

fn valid_now(file: &Path, cert: &CertificateDer<'_>) -> Result<(), TlsError> {
    let (from, to) = validity(cert)
        .ok_or_else(|| TlsError::content(file, "the first certificate is damaged"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    if now > to {
        return Err(TlsError::content(file, format!("the certificate expired {}", ago(now - to))));
    }
    if now < from {
        let days = (from - now) / 86_400;
        let reason = format!(
            "the certificate is not valid before {days} days from now; is the clock right?"
        );
        return Err(TlsError::content(file, reason));
    }
    Ok(())
}

fn ago(seconds: i64) -> String {
    match seconds / 86_400 {
        0 => "today".to_string(),
        days => format!("{days} days ago"),
    }
}

/// From when to when a certificate is valid, in seconds of Unix (RFC 5280, 4.1.2.5).
fn validity(cert: &[u8]) -> Option<(i64, i64)> {
    let (_, mut outer) = element(&mut &*cert)?;
    let (_, mut body) = element(&mut outer)?;
    // The version may be left out; behind it stand number, algorithm and issuer.
    if body.first() == Some(&0xa0) {
        element(&mut body)?;
    }
    for _ in 0..3 {
        element(&mut body)?;
    }
    let (_, mut times) = element(&mut body)?;
    Some((time(element(&mut times)?)?, time(element(&mut times)?)?))
}

/// The next element of DER: its tag and its content.
fn element<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, short], mut rest) = bytes.split_first_chunk::<2>()?;
    let mut length = usize::from(short);
    if short >= 0x80 {
        let count = usize::from(short & 0x7f);
        let (digits, after) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    *bytes = after;
    Some((tag, content))
}

/// `YYMMDDHHMMSSZ` (tag 23) or `YYYYMMDDHHMMSSZ` (tag 24) in seconds of Unix.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        23 => text.split_at_checked(2)?,
        24 => text.split_at_checked(4)?,
        _ => return None,
    };
    if rest.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year: i64 = year.parse().ok()?;
    let year = match tag {
        23 if year >= 50 => 1900 + year,
        23 => 2000 + year,
        _ => year,
    };
    let two = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day) = (two(0)?, two(2)?);
    let (hour, minute, second) = (two(4)?, two(6)?, two(8)?);
    // Days since 1970 of the proleptic Gregorian calendar, years beginning with March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
            - 719_469;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates() {
        for (tag, text, seconds) in [
            (23, "700101000000Z", Some(0)),
            (23, "240229235959Z", Some(1_709_251_199)),
            (23, "491231235959Z", Some(2_524_607_999)),
            (24, "20500101000000Z", Some(2_524_608_000)),
            (24, "99991231235959Z", Some(253_402_300_799)),
            (23, "20500101000000Z", None),
            (23, "7001010000é", None),
            (23, "+01010000000Z", None),
            (25, "700101000000Z", None),
            (23, "Z", None),
        ] {
            assert_eq!(time((tag, text.as_bytes())), seconds, "{text}");
        }
    }

    #[test]
    fn elements_end_where_the_bytes_end() {
        assert_eq!(element(&mut &[4, 2, 7, 8, 9][..]), Some((4, &[7, 8][..])));
        for bytes in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80],
            &[4, 0x85, 0, 0, 0, 0, 1, 1],
            &[4, 0x84, 255, 255, 255, 255],
        ] {
            assert_eq!(element(&mut &*bytes), None, "{bytes:?}");
        }
        assert_eq!(validity(&[0x30, 0]), None);
    }
}
