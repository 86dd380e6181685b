//! Questions and their answers as lines of text, as cases have them.

use std::net::SocketAddr;

use super::dns::{self, Edns, Message, Query, Record};

/// `NAME TYPE`, then any of: `class=N`, `opcode=N`, `-rd`, `+ad`, `+cd`, `+edns=PAYLOAD`, `+do`, `+version=N`,
/// `+option=CODE:HEX`.
pub fn query(line: &str) -> Query {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a name");
    let rtype = words.next().and_then(type_code).unwrap_or_else(|| panic!("{line}: no type"));
    let mut query = Query::new(name, rtype);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u16>().unwrap_or_else(|_| panic!("{line}: {word}"));
        let edns = query.edns.clone().unwrap_or_default();
        query = match key {
            "class" => query.class(number()),
            "opcode" => query.opcode(number() as u8),
            "-rd" => query.rd(false),
            "+ad" => query.ad(true),
            "+cd" => query.cd(true),
            "+edns" => query.edns(Edns { payload: number(), ..edns }),
            "+do" => query.edns(Edns { dnssec_ok: true, ..edns }),
            "+version" => query.edns(Edns { version: number() as u8, ..edns }),
            "+option" => {
                let (code, hex) = value.split_once(':').expect("CODE:HEX");
                let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
                let option = (code.parse().expect("a code"), octets.collect());
                query.edns(Edns { options: [edns.options, vec![option]].concat(), ..edns })
            }
            _ => panic!("{line}: what is {word}?"),
        };
    }
    query
}

fn type_code(text: &str) -> Option<u16> {
    let number = text.strip_prefix("TYPE").and_then(|number| number.parse().ok());
    number.or_else(|| (1..=255).find(|code| dns::type_text(*code) == text))
}

/// Asks over both transports, and says what came back in the words of a case.
pub fn answer(server: SocketAddr, line: &str) -> Vec<String> {
    let query = query(line);
    let (udp, tcp) = match (dns::ask(server, &query), dns::ask_tcp(server, &query)) {
        (Ok(udp), Ok(tcp)) => (udp, tcp),
        (udp, tcp) => return vec![format!("no answer: {udp:?}, {tcp:?}")],
    };
    for message in [&udp, &tcp] {
        assert!(message.is_response() && message.id == query.id, "{line}: not a response to it:\n{message}");
        assert!(message.opt_count <= 1 && message.trailing == 0, "{line}: malformed:\n{message}");
        let asked: Vec<_> = message.questions.iter().map(|it| (it.name.as_str(), it.rtype, it.class)).collect();
        assert_eq!(asked, [(query.name.as_str(), query.rtype, query.class)], "{line}: the question came back changed");
    }
    let shown = words(&tcp);
    if !udp.truncated() {
        // Where something changes meanwhile, that is no failure yet.
        let over_udp = words(&udp);
        return if over_udp == shown { shown } else { vec![format!("over UDP {over_udp:?}, over TCP {shown:?}")] };
    }
    let limit = query.edns.as_ref().map_or(512, |edns| edns.payload.max(512));
    assert!(udp.size <= limit.into(), "{line}: {} bytes", udp.size);
    let full = lines(&tcp);
    assert!(lines(&udp).iter().all(|record| full.contains(record)), "{line}: other records over UDP:\n{udp}");
    let cut = format!("(cut to {limit} bytes and tc set over UDP)");
    [vec![cut], shown].concat()
}

fn words(message: &Message) -> Vec<String> {
    let names = [(15, "qr"), (10, "aa"), (9, "tc"), (8, "rd"), (7, "ra"), (6, "z"), (5, "ad"), (4, "cd")];
    let flags: Vec<_> = names.iter().filter(|(bit, _)| message.flags >> bit & 1 == 1).map(|(_, name)| *name).collect();
    let opcode = if message.opcode() == 0 { String::new() } else { format!(" opcode {}", message.opcode()) };
    let mut words = vec![format!("{}{opcode}, flags: {}", dns::rcode_text(message.rcode), flags.join(" "))];
    if let Some(opt) = &message.opt {
        let mut text = format!("edns: version {}, udp {}", opt.version, opt.payload);
        if opt.dnssec_ok {
            text.push_str(", do");
        }
        for (code, octets) in &opt.options {
            let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            text.push_str(&format!(", option {code}:{hex}"));
        }
        assert_eq!(opt.z, 0, "flags beside DO:\n{message}");
        words.push(text);
    }
    words.extend(lines(message));
    words
}

fn lines(message: &Message) -> Vec<String> {
    let sections =
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)];
    let mut lines = Vec::new();
    for (name, records) in sections {
        let mut records: Vec<String> = records.iter().map(|record| format!("{name}: {}", shown(record))).collect();
        records.sort();
        lines.extend(records);
    }
    lines
}

fn shown(record: &Record) -> String {
    let mut text = record.to_string();
    if record.rtype == dns::SOA {
        let mut words: Vec<&str> = text.split(' ').collect();
        words[6] = "SERIAL";
        text = words.join(" ");
    }
    text
}
