//! Protobuf and JSON of one object are one object.

#![allow(clippy::unwrap_used)]

use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::source::decode::Format;
use crate::source::frames::FrameBuffer;
use crate::source::json as other;

/// An object in both formats, as Go writes it: what is no pointer there is written in protobuf even if it is empty.
#[derive(Clone, Debug)]
struct Both {
    kind: Kind,
    wire: Vec<u8>,
    json: Value,
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "a",
        "web",
        "n1",
        "TCP",
        "None",
        "ExternalName",
        "10.0.0.1",
        "fd00::1",
        "::ffff:10.0.0.2",
    ])
    .prop_map(str::to_owned)
}

fn address() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["10.0.0.1", "fd00::1", "::ffff:10.0.0.2", "10.0.0", "", "a.example"])
        .prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    let keys = vec![
        "kubernetes.io/service-name",
        "multicluster.kubernetes.io/service-name",
        "multicluster.kubernetes.io/source-cluster",
        "app",
        "",
    ];
    let key = prop::sample::select(keys).prop_map(str::to_owned);
    prop::collection::btree_map(key, word(), 0..3)
}

fn annotations() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    let keys = vec!["podzone.dev/endpoint-names", "podzone.dev/unknown", "podzone.dev/", "other.dev/endpoint-names"];
    let key = prop::sample::select(keys).prop_map(str::to_owned);
    let value = prop::sample::select(vec!["pod", "both", "ip", "", "x"]).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..4)
}

/// Leaves out what is null, as `omitempty` does.
fn object(fields: Value) -> Value {
    let Value::Object(fields) = fields else { return fields };
    Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
}

