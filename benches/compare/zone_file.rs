//! The synthetic cluster as a zone file, for servers that read one: the names that are asked about, and their records
//! as podzone gives them.

use crate::cluster::{Cluster, Service};
use std::fmt::Write as _;

const HEAD: &str = "$ORIGIN cluster.local.
$TTL 5
@ SOA ns.dns hostmaster 1 7200 1800 86400 5
@ NS ns.dns
ns.dns A 127.0.0.1
";

/// The zone `cluster.local`.
pub(crate) fn text(cluster: &Cluster) -> String {
    let mut text = HEAD.to_owned();
    for service in &cluster.services {
        write_service(&mut text, service).expect("memory");
    }
    text
}

fn write_service(text: &mut String, service: &Service) -> std::fmt::Result {
    let name = format!("{}.{}.svc", service.name, service.namespace);
    // The weights' sum is 100, as far as whole numbers allow.
    let weight = (100 / service.pods.len()).max(1);
    if let Some(address) = service.cluster_ip {
        writeln!(text, "{name} A {address}\n_http._tcp.{name} SRV 0 100 80 {name}")?;
    }
    for pod in &service.pods {
        writeln!(text, "{}.{name} A {}", pod.name, pod.address)?;
        if service.is_headless() {
            writeln!(text, "{name} A {}\n_http._tcp.{name} SRV 0 {weight} 8080 {}.{name}", pod.address, pod.name)?;
        }
    }
    Ok(())
}
