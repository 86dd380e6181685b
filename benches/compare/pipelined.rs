//! A client over TCP that takes answers of any size, which dnsperf does not: each connection sends some queries at
//! once, then reads their answers.

use crate::generator::bound_to;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 8;
const QUERIES: usize = 8;
/// An answer's length and its header.
const HEAD_OCTETS: usize = 4;

/// Asks one question for so long, on a core; the number of answers and their octets.
pub(crate) fn ask(core: usize, server: SocketAddr, query: &[u8], time: Duration) -> (u64, u64) {
    bound_to(core, || {
        let octets = u16::try_from(query.len()).expect("a query");
        let queries = [&octets.to_be_bytes(), query].concat().repeat(QUERIES);
        let mut streams: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let stream = TcpStream::connect(server).expect("a connection");
                stream.set_nodelay(true).expect("a stream that sends at once");
                stream
            })
            .collect();
        let (mut answers, mut octets, mut answer) = (0, 0, vec![0; 1 << 16]);
        let begin = Instant::now();
        while begin.elapsed() < time {
            for stream in &mut streams {
                stream.write_all(&queries).expect("queries");
            }
            for stream in &mut streams {
                for _ in 0..QUERIES {
                    let mut head = [0; HEAD_OCTETS];
                    stream.read_exact(&mut head).expect("an answer's head");
                    assert_eq!(head[2..], query[..2], "answers come in the order of the queries");
                    let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
                    stream.read_exact(&mut answer[..length - 2]).expect("an answer");
                    answers += 1;
                    octets += length as u64;
                }
            }
        }
        (answers, octets)
    })
}
