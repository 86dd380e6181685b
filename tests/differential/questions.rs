//! Questions: a name, a type and everything else that a query may say.

use crate::configurations::Configuration;
use crate::dice::Dice;
use crate::names::{Names, Shape};
use crate::support::dns::{self, Edns, Query};
use crate::support::dns_text::parse_name;

pub(crate) const CAA: u16 = 257;
pub(crate) const NAPTR: u16 = 35;
pub(crate) const UNKNOWN: u16 = 65_400;

/// Types and how often they are asked.
pub(crate) const TYPES: [(u32, u16); 18] = [
    (25, dns::A),
    (14, dns::AAAA),
    (19, dns::SRV),
    (5, dns::CNAME),
    (4, dns::PTR),
    (6, dns::TXT),
    (5, dns::SOA),
    (5, dns::NS),
    (3, dns::MX),
    (3, dns::ANY),
    (2, dns::HTTPS),
    (2, CAA),
    (1, NAPTR),
    (2, dns::DS),
    (1, dns::HINFO),
    (1, UNKNOWN),
    (1, dns::AXFR),
    (1, dns::IXFR),
];

const NOTIFY: u8 = 4;
const NSID: u16 = 3;
const COOKIE: u16 = 10;
const PADDING: u16 = 12;
const EXPIRE: u16 = 9;
const SUBNET: u16 = 8;
const UNKNOWN_OPTION: u16 = 65_001;
/// The most that a UDP datagram holds over IPv4. Offered more, CoreDNS makes answers that cannot be sent.
const DATAGRAM: u16 = 65_507;

/// A query, and what it is meant to show.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) query: Query,
    pub(crate) shape: Shape,
}

impl Question {
    /// One question to servers of this configuration.
    pub(crate) fn random(dice: &mut Dice, names: &Names, configuration: &Configuration) -> Self {
        loop {
            let shape = dice.weighted(&Shape::WEIGHTS);
            let reverse = matches!(shape, Shape::Reverse | Shape::ReverseVariant);
            if reverse && !configuration.reverse && dice.percent(85) {
                continue;
            }
            let relative = names.pick(dice, shape);
            let zone = (!shape.is_absolute()).then(|| configuration.pick_zone(dice));
            let name = match zone {
                None => relative,
                Some(zone) if relative.is_empty() => zone.to_owned(),
                Some(zone) => format!("{relative}.{zone}"),
            };
            let name = if dice.percent(25) { mixed_case(dice, &name) } else { name };
            // A mutated name may have outgrown what a message can hold.
            if name.split('.').any(|it| it.len() > 63 && !it.contains('\\')) || parse_name(&name).len() > 255 {
                continue;
            }
            let rtype = if reverse && dice.percent(75) { dns::PTR } else { dice.weighted(&TYPES) };
            let rtype = match shape {
                // Most types have no records anywhere: names that have some are asked for those rather.
                Shape::Service | Shape::Endpoint | Shape::TopologyZone if dice.percent(50) => {
                    *dice.pick(&[dns::A, dns::A, dns::AAAA, dns::SRV, dns::SRV])
                }
                Shape::External if dice.percent(50) => *dice.pick(&[dns::A, dns::A, dns::AAAA, dns::CNAME]),
                Shape::Pod if dice.percent(50) => *dice.pick(&[dns::A, dns::A, dns::AAAA]),
                Shape::Port if dice.percent(60) => *dice.pick(&[dns::SRV, dns::SRV, dns::SRV, dns::A]),
                Shape::Structure if dice.percent(35) => *dice.pick(&[dns::NS, dns::SOA]),
                Shape::Special if dice.percent(35) => *dice.pick(&[dns::TXT, dns::NS, dns::A, dns::AAAA]),
                _ => rtype,
            };
            let mut query = dressed(dice, Query::new(&name, rtype));
            if query.opcode == NOTIFY && configuration.forwards() {
                // CoreDNS's file plugin drops it, and who forwarded it waits for longer than the test does. CoreDNS
                // forwards more than podzone: where an alias stands, it looks for addresses whatever was asked for.
                query.opcode = 0;
            }
            return Self { query, shape };
        }
    }

