//! A DNS client that changes nothing: it sends bytes as built, keeps what it received, and decodes leniently.
//!
//! Our own decoder, because a comparison of two servers needs what libraries normalise away: names' case, flags
//! without a meaning, records of every type, bytes after the message.

use super::dns_text::{parse_name, rdata_text, wire_name_text};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

pub use super::dns_text::{rcode_text, type_text};

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const HINFO: u16 = 13;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
pub const OPT: u16 = 41;
pub const DS: u16 = 43;
pub const HTTPS: u16 = 65;
pub const IXFR: u16 = 251;
pub const AXFR: u16 = 252;
pub const ANY: u16 = 255;

pub const NOERROR: u16 = 0;
pub const FORMERR: u16 = 1;
pub const SERVFAIL: u16 = 2;
pub const NXDOMAIN: u16 = 3;
pub const NOTIMP: u16 = 4;
pub const REFUSED: u16 = 5;
pub const BADVERS: u16 = 16;

const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A query to build; every part that a test may want to be odd can be set.
#[derive(Clone, Debug)]
pub struct Query {
    pub id: u16,
    /// In presentation form: `\.` and `\DDD` escape, the final dot may be left out.
    pub name: String,
    pub rtype: u16,
    pub class: u16,
    pub opcode: u8,
    pub recursion_desired: bool,
    pub authentic_data: bool,
    pub checking_disabled: bool,
    pub edns: Option<Edns>,
}

/// The OPT record of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    pub payload: u16,
    pub version: u8,
    pub dnssec_ok: bool,
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Default for Edns {
    fn default() -> Self {
        Self { payload: 1232, version: 0, dnssec_ok: false, options: Vec::new() }
    }
}

impl Query {
    /// A query as a stub resolver sends it: a random id, RD, no EDNS.
    pub fn new(name: &str, rtype: u16) -> Self {
        Self {
            id: rand::random(),
            name: name.to_owned(),
            rtype,
            class: 1,
            opcode: 0,
            recursion_desired: true,
            authentic_data: false,
            checking_disabled: false,
            edns: None,
        }
    }

    pub fn id(self, id: u16) -> Self {
        Self { id, ..self }
    }

    pub fn class(self, class: u16) -> Self {
        Self { class, ..self }
    }

    pub fn opcode(self, opcode: u8) -> Self {
        Self { opcode, ..self }
    }

    pub fn rd(self, recursion_desired: bool) -> Self {
        Self { recursion_desired, ..self }
    }

    pub fn ad(self, authentic_data: bool) -> Self {
        Self { authentic_data, ..self }
    }

    pub fn cd(self, checking_disabled: bool) -> Self {
        Self { checking_disabled, ..self }
    }

    pub fn edns(self, edns: Edns) -> Self {
        Self { edns: Some(edns), ..self }
    }

    /// EDNS with this payload size and nothing else.
    pub fn payload(self, payload: u16) -> Self {
        self.edns(Edns { payload, ..Edns::default() })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut flags = u16::from(self.opcode & 0xf) << 11;
        flags |= u16::from(self.recursion_desired) << 8;
        flags |= u16::from(self.authentic_data) << 5;
        flags |= u16::from(self.checking_disabled) << 4;
        let mut bytes = Vec::new();
        for word in [self.id, flags, 1, 0, 0, u16::from(self.edns.is_some())] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(parse_name(&self.name));
        bytes.extend(self.rtype.to_be_bytes());
        bytes.extend(self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            bytes.push(0);
            bytes.extend(OPT.to_be_bytes());
            bytes.extend(edns.payload.to_be_bytes());
            bytes.extend([0, edns.version, u8::from(edns.dnssec_ok) << 7, 0]);
            let length: usize = edns.options.iter().map(|(_, data)| 4 + data.len()).sum();
            bytes.extend(u16::try_from(length).expect("options of less than 64 KiB").to_be_bytes());
            for (code, data) in &edns.options {
                bytes.extend(code.to_be_bytes());
                bytes.extend(u16::try_from(data.len()).expect("an option of less than 64 KiB").to_be_bytes());
                bytes.extend(data);
            }
        }
        bytes
    }
}

/// Sends a query over UDP and decodes the answer.
pub fn ask(server: SocketAddr, query: &Query) -> io::Result<Message> {
    decode(&udp(server, &query.to_bytes())?)
}

/// Sends a query over TCP and decodes the answer.
pub fn ask_tcp(server: SocketAddr, query: &Query) -> io::Result<Message> {
    decode(&tcp(server, &query.to_bytes())?)
}

