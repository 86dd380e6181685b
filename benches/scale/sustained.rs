//! What slice updates cost over minutes, nothing asked meanwhile: for each server by itself, and for both at once.
//!
//! By itself a server is woken each time from the sleep of a core that has nothing else to do, with caches that are cold;
//! that is paid by the update, and is more than the work it brings. Both at once, on one core, get the same updates at the
//! same moments, whatever else the machine does meanwhile.

use crate::api;
use crate::arguments::Arguments;
use crate::cores;
use crate::report::{Column, Measure, Row, Sheet};
use crate::stage::{How, Running, Stage};
use crate::subject::{SUBJECTS, Subject};
use crate::updates::{PER_SECOND, Slices, Updates};
use std::time::Duration;
use tokio::runtime::Runtime;

/// What the start left to be done, or the updates before.
const SETTLING: Duration = Duration::from_secs(5);

pub(crate) fn compare(stage: &Stage, arguments: &Arguments, sheet: &mut Sheet, slices: &Slices) {
    let everything = cores::own();
    let processes = stage.plane.ids();
    cores::bind(&processes, &cores::one(stage.client_core));
    cores::bound_to(stage.client_core, || {
        let updating = Updating { stage, seconds: arguments.seconds, slices, runtime: &api::runtime() };
        println!("{} s of {PER_SECOND} slice updates a second, once for each server", arguments.seconds);
        let [ours, theirs] = SUBJECTS.map(|subject| updating.spent_by(&[subject], sheet, Column::UpdatesCpu)[0]);
        sheet.ratio(Measure::Updates, ours, theirs);
        println!("and once for both");
        let both = updating.spent_by(&SUBJECTS, sheet, Column::UpdatesCpuTogether);
        sheet.ratio(Measure::UpdatesTogether, both[0], both[1]);
    });
    cores::bind(&processes, &everything);
}

/// What updates go to.
struct Updating<'s> {
    stage: &'s Stage,
    seconds: u32,
    slices: &'s Slices,
    runtime: &'s Runtime,
}

impl Updating<'_> {
    /// The seconds of CPU of each of these servers, which run at once, on one core; none if too few updates were made.
    fn spent_by(&self, subjects: &[Subject], sheet: &mut Sheet, column: Column) -> Vec<Option<f64>> {
        let Self { stage, seconds, slices, runtime } = self;
        let start = |subject: &Subject| stage.start(*subject, How { is_bound: true, ..How::default() });
        let mut running: Vec<Running> = subjects.iter().map(start).collect();
        for running in &mut running {
            running.server.wait_until_known(stage.sample());
        }
        std::thread::sleep(SETTLING);
        let updates = Updates::start(runtime, &stage.plane, (*slices).clone());
        let before: Vec<Duration> = running.iter().map(|running| running.server.cpu()).collect();
        std::thread::sleep(Duration::from_secs((*seconds).into()));
        let spent: Vec<f64> =
            running.iter().zip(before).map(|(running, before)| (running.server.cpu() - before).as_secs_f64()).collect();
        for ((subject, running), spent) in subjects.iter().zip(&running).zip(&spent) {
            println!("   {}: {spent:.2} s of CPU, {}", subject.title(), running.memory().describe());
            sheet.add(Row::from(*subject), column, *spent);
        }
        let is_enough = updates.end();
        spent.into_iter().map(|spent| is_enough.then_some(spent)).collect()
    }
}
