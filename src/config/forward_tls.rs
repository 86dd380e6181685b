//! `tls` of `forward`: what an upstream's certificate is checked with, and what proves who asks.
//!
//! The files are read with the Corefile, as CoreDNS reads them, so that `reload` sees when one of them changes.

use std::fmt;
use std::path::Path;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::machine::Machine;
use crate::corefile::Token;

/// What the files of `tls` hold; without the directive, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardTls {
    /// The authorities that may have signed an upstream's certificate, as PEM; `None` is those of the system.
    pub authorities: Option<Vec<u8>>,
    /// What this server shows of itself.
    pub client: Option<ClientCertificate>,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and an authority, as PEM.
    pub chain: Vec<u8>,
    /// Its private key, as PEM.
    pub key: Vec<u8>,
}

// A key is nobody's to read.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// If one cannot be read, or there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() { Err("it holds no certificate".into()) } else { Ok(all) }
}

/// The private key of a PEM file.
///
/// # Errors
/// If it holds none.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "it holds no private key".into())
}

/// Reads the files behind the word: none, an authority, a certificate and its key, or all three
/// (plugin/pkg/tls/tls.go, func NewTLSConfigFromArgs).
///
/// # Errors
/// In CoreDNS's words, with the word that is to blame.
pub(super) fn read<'t>(files: &'t [Token], machine: &dyn Machine) -> Result<ForwardTls, (&'t Token, String)> {
    let (client, authority) = match files {
        [] => (None, None),
        [authority] => (None, Some(authority)),
        [chain, key] => (Some((chain, key)), None),
        [chain, key, authority, ..] => (Some((chain, key)), Some(authority)),
    };
    Ok(ForwardTls {
        client: client.map(|(chain, key)| read_client(chain, key, machine)).transpose()?,
        authorities: authority.map(|file| read_authorities(file, machine)).transpose()?,
    })
}

fn read_client<'t>(
    chain: &'t Token,
    key: &'t Token,
    machine: &dyn Machine,
) -> Result<ClientCertificate, (&'t Token, String)> {
    let refuse = |error: String| format!("could not load TLS cert: {error}");
    let open = |file: &'t Token| open(file, machine).map_err(|error| (file, refuse(error)));
    let pair = ClientCertificate { chain: open(chain)?, key: open(key)? };
    let certificates = certificates(&pair.chain).map_err(|error| (chain, refuse(error)))?;
    let private_key = private_key(&pair.key).map_err(|error| (key, refuse(error)))?;
    CertifiedKey::from_der(certificates, private_key, &default_provider())
        .map_err(|error| (key, refuse(format!("tls: {error}"))))?;
    Ok(pair)
}

fn read_authorities<'t>(file: &'t Token, machine: &dyn Machine) -> Result<Vec<u8>, (&'t Token, String)> {
    let pem = open(file, machine).map_err(|error| (file, format!("error reading {}: {error}", file.text)))?;
    certificates(&pem).map_err(|error| (file, format!("could not read root certs: {error}")))?;
    Ok(pem)
}

fn open(file: &Token, machine: &dyn Machine) -> Result<Vec<u8>, String> {
    machine.read(Path::new(&file.text)).map_err(|error| {
        let text = error.to_string();
        format!("open {}: {}", file.text, text.split(" (os error").next().unwrap_or_default().to_lowercase())
    })
}