fn decode(bytes: &[u8]) -> io::Result<Message> {
    Message::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{error}: {bytes:02x?}")))
}

/// Sends bytes in one datagram, and gives the next datagram from there with the same first two bytes.
pub fn udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    udp_within(server, query, ANSWER_LIMIT)
}

pub fn udp_within(server: SocketAddr, query: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
    Udp::connect(server, limit)?.exchange(query)
}

/// Sends bytes as one message of a new TCP connection, and gives the first message that comes back.
pub fn tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    tcp_within(server, query, ANSWER_LIMIT)
}

pub fn tcp_within(server: SocketAddr, query: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
    let mut connection = Tcp::connect(server, limit)?;
    connection.send(query)?;
    connection.receive()
}

/// A UDP socket for many queries to one server.
pub struct Udp(UdpSocket);

impl Udp {
    pub fn connect(server: SocketAddr, limit: Duration) -> io::Result<Self> {
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(limit))?;
        Ok(Self(socket))
    }

    pub fn send(&self, query: &[u8]) -> io::Result<()> {
        self.0.send(query).map(|_| ())
    }

    /// The next datagram, whatever it is.
    pub fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 65_535];
        let length = self.0.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Sends a query and gives the answer to it; late answers to earlier queries are passed over.
    pub fn exchange(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        self.send(query)?;
        loop {
            let answer = self.receive()?;
            if query.len() < 2 || answer.get(..2) == query.get(..2) {
                return Ok(answer);
            }
        }
    }
}

/// A TCP connection that carries messages with their length in front.
pub struct Tcp(TcpStream);

impl Tcp {
    pub fn connect(server: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub fn send(&mut self, query: &[u8]) -> io::Result<()> {
        let length = u16::try_from(query.len()).map_err(|_| io::Error::other("longer than 65535 bytes"))?;
        self.0.write_all(&[&length.to_be_bytes(), query].concat())
    }

    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        self.0.read_exact(&mut answer)?;
        Ok(answer)
    }

    /// The socket, to misbehave with.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.0
    }
}

/// A decoded message. Names keep their case; an OPT record is taken out of the additional section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u16,
    /// The second word of the header as it is, rcode included.
    pub flags: u16,
    /// With the upper bits of the OPT record.
    pub rcode: u16,
    /// The four counts of the header.
    pub counts: [u16; 4],
    pub questions: Vec<Question>,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
    pub opt: Option<Opt>,
    /// How many OPT records there were; more than one is an error of the sender.
    pub opt_count: usize,
    /// The whole message's size in bytes.
    pub size: usize,
    /// Bytes after the last record.
    pub trailing: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// In presentation form, with the final dot.
    pub name: String,
    pub rtype: u16,
    pub class: u16,
}

/// A resource record; ordered by owner, type, class, TTL, data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// In presentation form, with the final dot.
    pub owner: String,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    /// As on the wire, with names inside decompressed (their case kept).
    pub rdata: Vec<u8>,
}

/// The OPT record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    pub payload: u16,
    pub extended_rcode: u8,
    pub version: u8,
    pub dnssec_ok: bool,
    /// The 15 bits after DO.
    pub z: u16,
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Record {
    /// The data in presentation form; RFC 3597's for types that are not known here.
    pub fn data(&self) -> String {
        rdata_text(self.rtype, &self.rdata)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.class == 1 { "IN".to_owned() } else { format!("CLASS{}", self.class) };
        write!(f, "{} {} {class} {} {}", self.owner, self.ttl, type_text(self.rtype), self.data())
    }
}

impl Message {
    pub fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    pub fn is_response(&self) -> bool {
        self.flags & 1 << 15 != 0
    }

    pub fn authoritative(&self) -> bool {
        self.flags & 1 << 10 != 0
    }

    pub fn truncated(&self) -> bool {
        self.flags & 1 << 9 != 0
    }

    pub fn recursion_desired(&self) -> bool {
        self.flags & 1 << 8 != 0
    }

    pub fn recursion_available(&self) -> bool {
        self.flags & 1 << 7 != 0
    }

    pub fn authentic_data(&self) -> bool {
        self.flags & 1 << 5 != 0
    }

    pub fn checking_disabled(&self) -> bool {
        self.flags & 1 << 4 != 0
    }

