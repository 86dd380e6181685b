//! A record: an object as a cluster holds it, or the key of one that went.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use prost::{Message, Oneof};

use crate::model::{
    self, EndpointPort, EndpointSlice, Endpoints, Import, Kept, Kind, Namespace, Object, ObjectKey, Pod, PodAddresses,
    Service, ServiceKind, ServicePort, Settings, Visibility,
};

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The object is there.
    Kept(Box<Kept>),
    /// It is not there any more.
    Gone(Kind, ObjectKey),
}

/// Writes a record behind its length.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    // A vector grows: there is always room.
    let _ = match record {
        Record::Kept(kept) => Wire::of(kept).encode_length_delimited(out),
        Record::Gone(kind, key) => Wire::gone(*kind, key).encode_length_delimited(out),
    };
}

/// Reads a record, without its length; `None` if it is none.
pub(super) fn decode(octets: &[u8]) -> Option<Record> {
    Wire::decode(octets).ok()?.record()
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(fixed64, tag = "3")]
    visible: u64,
    #[prost(oneof = "What", tags = "4, 5, 6, 7, 8, 9")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(message, tag = "4")]
    Namespace(Empty),
    #[prost(message, tag = "5")]
    Service(WireService),
    #[prost(message, tag = "6")]
    Slice(WireSlice),
    #[prost(message, tag = "7")]
    Pod(WirePod),
    #[prost(message, tag = "8")]
    Import(WireService),
    /// The name of the kind.
    #[prost(string, tag = "9")]
    Gone(String),
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct WireService {
    /// 1 with cluster IPs, 2 headless, 3 of an external name.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bytes = "vec", repeated, tag = "2")]
    addresses: Vec<Vec<u8>>,
    #[prost(string, tag = "3")]
    external_name: String,
    #[prost(message, repeated, tag = "4")]
    ports: Vec<WirePort>,
    #[prost(bool, tag = "5")]
    has_selector: bool,
    /// What its annotations say, in their own words.
    #[prost(message, repeated, tag = "6")]
    settings: Vec<Setting>,
    #[prost(fixed64, tag = "7")]
    selected: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct WirePort {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    protocol: String,
    #[prost(uint32, optional, tag = "3")]
    port: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Setting {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSlice {
    #[prost(string, optional, tag = "1")]
    service: Option<String>,
    #[prost(message, optional, tag = "2")]
    import: Option<WireImport>,
    /// As they stand in memory: `model::Endpoints`.
    #[prost(bytes = "vec", tag = "3")]
    endpoints: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    ports: Vec<WirePort>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct WireImport {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    cluster: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct WirePod {
    #[prost(bytes = "vec", repeated, tag = "1")]
    addresses: Vec<Vec<u8>>,
}

impl Wire {
    fn of(kept: &Kept) -> Self {
        let selected = kept.selected();
        let (key, what) = match &kept.object {
            Object::Namespace(namespace) => {
                return Self {
                    namespace: String::new(),
                    name: namespace.name.to_string(),
                    visible: kept.visible.bits(),
                    what: Some(What::Namespace(Empty {})),
                };
            }
            Object::Service(service) => (&service.key, What::Service(WireService::of(service, selected))),
            Object::ServiceImport(import) => (&import.key, What::Import(WireService::of(import, selected))),
            Object::EndpointSlice(slice) => (&slice.key, What::Slice(WireSlice::of(slice))),
            Object::Pod(pod) => {
                (&pod.key, What::Pod(WirePod { addresses: pod.addresses.iter().map(octets).collect() }))
            }
        };
        Self {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            visible: kept.visible.bits(),
            what: Some(what),
        }
    }

    fn gone(kind: Kind, key: &ObjectKey) -> Self {
        Self {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            visible: 0,
            what: Some(What::Gone(kind.to_string())),
        }
    }

    fn record(self) -> Option<Record> {
        let Self { namespace, name, visible, what } = self;
        let key = ObjectKey::new(namespace, name);
        let labels = Default::default;
        let mut selected = 0;
        let object = match what? {
            What::Namespace(Empty {}) => Object::Namespace(Namespace { name: key.name, labels: labels() }),
            What::Service(service) => {
                selected = service.selected;
                Object::Service(service.read(key)?)
            }
            What::Import(import) => {
                selected = import.selected;
                Object::ServiceImport(import.read(key)?)
            }
            What::Slice(slice) => Object::EndpointSlice(slice.read(key)?),
            What::Pod(pod) => {
                let addresses: Option<PodAddresses> = pod.addresses.iter().map(|it| address(it)).collect();
                Object::Pod(Pod { key, labels: labels(), addresses: addresses?, terminating: false })
            }
            What::Gone(kind) => {
                let kind = Kind::ALL.into_iter().find(|known| known.to_string() == kind)?;
                return Some(Record::Gone(kind, key));
            }
        };
        let kept = Kept { object, visible: Visibility::from_bits(visible) };
        Some(Record::Kept(Box::new(kept.with_selected(selected))))
    }
}

impl WireService {
    fn of(service: &Service, selected: u64) -> Self {
        let (kind, addresses, external_name) = match &service.kind {
            ServiceKind::ClusterIp(addresses) => (1, addresses.iter().copied().map(octets).collect(), ""),
            ServiceKind::Headless => (2, Vec::new(), ""),
            ServiceKind::ExternalName(name) => (3, Vec::new(), &**name),
        };
        let port = |port: &ServicePort| WirePort {
            name: port.name.to_string(),
            protocol: port.protocol.to_string(),
            port: Some(port.port.into()),
        };
        let settings = service.settings.as_deref().map(Settings::annotations).unwrap_or_default();
        let setting = |(key, value)| Setting { key, value };
        Self {
            kind,
            addresses,
            external_name: external_name.to_owned(),
            ports: service.ports.iter().map(port).collect(),
            has_selector: service.has_selector,
            settings: settings.into_iter().map(setting).collect(),
            selected,
        }
    }

    fn read(self, key: ObjectKey) -> Option<Service> {
        let kind = match self.kind {
            1 => ServiceKind::ClusterIp(self.addresses.iter().map(|it| address(it)).collect::<Option<_>>()?),
            2 => ServiceKind::Headless,
            3 => ServiceKind::ExternalName(self.external_name.into()),
            _ => return None,
        };
        let port = |WirePort { name, protocol, port }| {
            Some(ServicePort { name: name.into(), protocol: protocol.into(), port: u16::try_from(port?).ok()? })
        };
        let mut notes = Vec::new();
        let said = self.settings.iter().map(|Setting { key, value }| (&**key, &**value));
        let settings = Settings::read(said, &mut notes);
        if !notes.is_empty() {
            return None;
        }
        Some(Service {
            key,
            labels: Default::default(),
            kind,
            ports: self.ports.into_iter().map(port).collect::<Option<Arc<[_]>>>()?,
            has_selector: self.has_selector,
            settings,
        })
    }
}

impl WireSlice {
    fn of(slice: &EndpointSlice) -> Self {
        let port = |port: &EndpointPort| WirePort {
            name: port.name.to_string(),
            protocol: port.protocol.to_string(),
            port: port.port.map(u32::from),
        };
        let import =
            |import: &Import| WireImport { service: import.service.to_string(), cluster: import.cluster.to_string() };
        Self {
            service: slice.service.as_deref().map(str::to_owned),
            import: slice.import.as_deref().map(import),
            endpoints: slice.endpoints.octets().to_vec(),
            ports: slice.ports.iter().map(port).collect(),
        }
    }

    fn read(self, key: ObjectKey) -> Option<EndpointSlice> {
        let port = |WirePort { name, protocol, port }| {
            let port = port.map(u16::try_from).transpose().ok()?;
            Some(EndpointPort { name: name.into(), protocol: protocol.into(), port })
        };
        let import =
            |WireImport { service, cluster }| Box::new(Import { service: service.into(), cluster: cluster.into() });
        Some(EndpointSlice {
            key,
            labels: model::Labels::default(),
            service: self.service.map(Into::into),
            import: self.import.map(import),
            endpoints: Endpoints::from_octets(&self.endpoints)?,
            ports: self.ports.into_iter().map(port).collect::<Option<Arc<[_]>>>()?,
        })
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}
