//! Questions for transfers, which are not answered here: who may have one is not known to who answers.

use super::query::{opcode, rtype};
use super::responder::Received;
use crate::tsig::Signer;

/// A question for a transfer (AXFR, RFC 5936; IXFR, RFC 1995).
#[derive(Debug)]
pub struct Asked {
    /// The query, without its signature.
    pub packet: Vec<u8>,
    /// [`Block::id`](super::Block::id) of the block that serves it.
    pub block: usize,
    /// The block's `bufsize`.
    pub bufsize: Option<u16>,
    /// Signs the answer, where the query was signed.
    pub signer: Option<Box<Signer>>,
}

impl Asked {
    /// A question for a transfer that the block's `transfer` is about; of zones that its view has, as in CoreDNS, where
    /// others are for whoever comes next.
    pub(super) fn read(packet: &[u8], received: &Received<'_, '_>) -> Option<Self> {
        let Received { query, question, name, block, spot, .. } = received;
        let is_asked = query.opcode() == opcode::QUERY
            && matches!(question.qtype, rtype::AXFR | rtype::IXFR)
            && spot.is_some()
            && block.transfers.iter().any(|zone| name.within(zone.as_wire()).is_some());
        is_asked.then(|| Self { packet: packet.to_vec(), block: block.id, bufsize: block.bufsize, signer: None })
    }
}
