//! All servers must say the same before their speeds mean anything.

use crate::peers::Peer;
use crate::queries::Question;
use crate::server::Server;
use crate::support::dns::{self, Message, Record};
use std::collections::BTreeMap;

const SERIAL_BEHIND_END: usize = 20;

/// Asks each question of all servers over both transports; panics on what is wrong or differs.
pub(crate) fn agree(servers: &BTreeMap<Peer, Server>, questions: &[Question]) {
    let mut complaints = Vec::new();
    for question in questions {
        let query = question.query();
        for ask in [dns::ask, dns::ask_tcp] {
            let answers: BTreeMap<Peer, Message> = servers
                .iter()
                .map(|(peer, server)| {
                    (
                        *peer,
                        ask(server.addr, &query).unwrap_or_else(|error| panic!("{peer:?}, {}: {error}", question.name)),
                    )
                })
                .collect();
            complaints.extend(answers.values().filter_map(|answer| question.wrong(answer)));
            if let Some(ours) = answers.get(&Peer::Podzone) {
                let others = answers.iter().filter(|(peer, answer)| differs(**peer, ours, answer));
                complaints.extend(others.map(|(peer, answer)| format!("podzone: {ours}\n{peer:?}: {answer}")));
            }
        }
    }
    let shown = complaints.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(complaints.is_empty(), "{} complaints about {} questions:\n{shown}", complaints.len(), questions.len());
    let names: Vec<_> = servers.keys().map(|peer| peer.title()).collect();
    println!("{} questions answered rightly and alike over UDP and TCP by {}", questions.len(), names.join("; "));
}

/// CoreDNS must say all that podzone says, servers of a zone file the same code and answer section: what they add to
/// it is theirs to choose.
fn differs(peer: Peer, ours: &Message, theirs: &Message) -> bool {
    let sections = |message: &Message| match peer {
        Peer::Coredns => (
            message.flags,
            essence(&message.answers),
            essence(&message.authorities),
            essence(&message.additionals),
            message.opt.clone(),
        ),
        _ => (message.rcode, essence(&message.answers), Vec::new(), Vec::new(), None),
    };
    sections(ours) != sections(theirs)
}

/// Records as a set, the zone's serial left out.
fn essence(records: &[Record]) -> Vec<Record> {
    let mut records: Vec<_> = records.iter().map(without_serial).collect();
    records.sort();
    records
}

fn without_serial(record: &Record) -> Record {
    let mut record = record.clone();
    if record.rtype == dns::SOA
        && let Some(at) = record.rdata.len().checked_sub(SERIAL_BEHIND_END)
    {
        record.rdata[at..at + 4].fill(0);
    }
    record
}
