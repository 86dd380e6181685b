//! How each directive and option is written.

use crate::corefile::{Diagnostic, Directive};

/// The lines that may stand in a server block: a directive, then its options.
const FORMS: &[(&str, &[&str])] = &[
    ("metadata [ZONE]..., once in a block", &[]),
    ("cancel [DURATION]", &[]),
    (
        "timeouts {, lines like 'idle 10s', and }",
        &["read DURATION", "write DURATION", "idle DURATION", "maxtcpqueries NUMBER"],
    ),
    ("multisocket [NUMBER], 1 to 1024", &[]),
    ("nsid [NAME], once in a block", &[]),
    ("bufsize [OCTETS], 512 to 4096", &[]),
    ("bind ADDRESS|INTERFACE...", &["except ADDRESS|INTERFACE..."]),
    ("debug", &[]),
    ("reload [INTERVAL] [JITTER]", &[]),
    ("ready [ADDRESS:PORT], once in a block", &["monitor until-ready|continuously"]),
    ("health [ADDRESS:PORT]", &["lameduck DURATION"]),
    ("prometheus [ADDRESS:PORT], once in a block", &[]),
    (
        "errors [stdout], once in a block",
        &["stacktrace", "consolidate DURATION REGEXP [warning|error|info|debug] [show_first]"],
    ),
    ("log [NAME]... [FORMAT]", &["class success|denial|error|all..."]),
    ("local", &["localhost_prefix on|off"]),
    ("any", &[]),
    ("chaos [VERSION] [AUTHOR]...", &[]),
    ("loadbalance [round_robin|weighted FILE]", &["prefer NETWORK...", "reload DURATION"]),
    (
        "tsig [ZONE]..., once in a block",
        &["secret NAME KEY", "secrets FILE", "require QTYPE...|all|none", "require_opcode OPCODE...|all|none"],
    ),
    (
        "acl [ZONE]... {, lines like 'block net 10.0.0.0/8', and }",
        &[
            "allow [type QTYPE...] [net ADDRESS|NETWORK...]",
            "block [type QTYPE...] [net ADDRESS|NETWORK...]",
            "filter [type QTYPE...] [net ADDRESS|NETWORK...]",
            "drop [type QTYPE...] [net ADDRESS|NETWORK...]",
        ],
    ),
    ("autopath [ZONE]... RESOLV-CONF|@kubernetes", &[]),
    (
        "cache [TTL] [ZONE]..., once in a block",
        &[
            "success CAPACITY [TTL] [MINTTL]",
            "denial CAPACITY [TTL] [MINTTL]",
            "prefetch AMOUNT [DURATION] [PERCENTAGE%]",
            "serve_stale [DURATION] [immediate [TTL [RECHECK]]|verify [TIMEOUT [TTL [RECHECK]]]]",
            "serve_stale_policy prefer_positive",
            "servfail DURATION, at most 5m",
            "disable success|denial [ZONE]...",
            "keepttl",
        ],
    ),
    ("minimal", &[]),
    (
        "transfer [ZONE]... {, lines like 'to *', and }",
        &["to ADDRESS[:PORT]...|*", "source ADDRESS", "notify_key NAME"],
    ),
    (
        "kubernetes [ZONE]..., once in a block",
        &[
            "endpoint URL",
            "tls CERT KEY CACERT",
            "kubeconfig FILE [CONTEXT]",
            "manifests FOLDER",
            "apiserver_qps NUMBER",
            "apiserver_burst NUMBER",
            "apiserver_max_inflight NUMBER",
            "namespaces NAME...",
            "namespace_labels SELECTOR",
            "labels SELECTOR",
            "pods disabled|insecure|verified",
            "endpoint_pod_names [both] [kubelet] [hostname] [namespaces NAMESPACE...] [labels SELECTOR]",
            "ttl SECONDS, 0 to 3600",
            "negative_ttl SECONDS, 0 to 3600",
            "portless_srv",
            "srv_limit TARGETS, 1 to 65535",
            "ptr all|canonical",
            "publish_not_ready names",
            "drain",
            "noendpoints",
            "fallthrough [ZONE]...",
            "ignore empty_service",
            "multicluster ZONE...",
            "zonal",
            "startup_timeout DURATION",
            "listen_when_synced",
            "snapshot FILE",
            "hold_mass_removal PERCENT% DURATION, like 'hold_mass_removal 50% 60s'",
        ],
    ),
    ("loop, once in a block", &[]),
    (
        "forward FROM TO...",
        &[
            "except ZONE...",
            "force_tcp",
            "prefer_udp",
            "max_fails NUMBER",
            "max_connect_attempts NUMBER",
            "health_check DURATION [no_rec] [domain NAME]",
            "read_timeout DURATION",
            "expire DURATION",
            "max_age DURATION",
            "max_idle_conns NUMBER",
            "max_concurrent NUMBER",
            "policy random|round_robin|sequential",
            "tls [CA] or tls CERT KEY [CA]",
            "tls_servername NAME",
            "next RCODE...",
            "next_on_nodata",
            "failfast_all_unhealthy_upstreams",
            "failover RCODE...",
            "source_address ADDRESS",
            "resolver ADDRESS...",
        ],
    ),
    ("whoami", &[]),
];

/// How the line is written that an error of `directive` is about.
pub(super) fn of(directive: &Directive, error: &Diagnostic) -> Option<&'static str> {
    let (form, options) = FORMS.iter().find(|(form, _)| is_of(form, &directive.name))?;
    let line = error.place()?;
    let mut words = directive.tokens.iter();
    let first = words.find(|word| word.place.source == line.source && word.place.line == line.line);
    let option = first.and_then(|word| options.iter().find(|option| is_of(option, &word.text)));
    Some(option.unwrap_or(form))
}

fn is_of(form: &str, name: &str) -> bool {
    form.split(' ').next().is_some_and(|first| first.trim_end_matches(',') == name)
}

#[cfg(test)]
mod tests {
    use super::super::check::SERVED;
    use super::super::known::KUBERNETES_OPTIONS;
    use super::{FORMS, is_of};

    #[test]
    fn every_directive_has_a_form() {
        for name in SERVED {
            assert!(FORMS.iter().any(|(form, _)| is_of(form, name)), "{name}");
        }
        let (_, options) = FORMS.iter().find(|(form, _)| is_of(form, "kubernetes")).expect("kubernetes");
        for name in KUBERNETES_OPTIONS {
            assert!(options.iter().any(|option| is_of(option, name)), "{name}");
        }
    }
}
