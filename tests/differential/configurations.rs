//! The Corefiles under which the servers are compared.

use crate::cluster::{Cluster, Markers};
use crate::dice::Dice;
use crate::outside;

/// A Corefile, and what a test must know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configuration {
    pub(crate) name: &'static str,
    /// `{k}` is the kubeconfig option, `{ns0}` to `{ns2}` are namespaces of the cluster, `{outside}` is a server that
    /// both may forward to.
    text: &'static str,
    /// Zones to ask names in, the first more often than the others.
    pub(crate) zones: &'static [&'static str],
    /// Whether namespaces that are made later are exposed.
    pub(crate) all_namespaces: bool,
    pub(crate) verifies_pods: bool,
    /// Whether reverse zones are served.
    pub(crate) reverse: bool,
}

impl Configuration {
    /// The Corefile for servers that read this cluster.
    pub(crate) fn corefile(&self, kubeconfig: &str, cluster: &Cluster) -> String {
        let text = if self.forwards() {
            self.text.replace("{outside}", &outside::upstream().to_string())
        } else {
            self.text.to_owned()
        };
        text.replace("{k}", &format!("kubeconfig {kubeconfig}"))
            .replace("{ns0}", &cluster.namespaces[0])
            .replace("{ns1}", &cluster.namespaces[1])
            .replace("{ns2}", &cluster.namespaces[3])
    }

    /// Whether some names are asked of [`outside::upstream`].
    pub(crate) fn forwards(&self) -> bool {
        self.text.contains("{outside}")
    }

    /// What is said of the first zone.
    fn first_view(&self) -> &str {
        self.text.split("kubernetes").nth(1).unwrap_or_default()
    }

    /// Whether a zone's names are of ServiceImports.
    pub(crate) fn is_multicluster(&self, zone: &str) -> bool {
        let words = self.text.lines().filter_map(|line| line.trim().strip_prefix("multicluster "));
        words.flat_map(str::split_whitespace).any(|it| zone == it || zone.ends_with(&format!(".{it}")))
    }

    /// Whether every name of a pod that reads like an address has that address, in the zone that a name is in.
    pub(crate) fn makes_pods_up(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let is_of = |view: &&str| {
            let zones = view.lines().next().unwrap_or_default().split_whitespace();
            zones.into_iter().any(|zone| name.ends_with(&zone.to_ascii_lowercase()))
        };
        let mut views = self.text.split("kubernetes ").skip(1);
        views.clone().find(is_of).or_else(|| views.next()).is_some_and(|view| view.contains("pods insecure"))
    }

    pub(crate) fn pick_zone(&self, dice: &mut Dice) -> &'static str {
        if dice.percent(70) { self.zones[0] } else { dice.pick::<&'static str>(self.zones) }
    }

    /// A name that has an address as soon as a server has seen the markers of its kind.
    pub(crate) fn marker_names(&self, markers: &Markers) -> Vec<String> {
        let (namespace, zone) = (&markers.namespace, self.zones[0]);
        let mut names = Vec::new();
        // One zone of each kind.
        let own = self.zones.iter().find(|zone| !self.is_multicluster(zone));
        let shared = self.zones.iter().find(|zone| self.is_multicluster(zone));
        for zone in own.into_iter().chain(shared) {
            // The one has no endpoints, the other nothing else.
            if !self.first_view().contains("ignore empty_service") {
                names.push(format!("{}.{namespace}.svc.{zone}", markers.service));
            }
            if !self.first_view().contains("noendpoints") {
                names.push(format!("{}.{namespace}.svc.{zone}", markers.headless));
            }
        }
        if self.all_namespaces {
            names.push(format!("{}.svc.{zone}", markers.new_namespace));
        }
        if self.verifies_pods {
            names.push(format!("{}.{namespace}.pod.{zone}", markers.address.to_string().replace('.', "-")));
        }
        names
    }
}

