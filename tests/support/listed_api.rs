//! A Kubernetes API server of a cluster as large as one likes, in which nothing changes: it lists, and its watches are
//! silent.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::http::{reply, request, serve};

const JSON: &str = "application/json";

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub services: usize,
    pub endpoints: usize,
    /// Whether there is a Pod for each endpoint.
    pub has_pods: bool,
}

/// Endpoints of a slice, as the controller fills them (`--max-endpoints-per-slice`).
const OF_SLICE: usize = 100;
/// Services of a namespace.
const OF_NAMESPACE: usize = 100;

/// The server; it ends with the test's process.
pub struct ListedApi {
    port: u16,
    size: Size,
}

impl ListedApi {
    /// One with Services in namespaces of a hundred each, every second of them headless, among which the endpoints are shared
    /// out evenly. Pods are named as those of Deployments.
    pub fn start(size: Size) -> Self {
        let lists = Lists::of(size);
        let port = serve(move |stream| lists.answer(&stream));
        Self { port, size }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every name that there is, each with its type, a line each: those of Services, and of all endpoints.
    pub fn questions(&self) -> String {
        let mut out = String::new();
        for service in services(self.size) {
            let name = service.dns_name();
            for rtype in ["A", "SRV"] {
                out.push_str(&format!("{name} {rtype}\n"));
            }
            for endpoint in service.endpoints.clone() {
                out.push_str(&format!("{}.{name} A\n", service.pod(endpoint)));
            }
        }
        out
    }
}

/// A Service and its endpoints, which are numbered through.
struct Service {
    number: usize,
    endpoints: std::ops::Range<usize>,
}

fn services(size: Size) -> impl Iterator<Item = Service> {
    (0..size.services).map(move |number| {
        let from = number * size.endpoints / size.services;
        Service { number, endpoints: from..(number + 1) * size.endpoints / size.services }
    })
}

/// The five letters with which the names of pods end.
fn suffix(mut number: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // So that neighbours do not begin alike.
    number = number.wrapping_mul(7_654_321) % LETTERS.len().pow(5);
    (0..5).map(|place| char::from(LETTERS[number / LETTERS.len().pow(place) % LETTERS.len()])).collect()
}

impl Service {
    fn namespace(&self) -> String {
        format!("team-{}", self.number / OF_NAMESPACE)
    }

    fn name(&self) -> String {
        format!("service-{}", self.number)
    }

    fn dns_name(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name(), self.namespace())
    }

    fn pod(&self, endpoint: usize) -> String {
        format!("{}-{}-{}", self.name(), suffix(self.number), suffix(endpoint))
    }

    fn json(&self) -> String {
        let address = match self.number % 2 {
            0 => "None".to_owned(),
            _ => format!("10.{}.{}.{}", 96 + (self.number >> 16), self.number >> 8 & 255, self.number & 255),
        };
        format!(
            r#"{{"metadata":{{"name":"{}","namespace":"{}","resourceVersion":"1"}},"spec":{{"clusterIP":"{address}","ports":[{{"name":"http","port":80,"protocol":"TCP"}}]}}}}"#,
            self.name(),
            self.namespace()
        )
    }

    fn slices(&self) -> impl Iterator<Item = String> {
        self.endpoints.clone().step_by(OF_SLICE).map(|first| {
            let endpoint = |number: usize| {
                format!(
                    r#"{{"addresses":["{}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"targetRef":{{"kind":"Pod","name":"{}","namespace":"{}"}}}}"#,
                    address(number),
                    self.pod(number),
                    self.namespace()
                )
            };
            let endpoints: Vec<String> = (first..self.endpoints.end.min(first + OF_SLICE)).map(endpoint).collect();
            format!(
                r#"{{"metadata":{{"name":"{0}-{2}","namespace":"{1}","resourceVersion":"1","labels":{{"kubernetes.io/service-name":"{0}"}}}},"addressType":"IPv4","endpoints":[{3}],"ports":[{{"name":"http","port":80,"protocol":"TCP"}}]}}"#,
                self.name(),
                self.namespace(),
                suffix(first),
                endpoints.join(",")
            )
        })
    }

    fn pods(&self) -> impl Iterator<Item = String> {
        self.endpoints.clone().map(|number| {
            format!(
                r#"{{"metadata":{{"name":"{}","namespace":"{}","resourceVersion":"1"}},"spec":{{}},"status":{{"phase":"Running","podIP":"{2}","podIPs":[{{"ip":"{2}"}}]}}}}"#,
                self.pod(number),
                self.namespace(),
                address(number)
            )
        })
    }
}

fn address(number: usize) -> String {
    format!("10.{}.{}.{}", 128 + (number >> 16), number >> 8 & 255, number & 255)
}

struct Lists {
    namespaces: String,
    services: String,
    slices: String,
    pods: String,
}

impl Lists {
    fn of(size: Size) -> Self {
        let list =
            |items: Vec<String>| format!(r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{}]}}"#, items.join(","));
        let namespaces = (0..size.services.div_ceil(OF_NAMESPACE))
            .map(|number| format!(r#"{{"metadata":{{"name":"team-{number}","resourceVersion":"1"}}}}"#));
        Self {
            namespaces: list(namespaces.collect()),
            services: list(services(size).map(|service| service.json()).collect()),
            slices: list(services(size).flat_map(|service| service.slices().collect::<Vec<_>>()).collect()),
            pods: list(
                services(size)
                    .filter(|_| size.has_pods)
                    .flat_map(|service| service.pods().collect::<Vec<_>>())
                    .collect(),
            ),
        }
    }

    fn answer(&self, mut stream: &TcpStream) {
        let Some(path) = request(stream) else { return };
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        if query.contains("sendInitialEvents") {
            let refusal =
                r#"{"kind":"Status","status":"Failure","code":422,"reason":"Invalid","message":"no streams"}"#;
            return reply(stream, "422 Unprocessable Entity", JSON, refusal, None);
        }
        if query.contains("watch=true") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            // Until the client leaves.
            let _ = stream.read(&mut [0]);
            return;
        }
        let body = match path {
            "/api/v1/namespaces" => &self.namespaces,
            "/api/v1/services" => &self.services,
            "/api/v1/pods" => &self.pods,
            _ => &self.slices,
        };
        reply(stream, "200 OK", JSON, body, None);
    }
}
