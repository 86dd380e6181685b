//! Families of metrics, as CoreDNS's library writes them.

use std::borrow::Borrow;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::histogram::Distribution;

/// A label's name and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// The labels that all series of queries have. There are no views of CoreDNS's kind.
pub(super) fn zone_labels<'a>(server: &'a str, zone: &'a str) -> [Label<'a>; 3] {
    [("server", server), ("zone", zone), ("view", "")]
}

pub(super) trait Flat<'a> {
    /// Both as one set.
    fn flat(self) -> Vec<Label<'a>>;
}

impl<'a, const A: usize, const B: usize> Flat<'a> for ([Label<'a>; A], [Label<'a>; B]) {
    fn flat(self) -> Vec<Label<'a>> {
        self.0.into_iter().chain(self.1).collect()
    }
}

/// Families, one after the other; one without samples is left out.
pub(super) struct Out<'o, 'e>(pub(super) &'o mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    pub(super) fn counter<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.samples(name, help, MetricType::Counter, samples)
    }

    pub(super) fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.samples(name, help, MetricType::Gauge, samples)
    }

    /// A counter without labels.
    pub(super) fn count(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Counter)?.encode_gauge(&value)
    }

    /// A gauge without labels.
    pub(super) fn value(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn samples<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        metric_type: MetricType,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, metric_type)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// `unit` is what one of the distributions' numbers is in the metric's unit.
    pub(super) fn histogram<'d, D: Borrow<Distribution>>(
        &mut self,
        name: &str,
        help: &str,
        unit: f64,
        samples: impl IntoIterator<Item = (Vec<Label<'d>>, &'static [u64], D)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, bounds, distribution) in samples {
            // Through text, so that 8192000000 times 1e-9 is 8.192 and not its neighbour.
            let bound = |bound: &u64| format!("{:.9}", *bound as f64 * unit).parse().unwrap_or(f64::INFINITY);
            let bounds = bounds.iter().map(bound).chain([f64::INFINITY]);
            let distribution = distribution.borrow();
            let buckets: Vec<(f64, u64)> = bounds.zip(distribution.buckets.iter().copied()).collect();
            let sum = distribution.sum as f64 * unit;
            let count = distribution.count();
            if labels.is_empty() {
                family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            } else {
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}
