//! Requests to the API server: configuration, authentication and TLS are kube's, the questions are ours.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use kube::{Client, Config};

use super::abilities::Abilities;
use super::connector;
use super::credentials::Renewal;
use super::decode::{Format, Status};
use super::health::Health;
use super::limits::Limits;
use super::requests::ToHost;
use super::start::StartError;
use crate::config::{ApiLimits, Source};
use crate::model::Kind;

/// Where CoreDNS's Pod watch looks: pods in these phases have given their address back, or nobody knows.
const POD_FIELDS: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";

/// An error's body is read up to here, in bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Why a request gave nothing usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The API server said no.
    #[error("{0}")]
    Status(Status),
    /// The API server could not be asked.
    #[error("{0}")]
    Connection(String),
    /// Nothing came in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// What is asked for: the format is the API server's choice among those that it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A list, or a page of one.
    List,
    /// A stream of events.
    Watch,
}

impl Wanted {
    /// The value of the `Accept` header. In that of a watch JSON comes without a parameter as well, because that is
    /// how API servers have always been asked for it.
    fn accept(self, protobuf: bool) -> &'static str {
        match (self, protobuf) {
            (_, false) => "application/json",
            (Self::List, true) => "application/vnd.kubernetes.protobuf,application/json",
            (Self::Watch, true) => {
                "application/vnd.kubernetes.protobuf;stream=watch,application/json;stream=watch,application/json"
            }
        }
    }
}

/// One task's way to the API server.
#[derive(Clone)]
pub(super) struct Api {
    source: Arc<Source>,
    client: Client,
    timeout: Duration,
    abilities: Arc<Abilities>,
    limits: Arc<Limits>,
    health: Arc<Health>,
    requests: Arc<ToHost>,
    renewal: Renewal,
    /// How often the files had changed when the client was made.
    renewed: u64,
}

impl Api {
    /// Reads the configuration and prepares the client; no request is made yet.
    pub(super) async fn new(
        source: Source,
        limits: &ApiLimits,
        timeout: Duration,
        health: &Arc<Health>,
        renewal: Renewal,
    ) -> Result<Self, StartError> {
        let source = Arc::new(source);
        let (client, host) = connect(Arc::clone(&source)).await?;
        let (limits, requests) = (Arc::new(Limits::new(limits)), health.requests.to(&host));
        let health = Arc::clone(health);
        let renewed = renewal.asked();
        let abilities = Arc::default();
        Ok(Self { source, client, timeout, abilities, limits, health, requests, renewal, renewed })
    }

    /// Builds the client anew, because what it was built of may have changed: kube reads certificates, kubeconfigs
    /// and the answers of credential plugins once (only the service account's token and CA are read again).
    pub(super) async fn renew(&mut self) -> Result<(), StartError> {
        let asked = self.renewal.asked();
        let (client, host) = connect(Arc::clone(&self.source)).await?;
        self.client = client;
        self.renewed = asked;
        self.requests = self.health.requests.to(&host);
        Ok(())
    }

    /// Whether the files that the client was made of have changed since.
    pub(super) fn is_outdated(&self) -> bool {
        self.renewal.asked() != self.renewed
    }

    /// What the API server was found to be able to do; all clones of this know the same.
    pub(super) fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Counts of what it is asked.
    pub(super) fn requests(&self) -> &ToHost {
        &self.requests
    }

    /// Waits until the next request may be sent.
    pub(super) async fn turn(&self) {
        let begun = Instant::now();
        self.limits.turn().await;
        self.requests.throttled.took(begun.elapsed());
    }

