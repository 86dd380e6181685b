//! Start, memory and relisting: each server in turn, with the API server and all cores to itself.

use crate::api::{SERVICES, SLICES};
use crate::arguments::{Arguments, Part};
use crate::download::{self, FORMS};
use crate::report::{Column, Measure, Row, Sheet, State};
use crate::restart::restart;
use crate::stage::{How, Stage};
use crate::subject::Subject;
use crate::touch::touch;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const PARTS: [Part; 3] = [Part::Start, Part::Memory, Part::Restart];

/// In which a server that is left alone gives back what it does not need.
pub(crate) const SETTLING: Duration = Duration::from_secs(10);

pub(crate) fn round(stage: &mut Stage, arguments: &Arguments, sheet: &mut Sheet, subjects: [Subject; 2]) {
    let mut ready = BTreeMap::new();
    let mut held = BTreeMap::new();
    if arguments.measures(Part::Start) {
        for (row, form) in FORMS {
            let (time, octets) = download::all(&stage.plane, form, &[SERVICES, SLICES]);
            println!("  {}: {time:.3?}, {octets} octets", row.title());
            sheet.add(row, Column::Ready, time.as_secs_f64());
            sheet.add(row, Column::Octets, octets as f64 / 1e6);
            ready.insert(row, time.as_secs_f64());
        }
    }
    for subject in subjects {
        let row = Row::from(subject);
        let mut running = stage.start(subject, How::default());
        let time = running.server.wait_until_known(stage.sample());
        let (cpu, memory) = (running.server.cpu(), running.memory());
        println!("  {}: ready after {time:.3?}, {cpu:.3?} of CPU, {}", subject.title(), memory.describe());
        sheet.add(row, Column::Ready, time.as_secs_f64());
        sheet.add(row, Column::ReadyCpu, cpu.as_secs_f64());
        sheet.memory(row, State::Ready, &memory);
        ready.insert(row, time.as_secs_f64());
        if !arguments.measures_any(&[Part::Memory, Part::Restart]) {
            continue;
        }
        touch(running.server.addr, &stage.cluster, false);
        let steady = running.settled_memory(SETTLING);
        println!("   {}", steady.describe());
        sheet.memory(row, State::Steady, &steady);
        held.insert(row, steady.held());
        if arguments.measures(Part::Restart) {
            running.forget_peak();
            restart(stage);
            let after = running.settled_memory(SETTLING);
            println!("   {}", after.describe());
            sheet.memory(row, State::Restarted, &after);
            if subject == Subject::Podzone {
                sheet.measure(Measure::Restart, after.peak() / steady.held());
            }
            // It knows what it knew.
            running.server.wait_until_known(stage.sample());
        }
    }
    if arguments.measures(Part::Start) {
        let of = |row| ready.get(&row).copied();
        sheet.ratio(Measure::Start, of(Row::Podzone), of(Row::Coredns));
        sheet.ratio(Measure::StartOverList, of(Row::Podzone), of(Row::List));
        sheet.ratio(Measure::StartOverStream, of(Row::Podzone), of(Row::Stream));
    }
    if arguments.measures(Part::Memory) {
        let of = |row| held.get(&row).copied();
        sheet.ratio(Measure::Memory, of(Row::Podzone), of(Row::Coredns));
        sheet.ratio(Measure::MemoryAim, of(Row::Podzone), Some(1.0));
    }
}
