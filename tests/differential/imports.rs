//! What other clusters of a cluster set give (KEP-1645): ServiceImports, and slices of their endpoints.

use crate::cluster::{Cluster, Family, Kind, Service};
use crate::dice::Dice;

/// Ids of clusters, as operators and kube-system give them; one is no single label.
const CLUSTERS: [&str; 4] = ["east", "West-1", "721ab723-13bc-11e5-aec2-42010af0021e", "e.u"];

/// The ServiceImport that `labels` hides. All others have what the configurations select.
pub(crate) const HIDDEN: &str = "hidden";

impl Cluster {
    /// Adds what other clusters export: of names that Services here have, and of others.
    pub(crate) fn add_imports(&mut self, dice: &mut Dice) {
        let here = self.services.iter().filter(|it| !matches!(it.kind, Kind::External(_))).cloned();
        let mut exported: Vec<Service> = here.filter(|_| dice.percent(40)).collect();
        for (index, name) in ["elsewhere", "abroad", "nobody-home"].into_iter().enumerate() {
            let Some(model) = self.services.iter().find(|it| matches!(it.kind, Kind::Headless)) else { continue };
            let namespace = self.namespaces[index].clone();
            exported.push(Service { namespace, name: name.to_owned(), ..model.clone() });
        }
        for service in exported {
            let kind = if dice.percent(55) { Kind::Headless } else { Kind::ClusterIp(self.cluster_ips(dice)) };
            let import = Service { tier: Some("front"), kind, ..service };
            let slices =
                if import.name == "nobody-home" { 0 } else { dice.weighted(&[(5, 0), (45, 1), (30, 2), (20, 4)]) };
            for _ in 0..slices {
                self.add_imported_slice(dice, &import);
            }
            self.imports.push(import);
        }
        // Only an import may have an address of its own and no port.
        if let Some(first) = self.imports.first().cloned() {
            let kind = Kind::ClusterIp(self.cluster_ips(dice));
            let portless = Service { name: "portless".to_owned(), kind, ports: Vec::new(), ..first };
            self.add_imported_slice(dice, &portless);
            self.imports.push(portless);
        }
        // Whoever they belong to is not there.
        let mut missing = self.imports[0].clone();
        missing.name = "not-imported".to_owned();
        self.add_imported_slice(dice, &missing);
        let kind = Kind::ClusterIp(self.cluster_ips(dice));
        let namespace = self.namespaces[0].clone();
        self.imports.push(Service { namespace, name: HIDDEN.to_owned(), tier: None, kind, ..missing });
    }

    fn add_imported_slice(&mut self, dice: &mut Dice, import: &Service) {
        let mut slice = self.slice_of(dice, import);
        slice.name = self.name(&format!("imported-{}", import.name));
        slice.tier = if dice.percent(85) { Some("front") } else { None };
        slice.import = Some((import.name.clone(), (*dice.pick(&CLUSTERS)).to_owned()));
        // Some controllers make a Service of each import, and tie the slice to it too.
        if !dice.percent(12) {
            slice.service = None;
        }
        self.slices.push(slice);
    }
}

/// What other clusters change: addresses, ports, kinds, and whether anything is exported at all.
pub(crate) fn change(dice: &mut Dice, cluster: &mut Cluster) {
    if cluster.imports.is_empty() {
        return;
    }
    cluster.imports.retain(|it| it.name == HIDDEN || !dice.percent(8));
    for index in 0..cluster.imports.len() {
        if dice.percent(20) {
            let kind = if dice.percent(50) { Kind::Headless } else { Kind::ClusterIp(cluster.cluster_ips(dice)) };
            cluster.imports[index].kind = kind;
        }
        let ports = &mut cluster.imports[index].ports;
        if dice.percent(15) {
            ports.iter_mut().for_each(|it| it.number = it.number.map(|number| number ^ 2));
        }
    }
    for slice in cluster.slices.iter_mut().filter(|it| it.family != Family::Fqdn) {
        if let Some((_, id)) = &mut slice.import
            && dice.percent(10)
        {
            *id = (*dice.pick(&CLUSTERS)).to_owned();
        }
    }
    let of = dice.pick(&cluster.imports).clone();
    if of.name != HIDDEN {
        cluster.add_imported_slice(dice, &of);
    }
}
