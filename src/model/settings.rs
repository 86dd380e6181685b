//! What a Service says of its names by annotations (`podzone.dev/...`), in the place of what its view says.

use super::selector::Selector;

/// The annotations that are ours begin with this.
pub const ANNOTATION_PREFIX: &str = "podzone.dev/";

/// What a Service says. Nearly all say nothing, and have none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `endpoint-names`: how its endpoints without a hostname are named.
    pub endpoint_names: Option<EndpointNames>,
    /// `pod-name-form`: how a pod's name is made a name in DNS.
    pub pod_name_form: Option<PodNameForm>,
    /// `ptr`: what points back to it.
    pub ptr: Option<PointsBack>,
    /// `publish-not-ready`: whether endpoints that are not ready have names.
    pub names_not_ready: Option<bool>,
    /// `drain`: whether endpoints that are terminating and serve still keep theirs.
    pub names_draining: Option<bool>,
    /// `ttl`: the TTL of its records in seconds, 0 to [`Settings::TTL_SECS_MAX`].
    pub ttl_secs: Option<u32>,
    /// `portless-srv`: whether endpoints without ports are SRV targets, with port 0.
    pub portless_srv: Option<bool>,
    /// Which of the selectors that the cluster was made with select it: bit `i` stands for selector `i`. Not an
    /// annotation: a cluster sets it, and keeps it only where it is not zero.
    pub(super) selected: u64,
}

/// What an endpoint without a hostname is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum EndpointNames {
    /// Its address, with dashes.
    #[default]
    Ip,
    /// Its pod.
    Pod,
    /// Its pod; the address with dashes resolves too, and nothing points to it.
    Both,
}

/// How a pod's name is made a name in DNS, where an endpoint is named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PodNameForm {
    /// As CoreDNS has it: a name of more than 63 characters is none, and one with dots leads nowhere.
    #[default]
    CoreDns,
    /// As kubelet makes it the pod's own hostname: cut to 63 characters, without the dashes and dots that it ends in then.
    /// One with dots is a name of several labels.
    Kubelet,
}

/// What addresses point back to of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PointsBack {
    /// Its names, and those of other Services that have the address.
    #[default]
    All,
    /// Its names, in the place of those of other Services.
    Canonical,
    /// Nothing.
    None,
}

/// A line of `endpoint_pod_names`: how the endpoints of some Services are named.
#[derive(Clone, Debug, PartialEq)]
pub struct PodNames {
    /// How.
    pub names: EndpointNames,
    /// And in which form.
    pub form: PodNameForm,
    /// The Services' namespaces; empty means all.
    pub namespaces: Vec<Box<str>>,
    /// What selects the Services, by their labels; `None` selects all.
    pub labels: Option<Selector>,
}

impl Default for PodNames {
    /// The bare word: all endpoints are named after their pods.
    fn default() -> Self {
        Self { names: EndpointNames::Pod, form: PodNameForm::CoreDns, namespaces: Vec::new(), labels: None }
    }
}

/// The annotations, and what reads the value of each.
const ANNOTATIONS: &[(&str, Reader)] = &[
    ("endpoint-names", |settings, value| {
        let names = [("ip", EndpointNames::Ip), ("pod", EndpointNames::Pod), ("both", EndpointNames::Both)];
        settings.endpoint_names = Some(one_of(value, &names)?);
        Ok(())
    }),
    ("pod-name-form", |settings, value| {
        let forms = [("coredns", PodNameForm::CoreDns), ("kubelet", PodNameForm::Kubelet)];
        settings.pod_name_form = Some(one_of(value, &forms)?);
        Ok(())
    }),
    ("portless-srv", |settings, value| {
        settings.portless_srv = Some(one_of(value, &[("port-0", true), ("none", false)])?);
        Ok(())
    }),
    ("ptr", |settings, value| {
        let ways = [("all", PointsBack::All), ("canonical", PointsBack::Canonical), ("none", PointsBack::None)];
        settings.ptr = Some(one_of(value, &ways)?);
        Ok(())
    }),
    ("publish-not-ready", |settings, value| {
        settings.names_not_ready = Some(one_of(value, &[("names", true), ("none", false)])?);
        Ok(())
    }),
    ("drain", |settings, value| {
        settings.names_draining = Some(one_of(value, &[("names", true), ("none", false)])?);
        Ok(())
    }),
    ("ttl", |settings, value| {
        let secs = value.parse().ok().filter(|secs| *secs <= Settings::TTL_SECS_MAX);
        // A sign is no digit.
        let secs = secs.filter(|_| value.bytes().all(|octet| octet.is_ascii_digit()));
        let reason = || format!("the value is a number of seconds, 0 to {}", Settings::TTL_SECS_MAX);
        settings.ttl_secs = Some(secs.ok_or_else(reason)?);
        Ok(())
    }),
];

