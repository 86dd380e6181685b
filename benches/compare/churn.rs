//! Slice updates at a set rate: one endpoint of a slice is replaced by another and back, as in a rolling update.

use crate::cluster::{Cluster, Service};
use crate::events::{slices, succeeding_slices};
use podzone::model::{EndpointSlice, Event, Object};
use podzone::zone::Publisher;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often an idle writer looks whether there is something to do.
const POLL: Duration = Duration::from_millis(5);

/// A cluster's writer.
pub(crate) struct Churn {
    publisher: Publisher,
    /// Each slice as it is, and as it will be.
    slices: Vec<[EndpointSlice; 2]>,
}

impl Churn {
    pub(crate) fn new(cluster: &Cluster, publisher: Publisher) -> Self {
        let mut slices: Vec<_> = cluster.services.iter().flat_map(both).collect();
        // Neighbours in time are none in the cluster.
        slices.shuffle(&mut StdRng::seed_from_u64(1));
        Self { publisher, slices }
    }

    /// Updates as many slices a second as the last datagram on `control` said, and answers each datagram with the
    /// number of updates so far.
    pub(crate) fn run(self, control: &UdpSocket) {
        let rate = Arc::new(AtomicU32::new(0));
        let updates = Arc::new(AtomicU64::new(0));
        let (wanted, done) = (Arc::clone(&rate), Arc::clone(&updates));
        std::thread::spawn(move || self.write(&wanted, &done));
        let mut datagram = [0; 4];
        while let Ok((4, client)) = control.recv_from(&mut datagram) {
            rate.store(u32::from_be_bytes(datagram), Ordering::Relaxed);
            control.send_to(&updates.load(Ordering::Relaxed).to_be_bytes(), client).expect("the bench");
        }
    }

    fn write(mut self, rate: &AtomicU32, updates: &AtomicU64) {
        let mut next = 0;
        let mut due = Instant::now();
        loop {
            let rate = rate.load(Ordering::Relaxed);
            if rate == 0 {
                std::thread::sleep(POLL);
                due = Instant::now();
                continue;
            }
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(early);
            }
            due += Duration::from_secs(1) / rate;
            let slice = &mut self.slices[next];
            slice.swap(0, 1);
            self.publisher.handle(Event::Apply(Object::EndpointSlice(slice[0].clone())));
            self.publisher.publish();
            updates.fetch_add(1, Ordering::Relaxed);
            next = (next + 1) % self.slices.len();
        }
    }
}

/// The slices of a Service, each with its other content.
fn both(service: &Service) -> impl Iterator<Item = [EndpointSlice; 2]> {
    slices(service).zip(succeeding_slices(service)).map(|(slice, other)| [slice, other])
}

/// Sets the rate of a server's slice updates; how many there were so far.
pub(crate) fn set(control: SocketAddr, rate: u32) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    socket.send_to(&rate.to_be_bytes(), control).expect("the server's control");
    let mut updates = [0; 8];
    socket.recv_from(&mut updates).expect("the number of updates");
    u64::from_be_bytes(updates)
}
