//! Both servers must say the same before their speeds mean anything.

use crate::queries::Question;
use crate::server::Server;
use crate::support::dns::{self, Message, Record};

const SERIAL_BEHIND_END: usize = 20;

/// Asks each question of both servers over both transports; panics on what is wrong or differs.
pub(crate) fn agree(one: &Server, other: &Server, questions: &[Question]) {
    let mut complaints = Vec::new();
    for question in questions {
        for ask in [dns::ask, dns::ask_tcp] {
            let query = question.query();
            let [first, second] = [one, other]
                .map(|server| ask(server.addr, &query).unwrap_or_else(|error| panic!("{}: {error}", question.name)));
            complaints.extend(question.wrong(&first));
            complaints.extend(question.wrong(&second));
            if essence(&first) != essence(&second) {
                complaints.push(format!("differ: {first}\nand {second}"));
            }
        }
    }
    let shown = complaints.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(complaints.is_empty(), "{} complaints about {} questions:\n{shown}", complaints.len(), questions.len());
}

/// All of an answer that must be equal: records as sets, the zone's serial left out.
fn essence(message: &Message) -> impl PartialEq {
    let sorted = |records: &[Record]| {
        let mut records: Vec<_> = records.iter().map(without_serial).collect();
        records.sort();
        records
    };
    (
        message.flags,
        message.rcode,
        sorted(&message.answers),
        sorted(&message.authorities),
        sorted(&message.additionals),
        message.opt.clone(),
    )
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
