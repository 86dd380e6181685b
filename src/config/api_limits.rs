//! `apiserver_qps`, `apiserver_burst` and `apiserver_max_inflight` of `kubernetes`.

use super::number;

/// How hard the API server may be asked. CoreDNS reads these options and makes nothing of them: its client is there
/// before they are (plugin/kubernetes/kubernetes.go, func InitKubeCache).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct ApiLimits {
    /// Requests a second, over time.
    pub qps: Option<Qps>,
    /// Requests that may come at once, before the others wait for their turn; 1 or more.
    pub burst: Option<u32>,
    /// Lists and beginnings of watches that may be under way at once; 1 or more.
    pub max_inflight: Option<u32>,
}

/// A rate of more than 0 requests a second.
#[derive(Clone, Copy, Debug)]
pub struct Qps(f32);

impl Qps {
    /// A rate; `None` where it would be no limit, or let nothing through.
    pub fn new(per_second: f32) -> Option<Self> {
        (per_second > 0.0 && per_second.is_finite()).then_some(Self(per_second))
    }

    /// Requests a second.
    pub fn per_second(self) -> f32 {
        self.0
    }
}

impl PartialEq for Qps {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Qps {}

impl std::hash::Hash for Qps {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl ApiLimits {
    /// Reads the value of an option. 0 takes the limit away, as it does in client-go.
    ///
    /// # Errors
    /// CoreDNS's wording.
    pub(super) fn set(&mut self, option: &str, text: &str) -> Result<(), String> {
        if option == "apiserver_qps" {
            let qps = parse_float(text).map_err(|reason| {
                format!("invalid apiserver_qps {text:?}: strconv.ParseFloat: parsing {text:?}: {reason}")
            })?;
            // What is no number at all is not that either, though CoreDNS takes it.
            if qps.is_nan() || qps < 0.0 {
                return Err("apiserver_qps must be >= 0".into());
            }
            self.qps = Qps::new(qps);
            return Ok(());
        }
        let number = number::parse(text).map_err(|error| format!("invalid {option} {text:?}: {error}"))?;
        if number < 0 {
            return Err(format!("{option} must be >= 0"));
        }
        // More than can be counted is no limit.
        let limit = u32::try_from(number).ok().filter(|limit| *limit > 0);
        if option == "apiserver_burst" {
            self.burst = limit;
        } else {
            self.max_inflight = limit;
        }
        Ok(())
    }
}

/// Reads a number as Go's `strconv.ParseFloat` with 32 bits.
fn parse_float(text: &str) -> Result<f32, &'static str> {
    let number: f32 = text.parse().map_err(|_| "invalid syntax")?;
    let is_written = text.to_ascii_lowercase().contains("inf");
    if number.is_infinite() && !is_written { Err("value out of range") } else { Ok(number) }
}
