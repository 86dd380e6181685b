//! Transfers that are cut off, never read, or asked for a thousand times at once: each costs little, and nobody else
//! anything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use support::dns::{self, A, AXFR, Message, NOERROR, Query, SERVFAIL, SOA};
use support::process::Scratch;
use support::server::{Program, Server};
use support::xfr::axfr;
use support::{held, page, wait_for};

/// Services, of four records each.
const SERVICES: u32 = 1000;
/// Endpoints of a zone that no socket's buffers hold: some megabytes.
const ENDPOINTS: u32 = 12_000;
/// Octets that the server may take beyond what it had, for a thousand transfers and their connections.
const MEMORY_MORE: u64 = 128 << 20;

struct Cluster {
    server: Server,
    _scratch: Scratch,
}

impl Cluster {
    fn start(endpoints: u32) -> Self {
        let scratch = Scratch::new();
        let endpoint = |number: u32| {
            let (high, middle, low) = (number / 62_500, number / 250 % 250, number % 250 + 1);
            format!("- {{addresses: [\"10.{}.{middle}.{low}\"], hostname: pod-{number}}}\n", 128 + high)
        };
        let slices = (0..endpoints).step_by(1000).map(|first| {
            format!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: beam-{first}, namespace: \
                 shop, labels: {{kubernetes.io/service-name: beam}}}}\naddressType: IPv4\nports: [{{name: epmd, port: \
                 4369}}]\nendpoints:\n{}",
                (first..first + 1000).map(endpoint).collect::<String>()
            )
        });
        let headless = "---\napiVersion: v1\nkind: Service\nmetadata: {name: beam, namespace: shop}\nspec: {clusterIP: \
                        None}\n";
        let service = |number: u32| {
            let (high, low) = (number / 200, number % 200 + 1);
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: shop}}\nspec: {{clusterIP: \
                 10.96.{high}.{low}, ports: [{{name: http, port: 80, protocol: TCP}}]}}\n"
            )
        };
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n".to_owned();
        let services = (0..SERVICES).map(service).collect::<String>();
        let objects = namespace + headless + &services + &slices.collect::<String>();
        std::fs::write(scratch.path().join("objects.yaml"), objects).unwrap();
        let corefile = format!(
            "cluster.local {{\n bind 127.0.0.1\n prometheus 127.0.0.1:{{port:metrics}}\n transfer {{\n to *\n }}\n \
             kubernetes {{\n manifests {}\n }}\n}}\n",
            scratch.path().display()
        );
        let server = Program::Podzone.start(&corefile);
        wait_for("everything was listed", Duration::from_secs(60), || match axfr(server.addr(), "cluster.local") {
            Ok(_) => Ok(()),
            Err(rcode) => Err(format!("rcode {rcode}")),
        });
        Self { server, _scratch: scratch }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    fn counted(&self, outcome: &str) -> u64 {
        let (_, _, text) = page::get(self.server.addr_of("metrics"), "/metrics").expect("metrics");
        let label = format!("outcome=\"{outcome}\"");
        let line = text.lines().find(|line| line.starts_with("podzone_transfers_total{") && line.contains(&label));
        line.expect("it is told").rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Resident memory in octets.
    fn memory(&mut self) -> u64 {
        held::resident_kib(self.server.process().id()) * 1024
    }

    /// Somebody else asks all the while; whatever happens, each query is answered.
    fn while_asked<T>(&self, run: impl FnOnce() -> T) -> T {
        let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let query = Query::new("s7.shop.svc.cluster.local", A);
                    let (query, limit) = (query.to_bytes(), Duration::from_secs(20));
                    for answer in
                        [dns::udp_within(self.addr(), &query, limit), dns::tcp_within(self.addr(), &query, limit)]
                    {
                        assert_eq!(Message::decode(&answer.expect("an answer")).unwrap().data_of(A), ["10.96.0.8"]);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            });
            let result = run();
            done.store(true, Ordering::Relaxed);
            assert!(asked.load(Ordering::Relaxed) > 0);
            result
        })
    }
}

