//! A client that asks what it knows, as stub resolvers do, and must notice nothing of what others send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::crafted::KNOWN;
use super::support::dns::{self, A, Message, NOERROR, NXDOMAIN, Query};

/// As resolv.conf has it by default, shorter: a try, and how many.
const TRY: Duration = Duration::from_secs(2);
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(5);

/// What a client has seen.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub answers: usize,
    pub retries: usize,
}

/// Asks over one transport until it is told to stop.
pub struct GoodClient {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl GoodClient {
    pub fn start(server: SocketAddr, over: fn(SocketAddr, &[u8], Duration) -> std::io::Result<Vec<u8>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !told.load(Ordering::Relaxed) {
                for (name, rcode, data) in
                    [(KNOWN, NOERROR, &["10.96.0.1"][..]), ("no.a.svc.cluster.local.", NXDOMAIN, &[])]
                {
                    let answer = ask(&mut seen, || over(server, &Query::new(name, A).to_bytes(), TRY));
                    assert_eq!(
                        (answer.rcode, answer.data_of(A)),
                        (rcode, data.iter().map(|it| (*it).into()).collect())
                    );
                }
                std::thread::sleep(PAUSE);
            }
            seen
        });
        Self { stop, thread }
    }

    /// What it has seen; panics if one of its questions was not answered rightly.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the good client was not served")
    }
}

fn ask(seen: &mut Seen, attempt: impl Fn() -> std::io::Result<Vec<u8>>) -> Message {
    let mut last = None;
    for _ in 0..TRIES {
        match attempt() {
            Ok(octets) => {
                seen.answers += 1;
                return dns::Message::decode(&octets).expect("an answer");
            }
            Err(error) => last = Some(error),
        }
        seen.retries += 1;
    }
    panic!("no answer in {TRIES} tries: {last:?}");
}
