//! Processors for which there are no ciphers.

use std::io;
use std::path::Path;
use tokio::net::TcpStream;

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No ciphers run on this processor.
    #[error("TLS needs a processor of the kind x86-64 or AArch64")]
    Processor,
}

/// There is none.
#[derive(Debug)]
pub enum Tls {}

impl Tls {
    /// # Errors
    /// [`TlsError::Processor`].
    pub fn open(_: &Path, _: &Path) -> Result<Tls, TlsError> {
        Err(TlsError::Processor)
    }

    /// # Errors
    /// None: there is nothing to read again.
    pub fn reload(&self) -> Result<(), TlsError> {
        match *self {}
    }

    pub(crate) async fn accept(&self, _: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }
}
