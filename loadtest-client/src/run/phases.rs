//! The phases of a run: one, the parts of a power cut, or the search for the rate that a server bears.

use super::silence::Observer;
use crate::engine::{Arrivals, Engine, EngineError, PhasePlan};
use crate::result::{Knee, Phase};
use crate::scenario::{Ramp, Scenario};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rates that a ramp tries, at most.
const STEPS_MAX: usize = 40;

/// The phases of a scenario without a ramp: one, or three with a power cut.
pub(super) fn play_phases(
    engine: &mut Engine,
    scenario: &Scenario,
    end: &AtomicBool,
    observer: &mut Observer,
) -> Result<(), EngineError> {
    let phase = |name: &str, arrivals, seconds: Option<f64>| PhasePlan {
        name: name.to_owned(),
        arrivals,
        duration: seconds.map(Duration::from_secs_f64),
        is_drained: false,
    };
    let mut play = |engine: &mut Engine, plan: &PhasePlan| {
        engine.play(plan, end, &mut |live| observer.see(live))
    };
    let Some(cut) = scenario.power_cut else {
        play(engine, &phase(&scenario.name, scenario.arrivals(), scenario.seconds))?;
        return Ok(());
    };
    let before = phase("before the power cut", scenario.arrivals(), Some(cut.after_seconds));
    // An exchange that the power cut ends is no loss of the server's.
    play(engine, &PhasePlan { is_drained: true, ..before })?;
    engine.power_cut(cut.forgetful_percent);
    play(engine, &phase("dark", Arrivals::Nobody, Some(cut.dark_seconds)))?;
    let left = scenario.seconds.map(|all| all - cut.after_seconds - cut.dark_seconds);
    play(engine, &phase("power returns", Arrivals::AtOnce, left))?;
    Ok(())
}

/// Doubles the rate until it is not borne, then halves the interval between the best good rate and the
/// worst bad one.
pub(super) fn ramp_up(
    engine: &mut Engine,
    ramp: &Ramp,
    end: &AtomicBool,
    observer: &mut Observer,
) -> Result<Option<Knee>, EngineError> {
    let mut knee = Knee { good_per_second: 0.0, bad_per_second: None };
    let mut rate = ramp.from_per_second;
    for _ in 0..STEPS_MAX {
        let plan = PhasePlan {
            name: format!("rate {rate:.0}"),
            arrivals: Arrivals::Rate(rate),
            duration: Some(Duration::from_secs_f64(ramp.step_seconds)),
            is_drained: true,
        };
        let phase = engine.play(&plan, end, &mut |live| observer.see(live))?;
        if end.load(Ordering::Relaxed) {
            break;
        }
        let is_good = is_borne(&phase, ramp);
        engine.judge_last_phase(is_good);
        if is_good {
            knee.good_per_second = knee.good_per_second.max(rate);
        } else {
            knee.bad_per_second = Some(knee.bad_per_second.map_or(rate, |bad| bad.min(rate)));
        }
        let good = knee.good_per_second;
        rate = match knee.bad_per_second {
            None if rate >= ramp.to_per_second => break,
            None => (rate * 2.0).min(ramp.to_per_second),
            Some(bad) if bad - good <= bad * ramp.precision_percent / 100.0 => break,
            Some(bad) => f64::midpoint(good, bad),
        };
        // Below one arrival in a step there is nothing to be seen.
        if rate * ramp.step_seconds < 1.0 {
            break;
        }
    }
    Ok(Some(knee))
}

#[allow(clippy::cast_precision_loss, reason = "a part of a hundred")]
fn is_borne(phase: &Phase, ramp: &Ramp) -> bool {
    let lost = phase.lost as f64 * 100.0 / (phase.began.max(1)) as f64;
    let p99 = phase.latency.percentile(99.0) as f64 / 1000.0;
    phase.acknowledged > 0 && lost <= ramp.lost_percent && p99 <= ramp.p99_milliseconds
}