/// A connection from an address of loopback, with room for so little that the server must wait for it.
fn connect(to: SocketAddr, from: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, from], 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) {
    let query = Query::new("cluster.local", AXFR).to_bytes();
    stream.write_all(&[&u16::try_from(query.len()).unwrap().to_be_bytes(), &query[..]].concat()).unwrap();
}

fn message(stream: &mut TcpStream) -> std::io::Result<Message> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut octets = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut octets)?;
    Message::decode(&octets).map_err(std::io::Error::other)
}

/// Reads a transfer to its end: how many records, or the code that it was refused with.
fn read(stream: &mut TcpStream) -> Result<usize, u16> {
    let mut records = 0;
    loop {
        let message = message(stream).expect("a message");
        if message.rcode != NOERROR {
            return Err(message.rcode);
        }
        records += message.answers.len();
        if message.answers.last().is_some_and(|last| last.rtype == SOA) {
            return Ok(records);
        }
    }
}

#[test]
fn a_thousand_transfers_at_once_are_given_one_after_the_other() {
    let mut cluster = Cluster::start(0);
    let before = cluster.memory();
    let whole = 3 + 4 * SERVICES as usize;
    let results: Vec<Result<usize, u16>> = cluster.while_asked(|| {
        let mut streams: Vec<TcpStream> =
            (0..1000).map(|number| connect(cluster.addr(), (number % 100) as u8 + 1)).collect();
        streams.iter_mut().for_each(ask);
        thread::scope(|scope| {
            let reader = |stream| {
                let builder = thread::Builder::new().stack_size(256 << 10);
                builder.spawn_scoped(scope, || read(stream)).unwrap()
            };
            let readers: Vec<_> = streams.iter_mut().map(reader).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        })
    });
    // Who has waited too long for a turn is told so.
    let given = results.iter().filter(|result| **result == Ok(whole)).count();
    let failed = results.iter().filter(|result| **result == Err(SERVFAIL)).count();
    assert_eq!(
        given + failed,
        1000,
        "{:?}",
        results.iter().find(|result| ![Ok(whole), Err(SERVFAIL)].contains(result))
    );
    assert!(given >= 20, "{given} were given");
    let after = cluster.memory();
    assert!(after < before + MEMORY_MORE, "{before} octets before, {after} after");
    assert_eq!(axfr(cluster.addr(), "cluster.local").unwrap().records.len(), whole);
}

#[test]
fn a_secondary_that_never_reads_is_cut_off_and_keeps_nobody_waiting() {
    let cluster = Cluster::start(ENDPOINTS);
    cluster.while_asked(|| {
        let mut deaf: Vec<TcpStream> = (0..50).map(|_| connect(cluster.addr(), 1)).collect();
        deaf.iter_mut().for_each(ask);
        thread::sleep(Duration::from_millis(500));
        // Another's turn comes at once.
        let mut other = connect(cluster.addr(), 2);
        ask(&mut other);
        assert!(read(&mut other).unwrap() > 6 * ENDPOINTS as usize);
        wait_for("those that do not read are cut off", Duration::from_secs(60), || {
            match cluster.counted("cut_off") + cluster.counted("failed") {
                50.. => Ok(()),
                cut => Err(format!("{cut} of 50")),
            }
        });
        drop(deaf);
    });
}

#[test]
fn a_transfer_that_is_cut_in_the_middle_costs_nothing() {
    let mut cluster = Cluster::start(ENDPOINTS);
    let before = cluster.memory();
    cluster.while_asked(|| {
        for _ in 0..100 {
            let mut stream = connect(cluster.addr(), 1);
            ask(&mut stream);
            assert!(message(&mut stream).unwrap().answers.len() > 10);
        }
        wait_for("all are noticed", Duration::from_secs(60), || match cluster.counted("cut_off") {
            100.. => Ok(()),
            cut => Err(format!("{cut} of 100")),
        });
    });
    assert!(cluster.memory() < before + MEMORY_MORE);
    assert!(axfr(cluster.addr(), "cluster.local").is_ok());
}