    /// How hard it is asked; all clones of this share it. Whoever asks waits for a place, and for a turn.
    pub(super) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits)
    }

    /// Asks for `path`, which is about `kind`; the answer has a status of 2xx and a body yet to be read, in the format that
    /// is given with it.
    pub(super) async fn get(&self, kind: Kind, path: &str, wanted: Wanted) -> Result<(Format, Body), RequestError> {
        let offered = !is_custom(kind) && self.abilities.protobuf();
        let mut response = self.request(path, wanted.accept(offered)).await?;
        if offered && matches!(response.status().as_u16(), 406 | 415) {
            self.abilities.refuses_protobuf();
            response = self.request(path, wanted.accept(false)).await?;
        }
        if !response.status().is_success() {
            return Err(RequestError::Status(self.refusal(response).await));
        }
        let format = format(response.headers());
        if format == Format::Json && !is_custom(kind) {
            self.abilities.answers_in_json();
        }
        Ok((format, response.into_body()))
    }

    async fn request(&self, path: &str, accept: &'static str) -> Result<Response<Body>, RequestError> {
        let request = Request::get(path)
            .header(ACCEPT, accept)
            .header(USER_AGENT, concat!("podzone/", env!("CARGO_PKG_VERSION")))
            .body(Body::empty())
            .map_err(|error| RequestError::Connection(error.to_string()))?;
        let answer = tokio::time::timeout(self.timeout, self.client.send(request)).await;
        self.requests.ended(match &answer {
            Ok(Ok(response)) => Some(response.status().as_u16()),
            _ => None,
        });
        answer.map_err(|_| RequestError::Timeout(self.timeout))?.map_err(|error| match error {
            // What matters is the cause, not which layer of the client met it.
            kube::Error::Service(cause) => RequestError::Connection(chain(&*cause)),
            error => RequestError::Connection(chain(&error)),
        })
    }

    async fn refusal(&self, response: Response<Body>) -> Status {
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(self.timeout, Limited::new(body, ERROR_BYTES_MAX).collect()).await;
        let mut status = match body {
            Ok(Ok(body)) => format(&parts.headers).status(&body.to_bytes()),
            _ => Status::default(),
        };
        status.code = parts.status.as_u16();
        if status.reason.is_empty() {
            status.reason = parts.status.canonical_reason().unwrap_or_default().to_owned();
        }
        // The header is the API's word for how long to wait; `details` repeats it at times.
        let header = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        status.retry_after_secs = header.or(status.retry_after_secs);
        status
    }
}

fn format(headers: &HeaderMap) -> Format {
    Format::of(headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// Whether a kind is a custom resource: an API server may not have it, and has only JSON for it, which says nothing about
/// what else it can do.
pub(super) fn is_custom(kind: Kind) -> bool {
    kind == Kind::ServiceImport
}

/// The collection of `kind` across all namespaces.
pub(super) fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "/api/v1/namespaces",
        Kind::Service => "/api/v1/services",
        Kind::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
        Kind::Pod => "/api/v1/pods",
        Kind::ServiceImport => "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports",
    }
}

/// The name of `kind` in log lines and RBAC rules.
pub(super) fn resource(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "namespaces",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices.discovery.k8s.io",
        Kind::Pod => "pods",
        Kind::ServiceImport => "serviceimports.multicluster.x-k8s.io",
    }
}

/// The path and query of a request for `kind`, with the selectors that belong to it.
pub(super) fn path(kind: Kind, selector: Option<&str>, query: &[(&str, &str)]) -> String {
    let mut path = collection(kind).to_owned();
    let labels = selector.filter(|_| kind != Kind::Namespace).map(|selector| ("labelSelector", selector));
    let fields = (kind == Kind::Pod).then_some(("fieldSelector", POD_FIELDS));
    let mut mark = '?';
    for (name, value) in query.iter().copied().chain(labels).chain(fields) {
        path.push(mark);
        path.push_str(name);
        path.push('=');
        percent_encode(value, &mut path);
        mark = '&';
    }
    path
}

