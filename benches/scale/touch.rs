//! Asks about every name there is, so that whatever a server makes only when it is asked has been made; and every answer
//! must be right.

use crate::cluster::{Cluster, Service};
use crate::support::dns;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Queries without an answer at one time.
const WINDOW: usize = 32;
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 5;
/// How long a server may say that it does not know a pod yet, and how soon it is asked again.
const READING_LIMIT: Duration = Duration::from_secs(60);
const READING_PAUSE: Duration = Duration::from_millis(5);
/// As much as a client takes at most.
const PAYLOAD: u16 = 4096;
/// Of SRV records of long answers at once.
const RECEIVE_BUFFER_OCTETS: usize = 4 << 20;

struct Question {
    name: String,
    rtype: u16,
    right: Right,
}

/// What an answer must have.
enum Right {
    Address(Ipv4Addr),
    /// So many records, or as many as fit, which the answer then says.
    Records(usize),
}

/// A query without an answer.
struct Open {
    question: Question,
    octets: Vec<u8>,
    attempts: u32,
}

/// Asks for the address of each pod by its name, and of each Service, and for the Services' SRV records; with `by_address`
/// also for each pod by its address. How many questions that were.
///
/// CoreDNS answers before it has read all pods, and says of the others that it does not know: those are asked again.
pub(crate) fn every_name(server: SocketAddr, cluster: &Cluster, by_address: bool) -> usize {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(server).expect("an address");
    socket.set_read_timeout(Some(ANSWER_LIMIT)).expect("a timeout");
    socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_OCTETS).expect("a receive buffer");
    let mut questions = cluster.services.iter().flat_map(|service| about(service, by_address));
    let mut open: HashMap<u16, Open> = HashMap::with_capacity(WINDOW);
    let begin = Instant::now();
    let (mut next, mut answered, mut buffer) = (0_u16, 0, [0; 1 << 16]);
    loop {
        while open.len() < WINDOW {
            let Some(question) = questions.next() else { break };
            next = next.wrapping_add(1);
            let octets = dns::Query::new(&question.name, question.rtype).payload(PAYLOAD).id(next).to_bytes();
            socket.send(&octets).expect("a query");
            open.insert(next, Open { question, octets, attempts: 1 });
        }
        if open.is_empty() {
            return answered;
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let answer = dns::Message::decode(&buffer[..length]).expect("a message");
                if by_address && answer.rcode == dns::SERVFAIL && begin.elapsed() < READING_LIMIT {
                    std::thread::sleep(READING_PAUSE);
                    if let Some(open) = open.get(&answer.id) {
                        socket.send(&open.octets).expect("a query");
                    }
                    continue;
                }
                // One that was asked again may be answered twice.
                if let Some(open) = open.remove(&answer.id) {
                    open.question.check(&answer);
                    answered += 1;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                for open in open.values_mut() {
                    open.attempts += 1;
                    assert!(open.attempts <= ATTEMPTS, "{} is not answered", open.question.name);
                    socket.send(&open.octets).expect("a query");
                }
            }
            Err(error) => panic!("the server: {error}"),
        }
    }
}

impl Question {
    fn check(&self, answer: &dns::Message) {
        let is_right = answer.rcode == dns::NOERROR
            && match self.right {
                Right::Address(address) => answer.data_of(dns::A) == [address.to_string()],
                Right::Records(count) => {
                    let records = answer.answers.iter().filter(|record| record.rtype == self.rtype).count();
                    records == count || answer.truncated() && records < count
                }
            };
        assert!(is_right, "{} {}: {answer}", self.name, dns::type_text(self.rtype));
    }
}

fn about(service: &Service, by_address: bool) -> impl Iterator<Item = Question> {
    let name = service.fqdn();
    let (addresses, targets) = match service.cluster_ip {
        Some(address) => (Right::Address(address), 1),
        None => (Right::Records(service.pods.len()), service.pods.len()),
    };
    let srv = Question { name: format!("_http._tcp.{name}"), rtype: dns::SRV, right: Right::Records(targets) };
    let own = [Question { name, rtype: dns::A, right: addresses }, srv];
    let pods = service.pods.iter().flat_map(move |pod| {
        let dashed = pod.address.to_string().replace('.', "-");
        let by_address = by_address.then(|| format!("{dashed}.{}.pod.cluster.local", service.namespace));
        [service.pod_fqdn(pod)].into_iter().chain(by_address).map(|name| Question {
            name,
            rtype: dns::A,
            right: Right::Address(pod.address),
        })
    });
    own.into_iter().chain(pods)
}

/// What [`every_name`] does, and how long it took.
pub(crate) fn touch(server: SocketAddr, cluster: &Cluster, by_address: bool) {
    let begin = Instant::now();
    let count = every_name(server, cluster, by_address);
    println!("   {count} names asked about in {:.1?}, all answered rightly", begin.elapsed());
}
