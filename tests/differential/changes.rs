//! Random changes of a cluster, such as rollouts, failures and administrators make.

use crate::cluster::{Cluster, Family, Kind, NAMED};
use crate::dice::Dice;
use crate::imports;

/// The cluster after changes, by way of one in between where some Services are gone that come back.
pub(crate) fn random(dice: &mut Dice, cluster: &Cluster) -> [Cluster; 2] {
    let mut after = cluster.clone();
    flip_endpoints(dice, &mut after);
    replace_endpoints(dice, &mut after);
    retarget(dice, &mut after);
    move_slices(dice, &mut after);
    renumber_ports(dice, &mut after);
    after.pods.retain(|_| !dice.percent(20));
    after.services.retain(|it| it.name == "many" || it.name == "most" || !dice.percent(6));
    after.slices.retain(|_| !dice.percent(6));
    add(dice, &mut after);
    imports::change(dice, &mut after);
    let mut between = after.clone();
    between.services.retain(|_| !dice.percent(10));
    between.imports.retain(|_| !dice.percent(10));
    [between, after]
}

fn flip_endpoints(dice: &mut Dice, cluster: &mut Cluster) {
    for endpoint in cluster.slices.iter_mut().flat_map(|it| &mut it.endpoints) {
        if dice.percent(20) {
            endpoint.ready = dice.weighted(&[(50, Some(true)), (30, Some(false)), (20, None)]);
        }
    }
}

/// What a rollout does: some endpoints go, new ones come, under the same slice's name.
fn replace_endpoints(dice: &mut Dice, cluster: &mut Cluster) {
    for index in 0..cluster.slices.len() {
        if !dice.percent(35) {
            continue;
        }
        cluster.slices[index].endpoints.retain(|_| !dice.percent(35));
        let family = cluster.slices[index].family;
        for _ in 0..dice.below(3) {
            let endpoint = cluster.endpoint(dice, family);
            cluster.slices[index].endpoints.push(endpoint);
        }
        // The same address under another pod's name.
        if let Some(first) = cluster.slices[index].endpoints.first_mut()
            && dice.percent(25)
        {
            first.target = Some(("Pod", format!("web-{}", dice.suffix(5))));
            first.hostname = None;
        }
    }
}

fn retarget(dice: &mut Dice, cluster: &mut Cluster) {
    let targets: Vec<String> = cluster
        .services
        .iter()
        .map(|it| format!("{}.{}.svc.{}", it.name, it.namespace, crate::cluster::ZONE))
        .chain(["elsewhere.example.com".to_owned()])
        .collect();
    for service in &mut cluster.services {
        if let Kind::External(target) = &mut service.kind
            && dice.percent(30)
        {
            *target = dice.pick(&targets).clone();
        }
    }
}

fn move_slices(dice: &mut Dice, cluster: &mut Cluster) {
    let services: Vec<(String, String)> = cluster
        .services
        .iter()
        .filter(|it| it.name != NAMED)
        .map(|it| (it.namespace.clone(), it.name.clone()))
        .collect();
    for slice in &mut cluster.slices {
        if slice.endpoints.len() > 40 || slice.service.is_none() || slice.family == Family::Fqdn || !dice.percent(10) {
            continue;
        }
        let near: Vec<_> = services.iter().filter(|(namespace, _)| *namespace == slice.namespace).collect();
        slice.service = Some(dice.pick(&near).1.clone());
        slice.tier = Some("front");
    }
}

fn renumber_ports(dice: &mut Dice, cluster: &mut Cluster) {
    for slice in &mut cluster.slices {
        if dice.percent(12) {
            slice.ports.iter_mut().for_each(|it| it.number = it.number.map(|number| number ^ 1));
        }
    }
    for service in &mut cluster.services {
        if dice.percent(8) {
            service.ports.iter_mut().for_each(|it| it.number = it.number.map(|number| number ^ 2));
        }
    }
}

/// New slices for old Services, and a namespace with a Service.
fn add(dice: &mut Dice, cluster: &mut Cluster) {
    for _ in 0..4 {
        let service = dice.pick(&cluster.services).clone();
        if service.name == NAMED {
            continue;
        }
        let slice = cluster.slice_of(dice, &service);
        cluster.slices.push(slice);
    }
    let namespace = format!("new-{}", cluster.number);
    cluster.namespaces.push(namespace.clone());
    if let Some(model) = cluster.services.iter().find(|it| matches!(it.kind, Kind::Headless)).cloned() {
        let service = crate::cluster::Service { namespace, tier: Some("front"), ..model };
        let mut slice = cluster.slice_of(dice, &service);
        slice.family = Family::V4;
        slice.endpoints = (0..3).map(|_| cluster.endpoint(dice, Family::V4)).collect();
        cluster.slices.push(slice);
        cluster.services.push(service);
    }
}