prop_compose! {
    fn meta()(name in word(), namespace in word(), version in word(), labels in labels(), going: bool)
        -> (wire::ObjectMeta, Value)
    {
        let json = object(json!({
            "name": name, "namespace": namespace, "resourceVersion": version, "labels": labels,
            "deletionTimestamp": going.then_some("2026-01-01T00:00:00Z"), "generateName": "other-",
        }));
        let wire = wire::ObjectMeta {
            name: Some(name), namespace: Some(namespace), resource_version: Some(version), labels,
            deletion_timestamp: going.then(|| Bytes::from_static(b"\x08\x01")),
        };
        (wire, json)
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn port() -> impl Strategy<Value = i32> {
    prop_oneof![8 => 0..=65_535, 1 => Just(65_536), 1 => Just(-1)]
}

prop_compose! {
    fn service()(
        (meta, meta_json) in meta(),
        ty in prop::sample::select(vec!["ClusterIP", "ExternalName"]),
        external in word(),
        ips in prop::collection::vec(prop_oneof![4 => address(), 1 => Just("None".to_owned())], 0..3),
        alone in address(),
        ports in prop::collection::vec((word(), word(), port()), 0..3),
        selected: bool,
        annotations in annotations(),
    ) -> Both {
        let mut meta_json = meta_json;
        meta_json["annotations"] = json!(annotations);
        let of_json: Vec<Value> =
            ports.iter().map(|(name, protocol, port)| json!({"name": name, "protocol": protocol, "port": port, "targetPort": 8080})).collect();
        let spec = object(json!({
            "type": ty, "externalName": external, "clusterIP": alone, "clusterIPs": ips, "ports": of_json,
            "selector": selected.then(|| json!({"app": "web"})),
        }));
        let json = json!({"kind": "Service", "metadata": meta_json, "spec": spec});
        let ports = ports.into_iter().map(|(name, protocol, port)| wire::ServicePort {
            name: Some(name), protocol: Some(protocol), port: Some(port),
        });
        let spec = wire::ServiceSpec {
            ports: ports.collect(),
            selector: selected.then(|| bytes("\n\x03app\x12\x03web")),
            cluster_ip: Some(bytes(&alone)),
            r#type: Some(bytes(ty)),
            external_name: Some(external),
            cluster_ips: ips.iter().map(|text| bytes(text)).collect(),
        };
        let mut wire = wire::Service { metadata: Some(meta), spec: Some(spec) }.encode_to_vec();
        let annotation = |(key, value): (&String, &String)| {
            Bytes::from(wire::Annotation { key: bytes(key), value: bytes(value) }.encode_to_vec())
        };
        let annotations = annotations.iter().map(annotation).collect();
        // A message in two parts is one (Protocol Buffers, Encoding, Last One Wins).
        wire.extend(
            wire::AnnotatedService { metadata: Some(wire::AnnotatedServiceMeta { annotations }) }.encode_to_vec(),
        );
        Both { kind: Kind::Service, wire, json }
    }
}

prop_compose! {
    fn endpoint_of_both()(
        addresses in prop::collection::vec(address(), 0..3),
        hostname in option::of(word()),
        target in option::of(word()),
        conditions in option::of([option::of(any::<bool>()), option::of(any::<bool>()), option::of(any::<bool>())]),
    ) -> (wire::Endpoint, Value) {
        let json = object(json!({
            "addresses": addresses, "hostname": hostname,
            "targetRef": target.as_ref().map(|name| json!({"kind": "Pod", "name": name})),
            "conditions": conditions.map(|[ready, serving, terminating]| object(json!({
                "ready": ready, "serving": serving, "terminating": terminating,
            }))),
            "nodeName": "node", "zone": "zone",
        }));
        let wire = wire::Endpoint {
            addresses: addresses.iter().map(|text| bytes(text)).collect(),
            conditions: conditions.map(|[ready, serving, terminating]| wire::EndpointConditions { ready, serving, terminating }),
            hostname: hostname.as_deref().map(bytes),
            target_ref: target.map(|name| wire::ObjectReference { name: Some(bytes(&name)) }),
            zone: Some(bytes("zone")),
        };
        (wire, json)
    }
}

prop_compose! {
    fn slice()(
        (meta, meta_json) in meta(),
        ty in prop::sample::select(vec!["IPv4", "IPv6", "FQDN", ""]),
        endpoints in prop::collection::vec(endpoint_of_both(), 0..4),
        ports in prop::collection::vec((option::of(word()), option::of(word()), option::of(port())), 0..3),
        last_change in option::of(prop::sample::select(vec!["2026-01-01T00:00:00.123456789Z", "", "never"])),
    ) -> Both {
        let (endpoints, of_json): (Vec<_>, Vec<_>) = endpoints.into_iter().unzip();
        let ports_json: Vec<Value> =
            ports.iter().map(|(name, protocol, port)| object(json!({"name": name, "protocol": protocol, "port": port}))).collect();
        let mut meta_json = meta_json;
        let annotations = last_change.map(|at| [(LAST_CHANGE.to_owned(), at.to_owned()), ("other".into(), "x".into())]);
        if let Some(annotations) = &annotations {
            meta_json["annotations"] = annotations.iter().cloned().collect();
        }
        let json = json!({
            "kind": "EndpointSlice", "metadata": meta_json, "addressType": ty, "endpoints": of_json, "ports": ports_json,
        });
        let ports = ports.into_iter().map(|(name, protocol, port)| wire::EndpointPort { name, protocol, port });
        let wire = wire::EndpointSlice {
            metadata: Some(meta), endpoints: endpoints.iter().map(|it| it.encode_to_vec().into()).collect(), ports: ports.collect(), address_type: Some(bytes(ty)),
        };
        // A message that comes in two parts is one.
        let annotations = annotations.into_iter().flatten().collect();
        let more = wire::Annotated { metadata: Some(wire::AnnotatedMeta { resource_version: None, annotations }) };
        Both { kind: Kind::EndpointSlice, wire: [wire.encode_to_vec(), more.encode_to_vec()].concat(), json }
    }
}

prop_compose! {
    fn pod()((meta, meta_json) in meta(), hostname in prop::option::of("[a-z]{0,3}"), ip in address(), ips in prop::collection::vec(address(), 0..3)) -> Both {
        let all: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let status = json!({"phase": "Running", "podIP": ip, "podIPs": all});
        let json = json!({"kind": "Pod", "metadata": meta_json, "spec": {"hostname": hostname}, "status": status});
        let spec = Some(wire::PodSpec { hostname: hostname.as_deref().map(bytes) });
        let pod_ips = ips.iter().map(|ip| wire::PodIp { ip: Some(bytes(ip)) }).collect();
        let wire = wire::Pod {
            metadata: Some(meta),
            spec,
            status: Some(wire::PodStatus { pod_ip: Some(bytes(&ip)), pod_ips }),
        };
        Both { kind: Kind::Pod, wire: wire.encode_to_vec(), json }
    }
}

prop_compose! {
    fn namespace()((meta, meta_json) in meta()) -> Both {
        let wire = wire::MetaOnly { metadata: Some(meta) };
        Both { kind: Kind::Namespace, wire: wire.encode_to_vec(), json: json!({"metadata": meta_json, "spec": {}}) }
    }
}

fn both() -> impl Strategy<Value = Both> {
    prop_oneof![service(), slice(), pod(), namespace()]
}

fn envelope(object: &[u8]) -> Vec<u8> {
    let unknown = wire::Unknown {
        raw: Some(Bytes::copy_from_slice(object)),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    [&MAGIC[..], &unknown.encode_to_vec()].concat()
}

fn event(ty: &str, object: &[u8]) -> Vec<u8> {
    let object = Some(wire::RawExtension { raw: Some(envelope(object).into()) });
    wire::WatchEvent { r#type: Some(bytes(ty)), object }.encode_to_vec()
}

fn show(frame: Result<Frame, DecodeError>) -> String {
    let mut frame = frame.unwrap();
    if let Change::Apply(item) = &mut frame.change {
        for remark in &mut item.remarks {
            // Each format names what it could not read in its own words.
            if remark.whole {
                remark.text.clear();
            }
        }
    }
    format!("{frame:?}")
}

#[test]
fn a_bookmark_says_whether_it_ends_the_listing() {
    for (value, expected) in [("true", true), ("false", false)] {
        let annotations = [(INITIAL_EVENTS_END.to_owned(), value.to_owned())].into();
        let meta = wire::AnnotatedMeta { resource_version: Some("9".into()), annotations };
        let bookmark = wire::Annotated { metadata: Some(meta) }.encode_to_vec();
        let read = frame(Kind::Service, event("BOOKMARK", &bookmark).into()).unwrap();
        assert_eq!(read.resource_version.as_deref(), Some("9"));
        assert!(matches!(read.change, Change::Bookmark { ends_listing } if ends_listing == expected));
        let json = json!({"type": "BOOKMARK", "object": {"metadata":
            {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": value}}}});
        assert_eq!(show(other::frame(Kind::Service, json.to_string().as_bytes())), format!("{read:?}"));
    }
}

#[test]
fn a_refusal_is_read() {
    let details = wire::StatusDetails { retry_after_seconds: Some(7) };
    let refusal = wire::Status {
        message: Some("too old".into()),
        reason: Some("Expired".into()),
        details: Some(details),
        code: Some(410),
    };
    let expected = Status { code: 410, reason: "Expired".into(), message: "too old".into(), retry_after_secs: Some(7) };
    assert_eq!(Format::Protobuf.status(&envelope(&refusal.encode_to_vec())), expected);
    let read = frame(Kind::Pod, event("ERROR", &refusal.encode_to_vec()).into()).unwrap();
    assert!(matches!(read.change, Change::Error(status) if status == expected));
    assert_eq!(Format::Protobuf.status(b"upstream\n timeout").message, "upstream  timeout");
}

#[test]
fn a_malformed_object_is_named_and_skipped() {
    let meta = wire::ObjectMeta { name: Some("bad".into()), namespace: Some("n".into()), ..Default::default() };
    let mut service = wire::Service { metadata: Some(meta), spec: None }.encode_to_vec();
    // A spec that says it is longer than what follows.
    service.extend([2 << 3 | 2, 9, 0]);
    let item = read(Kind::Service, service.into());
    assert_eq!((&item.object, item.key()), (&None, Some(std::borrow::Cow::Owned(ObjectKey::new("n", "bad")))));
    assert!(item.remarks[0].whole && !item.remarks[0].text.is_empty());
}

#[test]
fn an_envelope_around_something_else_is_refused() {
    let unknown = wire::Unknown { content_type: Some("application/json".into()), ..Default::default() };
    assert!(unwrap([&MAGIC[..], &unknown.encode_to_vec()].concat().into()).is_err());
    assert!(unwrap(Bytes::from_static(b"k8s")).is_err());
}

proptest! {
    #[test]
    fn protobuf_and_json_of_an_object_mean_the_same(
        both in both(),
        ty in prop::sample::select(vec!["ADDED", "MODIFIED", "DELETED"]),
    ) {
        let json = json!({"type": ty, "object": both.json}).to_string();
        let from_json = show(other::frame(both.kind, json.as_bytes()));
        prop_assert_eq!(show(frame(both.kind, event(ty, &both.wire).into())), from_json);
    }

    #[test]
    fn bytes_never_panic(both in both(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut event = event("ADDED", &both.wire);
        let at = at.index(event.len());
        event[at] = byte;
        let _ = frame(both.kind, event.clone().into());
        event.truncate(cut.index(event.len()));
        let _ = frame(both.kind, event.clone().into());
        let _ = read(both.kind, event.clone().into());
        let _ = status(event.clone().into());
        let mut buffer = FrameBuffer::default();
        buffer.push(&event);
        while let Ok(Some(cut)) = Format::Protobuf.cut(&mut buffer) {
            let _ = frame(both.kind, cut);
        }
    }
}
