//! What clients and servers of TLS share.
//!
//! | place | what it gives |
//! |---|---|
//! | [`provider`] | the ciphers of this processor |
//! | [`certificates`], [`contents`] | what stands in a file of PEM |
//! | [`trusted`] | the authorities that the system, or a file, says to trust |
#![forbid(unsafe_code)]

use nerve_formats::escape;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// The most bytes of a file with certificates or a key: the authorities of a whole system take a quarter of it.
const MOST_BYTES: u64 = 1 << 20;

/// Why there is no encryption.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{file}`: {cause}")]
    File {
        /// The file.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{file}`: {reason}")]
    Content {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The key is that of another certificate.
    #[error("the key in `{key}` does not belong to the first certificate in `{cert}`")]
    Pair {
        /// The file of the key.
        key: String,
        /// The file of the certificate.
        cert: String,
    },
    /// No ciphers run on this processor.
    #[error("TLS needs {0}, which this processor does not have")]
    Processor(&'static str),
    /// The system names no authority.
    #[error(
        "this system names no authority that it trusts: install its package of certificates (ca-certificates), or name a file \
         of them in SSL_CERT_FILE"
    )]
    Nobody,
}

impl TlsError {
    /// A file that does not hold what it should.
    pub fn content(file: &Path, reason: impl Into<String>) -> TlsError {
        TlsError::Content { file: name(file), reason: reason.into() }
    }
}

/// How a file is called in messages: without what would change a terminal.
pub fn name(file: &Path) -> String {
    escape(&file.to_string_lossy(), 500)
}

/// The ciphers, signatures and random numbers of TLS for this processor.
///
/// # Errors
/// [`TlsError::Processor`]: for this one there are none.
pub fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    ciphers().map(Arc::new)
}

/// Graviola panics where it cannot run, so this looks first.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn ciphers() -> Result<CryptoProvider, TlsError> {
    #[cfg(target_arch = "x86_64")]
    let (fits, needed) = (
        is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("adx")
            && is_x86_feature_detected!("avx2"),
        "AES, PCLMULQDQ, BMI1, ADX and AVX2",
    );
    #[cfg(target_arch = "aarch64")]
    let (fits, needed) = (
        std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("aes")
            && std::arch::is_aarch64_feature_detected!("pmull")
            && std::arch::is_aarch64_feature_detected!("sha2"),
        "NEON, AES, PMULL and SHA-2",
    );
    if fits { Ok(rustls_graviola::default_provider()) } else { Err(TlsError::Processor(needed)) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn ciphers() -> Result<CryptoProvider, TlsError> {
    Err(TlsError::Processor("the instructions of x86-64 or AArch64"))
}

/// The bytes of a file with certificates or a key.
///
/// # Errors
/// It cannot be read, or is too large to be one.
pub fn contents(file: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|cause| TlsError::File { file: name(file), cause })?;
    match bytes.len() as u64 > MOST_BYTES {
        true => {
            Err(TlsError::content(file, format!("more than {MOST_BYTES} bytes are no certificate")))
        }
        false => Ok(bytes),
    }
}

/// The certificates of a file in PEM, one at least.
///
/// # Errors
/// It cannot be read, is damaged, or has none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = contents(file)?;
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| TlsError::content(file, format!("damaged PEM: {error:?}")))?;
    if all.is_empty() {
        let none = "no certificate in it: expected -----BEGIN CERTIFICATE-----";
        return Err(TlsError::content(file, none));
    }
    Ok(all)
}

/// The authorities to trust: those of `file`, or those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` as everywhere).
///
/// # Errors
/// There is none among them that can be used.
pub fn trusted(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let named = match file {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(named.iter().cloned());
    match (usable, file) {
        (0, Some(file)) => {
            Err(TlsError::content(file, "no certificate in it is that of an authority"))
        }
        (0, None) => Err(TlsError::Nobody),
        _ => Ok(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
    }

    #[test]
    fn a_file_names_whom_to_trust() {
        assert_eq!(trusted(Some(&file("authority.pem"))).unwrap().len(), 1);
        for (name, words) in [("p256.key", "no certificate in it"), ("none.pem", "No such file")] {
            let error = trusted(Some(&file(name))).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn this_processor_has_ciphers_or_is_told_what_it_lacks() {
        match provider() {
            Ok(provider) => assert!(!provider.cipher_suites.is_empty()),
            Err(error) => assert!(error.to_string().contains("processor"), "{error}"),
        }
    }
}
