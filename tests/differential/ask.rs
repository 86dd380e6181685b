//! Asks a server over UDP and TCP. No answer is an outcome too.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::questions::Question;
use crate::support::dns::{Message, Tcp, Udp};

/// How long an answer may take; over UDP it is asked for a second time then.
const LIMIT: Duration = Duration::from_secs(2);

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer(Box<Message>),
    Silence,
    /// Bytes that are no message.
    Garbage(String),
}

impl Outcome {
    pub(crate) fn answer(&self) -> Option<&Message> {
        match self {
            Self::Answer(message) => Some(message),
            _ => None,
        }
    }

    fn of(received: io::Result<Vec<u8>>) -> Self {
        match received {
            Err(_) => Self::Silence,
            Ok(bytes) => match Message::decode(&bytes) {
                Ok(message) => Self::Answer(Box::new(message)),
                Err(error) => Self::Garbage(format!("{error}: {bytes:02x?}")),
            },
        }
    }
}

/// The same question over both transports.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) udp: Outcome,
    pub(crate) tcp: Outcome,
}

/// A client of one server.
pub(crate) struct Asker {
    server: SocketAddr,
    udp: Udp,
    tcp: Option<Tcp>,
    id: u16,
}

impl Asker {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, udp: Udp::connect(server, LIMIT).expect("a socket"), tcp: None, id: 0 }
    }

    /// Sends the question over UDP; the answer is waited for in [`Self::finish`], so that two servers work on it at
    /// once.
    pub(crate) fn start(&mut self, question: &Question) {
        self.id = self.id.wrapping_add(1);
        // A refused packet is seen as silence.
        let _ = self.udp.send(&question.bytes(self.id));
    }

    pub(crate) fn finish(&mut self, question: &Question) -> Answers {
        let udp = self.receive_udp().or_else(|_| {
            self.start(question);
            self.receive_udp()
        });
        let tcp = self.ask_tcp(question).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(error),
            // The server may have closed the connection in between.
            _ => self.ask_tcp(question),
        });
        Answers { udp: Outcome::of(udp), tcp: Outcome::of(tcp) }
    }

    fn receive_udp(&self) -> io::Result<Vec<u8>> {
        loop {
            let answer = self.udp.receive()?;
            if answer.get(..2) == Some(&self.id.to_be_bytes()) {
                return Ok(answer);
            }
        }
    }

    fn ask_tcp(&mut self, question: &Question) -> io::Result<Vec<u8>> {
        let mut connection = match self.tcp.take() {
            Some(connection) => connection,
            None => Tcp::connect(self.server, LIMIT)?,
        };
        connection.send(&question.bytes(self.id))?;
        let answer = connection.receive()?;
        // After an error the connection is not used again: a late answer would be taken for the next one's.
        self.tcp = Some(connection);
        Ok(answer)
    }
}
