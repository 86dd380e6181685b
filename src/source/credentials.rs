//! The files that tell a client who it is and whom it may believe. They change while it runs: certificates are renewed,
//! kubeconfigs are written anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::config::Kubeconfig;

use crate::config::Source;

/// The files that a source's client is made of, as far as they can be told. What kube reads again by itself is not among
/// them: tokens, and the service account's CA.
pub fn files(source: &Source) -> Vec<PathBuf> {
    match source {
        Source::InCluster | Source::Manifests(_) => Vec::new(),
        Source::Endpoint { tls, .. } => tls.iter().flat_map(|tls| [&tls.cert, &tls.key, &tls.ca]).cloned().collect(),
        Source::Kubeconfig { path, .. } => {
            let mut files = vec![path.clone()];
            // One that cannot be read names no others; whoever makes a client of it says so.
            if let Ok(kubeconfig) = Kubeconfig::read_from(path) {
                let clusters = kubeconfig.clusters.into_iter().filter_map(|named| named.cluster);
                files.extend(clusters.filter_map(|cluster| cluster.certificate_authority).map(PathBuf::from));
                for user in kubeconfig.auth_infos.into_iter().filter_map(|named| named.auth_info) {
                    files.extend([user.client_certificate, user.client_key].into_iter().flatten().map(PathBuf::from));
                }
            }
            files
        }
    }
}

/// What tells one cluster from another without asking it: its name here and, where a kubeconfig names it, its URL. A
/// kubeconfig that cannot be read names none; whoever makes a client of it says so.
pub fn identity(source: &Source) -> String {
    match source {
        Source::InCluster => "in-cluster".to_owned(),
        Source::Endpoint { url, .. } => url.clone(),
        Source::Manifests(folder) => folder.display().to_string(),
        Source::Kubeconfig { path, context } => {
            let server = Kubeconfig::read_from(path).ok().and_then(|kubeconfig| server(kubeconfig, context.as_deref()));
            server.unwrap_or_else(|| path.display().to_string())
        }
    }
}

/// The URL of a context's cluster.
fn server(kubeconfig: Kubeconfig, context: Option<&str>) -> Option<String> {
    let current = context.map(str::to_owned).or(kubeconfig.current_context)?;
    let context = kubeconfig.contexts.into_iter().find(|named| named.name == current)?.context?;
    kubeconfig.clusters.into_iter().find(|named| named.name == context.cluster)?.cluster?.server
}

/// Tells the tasks of a source that their client is to be made anew. They do so before their next watch, which begins
/// within ten minutes: a connection that stands is not harmed by a certificate that was renewed.
#[derive(Clone, Debug, Default)]
pub struct Renewal(Arc<AtomicU64>);

impl Renewal {
    /// The files have changed.
    pub fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often they did.
    pub(super) fn asked(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
