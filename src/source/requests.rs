//! Counts of requests to API servers, as client-go tells them (`tools/metrics`, `rest/request.go`): by host, since a
//! kubeconfig may come to name another. All requests are GET.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::histogram::{Histogram, REQUEST_BOUNDS};

/// The requests of one source.
#[derive(Debug, Default)]
pub struct Requests(Mutex<Vec<Arc<ToHost>>>);

/// Those to one host.
#[derive(Debug)]
pub struct ToHost {
    /// Host, and port where the URL has one.
    pub host: String,
    /// How long pages of lists took, until their last octet. Watches have no end that would say anything.
    pub took: Histogram,
    /// How long requests waited for their turn (`apiserver_qps`).
    pub throttled: Histogram,
    codes: Mutex<BTreeMap<Option<u16>, u64>>,
}

impl Requests {
    /// Those to a host.
    pub(super) fn to(&self, host: &str) -> Arc<ToHost> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| known.host == host) {
            return Arc::clone(known);
        }
        let new = Arc::new(ToHost::new(host));
        all.push(Arc::clone(&new));
        new
    }

    /// Those to each host.
    pub fn all(&self) -> Vec<Arc<ToHost>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ToHost {
    fn new(host: &str) -> Self {
        let empty = || Histogram::new(&REQUEST_BOUNDS);
        Self { host: host.to_owned(), took: empty(), throttled: empty(), codes: Mutex::default() }
    }

    /// A request was answered with a code, or not at all.
    pub(super) fn ended(&self, code: Option<u16>) {
        *self.codes.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// How many requests ended with which code; `None` are those without an answer.
    pub fn codes(&self) -> BTreeMap<Option<u16>, u64> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_counted_once() {
        let requests = Requests::default();
        requests.to("a:6443").ended(Some(200));
        requests.to("b").ended(None);
        requests.to("a:6443").ended(Some(200));
        let all = requests.all();
        let codes: Vec<_> = all.iter().map(|to| (to.host.as_str(), to.codes())).collect();
        assert_eq!(codes, [("a:6443", BTreeMap::from([(Some(200), 2)])), ("b", BTreeMap::from([(None, 1)]))]);
    }
}
