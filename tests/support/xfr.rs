//! Asking for zone transfers, and reading what comes, however many messages it is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::dns::{self, AXFR, IXFR, Message, NOERROR, Query, Record, SOA, Tcp};
use super::dns_text::parse_name;

const PATIENCE: Duration = Duration::from_secs(20);

/// What came.
#[derive(Debug)]
pub struct Transfer {
    pub messages: Vec<Message>,
    /// The records of all messages.
    pub records: Vec<Record>,
}

/// The serial of a SOA record.
pub fn serial_of(record: &Record) -> u32 {
    assert_eq!(record.rtype, SOA, "{record}");
    let at = record.rdata.len() - 20;
    u32::from_be_bytes(record.rdata[at..at + 4].try_into().expect("four octets"))
}

impl Transfer {
    /// The serial of the version that it leads to.
    pub fn serial(&self) -> u32 {
        serial_of(&self.records[0])
    }

    /// Whether it is a zone and not its changes.
    pub fn is_whole(&self) -> bool {
        self.records.len() > 2 && self.records[1].rtype != SOA
    }

    /// The records of a whole zone, each once, its SOA among them.
    pub fn zone(&self) -> BTreeSet<Record> {
        assert!(self.is_whole(), "{:#?}", self.records);
        let (soa, rest) = self.records.split_first().expect("records");
        let (last, rest) = rest.split_last().expect("more than one");
        assert_eq!(soa, last, "it begins and ends with the SOA");
        assert!(rest.iter().all(|record| record.rtype != SOA));
        let zone: BTreeSet<Record> = rest.iter().chain([soa]).cloned().collect();
        assert_eq!(zone.len(), rest.len() + 1, "no record twice");
        zone
    }

    /// What a zone is when its changes are taken in, in their order (RFC 1995 section 4).
    pub fn applied_to(&self, mut zone: BTreeSet<Record>) -> BTreeSet<Record> {
        let (soa, rest) = self.records.split_first().expect("records");
        let (last, changes) = rest.split_last().expect("more than one");
        assert_eq!(soa, last, "it begins and ends with the new SOA");
        let mut is_gone = false;
        for record in changes {
            if record.rtype == SOA {
                is_gone = !is_gone;
            }
            if is_gone {
                assert!(zone.remove(record), "{record} goes, and was not there");
            } else {
                assert!(zone.insert(record.clone()), "{record} comes, and was there");
            }
        }
        assert!(!is_gone, "what is gone is followed by what came");
        zone
    }
}

/// An IXFR query of a client that has the version of a serial.
pub fn ixfr_query(zone: &str, serial: u32) -> Vec<u8> {
    let mut query = Query::new(zone, IXFR).to_bytes();
    query[9] = 1;
    query.extend(parse_name(zone));
    query.extend(SOA.to_be_bytes());
    query.extend([0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
    query.extend(serial.to_be_bytes());
    query.extend([0; 16]);
    query
}

/// Asks for a whole zone.
pub fn axfr(server: SocketAddr, zone: &str) -> Result<Transfer, u16> {
    transfer(server, &Query::new(zone, AXFR).to_bytes())
}

/// Asks for what changed since a serial.
pub fn ixfr(server: SocketAddr, zone: &str, serial: u32) -> Result<Transfer, u16> {
    transfer(server, &ixfr_query(zone, serial))
}

/// Asks over TCP, and reads all messages; a response code that says no is an error.
pub fn transfer(server: SocketAddr, query: &[u8]) -> Result<Transfer, u16> {
    let mut connection = Tcp::connect(server, PATIENCE).expect("a connection");
    connection.send(query).expect("the query is sent");
    read(&mut connection, query)
}

/// Reads all messages of a transfer.
pub fn read(connection: &mut Tcp, query: &[u8]) -> Result<Transfer, u16> {
    let mut transfer = Transfer { messages: Vec::new(), records: Vec::new() };
    loop {
        let message = Message::decode(&connection.receive().expect("a message")).expect("a sound message");
        assert_eq!(message.id.to_be_bytes(), query[..2]);
        assert!(message.is_response() && message.trailing == 0, "{message}");
        if message.rcode != NOERROR {
            assert!(transfer.messages.is_empty() && message.answers.is_empty(), "{message}");
            return Err(message.rcode);
        }
        assert!(!message.truncated(), "{message}");
        assert!(message.questions.len() == 1, "{message}");
        transfer.records.extend(message.answers.iter().cloned());
        transfer.messages.push(message);
        if is_whole(&transfer.records, query) {
            return Ok(transfer);
        }
    }
}

fn is_whole(records: &[Record], query: &[u8]) -> bool {
    let Some((first, rest)) = records.split_first() else { return false };
    let serial = serial_of(first);
    let same = rest.iter().filter(|record| record.rtype == SOA && serial_of(record) == serial).count();
    match rest.first() {
        // Up to date, or nothing else yet: a server gives more than one record in its first message if it has more.
        None => query[9] == 1,
        // Changes: the last of them leads to the new SOA, which then stands once more.
        Some(second) if second.rtype == SOA && serial_of(second) != serial => same == 2,
        Some(_) => same == 1,
    }
}

/// The serial that a server's SOA has.
pub fn serial(server: SocketAddr, zone: &str) -> Option<u32> {
    let answer = dns::ask(server, &Query::new(zone, SOA)).ok()?;
    answer.answers.first().filter(|_| answer.rcode == NOERROR).map(serial_of)
}
