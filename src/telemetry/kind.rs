//! What an answer is, for `log` (plugin/pkg/response, func Typify and Classify).

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use crate::answer::query::{opcode, rtype};
use crate::answer::{Answered, Rcode};
use crate::net::Exchange;

/// Kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NoError,
    NameError,
    ServerError,
    NoData,
    Delegation,
    Meta,
    Update,
    OtherError,
}

impl Kind {
    /// The kind of an answer. None at all is an error.
    pub(super) fn of(exchange: &Exchange<'_>, answered: &Answered<'_>) -> Self {
        let counts = |at: usize| exchange.response.get(at..at + 2).is_some_and(|count| count != [0, 0]);
        let (has_answers, has_authority) = (counts(6), counts(8));
        let question = answered.query.question.as_ref();
        if exchange.response.is_empty() {
            return Self::OtherError;
        }
        match answered.query.opcode() {
            opcode::UPDATE => return Self::Update,
            opcode::NOTIFY => return Self::Meta,
            _ => {}
        }
        if question.is_some_and(|question| matches!(question.qtype, rtype::AXFR | rtype::IXFR)) {
            return Self::Meta;
        }
        match answered.rcode {
            Rcode::NOERROR if has_answers || !has_authority => Self::NoError,
            Rcode::NOERROR => of_authority(exchange.response),
            Rcode::NXDOMAIN if has_answers => Self::OtherError,
            Rcode::NXDOMAIN => Self::NameError,
            Rcode::SERVFAIL | Rcode::NOTIMP => Self::ServerError,
            _ => Self::OtherError,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::NameError => "NXDOMAIN",
            Self::ServerError => "SERVERERROR",
            Self::NoData => "NODATA",
            Self::Delegation => "DELEGATION",
            Self::Meta => "META",
            Self::Update => "UPDATE",
            Self::OtherError => "OTHERERROR",
        }
    }

    /// The name of its class.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::NoError | Self::Delegation => "success",
            Self::NameError | Self::NoData => "denial",
            Self::ServerError | Self::Meta | Self::Update | Self::OtherError => "error",
        }
    }
}

/// Without answers, a denial has a SOA record, and a referral has not.
fn of_authority(response: &[u8]) -> Kind {
    let Ok(message) = Message::from_vec(response) else { return Kind::NoError };
    let has = |wanted: RecordType| message.authorities.iter().any(|record| record.record_type() == wanted);
    match (has(RecordType::SOA), has(RecordType::NS)) {
        (true, _) => Kind::NoData,
        (false, true) => Kind::Delegation,
        (false, false) => Kind::NoError,
    }
}
