//! A Kubernetes API server of a few objects, which a test changes behind everybody's back: every change ends all watches,
//! so that all is listed again. It may be away, or break its lists off.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::{reply, request, serve};

const JSON: &str = "application/json";
/// How often a watch looks whether it is to end.
const TICK: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    away: AtomicBool,
    broken: AtomicBool,
    version: AtomicU64,
    objects: Mutex<Objects>,
}

/// What there is: in the namespace `shop`, headless Services with a slice each.
#[derive(Clone, Default)]
struct Objects {
    /// The name of each Service, and the endpoints of its slice: hostname and address.
    services: Vec<(String, Vec<(String, String)>)>,
}

/// The server; it ends with the test's process.
pub struct ToyApi {
    port: u16,
    state: Arc<State>,
}

impl ToyApi {
    /// One with nothing but the namespace.
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        state.version.store(1, Ordering::SeqCst);
        let served = Arc::clone(&state);
        let port = serve(move |stream| served.answer(&stream));
        Self { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on there are these Services, each with so many endpoints `e0`, `e1` and so on.
    pub fn set<'a>(&self, services: impl IntoIterator<Item = (&'a str, u8)>) {
        let mut objects = self.state.objects.lock().unwrap();
        objects.services = services
            .into_iter()
            .enumerate()
            .map(|(number, (name, count))| {
                let address = |at| format!("10.{}.{}.{at}", number / 256, number % 256);
                (name.to_owned(), (0..count).map(|at| (format!("e{at}"), address(at))).collect())
            })
            .collect();
        drop(objects);
        self.state.version.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on nobody is answered, or everybody is again.
    pub fn set_away(&self, is_away: bool) {
        self.state.away.store(is_away, Ordering::SeqCst);
    }

    /// From now on lists break off before their end, or do no more.
    pub fn set_broken(&self, is_broken: bool) {
        self.state.broken.store(is_broken, Ordering::SeqCst);
    }
}

impl State {
    fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    fn answer(&self, stream: &TcpStream) {
        let Some(path) = request(stream) else { return };
        if self.is_away() {
            return;
        }
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        if query.contains("sendInitialEvents") {
            let refusal =
                r#"{"kind":"Status","status":"Failure","code":422,"reason":"Invalid","message":"no streams"}"#;
            return reply(stream, "422 Unprocessable Entity", JSON, refusal, None);
        }
        if query.contains("watch=true") {
            return self.watch(stream, query);
        }
        let version = self.version.load(Ordering::SeqCst);
        let items = self.items(path);
        let body = format!(r#"{{"metadata":{{"resourceVersion":"{version}"}},"items":[{}]}}"#, items.join(","));
        // Into the last object, so that some were told.
        let cut = self.broken.load(Ordering::SeqCst).then(|| body.len().saturating_sub(10));
        reply(stream, "200 OK", JSON, &body, cut);
    }

    /// Nothing, until something changes.
    fn watch(&self, mut stream: &TcpStream, query: &str) {
        let from = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")?.parse().ok());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        while Some(self.version.load(Ordering::SeqCst)) == from {
            std::thread::sleep(TICK);
            if self.is_away() {
                return;
            }
        }
        let gone = r#"{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old"}"#;
        let _ = stream.write_all(format!("{{\"type\":\"ERROR\",\"object\":{gone}}}\n").as_bytes());
    }

    fn items(&self, path: &str) -> Vec<String> {
        let services = self.objects.lock().unwrap().services.clone();
        let version = r#""resourceVersion":"1""#;
        match path {
            "/api/v1/namespaces" => vec![format!(r#"{{"metadata":{{"name":"shop",{version}}}}}"#)],
            "/api/v1/services" => services
                .iter()
                .map(|(name, _)| {
                    let spec = r#"{"clusterIP":"None","ports":[{"name":"p","port":80}]}"#;
                    format!(r#"{{"metadata":{{"name":"{name}","namespace":"shop",{version}}},"spec":{spec}}}"#)
                })
                .collect(),
            _ => services.iter().map(|(name, endpoints)| slice(name, endpoints)).collect(),
        }
    }
}

fn slice(name: &str, endpoints: &[(String, String)]) -> String {
    let endpoint = |(hostname, address): &(String, String)| {
        format!(r#"{{"addresses":["{address}"],"hostname":"{hostname}","conditions":{{"ready":true}}}}"#)
    };
    let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
    let labels = format!(r#"{{"kubernetes.io/service-name":"{name}"}}"#);
    format!(
        r#"{{"metadata":{{"name":"{name}-1","namespace":"shop","resourceVersion":"1","labels":{labels}}},
            "addressType":"IPv4","endpoints":[{}],"ports":[{{"name":"p","port":80,"protocol":"TCP"}}]}}"#,
        endpoints.join(",")
    )
}