    /// The data of all answers of this type, sorted.
    pub fn data_of(&self, rtype: u16) -> Vec<String> {
        let mut data: Vec<_> = self.answers.iter().filter(|it| it.rtype == rtype).map(Record::data).collect();
        data.sort();
        data
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader { bytes, at: 0 };
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let mut questions = Vec::new();
        for _ in 0..counts[0] {
            let name = wire_name_text(&reader.name()?);
            questions.push(Question { name, rtype: reader.u16()?, class: reader.u16()? });
        }
        let mut opts = Vec::new();
        let mut sections = [Vec::new(), Vec::new(), Vec::new()];
        for (index, section) in sections.iter_mut().enumerate() {
            for _ in 0..counts[index + 1] {
                let record = reader.record()?;
                if record.rtype == OPT {
                    opts.push(Opt::from_record(&record)?);
                } else {
                    section.push(record);
                }
            }
        }
        let [answers, authorities, additionals] = sections;
        let opt_count = opts.len();
        let opt = opts.into_iter().next();
        let upper = opt.as_ref().map_or(0, |opt: &Opt| u16::from(opt.extended_rcode) << 4);
        Ok(Self {
            id,
            flags,
            rcode: upper | (flags & 0xf),
            counts,
            questions,
            answers,
            authorities,
            additionals,
            opt,
            opt_count,
            size: bytes.len(),
            trailing: bytes.len() - reader.at,
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} opcode {} flags {:#06x}, {} bytes",
            rcode_text(self.rcode),
            self.opcode(),
            self.flags,
            self.size
        )?;
        if let Some(opt) = &self.opt {
            write!(f, "\nopt: {opt:?}")?;
        }
        for question in &self.questions {
            write!(f, "\nquestion: {} {} class {}", question.name, type_text(question.rtype), question.class)?;
        }
        let sections = [("answer", &self.answers), ("authority", &self.authorities), ("additional", &self.additionals)];
        for (name, records) in sections {
            for record in records {
                write!(f, "\n{name}: {record}")?;
            }
        }
        Ok(())
    }
}

impl Opt {
    fn from_record(record: &Record) -> Result<Self, String> {
        let [extended_rcode, version, high, low] = record.ttl.to_be_bytes();
        let mut reader = Reader { bytes: &record.rdata, at: 0 };
        let mut options = Vec::new();
        while reader.at < record.rdata.len() {
            let (code, length) = (reader.u16()?, reader.u16()?);
            options.push((code, reader.take(length.into())?.to_vec()));
        }
        Ok(Self {
            payload: record.class,
            extended_rcode,
            version,
            dnssec_ok: high & 0x80 != 0,
            z: u16::from_be_bytes([high & 0x7f, low]),
            options,
        })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self.bytes.get(self.at..self.at + length);
        let taken = taken.ok_or_else(|| format!("ends at byte {} within {length} bytes", self.bytes.len()))?;
        self.at += length;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        let taken = self.take(2)?;
        Ok(u16::from_be_bytes([taken[0], taken[1]]))
    }

    /// A name as labels with their lengths, uncompressed.
    fn name(&mut self) -> Result<Vec<u8>, String> {
        let mut name = Vec::new();
        // Where reading goes on after the first pointer.
        let mut after = None;
        loop {
            let length = self.take(1)?[0];
            match length {
                0 => break name.push(0),
                1..=63 => {
                    name.push(length);
                    name.extend(self.take(length.into())?);
                }
                192.. => {
                    let place = self.at - 1;
                    let target = usize::from(length & 0x3f) << 8 | usize::from(self.take(1)?[0]);
                    after.get_or_insert(self.at);
                    // Only backwards, so that this ends.
                    if target >= place {
                        return Err(format!("a pointer at byte {place} to byte {target}"));
                    }
                    self.at = target;
                }
                _ => return Err(format!("a label of type {length:#04x} at byte {}", self.at - 1)),
            }
            if name.len() > 255 {
                return Err("a name of more than 255 bytes".to_owned());
            }
        }
        self.at = after.unwrap_or(self.at);
        Ok(name)
    }

    fn record(&mut self) -> Result<Record, String> {
        let owner = wire_name_text(&self.name()?);
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        // Which types may hold compressed names: those of RFC 1035, and SRV by lenient senders (RFC 3597, section 4).
        let (fixed, names) = match rtype {
            NS | CNAME | PTR | 39 => (0, 1),
            MX | 18 | 36 => (2, 1),
            SRV => (6, 1),
            SOA => (0, 2),
            _ => (0, 0),
        };
        let mut rdata = Vec::new();
        if names > 0 && length > 0 {
            rdata.extend(self.take(fixed)?);
            for _ in 0..names {
                rdata.extend(self.name()?);
            }
        }
        let rest =
            end.checked_sub(self.at).ok_or_else(|| format!("{owner}: names beyond the data's {length} bytes"))?;
        rdata.extend(self.take(rest)?);
        Ok(Record { owner, rtype, class, ttl, rdata })
    }
}
