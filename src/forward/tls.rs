//! What TLS to upstreams goes by (RFC 7858): TLS 1.2 or later, and certificates that are checked.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::stream::Tls;
use crate::config::{ForwardTls, certificates, private_key};

/// A configuration that all connections of one directive share, and with it what shortens their next handshakes.
///
/// # Errors
/// If what the files hold is not what it was when the Corefile was read.
pub(super) fn config(tls: &ForwardTls) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match &tls.authorities {
        Some(pem) => {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (taken, _) = roots.add_parsable_certificates(found.certs);
            if taken == 0 {
                tracing::warn!(target: "plugin/forward", "the system knows no certificate authority: say one with tls");
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(certificates(&pair.chain)?, private_key(&pair.key)?)
            .map_err(|error| error.to_string())?,
    };
    Ok(Arc::new(config))
}

/// That for an upstream, whose certificate must have this name, or this address.
///
/// # Errors
/// If no certificate can have the name.
pub(super) fn for_upstream(config: &Arc<ClientConfig>, name: Option<&str>, address: IpAddr) -> Result<Tls, String> {
    let name = match name {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|error| format!("{name}: {error}"))?,
        None => ServerName::IpAddress(address.into()),
    };
    Ok(Tls { config: Arc::clone(config), name })
}
