//! When clients arrive: an open loop, where the time of each arrival is fixed whatever the server does,
//! or a limit on what is in flight.
//!
//! It promises that an arrival's intended time never depends on a reply in an open loop. All times are
//! microseconds since the phase began.

/// How clients arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// So many a second, evenly spaced; more than 0.
    Rate(f64),
    /// A rate that changes: points of seconds and arrivals a second, ascending, with straight lines
    /// between them. Nobody arrives after the last one.
    Curve(Vec<(f64, f64)>),
    /// All at once.
    AtOnce,
    /// So many at once, and the next ones when all of those are done.
    Batches(u32),
    /// One whenever fewer than so many exchanges are open.
    InFlight(u32),
    /// Nobody; those who are there go on.
    Nobody,
}

const SECOND: f64 = 1e6;

/// The arrivals of a phase, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    /// When the next one should be.
    next: f64,
}

impl Schedule {
    /// From the beginning.
    #[must_use]
    pub(super) fn new(arrivals: Arrivals) -> Self {
        let next = match &arrivals {
            Arrivals::Curve(points) => after_one(points, 0.0),
            Arrivals::Nobody => f64::INFINITY,
            _ => 0.0,
        };
        Self { arrivals, next }
    }

    /// Whether the times are fixed.
    #[must_use]
    pub(super) const fn is_open_loop(&self) -> bool {
        !matches!(self.arrivals, Arrivals::Batches(_) | Arrivals::InFlight(_))
    }

    /// When the next one should be, in an open loop; `None`: there is none.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and a float beyond the range becomes its end"
    )]
    pub(super) fn next(&self) -> Option<u64> {
        self.next.is_finite().then_some(self.next as u64).filter(|_| self.is_open_loop())
    }

    /// How many may begin now, in a closed loop; 0 in an open one.
    #[must_use]
    pub(super) fn room(&self, open: u32) -> u32 {
        match self.arrivals {
            Arrivals::Batches(size) if open == 0 => size,
            Arrivals::InFlight(limit) => limit.saturating_sub(open),
            _ => 0,
        }
    }

    /// The next one has come.
    pub(super) fn advance(&mut self) {
        match &self.arrivals {
            Arrivals::Rate(rate) => self.next += SECOND / rate,
            Arrivals::Curve(points) => self.next = after_one(points, self.next / SECOND),
            _ => {}
        }
    }
}

/// When the area below a curve has grown by one arrival since `seconds`, in microseconds; infinite if
/// it never does.
fn after_one(points: &[(f64, f64)], seconds: f64) -> f64 {
    let mut wanted = 1.0;
    for pair in points.windows(2) {
        let [(from, low), (to, high)] = pair else { continue };
        if *to <= seconds || to <= from {
            continue;
        }
        let slope = (high - low) / (to - from);
        let begin = from.max(seconds);
        let (rate, length) = (low + slope * (begin - from), to - begin);
        let area = (rate + high) / 2.0 * length;
        if area >= wanted {
            // rate x + slope x x / 2 = wanted, in the form that bears a slope of 0.
            let root = (rate * rate + 2.0 * slope * wanted).max(0.0).sqrt();
            return (begin + (2.0 * wanted / (rate + root)).min(length)) * SECOND;
        }
        wanted -= area;
    }
    f64::INFINITY
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    fn count(arrivals: Arrivals, from: u64, to: u64) -> usize {
        let mut schedule = Schedule::new(arrivals);
        let mut count = 0;
        while let Some(next) = schedule.next().filter(|next| *next < to) {
            count += usize::from(next >= from);
            schedule.advance();
        }
        count
    }

    #[test]
    fn a_rate_is_kept() {
        let count = count(Arrivals::Rate(150_000.0), 0, 2_000_000);
        assert!(count.abs_diff(300_000) <= 1, "{count}");
    }

    #[test]
    fn a_curve_has_as_many_as_the_area_below_it() {
        let curve = Arrivals::Curve(vec![(0.0, 0.0), (10.0, 1000.0), (20.0, 0.0)]);
        let sides = [count(curve.clone(), 0, 10_000_000), count(curve, 10_000_000, u64::MAX)];
        for side in sides {
            assert!(side.abs_diff(5000) <= 1, "{side}");
        }
        let pause =
            Arrivals::Curve(vec![(0.0, 10.0), (1.0, 10.0), (1.1, 0.0), (5.0, 0.0), (6.0, 100.0)]);
        assert_eq!(count(pause.clone(), 1_200_000, 5_000_000), 0);
        assert!(count(pause, 5_000_000, u64::MAX).abs_diff(50) <= 1);
    }

    #[test]
    fn a_closed_loop_has_room_and_no_times() {
        let in_flight = Schedule::new(Arrivals::InFlight(64));
        assert_eq!((in_flight.next(), in_flight.room(60), in_flight.room(70)), (None, 4, 0));
        let batches = Schedule::new(Arrivals::Batches(300));
        assert_eq!((batches.next(), batches.room(0), batches.room(1)), (None, 300, 0));
        assert_eq!(Schedule::new(Arrivals::AtOnce).next(), Some(0));
        assert_eq!(Schedule::new(Arrivals::Nobody).next(), None);
    }
}