/// All of them; each cluster is served under four.
pub(crate) const ALL: [Configuration; 12] = [
    // What kubeadm writes, with pod names. Listens everywhere: only so does CoreDNS know addresses for NS.
    Configuration {
        name: "kubeadm",
        text: "
.:{port} {
    errors
    loadbalance
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        {k}
        pods insecure
        endpoint_pod_names
        ttl 30
    }
}
",
        zones: &["cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: true,
    },
    Configuration {
        name: "defaults",
        text: "
cluster.local:{port} {
    bind 127.0.0.1
    kubernetes {
        {k}
    }
}
",
        zones: &["cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: false,
    },
    Configuration {
        name: "labels, verified",
        text: "
cluster.local:{port} in-addr.arpa:{port} ip6.arpa:{port} {
    bind 127.0.0.1
    bufsize 512
    kubernetes {
        {k}
        labels tier in (front)
        namespace_labels kubernetes.io/metadata.name notin ({ns1})
        pods verified
        endpoint_pod_names
        ttl 0
    }
}
",
        zones: &["cluster.local"],
        all_namespaces: true,
        verifies_pods: true,
        reverse: true,
    },
    Configuration {
        name: "several zones",
        text: "
.:{port} {
    bind 127.0.0.1
    bufsize
    kubernetes 10.0.0.0/8 other.example Cluster.Local inner.cluster.local in-addr.arpa ip6.arpa {
        {k}
        endpoint_pod_names
        zonal
        pods insecure
        ttl 3600
    }
}
",
        zones: &["cluster.local", "other.example", "inner.cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: true,
    },
    Configuration {
        name: "two blocks",
        text: "
cluster.local:{port} 10.0.0.0/8:{port} {
    bind 127.0.0.1
    kubernetes cluster.local 10.0.0.0/8 {
        {k}
        endpoint_pod_names
        pods verified
        ttl 7
    }
}
other.example:{port} ip6.arpa:{port} {
    bind 127.0.0.1
    bufsize 1024
    kubernetes other.example ip6.arpa {
        {k}
        pods insecure
        labels tier notin (back)
        ignore empty_service
        apiserver_qps 50
        apiserver_burst 20
        apiserver_max_inflight 2
    }
}
",
        zones: &["cluster.local", "other.example"],
        all_namespaces: true,
        verifies_pods: true,
        reverse: true,
    },
    Configuration {
        name: "namespaces",
        text: "
cluster.local:{port} in-addr.arpa:{port} ip6.arpa:{port} {
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        {k}
        namespaces {ns0} {ns1} {ns2} nobody
        pods verified
        endpoint_pod_names
        ttl 301
    }
}
",
        zones: &["cluster.local"],
        all_namespaces: false,
        verifies_pods: true,
        reverse: true,
    },
    // The block serves more than the plugin, and the nested zone is the primary one.
    Configuration {
        name: "nested zones",
        text: "
.:{port} {
    bufsize 1400
    kubernetes k8s.cluster.local cluster.local {
        {k}
        pods insecure
        ttl 1
    }
}
",
        zones: &["cluster.local", "k8s.cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: false,
    },
    Configuration {
        name: "narrow plugin",
        text: "
local:{port} 10.in-addr.arpa:{port} {
    bind 127.0.0.1
    kubernetes cluster.local 128.10.in-addr.arpa {
        {k}
        endpoint_pod_names
        namespaces {ns1} {ns2} {ns0}
        labels tier
        ttl 300
    }
}
",
        zones: &["cluster.local", "local"],
        all_namespaces: false,
        verifies_pods: false,
        reverse: true,
    },
    // What kubeadm writes, and the rest of the world behind it.
    Configuration {
        name: "forward",
        text: "
.:{port} {
    bind 127.0.0.1
    errors
    loadbalance
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        {k}
        pods insecure
        endpoint_pod_names
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    forward . {outside} {
        max_concurrent 1000
    }
}
",
        zones: &["cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: true,
    },
    // Aliases lead from one block into the other's upstreams, and the cluster's own names fall through.
    Configuration {
        name: "forward, two blocks",
        text: "
cluster.local:{port} 10.in-addr.arpa:{port} {
    bind 127.0.0.1
    bufsize 700
    kubernetes cluster.local 10.in-addr.arpa {
        {k}
        pods verified
        endpoint_pod_names
        fallthrough
    }
    forward . {outside} {
        except svc.cluster.local
        force_tcp
    }
}
.:{port} {
    bind 127.0.0.1
    forward com {outside} {
        prefer_udp
    }
}
",
        zones: &["cluster.local"],
        all_namespaces: true,
        verifies_pods: true,
        reverse: true,
    },
    Configuration {
        name: "zonal, no empty Services",
        text: "
cluster.local:{port} in-addr.arpa:{port} ip6.arpa:{port} {
    bind 127.0.0.1
    kubernetes {
        {k}
        zonal
        ignore empty_service
        pods verified
        namespaces {ns0} {ns1} nobody
    }
}
",
        zones: &["cluster.local"],
        all_namespaces: false,
        verifies_pods: true,
        reverse: true,
    },
    Configuration {
        name: "no endpoints",
        text: "
.:{port} {
    loadbalance
    kubernetes cluster.local other.example 10.96.0.0/11 ip6.arpa {
        {k}
        noendpoints
        endpoint_pod_names
        namespace_labels kubernetes.io/metadata.name in ({ns0}, {ns2}, nobody)
        pods verified
        fallthrough ip6.arpa other.example
        ttl 12
    }
}
",
        zones: &["cluster.local", "other.example"],
        all_namespaces: false,
        verifies_pods: true,
        reverse: true,
    },
];

/// Those with zones of ServiceImports, for clusters that have such.
pub(crate) const WITH_IMPORTS: [Configuration; 5] = [
    // Listens everywhere, so that CoreDNS knows who serves the zones.
    Configuration {
        name: "multicluster",
        text: "
.:{port} {
    errors
    loadbalance
    kubernetes cluster.local clusterset.local in-addr.arpa ip6.arpa {
        {k}
        multicluster clusterset.local
        pods insecure
        endpoint_pod_names
        ttl 30
    }
}
",
        zones: &["clusterset.local", "cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: true,
    },
    Configuration {
        name: "multicluster, labels, verified",
        text: "
cluster.local:{port} clusterset.local:{port} 10.0.0.0/8:{port} {
    bind 127.0.0.1
    kubernetes {
        {k}
        multicluster clusterset.local
        labels tier in (front)
        pods verified
    }
}
",
        zones: &["clusterset.local", "cluster.local"],
        all_namespaces: true,
        verifies_pods: true,
        reverse: true,
    },
    Configuration {
        name: "multicluster, namespaces",
        text: "
clusterset.local:{port} {
    bind 127.0.0.1
    bufsize 512
    kubernetes clusterset.local {
        {k}
        multicluster clusterset.local
        namespaces {ns0} {ns1} {ns2} nobody
        endpoint_pod_names
        ignore empty_service
        zonal
        ttl 0
    }
}
",
        zones: &["clusterset.local"],
        all_namespaces: false,
        verifies_pods: false,
        reverse: false,
    },
    // The primary zone is a multicluster one, and what it does not have falls through.
    Configuration {
        name: "multicluster, forward",
        text: "
.:{port} {
    bind 127.0.0.1
    kubernetes in.clusterset.local clusterset.local cluster.local in-addr.arpa ip6.arpa {
        {k}
        multicluster clusterset.local
        pods insecure
        fallthrough clusterset.local in-addr.arpa
    }
    forward . {outside}
}
",
        zones: &["clusterset.local", "in.clusterset.local", "cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: true,
    },
    Configuration {
        name: "multicluster, no endpoints",
        text: "
.:{port} {
    kubernetes cluster.local clusterset.local 10.0.0.0/8 ip6.arpa {
        {k}
        noendpoints
        multicluster clusterset.local
        endpoint_pod_names
        pods insecure
    }
}
",
        zones: &["clusterset.local", "cluster.local"],
        all_namespaces: true,
        verifies_pods: false,
        reverse: true,
    },
];
