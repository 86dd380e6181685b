//! `whoami`: a client's own address and port, in the additional section (plugin/whoami/whoami.go).

use super::client::{Client, Transport};
use super::message::{Message, Owner, Section};
use super::query::{HEADER_OCTETS, bits, rtype};

/// Writes them.
pub(super) fn write(message: &mut Message<'_>, client: Client) {
    message.set(bits::AA);
    message.address(Section::Additional, Owner::QUESTION, 0, client.address.ip().to_canonical());
    let transport: &[u8] = match client.transport {
        Transport::Udp => b"\x04_udp",
        Transport::Tcp => b"\x04_tcp",
    };
    message.record(Section::Additional, Owner::Below(transport, HEADER_OCTETS as u16), rtype::SRV, 0, |message| {
        let [high, low] = client.address.port().to_be_bytes();
        // Priority and weight 0; the target is the root.
        message.octets(&[0, 0, 0, 0, high, low, 0]);
    });
}
