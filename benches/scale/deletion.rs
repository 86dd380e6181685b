//! Memory when half of all EndpointSlices are deleted at once; once, of both servers at the same time.

use crate::api;
use crate::cluster::{Service, Written, knows};
use crate::fill::{in_parallel, write};
use crate::report::{Measure, Row, Sheet, State};
use crate::stage::{How, Stage};
use crate::starts::SETTLING;
use crate::subject::{SUBJECTS, Subject};
use crate::support::{dns, wait_for};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Until a server knows of the last deletion.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn compare(stage: &Stage, sheet: &mut Sheet) {
    println!("half of all slices are deleted");
    let mut both = SUBJECTS.map(|subject| (subject, stage.start(subject, How::default())));
    for (_, running) in &mut both {
        running.server.wait_until_known(stage.sample());
    }
    std::thread::sleep(SETTLING);
    let before = both.each_ref().map(|(_, running)| running.memory());
    for (_, running) in &mut both {
        running.forget_peak();
    }
    let runtime = api::runtime();
    let begin = Instant::now();
    let deleted = every_second(stage);
    runtime.block_on(async {
        let cluster = Arc::clone(&stage.cluster);
        in_parallel(&stage.plane, stage.connections, deleted.clone(), move |client, index| {
            let slices = slices(&cluster.services[index]);
            async move {
                for (path, _) in slices {
                    api::delete(&client, &path).await;
                }
            }
        })
        .await;
    });
    println!("  the slices of {} Services in {:.1?}", deleted.len(), begin.elapsed());
    for (subject, running) in &both {
        let gone = deleted.iter().map(|index| &stage.cluster.services[*index]).rev().take(64);
        for service in gone {
            let query = knows(service).0;
            wait_for(subject.title(), LIMIT, || match dns::ask(running.server.addr, &query) {
                Ok(answer) if answer.rcode == dns::NXDOMAIN => Ok(()),
                Ok(answer) => Err(answer.to_string()),
                Err(error) => Err(error.to_string()),
            });
        }
    }
    std::thread::sleep(SETTLING);
    for ((subject, running), before) in both.iter().zip(before) {
        let after = running.memory();
        println!("  {}: before {}", subject.title(), before.describe());
        println!("   after {}", after.describe());
        let row = Row::from(*subject);
        sheet.memory(row, State::BeforeDeletion, &before);
        sheet.memory(row, State::Deleted, &after);
        if *subject == Subject::Podzone {
            sheet.measure(Measure::Deletion, after.peak() / before.held());
        }
    }
    runtime.block_on(async {
        let cluster = Arc::clone(&stage.cluster);
        in_parallel(&stage.plane, stage.connections, deleted, move |client, index| {
            let slices = slices(&cluster.services[index]);
            async move {
                for (_, written) in slices {
                    write(&client, written).await;
                }
            }
        })
        .await;
    });
    for (_, running) in &mut both {
        running.server.wait_until_known(stage.sample());
    }
}

/// Every second Service, by its place in the cluster; the last is not among them.
fn every_second(stage: &Stage) -> Vec<usize> {
    (0..stage.cluster.services.len() - 1).step_by(2).collect()
}

/// The slices of a Service, each with where it is.
fn slices(service: &Service) -> Vec<(String, Written)> {
    let of = |(index, name): (usize, &String)| {
        let written = service.slice(index, false);
        (format!("{}/{name}", written.path), written)
    };
    service.slice_names.iter().enumerate().map(of).collect()
}