    /// Who every address of the clusters belongs to.
    #[cfg(feature = "planted-faults")]
    pub(crate) fn all_pointers(names: &Names) -> impl Iterator<Item = Self> {
        names.all(Shape::Reverse).map(|name| Self { query: Query::new(name, dns::PTR), shape: Shape::Reverse })
    }

    /// The reverse name of an address that sits in a slice without a Service's label.
    pub(crate) fn unlabelled(dice: &mut Dice, names: &Names) -> Option<Self> {
        (!names.unlabelled.is_empty()).then(|| {
            let query = Query::new(dice.pick::<String>(&names.unlabelled), dns::PTR);
            Self { query, shape: Shape::Reverse }
        })
    }

    /// The query as bytes with this id.
    pub(crate) fn bytes(&self, id: u16) -> Vec<u8> {
        let mut bytes = self.query.to_bytes();
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes
    }

    /// How to ask the same by hand.
    pub(crate) fn dig(&self, server: std::net::SocketAddr, tcp: bool) -> String {
        let query = &self.query;
        let mut line = format!("dig @{} -p {} '{}' TYPE{}", server.ip(), server.port(), query.name, query.rtype);
        let class = match query.class {
            1 => " ".to_owned(),
            class => format!(" -c CLASS{class} "),
        };
        line += &class;
        let sign = |yes: bool| if yes { "" } else { "no" };
        line += &format!(
            "+{}tcp +noignore +{}rec +{}adflag +{}cdflag +opcode={} ",
            sign(tcp),
            sign(query.recursion_desired),
            sign(query.authentic_data),
            sign(query.checking_disabled),
            query.opcode
        );
        match &query.edns {
            None => line += "+noedns",
            Some(edns) => {
                let cookie = "+nocookie +noednsneg";
                line += &format!(
                    "+edns={} +bufsize={} +{}dnssec {cookie}",
                    edns.version,
                    edns.payload,
                    sign(edns.dnssec_ok)
                );
                for (code, data) in &edns.options {
                    let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                    line += &format!(" +ednsopt={code}:{hex}");
                }
            }
        }
        line
    }
}

/// The query with flags, class, opcode and EDNS as clients, and broken clients, send them.
fn dressed(dice: &mut Dice, query: Query) -> Query {
    let class = dice.weighted(&[(965, 1), (15, 3), (12, 255), (8, 2)]);
    let opcode = dice.weighted(&[(96, 0), (1, 4), (1, 2), (1, 5), (1, 1)]);
    let query = query.class(class).opcode(opcode).rd(dice.percent(60)).ad(dice.percent(20)).cd(dice.percent(12));
    if dice.percent(38) {
        return query;
    }
    let payload = dice.weighted(&[(25, 512), (40, 1232), (25, 4096), (3, 100), (3, 0), (4, DATAGRAM)]);
    let version = dice.weighted(&[(96, 0), (3, 1), (1, 200)]);
    let mut options = Vec::new();
    for _ in 0..dice.weighted(&[(70, 0), (22, 1), (8, 3)]) {
        options.push(option(dice));
    }
    query.edns(Edns { payload, version, dnssec_ok: dice.percent(35), options })
}

fn option(dice: &mut Dice) -> (u16, Vec<u8>) {
    match dice.below(6) {
        0 => (NSID, Vec::new()),
        1 => (COOKIE, vec![7; 8]),
        2 => (PADDING, vec![0; dice.below(40)]),
        3 => (EXPIRE, Vec::new()),
        4 => (SUBNET, vec![0, 1, 24, 0, 192, 0, 2]),
        _ => (UNKNOWN_OPTION, vec![1, 2, 3]),
    }
}

/// Every letter in either case, as resolvers do against spoofing.
fn mixed_case(dice: &mut Dice, name: &str) -> String {
    name.chars().map(|it| if dice.percent(50) { it.to_ascii_uppercase() } else { it }).collect()
}
