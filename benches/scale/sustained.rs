//! What slice updates cost over minutes, nothing asked meanwhile; once for each server.

use crate::api;
use crate::arguments::Arguments;
use crate::cores;
use crate::report::{Column, Measure, Row, Sheet};
use crate::stage::{How, SUBJECTS, Stage};
use crate::updates::{PER_SECOND, Slices, Updates};
use std::time::Duration;

/// What the start left to be done, or the updates before.
const SETTLING: Duration = Duration::from_secs(5);

pub(crate) fn compare(stage: &Stage, arguments: &Arguments, sheet: &mut Sheet, slices: &Slices) {
    println!("{} s of {PER_SECOND} slice updates a second, once for each server", arguments.seconds);
    let everything = cores::own();
    let processes = stage.plane.ids();
    cores::bind(&processes, &cores::one(stage.client_core));
    let spent = cores::bound_to(stage.client_core, || {
        let runtime = api::runtime();
        SUBJECTS.map(|subject| {
            println!("  {}", subject.title());
            let mut running = stage.start(subject, How { is_bound: true, ..How::default() });
            running.server.wait_until_known(stage.sample());
            std::thread::sleep(SETTLING);
            let updates = Updates::start(&runtime, &stage.plane, slices.clone());
            let before = running.server.cpu();
            std::thread::sleep(Duration::from_secs(arguments.seconds.into()));
            let spent = (running.server.cpu() - before).as_secs_f64();
            println!("   {spent:.2} s of CPU, {}", running.memory().describe());
            sheet.add(Row::from(subject), Column::UpdatesCpu, spent);
            updates.end().then_some(spent)
        })
    });
    cores::bind(&processes, &everything);
    let [ours, theirs] = spent;
    sheet.ratio(Measure::Updates, ours, theirs);
}