/// Everything but RFC 3986's unreserved characters is escaped.
fn percent_encode(value: &str, into: &mut String) {
    use std::fmt::Write as _;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// An error and its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// A client, and the host that it asks. Reading files and running credential plugins block, which the runtime's own threads must not.
async fn connect(source: Arc<Source>) -> Result<(Client, String), StartError> {
    let runtime = tokio::runtime::Handle::current();
    let build = move || runtime.block_on(build(&source));
    tokio::task::spawn_blocking(build).await.map_err(|error| StartError::Client(error.to_string()))?
}

async fn build(source: &Source) -> Result<(Client, String), StartError> {
    let mut config = configure(source).await?;
    let host = config.cluster_url.authority().map_or("none", |authority| authority.as_str()).to_owned();
    // kube would retry 429, 503 and 504 for hours without a word; waiting and logging are ours.
    config.default_retry = false;
    let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
    let client = connector::client(config).map_err(|error| match (source, plugin) {
        // kube says that there is no such file, but not which.
        (Source::Kubeconfig { path, .. }, Some(plugin)) => StartError::Kubeconfig {
            path: path.clone(),
            reason: format!("the credential plugin {plugin}: {}", chain(&error)),
        },
        _ => StartError::Client(chain(&error)),
    })?;
    Ok((client, host))
}

async fn configure(source: &Source) -> Result<Config, StartError> {
    match source {
        Source::InCluster => Config::incluster().map_err(|error| StartError::InCluster(chain(&error))),
        Source::Kubeconfig { path, context } => {
            let fail = |error| StartError::Kubeconfig { path: path.clone(), reason: chain(&error) };
            let kubeconfig = Kubeconfig::read_from(path).map_err(fail)?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(fail)
        }
        Source::Endpoint { url, tls } => {
            let fail = |reason: String| StartError::Endpoint { url: url.clone(), reason };
            let uri: http::Uri = url.parse().map_err(|error| fail(format!("{error}")))?;
            if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
                return Err(fail("expected http://HOST[:PORT] or https://HOST[:PORT]".into()));
            }
            let Some(tls) = tls else {
                let mut config = Config::new(uri);
                // Without TLS there is nothing to verify, and an image without the system's CAs must still start.
                config.accept_invalid_certs = config.cluster_url.scheme_str() == Some("http");
                return Ok(config);
            };
            let text = |path: &Path| {
                // kube would report a missing file later and by another name.
                std::fs::File::open(path).map_err(|error| fail(format!("cannot read {}: {error}", path.display())))?;
                path.to_str().map(str::to_owned).ok_or_else(|| fail(format!("{} is not UTF-8", path.display())))
            };
            let cluster = Cluster {
                server: Some(url.clone()),
                certificate_authority: Some(text(&tls.ca)?),
                ..Cluster::default()
            };
            let user = AuthInfo {
                client_certificate: Some(text(&tls.cert)?),
                client_key: Some(text(&tls.key)?),
                ..AuthInfo::default()
            };
            // Through a kubeconfig of one context, because only kube's own loader fills in the CA's certificates.
            let name = "podzone".to_owned();
            let context = Context { cluster: name.clone(), user: Some(name.clone()), ..Context::default() };
            let kubeconfig = Kubeconfig {
                current_context: Some(name.clone()),
                clusters: vec![NamedCluster { name: name.clone(), cluster: Some(cluster), ..Default::default() }],
                auth_infos: vec![NamedAuthInfo { name: name.clone(), auth_info: Some(user), ..Default::default() }],
                contexts: vec![NamedContext { name, context: Some(context), ..Default::default() }],
                ..Kubeconfig::default()
            };
            let options = KubeConfigOptions::default();
            let mut config =
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| fail(chain(&error)))?;
            // Read again every minute, for a CA that rotates.
            config.root_cert_file = Some(tls.ca.clone());
            Ok(config)
        }
        Source::Manifests(_) => Err(StartError::Client("a folder of manifests is no API server".into())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_their_selectors() {
        assert_eq!(path(Kind::Namespace, Some("a=b"), &[("limit", "500")]), "/api/v1/namespaces?limit=500");
        assert_eq!(
            path(Kind::EndpointSlice, Some("a in (b, c)"), &[]),
            "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=a%20in%20%28b%2C%20c%29"
        );
        assert_eq!(
            path(Kind::Pod, None, &[("continue", "a+/=")]),
            "/api/v1/pods?continue=a%2B%2F%3D&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed\
             %2Cstatus.phase%21%3DUnknown"
        );
    }

    #[tokio::test]
    async fn a_wrong_configuration_is_named() {
        let endpoint = |url: &str| Source::Endpoint { url: url.into(), tls: None };
        for source in [
            endpoint("ftp://a.example"),
            endpoint("a.example"),
            endpoint("http://a b"),
            Source::Kubeconfig { path: "/nonexistent/kubeconfig".into(), context: None },
        ] {
            let health = Arc::new(Health::new(&[]));
            let error =
                Api::new(source.clone(), &ApiLimits::default(), Duration::from_secs(1), &health, Renewal::default())
                    .await
                    .err()
                    .unwrap()
                    .to_string();
            assert!(error.contains("ftp:") || error.contains('a'), "{source:?}: {error}");
        }
    }
}