/// Reads a value, or says what values there are.
type Reader = fn(&mut Settings, &str) -> Result<(), String>;

impl Settings {
    /// The longest TTL, in seconds: that of CoreDNS's `ttl`.
    pub const TTL_SECS_MAX: u32 = 3600;

    /// Reads annotations, those that are not ours among them; `None` if they say nothing. What cannot be read is left out,
    /// with a line in `notes` each.
    pub fn read<'a>(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
        notes: &mut Vec<String>,
    ) -> Option<Box<Self>> {
        let mut settings = Self::default();
        for (key, value) in annotations {
            let Some(name) = key.strip_prefix(ANNOTATION_PREFIX) else { continue };
            let read = match ANNOTATIONS.iter().find(|(known, _)| *known == name) {
                Some((_, read)) => read(&mut settings, value),
                None => Err("there is no such annotation".to_owned()),
            };
            if let Err(reason) = read {
                notes.push(format!("annotation {key}: {value:?}: {reason}, it is left out"));
            }
        }
        (settings != Self::default()).then(|| Box::new(settings))
    }

    /// The annotations that say this: what [`Self::read`] makes the same of, but for who is selected.
    pub fn annotations(&self) -> Vec<(String, String)> {
        let names = |is: bool| if is { "names" } else { "none" };
        let said = [
            (
                "endpoint-names",
                self.endpoint_names.map(|names| match names {
                    EndpointNames::Ip => "ip",
                    EndpointNames::Pod => "pod",
                    EndpointNames::Both => "both",
                }),
            ),
            (
                "pod-name-form",
                self.pod_name_form.map(|form| match form {
                    PodNameForm::CoreDns => "coredns",
                    PodNameForm::Kubelet => "kubelet",
                }),
            ),
            (
                "ptr",
                self.ptr.map(|ptr| match ptr {
                    PointsBack::All => "all",
                    PointsBack::Canonical => "canonical",
                    PointsBack::None => "none",
                }),
            ),
            ("publish-not-ready", self.names_not_ready.map(names)),
            ("drain", self.names_draining.map(names)),
            ("portless-srv", self.portless_srv.map(|is| if is { "port-0" } else { "none" })),
        ];
        let said = said.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned())));
        let ttl = self.ttl_secs.map(|secs| ("ttl", secs.to_string()));
        said.chain(ttl).map(|(name, value)| (format!("{ANNOTATION_PREFIX}{name}"), value)).collect()
    }
}

fn one_of<T: Copy>(value: &str, values: &[(&str, T)]) -> Result<T, String> {
    let found = values.iter().find(|(name, _)| *name == value).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        format!("the value is one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &[(&str, &str)]) -> (Option<Settings>, Vec<String>) {
        let mut notes = Vec::new();
        let settings = Settings::read(annotations.iter().copied(), &mut notes);
        (settings.map(|settings| *settings), notes)
    }

    #[test]
    fn a_ttl_is_a_number_within_its_bounds() {
        for (text, secs) in
            [("0", Some(0)), ("3600", Some(3600)), ("3601", None), ("+5", None), ("5s", None), ("", None)]
        {
            let (settings, notes) = read(&[("podzone.dev/ttl", text)]);
            assert_eq!(
                (settings.and_then(|it| it.ttl_secs), notes.len()),
                (secs, usize::from(secs.is_none())),
                "{text}"
            );
        }
    }

    /// Each annotation, with each of its values.
    #[test]
    fn what_is_read_can_be_said_again() {
        let values = ["ip", "pod", "both", "coredns", "kubelet", "port-0", "none", "all", "canonical", "names", "17"];
        let mut said = 0;
        for (name, _) in ANNOTATIONS {
            for value in values {
                let key = format!("{ANNOTATION_PREFIX}{name}");
                if let (Some(settings), _) = read(&[(&*key, value)]) {
                    assert_eq!(settings.annotations(), [(key, value.to_owned())]);
                    said += 1;
                }
            }
        }
        assert_eq!(said, 3 + 2 + 2 + 3 + 2 + 2 + 1);
    }

    #[test]
    fn what_is_not_said_or_cannot_be_read_takes_no_memory() {
        assert_eq!(read(&[("app.kubernetes.io/name", "web"), ("other.dev/ttl", "x")]), (None, Vec::new()));
        let (settings, notes) = read(&[("podzone.dev/endpoint-names", "Pod"), ("podzone.dev/endpoint-name", "pod")]);
        assert_eq!(settings, None);
        assert_eq!(
            notes,
            [
                "annotation podzone.dev/endpoint-names: \"Pod\": the value is one of ip, pod, both, it is left out",
                "annotation podzone.dev/endpoint-name: \"pod\": there is no such annotation, it is left out"
            ]
        );
    }
}
